"""/usage: what a project has used in a month, what it cost, and what is left of its quotas."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from flask import Response
from pydantic import Field

from web.pages import figures
from web.pages.language import _
from web.pages.page import Pages, render
from web.pages.projects import project_choice, project_of
from web.pages.usage_days import amounts, neighbours
from web.schemas.base import Query
from web.services import current
from worker.billing.months import month_of
from worker.tenants.tenants import Tenant
from worker.usage.months import Day, MonthOfUsage

usage_pages = Pages("usage_pages", __name__)

Measure = Literal["characters", "compute", "stored", "tokens", "requests"]
By = Literal["model", "api_key_id", "kind"]
MEASURES: tuple[Measure, ...] = ("characters", "compute", "stored", "tokens", "requests")
GROUPS: tuple[By, ...] = ("kind", "model", "api_key_id")
ROWS = 100  # of a table


class UsageQuery(Query):
    """Which month, of whom, and how it is shown."""

    month: str = Field("", max_length=7)
    project: str = Field("", max_length=100)
    show: Measure = "characters"
    by: By = "kind"


@dataclass(frozen=True)
class Chart:
    """Bars by day: heights of 0 to 100, one or two on top of each other, and what they say."""

    bars: Sequence[tuple[Sequence[float], str]]
    most: str


@dataclass(frozen=True)
class Bound:
    """A quota or the budget of this month. Amounts are written out."""

    name: str
    share: float  # used, 0 to 1
    aside: float  # set aside for jobs that are not finished, beside what is used
    limit: str
    used: str
    reserved: str
    left: str
    spent: bool


@usage_pages.page("GET /usage", "Usage, for people", "read", query=UsageQuery)
def index(query: UsageQuery) -> Response:
    """A month, by day and by what it went to."""
    services = current()
    project = project_of(query.project)
    now = month_of(time.time(), project.time_zone)
    month = query.month or now
    found = services.usage_months.of(project, month, query.by, time.time())
    before, after = neighbours(month)
    groups = [(name, used) for name, used in found.groups[:ROWS]]
    names = (
        services.keys.names(project.id, [name for name, _used in groups if name])
        if query.by == "api_key_id"
        else {}
    )
    return render(
        "usage.html",
        query=query,
        month=month,
        now=now,
        before=before,
        after=after if after <= now else None,
        found=found,
        groups=groups,
        names=names,
        more=len(found.groups) - len(groups),
        chart=_chart(found.days, query.show),
        stored=_stored(found),
        measures=MEASURES,
        groupings=GROUPS,
        costs=_costs(project, found),
        bounds=_bounds(project) if month == now else [],
        **project_choice(project),
    )


def _chart(days: Sequence[Day], measure: Measure) -> Chart:
    parts = [amounts(day.used, day.hours)[measure] for day in days]
    most = max((sum(each) for each in parts), default=0.0)
    return Chart(
        [
            (
                [100 * amount / most if most else 0.0 for amount in each],
                f"{day.date:%Y-%m-%d}: {_written(measure, sum(each))}",
            )
            for day, each in zip(days, parts, strict=True)
        ],
        _written(measure, most),
    )


def _written(measure: str, amount: float) -> str:
    if measure == "compute":
        return figures.duration(amount)
    return figures.size(amount) if measure == "stored" else figures.number(amount)


def _stored(found: MonthOfUsage) -> float:
    """Bytes that were stored on average over the hours that were measured."""
    hours = sum(day.hours for day in found.days if day.used.byte_hours)
    return found.total.byte_hours / hours if hours else 0.0


def _costs(project: Tenant, found: MonthOfUsage) -> Mapping[str, Any] | None:
    """The lines of a bill of the month; None without prices."""
    services = current()
    if not services.terms.prices.lists:
        return None
    with services.database.read() as connection:
        lines = list(
            services.budgets.costs.lines(
                connection, project.id, project.currency, found.start, found.end
            )
        )
    return {"lines": lines, "total": sum((line.amount for line in lines), Decimal(0))}


def _bounds(project: Tenant) -> list[Bound]:
    """The budget and the quotas that a project has, as they stand now."""
    services = current()
    found = []
    if project.monthly_budget is not None and services.terms.prices.lists:
        state = services.budgets.state(project)
        unit = project.currency
        written = [f"{figures.decimals(float(each), 2)} {unit}" for each in state]
        found.append(_bound(_("Budget"), *map(float, state), written=written))
    names = {
        "characters_per_month": _("Characters"),
        "tokens_per_month": _("Tokens"),
        "compute_seconds_per_month": _("Compute seconds"),
    }
    for quota in services.monthly.states(project):
        three = (quota.limit, quota.used, quota.reserved)
        written = [figures.number(each) for each in three]
        found.append(_bound(names[quota.name], *three, written=written))
    return found


def _bound(name: str, limit: float, used: float, aside: float, *, written: Sequence[str]) -> Bound:
    left = max(0.0, limit - used - aside)
    share = min(1.0, used / limit) if limit else 1.0
    return Bound(
        name=name,
        share=share,
        aside=min(1.0 - share, aside / limit) if limit else 0.0,
        limit=written[0],
        used=written[1],
        reserved=written[2] if aside else "",
        left=figures.decimals(left, 2) if written[0][-1].isalpha() else figures.number(left),
        spent=used >= limit,
    )
