"""What a worker does with jobs, second half: how it lets go of one. Every write is fenced."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any, Literal

from sqlalchemy.engine import Connection

from worker.jobs.moves import JobTable, Note, held, lease_lost
from worker.jobs.rows import Job

# Written in the same transaction as the end of the job: what it publishes.
Publish = Callable[[Connection], None]
Counts = Literal["attempt", "loss"]
JITTER = 0.25  # of a retry's delay, so that what failed together does not return together


class JobEndings(JobTable):
    """The moves out of running that a worker makes; each raises LeaseLost."""

    def succeed(self, job: Job, result: Mapping[str, Any], publish: Publish | None = None) -> Job:
        """Finish with a result. ``publish`` adds files and models in the same transaction."""
        values = {"state": "succeeded", "result": dict(result), "error": None}
        return self._end(job, values, Note("succeeded", "Done."), publish)

    def fail(self, job: Job, error: Mapping[str, Any], *, phase: str = "failed") -> Job:
        """Finish without one: {code, message, param}, and whatever else clients may see."""
        note = Note("failed", str(error["message"]), "error", error)
        return self._end(job, {"state": "failed", "phase": phase, "error": dict(error)}, note)

    def cancelled(
        self, job: Job, result: Mapping[str, Any] | None = None, publish: Publish | None = None
    ) -> Job:
        """Finish because its owner asked; a batch may keep what it has so far."""
        values = {"state": "cancelled", "result": None if result is None else dict(result)}
        return self._end(job, values, Note("cancelled", "Cancelled."), publish)

    def paused(self, job: Job) -> Job:
        """Let go of it until its owner resumes it."""
        values = {
            "state": "paused",
            "phase": "paused",
            "lease_expires_at": None,
            "pause_requested_at": None,
            "cancel_requested_at": None,
        }
        with self._database.write() as connection:
            row = self._held(connection, job)
            now = self._database.now(connection)
            if row.cancel_requested_at is not None:  # asked for after the pause: it wins
                note = Note("queued", "Its owner wants it cancelled, not paused.")
                return self._put_back(connection, row, note, now)
            moved = self._move(connection, held(job), values, Note("paused", "Paused."), now)
            return moved if moved is not None else lease_lost(job)

    def requeue(
        self, job: Job, reason: str, *, delay: float = 0.0, counts_as: Counts | None = None
    ) -> Job:
        """Give it back: after ``delay`` seconds and some jitter it may be claimed again.

        A drain counts as nothing. Too many attempts, or losses without a checkpoint between, end
        the job as failed; a wish of its owner decides before that. See the job returned.
        """
        with self._database.write() as connection:
            row = self._held(connection, job)
            now = self._database.now(connection)
            wait = delay * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311  (no secret)
            level: Literal["info", "warn"] = "info" if counts_as is None else "warn"
            data = {"reason": reason, "counts_as": counts_as, "delay": wait}
            return self._put_back(
                connection,
                row,
                Note("queued", f"Back in the queue: {reason}", level, data),
                now,
                due_at=now + wait if wait > 0 else 0.0,
                attempts=int(counts_as == "attempt"),
                losses=int(counts_as == "loss"),
            )

    def _end(
        self, job: Job, values: Mapping[str, Any], note: Note, publish: Publish | None = None
    ) -> Job:
        with self._database.write() as connection:
            if publish is not None:
                self._held(connection, job)
                publish(connection)
            now = self._database.now(connection)
            final = {"phase": values["state"], "lease_expires_at": None, "finished_at": now}
            ended = self._move(connection, held(job), {**final, **values}, note, now)
            return ended if ended is not None else lease_lost(job)
