"""Admin keys, service accounts, rate limits and spend limits, in OpenAI's shapes."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from web.schemas.base import Body, PageQuery, Shape
from web.schemas.projects import YEAR

MOST_REQUESTS = 10_000_000
MOST_TOKENS = 10**12


class OrderedPageQuery(PageQuery):
    """A page of a list, the oldest first unless asked for otherwise."""

    order: Literal["asc", "desc"] = "asc"


class NamedKeyBody(Body):
    """A key, or the service account that has it, to be made."""

    name: str = Field(min_length=1, max_length=200)
    expires_in_seconds: int | None = Field(None, ge=1, le=10 * YEAR)


class AdminKeyOwner(Shape):
    """There are no users: a key is its own service account."""

    type: Literal["service_account"] = "service_account"
    object: Literal["organization.service_account"] = "organization.service_account"
    id: str
    name: str
    created_at: int
    role: Literal["owner"] = "owner"


class AdminKey(Shape):
    """An admin key of the operator's, without its secret."""

    id: str
    object: Literal["organization.admin_api_key"] = "organization.admin_api_key"
    name: str
    created_at: int
    expires_at: int | None
    last_used_at: None = None
    redacted_value: str
    owner: AdminKeyOwner


class NewAdminKey(AdminKey):
    """With its secret, which is shown this once."""

    value: str


class AdminKeyList(Shape):
    """A page of admin keys."""

    object: Literal["list"] = "list"
    data: list[AdminKey]
    first_id: str | None
    last_id: str | None
    has_more: bool


class AdminKeyDeleted(Shape):
    """An admin key that is of no use any more."""

    id: str
    object: Literal["organization.admin_api_key.deleted"] = "organization.admin_api_key.deleted"
    deleted: Literal[True] = True


class ServiceAccountChange(Body):
    """What is not given stays as it is; an owner is an admin of its project."""

    name: str | None = Field(None, min_length=1, max_length=200)
    role: Literal["member", "owner"] | None = None


class ServiceAccount(Shape):
    """A program that calls: it has one key, whose id is its own."""

    id: str
    object: Literal["organization.project.service_account"] = "organization.project.service_account"
    name: str
    role: Literal["owner", "member"]
    created_at: int


class ServiceAccountKey(Shape):
    """Its key, which is shown this once."""

    id: str
    object: Literal["organization.project.service_account.api_key"] = (
        "organization.project.service_account.api_key"
    )
    name: str
    value: str
    created_at: int
    expires_at: int | None


class NewServiceAccount(ServiceAccount):
    """With its key."""

    api_key: ServiceAccountKey


class ServiceAccountList(Shape):
    """A page of service accounts."""

    object: Literal["list"] = "list"
    data: list[ServiceAccount]
    first_id: str | None
    last_id: str | None
    has_more: bool


class ServiceAccountDeleted(Shape):
    """A service account whose key is of no use any more."""

    id: str
    object: Literal["organization.project.service_account.deleted"] = (
        "organization.project.service_account.deleted"
    )
    deleted: Literal[True] = True


class RateLimitQuery(PageQuery):
    """A page of rate limits; there is one, for all models."""

    before: str | None = Field(None, max_length=300)


class RateLimitChange(Body):
    """What is not given stays as it is; the largest value is no bound."""

    max_requests_per_1_minute: int | None = Field(None, ge=1, le=MOST_REQUESTS)
    max_tokens_per_1_minute: int | None = Field(None, ge=1, le=MOST_TOKENS)


class RateLimit(Shape):
    """A project's minute, of all models together; without a bound the largest value."""

    id: str
    object: Literal["project.rate_limit"] = "project.rate_limit"
    model: Literal["*"] = "*"
    max_requests_per_1_minute: int
    max_tokens_per_1_minute: int


class RateLimitList(Shape):
    """The rate limits of a project."""

    object: Literal["list"] = "list"
    data: list[RateLimit]
    first_id: str | None
    last_id: str | None
    has_more: Literal[False] = False


class SpendLimitBody(Body):
    """A monthly budget, in hundredths of the project's currency."""

    threshold_amount: int = Field(ge=0, le=10**11)
    currency: str = Field(pattern="^[A-Z]{3}$")
    interval: Literal["month"]


class Enforcement(Shape):
    """Whether new work is refused now."""

    status: Literal["inactive", "enforcing"]


class SpendLimit(Shape):
    """The monthly budget of a project, as OpenAI words it."""

    object: Literal["project.spend_limit"] = "project.spend_limit"
    threshold_amount: int = Field(description="in hundredths of the currency")
    currency: str
    interval: Literal["month"] = "month"
    enforcement: Enforcement


class SpendLimitDeleted(Shape):
    """A project without a budget."""

    object: Literal["project.spend_limit.deleted"] = "project.spend_limit.deleted"
    deleted: Literal[True] = True
