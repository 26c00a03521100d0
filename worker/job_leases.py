"""What a worker does with jobs, first half: claim, hold, and say how it goes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import and_, case, delete, func, insert, select, update
from sqlalchemy.engine import Connection

from worker import fair_share
from worker.ids import new_id
from worker.job_rows import Job, Level, Queue, Signals, job_from
from worker.job_states import RUNNING_PHASE
from worker.job_table import JobTable, Note, held, lease_lost
from worker.job_tables import checkpoints, in_state, jobs
from worker.job_uses import live_user
from worker.models import NewModel, add_model
from worker.tables import aliases, models

KEPT_CHECKPOINTS = 3


class JobLeases(JobTable):
    """Claims, leases, progress and checkpoints. Every write is fenced by the claim's token."""

    def claim(self, queue: Queue, worker: str, incarnation: str = "") -> Job | None:
        """Take the job whose turn it is, or None when none is due.

        One conditional UPDATE: no two claimers ever get the same row.
        """
        with self._database.write() as connection:
            now = self._database.now(connection)
            best = (
                select(jobs.c.id)
                .where(jobs.c.queue == queue, in_state("queued"), jobs.c.due_at <= now)
                .order_by(jobs.c.priority.desc(), jobs.c.share, jobs.c.ordinal)
                .limit(1)
                .with_for_update(skip_locked=True)
                .scalar_subquery()
            )
            row = connection.execute(
                update(jobs)
                .where(and_(jobs.c.id == best, in_state("queued")))
                .values(
                    state="running",
                    phase=case(dict(RUNNING_PHASE), value=jobs.c.kind),
                    token=jobs.c.token + 1,
                    worker=worker,
                    incarnation=incarnation,
                    started_at=func.coalesce(jobs.c.started_at, now),
                    lease_expires_at=now + self._settings.lease_seconds,
                    event_count=jobs.c.event_count + 1,
                )
                .returning(*jobs.c)
            ).one_or_none()
            if row is None:
                return None
            fair_share.advance(connection, queue, row.priority, row.share)
            data = {"worker": worker, "claim": row.token}
            self._write_event(connection, row, Note("running", "Started.", data=data), now)
            return job_from(row)

    def heartbeat(self, job: Job) -> Signals:
        """Renew the lease; raises LeaseLost."""
        with self._database.write() as connection:
            expires = self._database.now(connection) + self._settings.lease_seconds
            row = connection.execute(
                update(jobs)
                .where(held(job))
                .values(lease_expires_at=expires)
                .returning(jobs.c.cancel_requested_at, jobs.c.pause_requested_at)
            ).one_or_none()
        if row is None:
            lease_lost(job)
        return Signals(cancel=row[0] is not None, pause=row[1] is not None)

    def signals(self, job: Job) -> Signals:
        """What the owner wants, without renewing; raises LeaseLost."""
        with self._database.read() as connection:
            row = connection.execute(
                select(jobs.c.cancel_requested_at, jobs.c.pause_requested_at).where(held(job))
            ).one_or_none()
        if row is None:
            lease_lost(job)
        return Signals(cancel=row[0] is not None, pause=row[1] is not None)

    def set_progress(self, job: Job, progress: Mapping[str, Any]) -> None:
        """Replace the progress; raises LeaseLost."""
        with self._database.write() as connection:
            self._change(connection, job, progress=dict(progress))

    def save_plan(self, job: Job, plan: Mapping[str, Any]) -> None:
        """Keep how the work will be done, before its first step; raises LeaseLost."""
        with self._database.write() as connection:
            self._change(connection, job, plan=dict(plan))

    def set_phase(self, job: Job, phase: str) -> None:
        """Say what the worker is doing now, such as ``finalizing``; raises LeaseLost."""
        with self._database.write() as connection:
            row = self._held(connection, job)
            times = {phase: self._database.now(connection), **row.phase_times}
            self._change(connection, job, phase=phase, phase_times=times)

    def add_event(
        self,
        job: Job,
        *,
        type: str,  # noqa: A002  (the word that clients see)
        message: str,
        level: Level = "info",
        data: Mapping[str, Any] | None = None,
    ) -> None:
        """Write an event under the next number; raises LeaseLost."""
        note = Note(type, message, level, {} if data is None else data)
        with self._database.write() as connection:
            if self._move(connection, held(job), {}, note, self._database.now(connection)) is None:
                lease_lost(job)

    def save_checkpoint(
        self,
        job: Job,
        *,
        artifact: str,
        step: int,
        metrics: Mapping[str, Any],
        file: str = "",
        publish_model: NewModel | None = None,
    ) -> tuple[str, ...]:
        """Move the resume pointer to a stored artifact, and publish it as a model if wanted.

        Returns the artifacts that nothing points to any more: the caller deletes them. A step
        forward forgives the losses so far. Safe to repeat. Raises LeaseLost.
        """
        pointer = {"artifact": artifact, "file": file, "step": step}
        with self._database.write() as connection:
            row = self._held(connection, job)
            older = [kept for kept in row.checkpoint_history if kept["artifact"] != artifact]
            history = [pointer, *older]
            forward = all(step > kept["step"] for kept in older)
            self._change(
                connection,
                job,
                checkpoint=pointer,
                checkpoint_history=history[:KEPT_CHECKPOINTS],
                losses=0 if forward else row.losses,
            )
            if publish_model is not None:
                self._publish(connection, job, publish_model, pointer, metrics)
            dropped = [kept["artifact"] for kept in history[KEPT_CHECKPOINTS:]]
            return self._withdraw(connection, job, dropped)

    def _publish(
        self,
        connection: Connection,
        job: Job,
        model: NewModel,
        pointer: Mapping[str, Any],
        metrics: Mapping[str, Any],
    ) -> None:
        now = self._database.now(connection)
        add_model(connection, job.tenant, model, now, job_id=job.id)
        connection.execute(
            insert(checkpoints).values(
                id=new_id("ftckpt_"),
                tenant=job.tenant,
                job_id=job.id,
                step=pointer["step"],
                model_id=model.id,
                artifact=pointer["artifact"],
                metrics=dict(metrics),
                created_at=now,
            )
        )

    def _withdraw(self, connection: Connection, job: Job, artifacts: list[str]) -> tuple[str, ...]:
        """Take back the models of checkpoints that are kept no longer.

        One that somebody uses, by an alias or in a live job, stays with its artifact.
        """
        if not artifacts:
            return ()
        made = connection.execute(
            select(models.c.id, models.c.artifact).where(
                models.c.tenant == job.tenant, models.c.artifact.in_(artifacts)
            )
        ).all()
        named = select(aliases.c.name).where(aliases.c.tenant == job.tenant)
        kept = set()
        for model_id, artifact in made:
            alias = connection.execute(named.where(aliases.c.model_id == model_id).limit(1)).first()
            if alias is not None or live_user(connection, job.tenant, "model", model_id):
                kept.add(artifact)
                continue
            connection.execute(
                delete(checkpoints).where(
                    checkpoints.c.job_id == job.id, checkpoints.c.model_id == model_id
                )
            )
            connection.execute(
                delete(models).where(models.c.tenant == job.tenant, models.c.id == model_id)
            )
        return tuple(artifact for artifact in artifacts if artifact not in kept)

    def _change(self, connection: Connection, job: Job, **values: Any) -> None:
        """Change columns of a held row; raises LeaseLost."""
        changed = connection.execute(update(jobs).where(held(job)).values(**values))
        if changed.rowcount == 0:
            lease_lost(job)
