"""Errors of jobs and of webhooks by their code; what they say may hold texts, and is left out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa

from worker.backend import Backend
from worker.contracts import BATCH, TRAINING
from worker.jobs.tables import jobs
from worker.webhooks.tables import webhook_deliveries

MOST = 1000  # of the newest ended jobs of a queue
MOST_LINES = 1000  # of one batch's errors
_CODE = re.compile(r"[a-z][a-z0-9_]{0,59}")


def problems(backend: Backend, known: frozenset[str]) -> dict[str, Any]:
    """Codes with their counts and when they came last; codes that are not ``known`` are other."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    with backend.database.read() as connection:
        for queue in (TRAINING, BATCH):
            rows = connection.execute(
                sa.select(jobs.c.kind, jobs.c.state, jobs.c.error, jobs.c.finished_at)
                .where(jobs.c.queue == queue, jobs.c.finished_at.is_not(None))
                .order_by(jobs.c.finished_at.desc())
                .limit(MOST)
            ).all()
            for row in rows:
                if row.state == "failed" and row.error is not None:
                    for code in _codes(row.error, known):
                        _count(found, row.kind, code, row.finished_at)
        sent = connection.execute(
            sa.select(
                webhook_deliveries.c.state, webhook_deliveries.c.last_status, sa.func.count()
            ).group_by(webhook_deliveries.c.state, webhook_deliveries.c.last_status)
        ).all()
    return {
        "jobs": sorted(found.values(), key=lambda each: -float(each["last_at"])),
        "webhook_deliveries": [
            {"state": state, "last_status": status, "count": count} for state, status, count in sent
        ],
    }


def _codes(error: Mapping[str, Any], known: frozenset[str]) -> Iterable[str]:
    """The job's own, and those of the lines of a batch."""
    lines = error.get("errors")
    each = [error, *(lines[:MOST_LINES] if isinstance(lines, list) else [])]
    for one in each:
        code = one.get("code") if isinstance(one, Mapping) else None
        if isinstance(code, str):
            yield code if code in known and _CODE.fullmatch(code) else "other"


def _count(
    found: dict[tuple[str, str], dict[str, Any]], kind: str, code: str, moment: float
) -> None:
    entry = found.setdefault(
        (kind, code), {"kind": kind, "code": code, "count": 0, "last_at": moment}
    )
    entry["count"] += 1
    entry["last_at"] = max(entry["last_at"], moment)
