"""What is set aside for a tenant's jobs until they end, of its budget and its monthly quotas."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.engine import Connection

from worker.jobs.origin import Reserved
from worker.jobs.states import LIVE
from worker.jobs.tables import in_state, jobs

_COLUMNS = ("reserved", "reserved_characters", "reserved_tokens", "reserved_seconds")
_SUMS = [func.coalesce(func.sum(jobs.c[name]), 0) for name in _COLUMNS]


def set_aside(connection: Connection, tenant: str) -> Reserved:
    """For all of its jobs that are not finished; read from the index jobs_reserved alone."""
    money, characters, tokens, seconds = connection.execute(
        select(*_SUMS).where(jobs.c.tenant == tenant, in_state(*sorted(LIVE)))
    ).one()
    return Reserved(int(money), int(characters), int(tokens), float(seconds))
