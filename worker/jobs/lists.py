"""Looking at jobs: one, pages of many, events, checkpoints, figures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

from sqlalchemy import ColumnElement, Select, exists, func, literal, select
from sqlalchemy.dialects.postgresql import JSONB

from worker.errors import Gone
from worker.jobs.moves import JobTable, not_found
from worker.jobs.rows import (
    Checkpoint,
    Job,
    JobEvent,
    JobHead,
    checkpoint_from,
    event_from,
    job_from,
)
from worker.jobs.states import Kind, State
from worker.jobs.tables import checkpoints, in_state, job_events, jobs
from worker.storage.ids import ordinal
from worker.storage.pages import Page, cut

EVENTS_AT_ONCE = 1000
HEADS_AT_ONCE = 10_000  # PostgreSQL takes 65,535 values in a query, SQLite 32,766


class JobLists(JobTable):
    """Reads for clients; every query names the tenant."""

    def get(self, tenant: str, job_id: str) -> Job:
        """One job; raises NotFound."""
        with self._database.read() as connection:
            row = connection.execute(
                select(jobs).where(jobs.c.tenant == tenant, jobs.c.id == job_id)
            ).one_or_none()
        return job_from(row) if row is not None else not_found(job_id)

    def list(
        self,
        tenant: str,
        *,
        kind: Kind | None = None,
        states: Sequence[State] | None = None,
        after: str | None = None,
        limit: int = 20,
        metadata: Mapping[str, str] | None = None,
    ) -> Page[Job]:
        """The newest first; go on after the last id of a page. All metadata given must match."""
        query = select(jobs).where(jobs.c.tenant == tenant)
        if kind is not None:
            query = query.where(jobs.c.kind == kind)
        if after is not None:
            query = query.where(jobs.c.ordinal < ordinal(after))
        for key, value in ({} if metadata is None else metadata).items():
            query = query.where(self._has_metadata(key, value))
        query = query.order_by(jobs.c.ordinal.desc()).limit(limit + 1)
        if states is None:
            queries: list[Select[Any]] = [query]
        else:  # one after the other, so that each is a walk along an index
            queries = [query.where(in_state(state)) for state in dict.fromkeys(states)]
        with self._database.read() as connection:
            rows = [row for each in queries for row in connection.execute(each).all()]
        rows.sort(key=lambda row: str(row.ordinal), reverse=True)
        return cut([job_from(row) for row in rows], limit)

    def _has_metadata(self, key: str, value: str) -> ColumnElement[bool]:
        column = jobs.c["metadata"]
        if not self._database.is_sqlite:
            return column.op("@>")(literal({key: value}, JSONB))
        pair = func.json_each(column).table_valued("key", "value")
        return exists(select(1).select_from(pair).where(pair.c.key == key, pair.c.value == value))

    def heads(self, ids: Iterable[str]) -> dict[str, JobHead]:
        """Of any number of jobs, whosever they are, what those who watch them need."""
        query = select(*(jobs.c[field.name] for field in fields(JobHead)))
        wanted = list(dict.fromkeys(ids))
        found: dict[str, JobHead] = {}
        with self._database.read() as connection:
            for first in range(0, len(wanted), HEADS_AT_ONCE):
                some = wanted[first : first + HEADS_AT_ONCE]
                rows = connection.execute(query.where(jobs.c.id.in_(some)))
                found.update((row.id, JobHead(*row)) for row in rows)
        return found

    def newest(self, tenant: str) -> str:
        """The sortable part of the id of a tenant's newest job; empty where there is none."""
        query = select(func.max(jobs.c.ordinal)).where(jobs.c.tenant == tenant)
        with self._database.read() as connection:
            return connection.execute(query).scalar_one() or ""

    def events(
        self,
        tenant: str,
        job_id: str,
        *,
        after: int = 0,
        limit: int = 100,
        newest_first: bool = False,
    ) -> Sequence[JobEvent]:
        """Events that follow number ``after`` in the order asked for; 0 is the beginning.

        Raises Gone (``events_removed``) where some of these were removed after the job's end.
        """
        query = select(job_events).where(
            job_events.c.tenant == tenant, job_events.c.job_id == job_id
        )
        if newest_first:
            query = query.order_by(job_events.c.id.desc())
            if after > 0:
                query = query.where(job_events.c.id < after)
        else:
            query = query.where(job_events.c.id > after).order_by(job_events.c.id)
        with self._database.read() as connection:
            # Counted first: events are only added, so as many as this must be found.
            count = connection.execute(
                select(jobs.c.event_count).where(jobs.c.tenant == tenant, jobs.c.id == job_id)
            ).scalar_one_or_none()
            rows = connection.execute(query.limit(limit)).all()
        there = 0 if count is None else int(count)
        if newest_first:
            there = there if after == 0 else min(there, after - 1)
        else:
            there -= after
        if len(rows) < min(limit, there):
            raise Gone(
                f"Events of {job_id} that you ask for were removed, as the operator has them "
                f"removed some time after a job's end. `GET /v1/jobs/{job_id}` has its end.",
                code="events_removed",
            )
        return [event_from(row) for row in rows]

    def all_events(self, tenant: str, job_id: str) -> Iterator[JobEvent]:
        """Every event, the oldest first, read a page at a time."""
        after = 0
        while page := self.events(tenant, job_id, after=after, limit=EVENTS_AT_ONCE):
            yield from page
            after = page[-1].id

    def checkpoints(
        self, tenant: str, job_id: str, *, after: str | None = None, limit: int = 10
    ) -> Page[Checkpoint]:
        """Checkpoints that were published as models, the newest first."""
        query = select(checkpoints).where(
            checkpoints.c.tenant == tenant, checkpoints.c.job_id == job_id
        )
        if after is not None:
            query = query.where(checkpoints.c.id < after)
        query = query.order_by(checkpoints.c.id.desc()).limit(limit + 1)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return cut([checkpoint_from(row) for row in rows], limit)
