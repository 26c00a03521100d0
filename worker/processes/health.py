"""How each worker does: by its heartbeat in the database, and by what it publishes through Redis.

A heartbeat shows a process, not work: only where Redis says that the worker takes what is there to
be taken is it ``ok``. With Redis away nobody knows, and ``unknown`` says so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from prometheus_client.core import Metric

from worker.errors import BrokerUnavailable
from worker.metrics.exposition import from_text
from worker.metrics.published import Published
from worker.metrics.publisher import EXPIRY_SECONDS
from worker.processes.presence import Presence, WorkerRow
from worker.settings import Settings
from worker.storage.database import Database

Status = Literal["ok", "not_consuming", "silent", "unknown"]
RECONCILER = "reconcile"
CONSUMES = re.compile(r"^textgen_worker_consuming 1\.0$", re.M)


@dataclass(frozen=True, slots=True)
class WorkerHealth:
    """A worker and how it does; ``text`` is what it has published of itself.

    ok             takes what is in its queues, or has all its slots busy
    not_consuming  messages wait although it is free; or it cannot reach Redis, where others can
    silent         its heartbeat has stopped
    unknown        Redis is away, so nobody can say whether it consumes
    """

    name: str
    role: str
    slots: Mapping[str, int]  # by queue; none of a reconciler
    started_at: float
    seen_at: float
    status: Status
    text: str

    @property
    def metrics(self) -> list[Metric]:
        """What it has published, with its name on it."""
        return from_text(self.text, {"worker": self.name})


class WorkersHealth:
    """Looks at all workers. Safe to share between threads."""

    def __init__(self, database: Database, settings: Settings, published: Published) -> None:
        self._presence = Presence(database, settings)
        self._settings = settings
        self._published = published

    def look(self) -> list[WorkerHealth]:
        """Every worker that is there, or was a short while ago; raises DatabaseUnavailable."""
        rows, now = self._presence.known()
        by_life: dict[str, list[WorkerRow]] = {}
        for row in rows:
            by_life.setdefault(row.life, []).append(row)
        try:
            texts = self._published.texts(list(by_life))
        except BrokerUnavailable:
            return [self._health(each, now, None, known=False) for each in by_life.values()]
        pairs = zip(by_life.values(), texts, strict=True)
        return [self._health(each, now, text, known=True) for each, text in pairs]

    def _health(
        self, rows: list[WorkerRow], now: float, text: str | None, *, known: bool
    ) -> WorkerHealth:
        first = rows[0]
        return WorkerHealth(
            name=first.name,
            role=first.role,
            slots={row.queue: row.slots for row in rows if row.queue},
            started_at=first.started_at,
            seen_at=first.seen_at,
            status=self._status(first, now, text, known=known),
            text="" if text is None else text,
        )

    def _status(self, row: WorkerRow, now: float, text: str | None, *, known: bool) -> Status:
        if row.seen_at < now - self._settings.lease_seconds:
            return "silent"
        if not known:
            return "unknown"
        if text is None:  # it has had no time yet, or Redis does not hear of it
            return "unknown" if now - row.started_at < EXPIRY_SECONDS else "not_consuming"
        if row.role == RECONCILER:
            return "ok"
        return "ok" if CONSUMES.search(text) else "not_consuming"
