"""A month of a tenant's usage by day and by group, without reading what is settled again and again.

Usage of an hour is complete an hour after its end, and never changes after that. So its sums are
kept in memory: a month with very many rows is read once by each process, then only its last hours.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from worker.billing.invoices import SETTLE_SECONDS
from worker.billing.months import bounds
from worker.tenants.tenants import Tenant
from worker.usage.quantities import Quantities
from worker.usage.usage import GroupBy, Usage, UsageQuery

HOUR = 3600
MONTHS_KEPT = 200

Sums = Mapping[tuple[date, str | None], Quantities]
_Key = tuple[str, float, str, str, GroupBy]


@dataclass(frozen=True, slots=True)
class Day:
    """A day of the tenant's calendar, and what was used on it."""

    date: date
    hours: float
    used: Quantities


@dataclass(frozen=True)
class MonthOfUsage:
    """A month from ``start`` to ``end``, seconds since 1970; ``groups`` the largest first."""

    start: float
    end: float
    days: Sequence[Day]
    groups: Sequence[tuple[str | None, Quantities]]
    total: Quantities


class UsageMonths:
    """Reads for people. Safe to share between threads."""

    def __init__(self, usage: Usage) -> None:
        self._usage = usage
        self._lock = threading.Lock()
        self._settled: OrderedDict[_Key, tuple[float, Sums]] = OrderedDict()

    def of(self, tenant: Tenant, month: str, by: GroupBy, now: float) -> MonthOfUsage:
        """A month, such as 2026-11, as it is at ``now``; raises InvalidOption for what is none."""
        start, end = bounds(month, tenant.time_zone)
        zone = ZoneInfo(tenant.time_zone)
        # Whoever gets the id of a tenant that is gone was made later.
        key = (tenant.id, tenant.created_at, tenant.time_zone, month, by)
        with self._lock:
            since, sums = self._settled.get(key, (start, {}))
        hours = int((min(now - SETTLE_SECONDS, end) - start) // HOUR)
        until = max(since, start + hours * HOUR)
        if until > since:
            sums = _added(sums, self._read(tenant.id, since, until, zone, by))
            with self._lock:
                self._settled[key] = until, sums
                self._settled.move_to_end(key)
                while len(self._settled) > MONTHS_KEPT:
                    self._settled.popitem(last=False)
        return _month(start, end, zone, _added(sums, self._read(tenant.id, until, end, zone, by)))

    def _read(self, tenant: str, since: float, until: float, zone: ZoneInfo, by: GroupBy) -> Sums:
        if until <= since:
            return {}
        found: dict[tuple[date, str | None], Quantities] = defaultdict(Quantities)
        # By hours, since days of a calendar are not all of one length.
        for each in self._usage.sums(UsageQuery(since, until, [tenant]), HOUR, [by]):
            day = datetime.fromtimestamp(each.start, zone).date()
            found[day, each.group[by]] += each.quantities
        return found


def _added(some: Sums, more: Sums) -> Sums:
    both = defaultdict(Quantities, some)
    for key, used in more.items():
        both[key] += used
    return both


def _month(start: float, end: float, zone: ZoneInfo, sums: Sums) -> MonthOfUsage:
    by_day: dict[date, Quantities] = defaultdict(Quantities)
    by_group: dict[str | None, Quantities] = defaultdict(Quantities)
    for (day, group), used in sums.items():
        by_day[day] += used
        by_group[group] += used
    days = [
        Day(day, (until - since) / HOUR, by_day[day])
        for day, since, until in _days(start, end, zone)
    ]
    groups = sorted(by_group.items(), key=lambda each: _size(each[1]), reverse=True)
    return MonthOfUsage(start, end, days, groups, sum(by_group.values(), Quantities()))


def _days(start: float, end: float, zone: ZoneInfo) -> Iterator[tuple[date, float, float]]:
    """Days with their first moments and those of the next."""
    day = datetime.fromtimestamp(start, zone).date()
    while (since := _midnight(day, zone)) < end:
        day += timedelta(days=1)
        yield day - timedelta(days=1), since, _midnight(day, zone)


def _midnight(day: date, zone: ZoneInfo) -> float:
    return datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()


def _size(used: Quantities) -> tuple[float, float, float]:
    return (used.characters_in + used.characters_out, used.compute_seconds, used.byte_hours)
