"""From a backup to a service: into an empty database and storage, every hash verified.

Artifacts come first, the rows last and in one transaction, so that a restore that was interrupted
leaves an empty database and can be begun again.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, NoReturn, TextIO

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from textgen.errors import TextgenError
from worker.errors import CorruptArtifact
from worker.jobs.jobs import Jobs
from worker.migrations.revisions import current_revision
from worker.operations.archive import CHUNK, Archive, BackupUnusable
from worker.operations.backup import ARTIFACTS, BACKUPS, FORMAT, LIST_FILE, ROW_FILE
from worker.operations.rows import LEFT_OUT, tables, write_rows
from worker.settings import Settings
from worker.storage.artifact_backends import MANIFEST
from worker.storage.artifact_staging import FileInfo
from worker.storage.artifacts import ArtifactStore, check_name, check_part
from worker.storage.database import Database

OWN_TENANT = "default"  # its row comes with the tables

Progress = Callable[[str, int, int], None]


class NotEmpty(TextgenError):
    """What a backup would be restored into holds something."""

    default_code = "not_empty"


@dataclass(frozen=True, slots=True)
class Stored:
    """A backup as its manifest describes it."""

    name: str
    made_at: float
    textgen: str
    revision: str
    rows: Mapping[str, int]
    artifacts: int
    damaged: tuple[str, ...]
    files: Mapping[str, FileInfo]


@dataclass(frozen=True, slots=True)
class Restored:
    """What was brought back. ``resumed`` are the jobs that were running when it was made."""

    name: str
    rows: int
    artifacts: int
    resumed: int


def backups(archive: Archive) -> list[str]:
    """Names of the backups in an archive, the oldest first."""
    return [
        name
        for name in archive.folders(BACKUPS)
        if archive.read(f"{BACKUPS}/{name}/{MANIFEST}") is not None
    ]


class Restore:
    """Reads one backup; verifies it, and writes it into an empty service."""

    def __init__(
        self, archive: Archive, name: str | None = None, progress: Progress = lambda *_: None
    ) -> None:
        """The newest backup, or the one named; raises BackupUnusable."""
        self._archive = archive
        self._progress = progress
        self.stored = _manifest(archive, name)
        self._artifacts = list(self._listed())

    def verify(self) -> None:
        """Read everything and compare it with its hashes; raises BackupUnusable."""
        self._verify_rows()
        for number, (name, files) in enumerate(self._artifacts, 1):
            for file, info in files.items():
                self._compare(f"{ARTIFACTS}/{name}/{file}", info)
            self._progress("verified", number, len(self._artifacts))

    def run(self, settings: Settings, database: Database, store: ArtifactStore) -> Restored:
        """Bring the service back; raises NotEmpty, BackupUnusable, DiskFull.

        Jobs that ran when the backup was made are queued again, and go on from their checkpoints.
        """
        self._verify_rows()
        self._check_empty(database, store)
        for number, (name, files) in enumerate(self._artifacts, 1):
            self._fetch(store, name, files)
            self._progress("artifacts", number, len(self._artifacts))
        with database.read() as connection:
            at = current_revision(connection)
        if at is None:
            database.migrate(self.stored.revision)
        else:
            database.downgrade(self.stored.revision)
        with database.write() as connection:
            count = self._write(connection)
        database.migrate()
        resumed = Jobs(database, settings).free_all("the service was restored from a backup")
        return Restored(self.stored.name, count, len(self._artifacts), len(resumed))

    def _check_empty(self, database: Database, store: ArtifactStore) -> None:
        with database.read() as connection:
            for table in tables(connection):
                if table.name in LEFT_OUT:
                    continue
                found = sa.select(table)
                if table.name == "tenants":
                    found = found.where(table.c.id != OWN_TENANT)
                if connection.execute(found.limit(1)).first() is not None:
                    raise NotEmpty(
                        f"The database has rows in {table.name} already. Restore into a new home "
                        "(TEXTGEN_HOME) or an empty database (TEXTGEN_DATABASE_URL)."
                    )
        ours = {name for name, _ in self._artifacts}
        strange = next((name for name in store.list() if name not in ours), None)
        if strange is not None:
            raise NotEmpty(
                f"The storage holds artifacts that are not of this backup, such as {strange}. "
                "Restore into an empty folder or bucket (TEXTGEN_STORAGE_URL)."
            )

    def _fetch(self, store: ArtifactStore, name: str, files: Mapping[str, FileInfo]) -> None:
        """Copy an artifact, unless an earlier attempt has done so."""
        try:
            if dict(store.verify(name).files) == dict(files):
                return
            store.delete(name)
        except FileNotFoundError:
            pass
        except CorruptArtifact:
            store.delete(name)
        with store.create(name) as staging:
            for file, info in files.items():
                with self._open(f"{ARTIFACTS}/{name}/{file}") as source:
                    if staging.copy(source, file) != info:
                        _damaged(f"{ARTIFACTS}/{name}/{file}")
            staging.commit()

    def _write(self, connection: Connection) -> int:
        count = 0
        for table in tables(connection):
            if table.name not in self.stored.rows:
                continue
            if table.name == "tenants":
                connection.execute(sa.delete(table))
            with self._lines(ROW_FILE.format(table.name)) as lines:
                written = write_rows(connection, table, lines)
            if written != self.stored.rows[table.name]:
                _damaged(ROW_FILE.format(table.name))
            count += written
            self._progress("rows", count, sum(self.stored.rows.values()))
        return count

    def _listed(self) -> Iterator[tuple[str, dict[str, FileInfo]]]:
        self._compare(self._own(LIST_FILE), self.stored.files[LIST_FILE])
        with self._lines(LIST_FILE) as lines:
            for line in lines:
                yield _entry(line)

    def _verify_rows(self) -> None:
        for table in self.stored.rows:
            file = ROW_FILE.format(table)
            self._compare(self._own(file), self.stored.files[file])

    @contextmanager
    def _lines(self, file: str) -> Iterator[TextIO]:
        with (
            self._open(self._own(file)) as stored,
            gzip.open(stored, "rt", encoding="utf-8") as lines,
        ):
            yield lines

    def _own(self, file: str) -> str:
        return f"{BACKUPS}/{self.stored.name}/{file}"

    def _compare(self, name: str, info: FileInfo) -> None:
        digest, size = hashlib.sha256(), 0
        with self._open(name) as stream:
            while chunk := stream.read(CHUNK):
                digest.update(chunk)
                size += len(chunk)
        if FileInfo(size, digest.hexdigest()) != info:
            _damaged(name)

    def _open(self, name: str) -> BinaryIO:
        try:
            return self._archive.open(name)
        except (FileNotFoundError, KeyError):
            raise BackupUnusable(
                f"The backup is not whole: {name} is missing. Use another backup."
            ) from None


def _entry(line: str) -> tuple[str, dict[str, FileInfo]]:
    """An artifact's name and files, of a line of the list; raises BackupUnusable."""
    try:
        entry = json.loads(line)
        name = check_name(entry["name"])
        return name, {check_part(file): FileInfo(**info) for file, info in entry["files"].items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        _damaged(LIST_FILE)


def _manifest(archive: Archive, name: str | None) -> Stored:
    known = backups(archive)
    if not known:
        raise BackupUnusable("There is no backup. `textgen backup` makes one.")
    chosen = known[-1] if name is None else name
    if chosen not in known:
        raise BackupUnusable(f"There is no backup {chosen!r}; there are {', '.join(known)}.")
    data = archive.read(f"{BACKUPS}/{chosen}/{MANIFEST}")
    try:
        found: dict[str, Any] = json.load(io.BytesIO(data or b""))
        if found["format"] != FORMAT:
            raise BackupUnusable(
                f"Backup {chosen} has format {found['format']}, and this textgen reads {FORMAT}. "
                f"Restore it with textgen {found['textgen']}."
            )
        return Stored(
            name=chosen,
            made_at=float(found["made_at"]),
            textgen=str(found["textgen"]),
            revision=str(found["revision"]),
            rows={table: int(count) for table, count in found["rows"].items()},
            artifacts=int(found["artifacts"]),
            damaged=tuple(found["damaged"]),
            files={
                file: FileInfo(**found["files"][file])
                for file in (LIST_FILE, *map(ROW_FILE.format, found["rows"]))
            },
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        raise BackupUnusable(f"The manifest of backup {chosen} is damaged.") from None


def _damaged(name: str) -> NoReturn:
    raise BackupUnusable(
        f"The backup is damaged: {name} is not what was stored. Use another backup."
    )
