"""Which artifacts are wanted: those that a row points to, or that a live job may point to yet."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import select
from sqlalchemy.engine import Connection

from worker.jobs.states import LIVE
from worker.jobs.tables import in_state, jobs
from worker.storage.tables import files, models, upload_parts


def wanted(connection: Connection, names: Collection[str]) -> set[str]:
    """Those of the names that are; by four queries, so give at most some hundreds.

    The row of a finished job goes on naming its checkpoints, as it is never changed again; they
    are wanted as long as their models are there.
    """
    owners = {name: owner for name in names if (owner := _job_of(name)) is not None}
    live = set(
        connection.execute(
            select(jobs.c.id).where(
                jobs.c.id.in_(sorted(set(owners.values()))), in_state(*sorted(LIVE))
            )
        ).scalars()
    )
    found = {name for name, owner in owners.items() if owner in live}
    for pointer in (files.c.artifact, models.c.artifact, upload_parts.c.artifact):
        found |= set(connection.execute(select(pointer).where(pointer.in_(names))).scalars())
    return found


def _job_of(name: str) -> str | None:
    """The job in an artifact's name such as jobs/<job>/<token>/step-120."""
    parts = name.split("/")
    return parts[1] if parts[0] == "jobs" and len(parts) > 2 else None
