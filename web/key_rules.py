"""What a key needs to do something: a scope, and a project that is there and not suspended."""

from __future__ import annotations

from collections.abc import Sequence

from worker.errors import Forbidden, NotFound, Unauthenticated
from worker.storage.keys import Key
from worker.tenants.tenants import Tenant, Tenants


def check_scopes(key: Key, wanted: Sequence[str]) -> None:
    """Raise Forbidden unless the key has one of these scopes, or that of an admin."""
    if not {*wanted, "admin"} & set(key.scopes):
        needed = " or ".join(repr(scope) for scope in wanted)
        raise Forbidden(
            f"This key may not do this: it needs the scope {needed} and has "
            f"{', '.join(key.scopes)}.",
            code="insufficient_scope",
        )


def check_project(tenants: Tenants, key: Key) -> Tenant:
    """The key's project; raises Forbidden where it is suspended, Unauthenticated where gone."""
    try:
        found = tenants.known(key.tenant)
    except NotFound:
        raise Unauthenticated("The project of this API key was deleted.") from None
    if found.status == "suspended":
        raise Forbidden(
            f"The project {key.tenant!r} is suspended: its requests are refused and its queued "
            "jobs wait, while what runs goes on to its end. Whoever runs this service can resume "
            "it; then the queued jobs start in their turn.",
            code="project_suspended",
        )
    return found
