"""What is billed of a span of time, at a cost that does not grow with what happened in it.

Months begin at midnight of some time zone, and all of these are a whole number of quarter hours
away from UTC. So a span is the whole days (UTC) in it and the quarter hours before the first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import cast

from sqlalchemy import and_, func, or_, select
from sqlalchemy.engine import Connection

from worker.usage.quantities import NAMES, Quantities, UsageKind
from worker.usage.tables import usage_sums

DAY = 86_400
QUARTER = 900
WIDTHS = (DAY, QUARTER)


def billed(
    connection: Connection, tenant: str, since: float, until: float | None = None
) -> Mapping[UsageKind, Quantities]:
    """By kind, what a tenant has used from a quarter hour on, and is billed for.

    ``until`` is midnight (UTC) of some day, or None: to the last of it.
    """
    sums = usage_sums.c
    first_day = math.ceil(since / DAY) * DAY
    days = and_(sums.width == DAY, sums.start >= first_day)
    if until is not None:
        days = and_(days, sums.start < until)
    edge = and_(sums.width == QUARTER, sums.start >= since, sums.start < first_day)
    rows = connection.execute(
        select(sums.kind, *(func.sum(sums[name]).label(name) for name in NAMES))
        .where(sums.tenant == tenant, or_(days, edge))
        .group_by(sums.kind)
        .order_by(sums.kind)
    ).all()
    return {cast(UsageKind, row.kind): Quantities.of(row) for row in rows}
