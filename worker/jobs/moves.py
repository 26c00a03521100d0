"""Moves of job rows: each one UPDATE, and its event in the same transaction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NoReturn, get_args

from sqlalchemy import ColumnElement, and_, insert, select, update
from sqlalchemy.engine import Connection, Row

from worker.errors import LeaseLost, NotFound
from worker.jobs.rows import Job, Level, job_from
from worker.jobs.states import FINAL, QUEUED_PHASE, Kind, State
from worker.jobs.tables import batch_shards, in_state, job_events, jobs
from worker.metrics.job_metrics import JobMetrics
from worker.settings import Settings
from worker.storage.database import Database, after_commit
from worker.usage.job_usage import record_job
from worker.webhooks.events import publish_end


@dataclass(frozen=True, slots=True)
class Note:
    """An event to be written."""

    type: str
    message: str
    level: Level = "info"
    data: Mapping[str, Any] = field(default_factory=dict)


class JobTable:
    """What clients, workers and the reconciler have in common. Safe to share between threads."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings
        self.metrics = JobMetrics(get_args(Kind))

    def _move(
        self,
        connection: Connection,
        condition: ColumnElement[bool],
        values: Mapping[str, Any],
        note: Note,
        now: float,
    ) -> Job | None:
        """Change the one row that meets the condition and write the event; None: no such row.

        Where the job ends by it, the events of its webhooks, and what it has used, are written in
        the same transaction; its usage last, since its sums are locked from then on.
        """
        row = connection.execute(
            update(jobs)
            .where(condition)
            .values(event_count=jobs.c.event_count + 1, **values)
            .returning(*jobs.c)
        ).one_or_none()
        if row is None:
            return None
        self._write_event(connection, row, note, now)
        if values.get("state") in FINAL:
            publish_end(connection, row, now)
            record_job(connection, row, now)
            after_commit(connection, partial(self.metrics.ended, job_from(row)))
        return job_from(row)

    def _write_event(self, connection: Connection, row: Row[Any], note: Note, now: float) -> None:
        """Write an event under the number that the row's update has just taken."""
        connection.execute(
            insert(job_events).values(
                job_id=row.id,
                id=row.event_count,
                tenant=row.tenant,
                created_at=now,
                level=note.level,
                type=note.type,
                message=note.message,
                data=dict(note.data),
            )
        )

    def _lock(self, connection: Connection, condition: ColumnElement[bool]) -> Row[Any] | None:
        """The row that meets the condition, kept from changing until the transaction ends."""
        return connection.execute(select(jobs).where(condition).with_for_update()).one_or_none()

    def _owned(self, connection: Connection, tenant: str, job_id: str) -> Row[Any]:
        """A tenant's row, locked; raises NotFound."""
        row = self._lock(connection, and_(jobs.c.tenant == tenant, jobs.c.id == job_id))
        if row is None:
            not_found(job_id)
        return row

    def _held(self, connection: Connection, job: Job) -> Row[Any]:
        """The row of a job that this worker still holds, locked; raises LeaseLost."""
        row = self._lock(connection, held(job))
        if row is None:
            lease_lost(job)
        return row

    def _change(self, connection: Connection, job: Job, **values: Any) -> None:
        """Change columns of a row that this worker holds; raises LeaseLost."""
        changed = connection.execute(update(jobs).where(held(job)).values(**values))
        if changed.rowcount == 0:
            lease_lost(job)

    def _put_back(
        self,
        connection: Connection,
        row: Row[Any],
        note: Note,
        now: float,
        *,
        due_at: float = 0.0,
        attempts: int = 0,
        losses: int = 0,
    ) -> Job:
        """Take a locked running row from its worker.

        Its owner's wish decides where it goes; else too many losses or attempts end it; else it
        is queued again. A cancelled batch with finished shards is queued too, and keeps its wish:
        the next worker puts together what there is.
        """
        attempts, losses = row.attempts + attempts, row.losses + losses
        values: dict[str, Any] = {
            "lease_expires_at": None,
            "attempts": attempts,
            "losses": losses,
            "cancel_requested_at": None,
            "pause_requested_at": None,
        }
        state = self._state_after(connection, row, attempts, losses)
        if row.cancel_requested_at is not None:
            values.pop("cancel_requested_at")
        if state == "cancelled":
            note = Note("cancelled", f"Cancelled. {note.message}", data=note.data)
        elif state == "failed":
            error = self._given_up(attempts, losses, note.message)
            values["error"] = error
            note = Note("failed", error["message"], "error", error)
        elif state == "paused":
            note = Note("paused", f"Paused. {note.message}", data=note.data)
        final = state in ("cancelled", "failed")
        values |= {
            "state": state,
            "phase": QUEUED_PHASE[row.kind] if state == "queued" else state,
            "finished_at": now if final else None,
            "due_at": due_at,
        }
        job = self._move(connection, jobs.c.id == row.id, values, note, now)
        if job is None:  # the row is locked by us
            raise RuntimeError(f"{row.id} vanished while it was locked")
        if state == "queued":
            lost, tried = losses - row.losses, attempts - row.attempts
            after_commit(
                connection, partial(self.metrics.requeued, job, attempts=tried, losses=lost)
            )
        return job

    def _state_after(
        self, connection: Connection, row: Row[Any], attempts: int, losses: int
    ) -> State:
        lost = losses > row.losses and losses >= self._settings.max_losses
        tried = attempts > row.attempts and attempts > self._settings.max_attempts
        if row.cancel_requested_at is not None:
            leaves_nothing = lost or tried or not self._has_partial_output(connection, row)
            return "cancelled" if leaves_nothing else "queued"
        if lost or tried:
            return "failed"
        return "queued" if row.pause_requested_at is None else "paused"

    def _has_partial_output(self, connection: Connection, row: Row[Any]) -> bool:
        """Whether a cancelled job would end with what it has done so far."""
        done = batch_shards.c.job_id == row.id, batch_shards.c.state == "done"
        return (
            row.kind == "batch"
            and connection.execute(select(batch_shards.c.job_id).where(*done).limit(1)).first()
            is not None
        )

    def _given_up(self, attempts: int, losses: int, reason: str) -> dict[str, Any]:
        if losses >= self._settings.max_losses:
            message = (
                f"The worker was lost {losses} times without a new checkpoint between. Often the "
                f"memory is too small for this job. Last: {reason}"
            )
            return {"code": "poison", "message": message, "param": None}
        message = f"Given up after {attempts - 1} retries. Last: {reason}"
        return {"code": "too_many_retries", "message": message, "param": None}


def held(job: Job) -> ColumnElement[bool]:
    """The fence: true only for the row that this claim of the job still holds."""
    return and_(
        jobs.c.id == job.id,
        jobs.c.tenant == job.tenant,
        in_state("running"),
        jobs.c.token == job.token,
    )


def lease_lost(job: Job) -> NoReturn:
    """Raise LeaseLost."""
    raise LeaseLost(
        f"{job.id} is no longer held by this worker (claim {job.token}); nothing was written."
    )


def not_found(job_id: str) -> NoReturn:
    """Raise NotFound."""
    raise NotFound(f"There is no job {job_id[:100]!r}.", code="job_not_found", param="job_id")
