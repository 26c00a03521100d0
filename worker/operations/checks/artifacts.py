"""Artifacts without a row, rows without their artifact, and what was not stored whole.

The storage is listed once, and rows are compared with that list; what differs is looked at again
one by one. Where most or all of it differs, database and storage do not belong together, and
nothing is removed: a wrong setting must not cost a service its data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from sqlalchemy import delete

from worker.backend import Backend
from worker.errors import Conflict, CorruptArtifact, NotFound
from worker.operations.checks.finding import Finding
from worker.operations.references import Reference, references, stands
from worker.processes.orphans import FOLDERS, apart, delete_orphans, find_orphans
from worker.storage.tables import upload_parts

UNFINISHED_SECONDS = 86_400.0  # a large file may take hours to be stored
APART = (
    "Most artifacts have no row, or most rows no artifact: do TEXTGEN_DATABASE_URL and "
    "TEXTGEN_STORAGE_URL belong together? Nothing of this is mended."
)
PUT_ASIDE = (
    "Damaged bytes are kept beside `manifest.bad.json`: bring the artifact back from a backup, or "
    "delete what points to it, and they go too."
)
STOPS_BY_ITSELF = {
    "checkpoint": "The training goes on from an earlier checkpoint, or begins again.",
    "shard": "The job cannot end well: cancel it and run it again.",
}


class Orphans:
    """Artifacts that no row points to, and which are old enough to have had one."""

    def __init__(self, backend: Backend, min_age: float) -> None:
        self._backend = backend
        self._min_age = min_age

    def look(self) -> Iterator[Finding]:
        """In batches: the storage first, then the rows, which may be younger."""
        found = find_orphans(self._backend, self._min_age)
        hint = APART if found.apart else ""
        for name in found.names:
            yield Finding("orphan_artifact", name, "no row points to it", hint=hint)

    def mend(self, findings: Sequence[Finding]) -> None:
        """Delete each that nothing points to now."""
        for _ in delete_orphans(self._backend, tuple(finding.id for finding in findings)):
            pass


class Unfinished:
    """Folders in storage whose manifest is missing: died while they were stored or deleted."""

    def __init__(self, backend: Backend, min_age: float) -> None:
        self._store = backend.store
        self._min_age = max(min_age, UNFINISHED_SECONDS) if min_age > 0 else 0.0

    def look(self) -> Iterator[Finding]:
        """By a walk of the storage."""
        for folder in FOLDERS:
            for name in self._store.unfinished(folder, older_than_seconds=self._min_age):
                yield Finding("unfinished_artifact", name, "files without a manifest")

    def mend(self, findings: Sequence[Finding]) -> None:
        """Delete each that has no manifest now."""
        wanted = {finding.id for finding in findings}
        for folder in FOLDERS:
            for name in self._store.unfinished(folder, older_than_seconds=self._min_age):
                if name in wanted:
                    self._store.delete(name)


class Missing:
    """Rows whose artifact is not in storage."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def look(self) -> Iterator[Finding]:
        """All artifacts are listed after the rows were read; what is missing is looked for again.

        Takes some hundred bytes of memory for each row that points to an artifact.
        """
        with self._backend.database.snapshot() as connection:
            pointers = [each for each in references(connection) if each.needed]
        there = set(self._backend.store.list())
        gone = [each for each in pointers if each.artifact not in there and self._is_gone(each)]
        hint = APART if apart(len(gone), len(pointers)) else ""
        aside = set(self._backend.store.list(quarantined=True)) if gone else set()
        for each in gone:
            put_aside = PUT_ASIDE if each.artifact in aside else ""
            finding = Finding(
                "missing_artifact",
                each.id,
                f"{each.shown} points to {each.artifact}, which is gone",
                each.tenant,
                STOPS_BY_ITSELF.get(each.what, put_aside),
            )
            yield replace(finding, hint=hint) if hint else finding

    def mend(self, findings: Sequence[Finding]) -> None:
        """Delete the rows of files, models and parts whose artifact is still gone."""
        wanted = {(finding.tenant, finding.id) for finding in findings}
        with self._backend.database.snapshot() as connection:
            pointers = [each for each in references(connection) if (each.tenant, each.id) in wanted]
        drop: dict[str, Callable[[str, str], object]] = {
            "file": self._backend.files.delete,
            "model": self._backend.models.delete,
            "upload_part": self._drop_part,
        }
        for each in pointers:
            if each.what in drop and self._is_gone(each):
                try:
                    drop[each.what](each.tenant, each.id)
                except (Conflict, NotFound):
                    continue  # a job needs it, or somebody has deleted it: the next look says

    def _is_gone(self, pointer: Reference) -> bool:
        """Whether the row is there, and points to what is not."""
        try:
            self._backend.store.get(pointer.artifact)
        except FileNotFoundError:
            with self._backend.database.read() as connection:
                return stands(connection, pointer)
        except CorruptArtifact:
            return False  # its bytes are there: a backup says what is damaged
        return False

    def _drop_part(self, tenant: str, part_id: str) -> None:
        with self._backend.database.write() as connection:
            connection.execute(
                delete(upload_parts).where(
                    upload_parts.c.tenant == tenant, upload_parts.c.id == part_id
                )
            )
