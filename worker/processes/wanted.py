"""Which artifacts are wanted: those that a row points to, or that a live job may point to yet."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import select
from sqlalchemy.engine import Connection

from worker.jobs.states import LIVE
from worker.jobs.tables import in_state, jobs
from worker.storage.tables import files, models, upload_parts, uploads


def wanted(connection: Connection, names: Collection[str]) -> set[str]:
    """Those of the names that are; by four queries, so give at most some hundreds.

    The row of a finished job goes on naming its checkpoints, as it is never changed again; they
    are wanted as long as their models are there.
    """
    owners = _owners("jobs", names)
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


def known(connection: Connection, names: Collection[str]) -> set[str]:
    """Those of the names whose job or upload has a row, in whatever state; by two queries."""
    found = set()
    for folder, column in (("jobs", jobs.c.id), ("uploads", uploads.c.id)):
        owners = _owners(folder, names)
        query = select(column).where(column.in_(sorted(set(owners.values()))))
        rows = set(connection.execute(query).scalars()) if owners else set()
        found |= {name for name, owner in owners.items() if owner in rows}
    return found


def _owners(folder: str, names: Collection[str]) -> dict[str, str]:
    """By name, the job in jobs/<job>/<token>/step-120, the upload in uploads/<upload>/<part>."""
    parts = {name: name.split("/") for name in names}
    least = {"jobs": 3, "uploads": 2}[folder]
    return {
        name: split[1]
        for name, split in parts.items()
        if split[0] == folder and len(split) >= least
    }
