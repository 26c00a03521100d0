"""Which artifacts the rows of the database point to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.engine import Connection

from worker.jobs.states import FINAL, LIVE
from worker.jobs.tables import batch_shards, in_state, jobs
from worker.storage.tables import files, models, upload_parts

PAGE = 1000
POINTERS = {"file": files, "model": models, "upload_part": upload_parts}
WORDS = {
    "file": "the file",
    "model": "the model",
    "upload_part": "the part of an upload",
    "checkpoint": "a checkpoint of",
    "shard": "a shard of",
}


@dataclass(frozen=True, slots=True)
class Reference:
    """A row that points to an artifact.

    Not ``needed`` are the checkpoints before a job's newest one, and all those of a finished job:
    its row goes on naming them, as it is never changed again, but they can be done without.
    """

    artifact: str
    what: str  # file, model, upload_part, checkpoint or shard
    id: str
    tenant: str
    needed: bool = True

    @property
    def shown(self) -> str:
        """The row, for people."""
        return f"{WORDS[self.what]} {self.id}"


def references(connection: Connection) -> Iterator[Reference]:
    """All of them, as this view of the database has them."""
    for what, table in POINTERS.items():
        for row in connection.execute(
            select(table.c.artifact, table.c.id, table.c.tenant),
            execution_options={"yield_per": PAGE},
        ):
            yield Reference(row.artifact, what, row.id, row.tenant)
    for job in connection.execute(
        select(
            jobs.c.id, jobs.c.tenant, jobs.c.state, jobs.c.checkpoint, jobs.c.checkpoint_history
        ).where(jobs.c.kind == "training", jobs.c.checkpoint.is_not(None)),
        execution_options={"yield_per": PAGE},
    ):
        for pointer in job.checkpoint_history:
            newest = pointer["artifact"] == job.checkpoint["artifact"]
            needed = newest and job.state not in FINAL
            yield Reference(pointer["artifact"], "checkpoint", job.id, job.tenant, needed)
    for shard in connection.execute(
        select(batch_shards.c.artifact, batch_shards.c.job_id, batch_shards.c.tenant)
        .join(jobs, jobs.c.id == batch_shards.c.job_id)
        .where(batch_shards.c.artifact.is_not(None), in_state(*sorted(LIVE))),
        execution_options={"yield_per": PAGE},
    ):
        yield Reference(shard.artifact, "shard", shard.job_id, shard.tenant)


def stands(connection: Connection, reference: Reference) -> bool:
    """Whether the row still points there, and needs it where it did."""
    same = {"artifact": reference.artifact, "tenant": reference.tenant}
    if reference.what in POINTERS:
        table = POINTERS[reference.what]
        query = select(table.c.id).where(table.c.id == reference.id)
    elif reference.what == "shard":
        table = batch_shards
        query = (
            select(table.c.job_id)
            .join(jobs, jobs.c.id == table.c.job_id)
            .where(table.c.job_id == reference.id, in_state(*sorted(LIVE)))
        )
    else:
        pointer = connection.execute(
            select(jobs.c.checkpoint).where(
                jobs.c.id == reference.id, in_state(*sorted(LIVE)), jobs.c.checkpoint.is_not(None)
            )
        ).scalar_one_or_none()
        return pointer is not None and pointer["artifact"] == reference.artifact
    for name, value in same.items():
        query = query.where(table.c[name] == value)
    return connection.execute(query.limit(1)).first() is not None
