"""What has used a file or a model: looked at before it is deleted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.engine import Connection

from worker.jobs.states import FINAL
from worker.jobs.tables import job_uses, jobs
from worker.jobs.uses import What
from worker.storage.artifacts import ArtifactStore
from worker.storage.database import Database
from worker.storage.tables import aliases, files, models

MOST = 1000


@dataclass(frozen=True, slots=True)
class UsedBy:
    """The newest first, at most 1,000 of each; jobs are (id, kind, state)."""

    jobs: Sequence[tuple[str, str, str]]
    models: Sequence[str]  # that those jobs have made
    aliases: Sequence[str]  # of the model itself


class Uses:
    """Reads for clients; every query names the tenant. Safe to share between threads."""

    def __init__(self, database: Database, store: ArtifactStore) -> None:
        self._database = database
        self._store = store

    def of(self, tenant: str, what: What, identifier: str) -> UsedBy:
        """What has used this, whether finished or not."""
        with self._database.read() as connection:
            users = connection.execute(
                select(jobs.c.id, jobs.c.kind, jobs.c.state)
                .join(job_uses, job_uses.c.job_id == jobs.c.id)
                .where(
                    job_uses.c.tenant == tenant,
                    job_uses.c.what == what,
                    job_uses.c.used_id == identifier,
                )
                .order_by(jobs.c.ordinal.desc())
                .limit(MOST)
            ).all()
            made = connection.execute(
                select(models.c.id)
                .where(models.c.tenant == tenant, models.c.job_id.in_([row.id for row in users]))
                .order_by(models.c.created_at.desc())
                .limit(MOST)
            ).scalars()
            names = connection.execute(
                select(aliases.c.name)
                .where(aliases.c.tenant == tenant, aliases.c.model_id == identifier)
                .order_by(aliases.c.name)
                .limit(MOST)
            ).scalars()
            return UsedBy(
                jobs=[(row.id, row.kind, row.state) for row in users],
                models=list(made),
                aliases=list(names) if what == "model" else [],
            )

    def drop_artifact(self, artifact: str) -> bool:
        """Remove the bytes of a deleted model, unless a row or a live job needs them."""
        with self._database.read() as connection:
            needed = _is_needed(connection, artifact)
        if not needed:
            self._store.delete(artifact)
        return not needed


def _is_needed(connection: Connection, artifact: str) -> bool:
    for pointer in (files.c.artifact, models.c.artifact):
        if connection.execute(select(pointer).where(pointer == artifact).limit(1)).first():
            return True
    parts = artifact.split("/")
    if parts[0] != "jobs" or len(parts) < 2:
        return False
    state = connection.execute(
        select(jobs.c.state).where(jobs.c.id == parts[1])
    ).scalar_one_or_none()
    return state is not None and state not in FINAL
