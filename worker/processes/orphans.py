"""Artifacts that nothing points to, and whether storage and database belong together at all.

An emptied database, or the storage of another service, makes everything look like an orphan. So
an artifact is told apart by what the database knows of it: of one that was left by a job or an
upload it has that row, of a stranger's it has nothing. Where most are a stranger's, or all, the
two do not belong together, and whoever removes orphans must leave them alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice

from worker.backend import Backend
from worker.processes.wanted import known, wanted

FOLDERS = ("jobs", "files", "uploads", "models")  # where the service itself stores
AT_ONCE = 500
FEW = 10  # so many of many may be amiss without a doubt about the settings


@dataclass(frozen=True, slots=True)
class Orphans:
    """What was found in the storage; ``apart``: it is not that of the database."""

    names: tuple[str, ...]
    apart: bool


def apart(amiss: int, total: int) -> bool:
    """Whether so many of all say that storage and database do not belong together."""
    return amiss > 0 and (amiss == total or (amiss > FEW and 2 * amiss > total))


def find_orphans(backend: Backend, min_age: float) -> Orphans:
    """All of them, in quarantine too, that are old enough to have had a row.

    Looked up after they were listed: whatever was going to point to one has done so.
    """
    found, strange, total = [], 0, 0
    names = chain.from_iterable(
        backend.store.list(folder, older_than_seconds=min_age, quarantined=quarantined)
        for folder in FOLDERS
        for quarantined in (False, True)
    )
    while some := list(islice(names, AT_ONCE)):
        with backend.database.read() as connection:
            there = wanted(connection, some)
            orphans = [name for name in some if name not in there]
            strange += len(orphans) - len(known(connection, orphans))
        total += len(some)
        found += orphans
    return Orphans(tuple(found), apart(strange, total))


def delete_orphans(backend: Backend, names: tuple[str, ...]) -> Iterator[str]:
    """Delete those that nothing points to now either; yields each that is gone."""
    for start in range(0, len(names), AT_ONCE):
        some = names[start : start + AT_ONCE]
        with backend.database.read() as connection:
            there = wanted(connection, some)
        for name in some:
            if name not in there:
                backend.store.delete(name)
                yield name
