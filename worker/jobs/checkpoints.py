"""Checkpoints of a running job: the resume pointer, the three that are kept, their models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import and_, delete, insert, select
from sqlalchemy.engine import Connection

from worker.jobs.moves import JobTable
from worker.jobs.rows import Job
from worker.jobs.tables import checkpoints
from worker.jobs.uses import live_user
from worker.storage.ids import new_id
from worker.storage.models import NewModel, add_model
from worker.storage.tables import aliases, models

KEPT_CHECKPOINTS = 3


class JobCheckpoints(JobTable):
    """Every write is fenced by the claim's token."""

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
        mine = and_(checkpoints.c.job_id == job.id, checkpoints.c.model_id == model.id)
        # Of the same step there may be an earlier one: the COMMIT's reply was lost, or the
        # training went back behind it because it was damaged.
        connection.execute(
            delete(models).where(
                models.c.tenant == job.tenant,
                models.c.id == model.id,
                models.c.job_id == job.id,
            )
        )
        connection.execute(delete(checkpoints).where(mine))
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
                delete(models).where(models.c.tenant == job.tenant, models.c.id == model_id)
            )
            connection.execute(
                delete(checkpoints).where(
                    checkpoints.c.job_id == job.id, checkpoints.c.model_id == model_id
                )
            )
        return tuple(artifact for artifact in artifacts if artifact not in kept)
