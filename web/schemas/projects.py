"""Projects, their keys, and what was done to them; OpenAI's words where it has some."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from web.schemas.base import Body, PageQuery, Query, Shape

YEAR = 366 * 86_400
Scope = Literal["read", "generate", "train", "admin"]


class LimitsShape(Shape):
    """What a project may use; null: no bound."""

    requests_per_minute: int | None
    characters_per_minute: int | None
    tokens_per_minute: int | None
    characters_per_month: int | None
    tokens_per_month: int | None
    compute_seconds_per_month: float | None
    concurrent_completions: int | None
    running_jobs: int | None
    queued_jobs: int | None
    storage_bytes: int | None


class Project(Shape):
    """A project: OpenAI's fields, and what a self-hosted service says beside them."""

    id: str
    object: Literal["organization.project"] = "organization.project"
    name: str
    created_at: int
    archived_at: int | None = Field(description="since when it is suspended, by OpenAI's name")
    status: Literal["active", "suspended"]
    suspended_at: int | None
    weight: float
    plan: str | None
    currency: str
    time_zone: str
    monthly_budget: float | None = Field(description="in units of the currency; null: no bound")
    limits: LimitsShape
    label: str
    blocked_words: list[str]


class ProjectList(Shape):
    """A page of projects."""

    object: Literal["list"] = "list"
    data: list[Project]
    first_id: str | None
    last_id: str | None
    has_more: bool


class ProjectQuery(PageQuery):
    """Which projects."""

    include_archived: bool = Field(True, description="also those that are suspended")


class ProjectContents(Shape):
    """What goes when the project is deleted."""

    project_id: str
    object: Literal["organization.project.contents"] = "organization.project.contents"
    rows: dict[str, int]
    file_bytes: int
    live_jobs: int


class ProjectDeleted(Shape):
    """A project that is gone, and what went with it."""

    id: str
    object: Literal["organization.project.deleted"] = "organization.project.deleted"
    deleted: Literal[True] = True
    rows: dict[str, int]
    file_bytes: int


class DeletionQuery(Query):
    """The project's id once more, so that none is deleted by a slip."""

    confirm: str = Field("", max_length=100)


class KeyBody(Body):
    """A key to be made."""

    name: str = Field(min_length=1, max_length=200)
    scopes: list[Scope] = Field(["read", "generate", "train"], min_length=1)
    expires_in_seconds: int | None = Field(None, ge=1, le=10 * YEAR)


class KeyChange(Body):
    """What is not given stays as it is."""

    scopes: list[Scope] | None = Field(None, min_length=1)
    expires_in_seconds: int | None = Field(None, ge=1, le=10 * YEAR)


class KeyQuery(PageQuery):
    """Which keys; all belong to the project, so none has an owner without access."""

    limit: int = Field(100, ge=1, le=100)
    owner_project_access: Literal["active", "inactive", "any"] = "any"


class RotateBody(Body):
    """How long both keys are valid."""

    grace_seconds: int = Field(86_400, ge=0, le=YEAR)


class KeyOwner(Shape):
    """Keys belong to the project; there are no users."""

    type: Literal["service_account"] = "service_account"


class ProjectKey(Shape):
    """A key without its secret."""

    id: str
    object: Literal["organization.project.api_key"] = "organization.project.api_key"
    name: str
    created_at: int
    expires_at: int | None
    revoked_at: int | None
    redacted_value: str
    scopes: list[str]
    owner: KeyOwner = KeyOwner()
    owner_project_access: Literal["active", "inactive"] = "active"


class NewProjectKey(ProjectKey):
    """A key with its secret, which is shown this once."""

    value: str


class ProjectKeyList(Shape):
    """The keys of a project, the oldest first."""

    object: Literal["list"] = "list"
    data: list[ProjectKey]
    first_id: str | None
    last_id: str | None
    has_more: bool


class ProjectKeyDeleted(Shape):
    """A key that is of no use any more."""

    id: str
    object: Literal["organization.project.api_key.deleted"] = "organization.project.api_key.deleted"
    deleted: Literal[True] = True


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


Repeated = Annotated[list[str], BeforeValidator(_listed), Field(max_length=100)]


class AuditQuery(PageQuery):
    """Which entries; ``name[]=value`` may be given several times."""

    project_ids: Repeated | None = None
    event_types: Repeated | None = None
    effective_at: dict[Literal["gt", "gte", "lt", "lte"], int] | None = None


class AuditActorKey(Shape):
    """The key that acted."""

    id: str
    type: Literal["service_account"] = "service_account"


class AuditActor(Shape):
    """Who acted; without a key it was the command line at the database."""

    type: Literal["api_key"] = "api_key"
    api_key: AuditActorKey | None


class AuditProject(Shape):
    """To which project it was done."""

    id: str
    name: str


class AuditEntry(Shape):
    """Something that was changed; ``data`` holds no prompt, no text and no key."""

    id: str
    object: Literal["organization.audit_log"] = "organization.audit_log"
    type: str
    effective_at: int
    actor: AuditActor
    project: AuditProject
    subject: str
    data: dict[str, Any]


class AuditList(Shape):
    """A page of entries, the newest first."""

    object: Literal["list"] = "list"
    data: list[AuditEntry]
    first_id: str | None
    last_id: str | None
    has_more: bool


class UsingJob(Shape):
    """A job that has used something."""

    id: str
    kind: str
    state: str


class UsedByShape(Shape):
    """What has used a file or a model."""

    id: str
    object: Literal["used_by"] = "used_by"
    jobs: list[UsingJob]
    models: list[str] = Field(description="made by these jobs")
    aliases: list[str]
