"""Which projects a caller may see and change: its own, the operator every one."""

from __future__ import annotations

from web.auth import is_operator, tenant
from worker.errors import Forbidden
from worker.tenants.tenants import no_tenant


def visible(project_id: str) -> str:
    """The id, where the caller may know of this project; raises NotFound."""
    if project_id != tenant() and not is_operator():
        no_tenant(project_id)
    return project_id


def changeable(project_id: str) -> str:
    """The id, where the caller may change this project; raises NotFound, Forbidden."""
    visible(project_id)
    if not is_operator():
        raise Forbidden(
            "What a project may use is for the operator of this service to say.",
            code="operator_only",
        )
    return project_id
