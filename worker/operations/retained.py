"""What ended jobs leave behind, and how it goes when its time is over.

Whose something is, is said by the job's rows alone. Each `take` runs in one transaction, looks
again at everything that it removes, and leaves what is still used.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import ColumnElement, delete, exists, func, or_, select
from sqlalchemy.engine import Connection, Row

from worker.jobs.states import Kind
from worker.jobs.tables import checkpoints, job_events, jobs
from worker.jobs.uses import What, user_of
from worker.storage.tables import aliases, files, models

EVENTS_AT_ONCE = 1000
# Where a job's result names files that it has made: one id, or a list of them.
RESULT_FILES: Mapping[Kind, Sequence[str]] = {
    "training": ("result_files",),
    "batch": ("output_file_id", "error_file_id"),
    "scoring": ("scores_file_id", "summary_file_id"),
    "evaluation": ("report_file_id", "page_file_id"),
    "examination": (),  # its report is the result
}


@dataclass(frozen=True, slots=True)
class Taken:
    """What one transaction has removed.

    ``artifacts`` are to be deleted after it. ``kept``: something is still used, so look again
    another time. ``more``: it was too much for one transaction, so go on.
    """

    removed: int = 0
    artifacts: Sequence[str] = ()
    kept: bool = False
    more: bool = False


class Leftover(Protocol):
    """A kind of things that ended jobs leave."""

    name: str

    def left(self, connection: Connection, ended: Sequence[Row[Any]]) -> list[str]:
        """Ids of those of these jobs of which something may be left."""

    def take(self, connection: Connection, job: Row[Any]) -> Taken:
        """Remove what an ended job has left, within a transaction."""


class Events:
    """They go from the first on, so that what is there has no gap."""

    name = "events"

    def left(self, connection: Connection, ended: Sequence[Row[Any]]) -> list[str]:
        """Those with events."""
        found = select(job_events.c.job_id).where(job_events.c.job_id.in_(_ids(ended)))
        return list(connection.execute(found.distinct()).scalars())

    def take(self, connection: Connection, job: Row[Any]) -> Taken:
        """The first thousand."""
        mine = job_events.c.job_id == job.id
        first = connection.execute(select(func.min(job_events.c.id)).where(mine)).scalar_one()
        if first is None:
            return Taken()
        removed = connection.execute(
            delete(job_events).where(mine, job_events.c.id < first + EVENTS_AT_ONCE)
        ).rowcount
        return Taken(removed, more=removed == EVENTS_AT_ONCE)


class Results:
    """The files that a job's result names, unless something needs them as its input."""

    name = "results"

    def left(self, connection: Connection, ended: Sequence[Row[Any]]) -> list[str]:
        """Those whose result names a file that is there."""
        makers = {file_id: job.id for job in ended for file_id in result_files(job)}
        found = select(files.c.id).where(files.c.id.in_(list(makers)))
        return sorted({makers[file_id] for file_id in connection.execute(found).scalars()})

    def take(self, connection: Connection, job: Row[Any]) -> Taken:
        """All of them that nothing needs."""
        removed, kept, artifacts = 0, False, []
        # Locked, in the order in which submissions lock: a job that is submitted with one of them
        # now waits, and then does not find it.
        for file_id in sorted(result_files(job)):
            mine = files.c.tenant == job.tenant, files.c.id == file_id
            file = connection.execute(
                select(files.c.artifact).where(*mine).with_for_update()
            ).one_or_none()
            if file is None:
                continue
            if _is_needed(connection, job.tenant, "file", file_id):
                kept = True
                continue
            removed += connection.execute(delete(files).where(*mine)).rowcount
            if not _is_named(connection, file.artifact):
                artifacts.append(file.artifact)
        return Taken(removed, artifacts, kept)


class Checkpoints:
    """Models that are checkpoints, with their artifacts.

    Those stay that have an alias, that a job needs, or that another model began from; and of a
    training that ended without a model the newest, since the training's id stands for it.
    Checkpoints that were never published are the sweep's.
    """

    name = "checkpoints"

    def left(self, connection: Connection, ended: Sequence[Row[Any]]) -> list[str]:
        """Those with checkpoints."""
        trainings = [job for job in ended if job.kind == "training"]
        found = select(checkpoints.c.job_id).where(checkpoints.c.job_id.in_(_ids(trainings)))
        return list(connection.execute(found.distinct()).scalars())

    def take(self, connection: Connection, job: Row[Any]) -> Taken:
        """All of them that nothing needs."""
        rows = connection.execute(
            select(checkpoints)
            .where(checkpoints.c.job_id == job.id)
            .order_by(checkpoints.c.step.desc(), checkpoints.c.id.desc())
        ).all()
        mine = models.c.tenant == job.tenant, models.c.job_id == job.id
        there = set(
            connection.execute(  # locked as files are
                select(models.c.id)
                .where(*mine, models.c.id.in_([row.model_id for row in rows]))
                .order_by(models.c.id)
                .with_for_update()
            ).scalars()
        )
        removed, kept, artifacts = 0, False, []
        stands_for_job = job.state != "succeeded"
        for row in rows:
            if row.model_id in there:
                if stands_for_job or _is_model_needed(connection, job.tenant, row.model_id):
                    stands_for_job, kept = False, True
                    continue
                connection.execute(delete(models).where(*mine, models.c.id == row.model_id))
            removed += connection.execute(
                delete(checkpoints).where(checkpoints.c.id == row.id)
            ).rowcount
            if not _is_named(connection, row.artifact):
                artifacts.append(row.artifact)
        return Taken(removed, artifacts, kept)


def result_files(job: Row[Any]) -> list[str]:
    """Ids of the files that a job has made, by its result."""
    return list(_result_files(job))


def _result_files(job: Row[Any]) -> Iterator[str]:
    result: Mapping[str, Any] = {} if job.result is None else job.result
    for field in RESULT_FILES[job.kind]:
        value = result.get(field)
        yield from [value] if isinstance(value, str) else value or ()


def _ids(rows: Sequence[Row[Any]]) -> list[str]:
    return [row.id for row in rows]


def _is_needed(connection: Connection, tenant: str, what: What, identifier: str) -> bool:
    """Whether a job has this as its input that lives, can be run again, or has made a model."""
    made = exists().where(models.c.tenant == tenant, models.c.job_id == jobs.c.id)
    wants: ColumnElement[bool] = or_(jobs.c.state != "succeeded", made)
    return user_of(connection, tenant, what, identifier, wants) is not None


def _is_model_needed(connection: Connection, tenant: str, model_id: str) -> bool:
    alias = select(aliases.c.name).where(aliases.c.tenant == tenant, aliases.c.model_id == model_id)
    child = select(models.c.id).where(models.c.tenant == tenant, models.c.base == model_id)
    return (
        connection.execute(alias.limit(1)).first() is not None
        or connection.execute(child.limit(1)).first() is not None
        or _is_needed(connection, tenant, "model", model_id)
    )


def _is_named(connection: Connection, artifact: str) -> bool:
    """Whether another row points to an artifact."""
    return any(
        connection.execute(select(pointer).where(pointer == artifact).limit(1)).first() is not None
        for pointer in (files.c.artifact, models.c.artifact)
    )
