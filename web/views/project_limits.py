"""/v1/organization/projects/{id}/rate_limits and /spend_limit: bounds as OpenAI words them.

They are those of the project itself (``limits``, ``monthly_budget``), under other names.
"""

from __future__ import annotations

from decimal import Decimal

from textgen.errors import InvalidOption
from web.auth import actor
from web.project_access import changeable, visible
from web.resource import Resource
from web.schemas.organization import (
    MOST_REQUESTS,
    MOST_TOKENS,
    Enforcement,
    RateLimit,
    RateLimitChange,
    RateLimitList,
    RateLimitQuery,
    SpendLimit,
    SpendLimitBody,
    SpendLimitDeleted,
)
from web.services import current
from worker.errors import NotFound
from worker.tenants.options import TenantOptions
from worker.tenants.tenants import Tenant

project_limits = Resource("project_limits", __name__)
PROJECT = "/v1/organization/projects/<project_id>"
ALL_MODELS = "rl_all"  # the one limit that there is
HUNDREDTHS = 100


@project_limits.on(
    f"GET {PROJECT}/rate_limits",
    "List rate limits",
    "admin",
    query=RateLimitQuery,
    answer=RateLimitList,
)
def rate_limits(project_id: str, query: RateLimitQuery) -> RateLimitList:
    """One, for all models together."""
    project = current().tenants.get(visible(project_id))
    data = [_rate_limit(project)] if query.after is None and query.before is None else []
    only = data[0].id if data else None
    return RateLimitList(data=data, first_id=only, last_id=only)


@project_limits.on(
    f"POST {PROJECT}/rate_limits/<rate_limit_id>",
    "Change a rate limit",
    "admin",
    body=RateLimitChange,
    answer=RateLimit,
)
def change_rate_limit(project_id: str, rate_limit_id: str, body: RateLimitChange) -> RateLimit:
    """Counts for every process within five seconds."""
    changeable(project_id)
    if rate_limit_id != ALL_MODELS:
        raise NotFound(
            f"There is no rate limit {rate_limit_id[:100]!r}; {ALL_MODELS!r} is that of all "
            "models together.",
            code="rate_limit_not_found",
            param="rate_limit_id",
        )
    limits = {}
    for name, value, most in (
        ("requests_per_minute", body.max_requests_per_1_minute, MOST_REQUESTS),
        ("tokens_per_minute", body.max_tokens_per_1_minute, MOST_TOKENS),
    ):
        if value is not None:
            limits[name] = None if value == most else value
    wanted = TenantOptions.parse({"limits": limits})
    return _rate_limit(current().tenants.update(project_id, wanted, actor()))


@project_limits.on(f"GET {PROJECT}/spend_limit", "Show a spend limit", "admin", answer=SpendLimit)
def spend_limit(project_id: str) -> SpendLimit:
    """The project's monthly budget."""
    return _spend_limit(current().tenants.get(visible(project_id)))


@project_limits.on(
    f"POST {PROJECT}/spend_limit",
    "Set a spend limit",
    "admin",
    body=SpendLimitBody,
    answer=SpendLimit,
)
def set_spend_limit(project_id: str, body: SpendLimitBody) -> SpendLimit:
    """When it is spent, new work is refused; what runs goes on."""
    services = current()
    currency = services.tenants.get(changeable(project_id)).currency
    if body.currency != currency:
        raise InvalidOption(
            f"'currency' is {body.currency!r}: the project is billed in {currency}.",
            param="currency",
        )
    budget = Decimal(body.threshold_amount) / HUNDREDTHS
    wanted = TenantOptions.parse({"monthly_budget": str(budget)})
    return _spend_limit(services.tenants.update(project_id, wanted, actor()))


@project_limits.on(
    f"DELETE {PROJECT}/spend_limit", "Take a spend limit away", "admin", answer=SpendLimitDeleted
)
def delete_spend_limit(project_id: str) -> SpendLimitDeleted:
    """From then on the project has no budget."""
    services = current()
    _spend_limit(services.tenants.get(changeable(project_id)))
    services.tenants.update(project_id, TenantOptions.parse({"unlimited_budget": True}), actor())
    return SpendLimitDeleted()


def _rate_limit(project: Tenant) -> RateLimit:
    limits = project.limits
    return RateLimit(
        id=ALL_MODELS,
        max_requests_per_1_minute=limits.requests_per_minute or MOST_REQUESTS,
        max_tokens_per_1_minute=limits.tokens_per_minute or MOST_TOKENS,
    )


def _spend_limit(project: Tenant) -> SpendLimit:
    if project.monthly_budget is None:
        raise NotFound(f"The project {project.id!r} has no budget.", code="spend_limit_not_found")
    spent = current().budgets.why_spent(project.id) is not None
    return SpendLimit(
        threshold_amount=int(project.monthly_budget * HUNDREDTHS),
        currency=project.currency,
        enforcement=Enforcement(status="enforcing" if spent else "inactive"),
    )
