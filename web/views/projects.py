"""/v1/organization/projects: tenants, as OpenAI words them."""

from __future__ import annotations

from textgen.errors import InvalidOption
from web.auth import actor, is_operator, tenant
from web.project_access import changeable, visible
from web.resource import Resource
from web.schemas.projects import (
    DeletionQuery,
    LimitsShape,
    Project,
    ProjectContents,
    ProjectDeleted,
    ProjectList,
    ProjectQuery,
)
from web.services import current
from worker.tenants.options import NewTenant, TenantOptions
from worker.tenants.tenants import Tenant

projects = Resource("projects", __name__)
ROOT = "/v1/organization/projects"


@projects.on(
    f"POST {ROOT}", "Make a project", "admin", operator=True, body=NewTenant, answer=Project
)
def create(body: NewTenant) -> Project:
    """A project has files, models, jobs and keys of its own."""
    return view(current().tenants.create(body, actor()))


@projects.on(f"GET {ROOT}", "List projects", "admin", query=ProjectQuery, answer=ProjectList)
def index(query: ProjectQuery) -> ProjectList:
    """The operator sees all, everybody else their own."""
    services = current()
    if is_operator():
        page = services.tenants.list(
            after=query.after, limit=query.limit, suspended=query.include_archived
        )
        data, more = [view(found) for found in page.items], page.has_more
    else:
        own = services.tenants.get(tenant())
        data, more = [] if query.after is not None else [view(own)], False
    return ProjectList.model_construct(
        data=data,
        first_id=data[0].id if data else None,
        last_id=data[-1].id if data else None,
        has_more=more,
    )


@projects.on(f"GET {ROOT}/<project_id>", "Show a project", "admin", answer=Project)
def show(project_id: str) -> Project:
    """One project."""
    return view(current().tenants.get(visible(project_id)))


@projects.on(
    f"POST {ROOT}/<project_id>", "Change a project", "admin", body=TenantOptions, answer=Project
)
def change(project_id: str, body: TenantOptions) -> Project:
    """What is not given stays as it is."""
    return view(current().tenants.update(changeable(project_id), body, actor()))


@projects.on(f"POST {ROOT}/<project_id>/suspend", "Suspend a project", "admin", answer=Project)
def suspend(project_id: str) -> Project:
    """Its requests are refused and its jobs wait; what runs goes on to its end."""
    return _suspended(project_id)


@projects.on(f"POST {ROOT}/<project_id>/archive", "Archive a project", "admin", answer=Project)
def archive(project_id: str) -> Project:
    """OpenAI's word for suspending, which can be taken back here."""
    return _suspended(project_id)


def _suspended(project_id: str) -> Project:
    if changeable(project_id) == tenant():
        raise InvalidOption(
            "The operator's own project cannot be suspended: nobody could resume it.",
            code="project_not_suspendable",
            param="project_id",
        )
    return view(current().tenants.suspend(project_id, actor()))


@projects.on(f"POST {ROOT}/<project_id>/resume", "Resume a project", "admin", answer=Project)
def resume(project_id: str) -> Project:
    """Take its suspension back."""
    return view(current().tenants.resume(changeable(project_id), actor()))


@projects.on(
    f"GET {ROOT}/<project_id>/contents",
    "What goes when a project is deleted",
    "admin",
    answer=ProjectContents,
)
def contents(project_id: str) -> ProjectContents:
    """Rows by table, bytes of files, jobs that are not finished."""
    found = current().deletion.contents(visible(project_id))
    return ProjectContents(
        project_id=project_id,
        rows=dict(found.rows),
        file_bytes=found.file_bytes,
        live_jobs=found.live_jobs,
    )


@projects.on(
    f"DELETE {ROOT}/<project_id>",
    "Delete a project",
    "admin",
    query=DeletionQuery,
    answer=ProjectDeleted,
)
def delete(project_id: str, query: DeletionQuery) -> ProjectDeleted:
    """For good, rows and bytes; takes some seconds, so that every process notices."""
    changeable(project_id)
    services = current()
    services.tenants.get(project_id)
    if query.confirm != project_id:
        raise InvalidOption(
            f"This deletes all that the project has; {ROOT}/{project_id}/contents says what. Send "
            f"'?confirm={project_id}' to do it.",
            code="confirmation_needed",
            param="confirm",
        )
    gone = services.deletion.delete(project_id, actor())
    return ProjectDeleted(id=project_id, rows=dict(gone.rows), file_bytes=gone.file_bytes)


def view(found: Tenant) -> Project:
    """A project as clients see it."""
    suspended_at = None if found.suspended_at is None else int(found.suspended_at)
    return Project.model_construct(
        id=found.id,
        name=found.name,
        created_at=int(found.created_at),
        archived_at=suspended_at,
        status="suspended" if found.status == "suspended" else "active",
        suspended_at=suspended_at,
        weight=found.weight,
        plan=found.plan,
        currency=found.currency,
        time_zone=found.time_zone,
        monthly_budget=None if found.monthly_budget is None else float(found.monthly_budget),
        limits=LimitsShape(**found.limits.model_dump()),
        label=found.label,
        blocked_words=list(found.blocked_words),
    )
