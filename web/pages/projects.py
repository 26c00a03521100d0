"""Which project a page is about: the reader's own, for the operator any."""

from __future__ import annotations

from typing import Any

from web.auth import is_operator, tenant
from web.project_access import visible
from web.services import current
from worker.tenants.tenants import Tenant

OFFERED = 100  # projects in a choice; others are reached by their id in the address


def project_of(asked: str) -> Tenant:
    """The project asked for, the reader's own where that is empty; raises NotFound."""
    return current().tenants.get(visible(asked) if asked else tenant())


def project_choice(chosen: Tenant) -> dict[str, Any]:
    """What a page needs to offer others to the operator."""
    names = [(chosen.id, chosen.name)]
    if is_operator():
        page = current().tenants.list(limit=OFFERED)
        names = [(found.id, found.name) for found in page.items]
        if chosen.id not in {each for each, _ in names}:
            names.append((chosen.id, chosen.name))
    return {
        "project": chosen,
        "projects": names if len(names) > 1 else [],
        "asked_project": "" if chosen.id == tenant() else chosen.id,
        "operator": is_operator(),
    }
