"""/v1/organization/audit_logs: who changed what."""

from __future__ import annotations

from web.auth import is_operator, tenant
from web.resource import Resource
from web.schemas.projects import (
    AuditActor,
    AuditActorKey,
    AuditEntry,
    AuditList,
    AuditProject,
    AuditQuery,
)
from web.services import current
from worker.tenants import audit

audit_logs = Resource("audit_logs", __name__)


@audit_logs.on(
    "GET /v1/organization/audit_logs",
    "List changes",
    "admin",
    query=AuditQuery,
    answer=AuditList,
)
def index(query: AuditQuery) -> AuditList:
    """The newest first; the operator sees those of all projects, everybody else their own."""
    wanted = query.project_ids
    if not is_operator():
        wanted = [tenant()] if wanted is None or tenant() in wanted else []
    when = {} if query.effective_at is None else query.effective_at
    since = max(
        (when[each] + (each == "gt") for each in ("gt", "gte") if each in when), default=None
    )
    until = min(
        (when[each] + (each == "lte") for each in ("lt", "lte") if each in when), default=None
    )
    page = current().audit.list(
        wanted,
        types=() if query.event_types is None else query.event_types,
        since=since,
        until=until,
        after=query.after,
        limit=query.limit,
    )
    data = [_view(entry) for entry in page.items]
    return AuditList.model_construct(
        data=data,
        first_id=data[0].id if data else None,
        last_id=data[-1].id if data else None,
        has_more=page.has_more,
    )


def _view(entry: audit.AuditEntry) -> AuditEntry:
    key = None if entry.actor_key is None else AuditActorKey(id=entry.actor_key)
    return AuditEntry.model_construct(
        id=entry.id,
        type=entry.type,
        effective_at=int(entry.created_at),
        actor=AuditActor(api_key=key),
        project=AuditProject(id=entry.tenant, name=entry.tenant),
        subject=entry.subject,
        data=entry.data,
    )
