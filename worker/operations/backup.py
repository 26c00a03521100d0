"""Backups of database and artifacts, made while the service runs.

The rows are one consistent view of the database, written as text that either database reads. The
artifacts that they point to never change, so those that the archive has already are not copied
again. A backup's manifest is written last: without one it does not exist.

    artifacts/<name>/<file>, manifest.json    shared by all backups of the archive
    backups/<name>/<table>.jsonl.gz           rows
    backups/<name>/artifacts.jsonl.gz         the artifacts that belong to it, with their hashes
    backups/<name>/manifest.json              last
"""

from __future__ import annotations

import gzip
import json
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from worker.errors import CorruptArtifact
from worker.migrations.revisions import current_revision
from worker.operations.archive import Archive
from worker.operations.references import references
from worker.operations.rows import LEFT_OUT, read_rows, tables
from worker.storage.artifact_backends import MANIFEST
from worker.storage.artifact_staging import FileInfo
from worker.storage.artifacts import Artifact, ArtifactStore
from worker.storage.database import Database

FORMAT = 1
ROUNDS = 10
BACKUPS, ARTIFACTS = "backups", "artifacts"
ROW_FILE, LIST_FILE = "{}.jsonl.gz", "artifacts.jsonl.gz"

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class BackupMade:
    """What was written. ``damaged`` are artifacts that the service itself has not whole."""

    name: str
    rows: int
    artifacts: int
    copied: int
    bytes_copied: int
    damaged: Sequence[str]


class Backup:
    """Writes backups of one service into an archive."""

    def __init__(
        self,
        database: Database,
        store: ArtifactStore,
        archive: Archive,
        progress: Progress = lambda *_: None,
    ) -> None:
        self._database = database
        self._store = store
        self._archive = archive
        self._progress = progress
        self._present: dict[str, Mapping[str, FileInfo]] = {}  # copied or found, whole
        self._lost: set[str] = set()
        self._copied = self._bytes = 0

    def make(self) -> BackupMade:
        """Make one; raises DatabaseUnavailable, DiskFull, OSError of the archive.

        A running job may drop a checkpoint between the view of the rows and its copy. Then the
        view is taken again: by then nearly all is copied, so that this ends.
        """
        missing: set[str] = set()
        with tempfile.TemporaryDirectory(prefix="textgen-backup-") as scratch:
            for _ in range(ROUNDS):
                for old in Path(scratch).iterdir():
                    old.unlink()
                needed, kept, counts, found = self._write_rows(Path(scratch))
                before, missing = missing, self._copy_all(sorted(needed | kept)) & needed
                if missing <= before:  # nothing, or what was not there the last time either
                    break
            return self._publish(Path(scratch), sorted(needed | kept), counts, found, missing)

    def _write_rows(self, folder: Path) -> tuple[set[str], set[str], dict[str, int], str | None]:
        """One view of the database: the artifacts it needs and keeps, its rows, its version."""
        counts: dict[str, int] = {}
        with self._database.snapshot() as connection:
            found = current_revision(connection)
            for table in tables(connection):
                if table.name not in LEFT_OUT:
                    path = folder / ROW_FILE.format(table.name)
                    counts[table.name] = _write_lines(path, read_rows(connection, table))
            pointers = list(references(connection))
        needed = {each.artifact for each in pointers if each.needed}
        return needed, {each.artifact for each in pointers} - needed, counts, found

    def _copy_all(self, names: Sequence[str]) -> set[str]:
        """Copy what the archive lacks; returns what is not there to be copied, or is damaged."""
        missing = set()
        for number, name in enumerate(names, 1):
            if name not in self._present and (name in self._lost or not self._copy(name)):
                self._lost.add(name)
                missing.add(name)
            self._progress("artifacts", number, len(names))
        return missing

    def _copy(self, name: str) -> bool:
        try:
            artifact = self._store.get(name)
        except (FileNotFoundError, CorruptArtifact):
            return False
        manifest = _manifest_of(artifact)
        if self._archive.growing and self._archive.read(_place(name, MANIFEST)) == manifest:
            self._present[name] = artifact.files
            return True
        for file, info in artifact.files.items():
            try:
                with self._store.open(name, file) as source:
                    stored = self._archive.put(_place(name, file), source)
            except FileNotFoundError:
                return False
            if stored != info:
                return False
            self._bytes += info.bytes
        self._put(_place(name, MANIFEST), manifest)
        self._present[name] = artifact.files
        self._copied += 1
        return True

    def _publish(
        self,
        scratch: Path,
        names: Sequence[str],
        counts: Mapping[str, int],
        found: str | None,
        missing: set[str],
    ) -> BackupMade:
        name = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        taken = set(self._archive.folders(BACKUPS)) if self._archive.growing else set()
        while name in taken:  # two within one second
            name += "a"
        folder = f"{BACKUPS}/{name}"
        listed = [each for each in names if each in self._present]
        _write_lines(
            scratch / LIST_FILE,
            (
                json.dumps(
                    {
                        "name": each,
                        "files": {file: asdict(i) for file, i in self._present[each].items()},
                    }
                )
                for each in listed
            ),
        )
        stored = {}
        for path in sorted(scratch.iterdir()):
            with path.open("rb") as source:
                stored[path.name] = asdict(self._archive.put(f"{folder}/{path.name}", source))
        manifest = {
            "format": FORMAT,
            "made_at": time.time(),
            "textgen": version("textgen-backend"),
            "revision": found,
            "database": "sqlite" if self._database.is_sqlite else "postgresql",
            "rows": counts,
            "artifacts": len(listed),
            "damaged": sorted(missing),
            "files": stored,
        }
        self._put(f"{folder}/{MANIFEST}", json.dumps(manifest, indent=1).encode())
        return BackupMade(
            name=name,
            rows=sum(counts.values()),
            artifacts=len(listed),
            copied=self._copied,
            bytes_copied=self._bytes,
            damaged=sorted(missing),
        )

    def _put(self, name: str, data: bytes) -> None:
        with tempfile.SpooledTemporaryFile(2**20) as stream:
            stream.write(data)
            stream.seek(0)
            self._archive.put(name, stream)  # type: ignore[arg-type]


def _place(artifact: str, file: str) -> str:
    return f"{ARTIFACTS}/{artifact}/{file}"


def _manifest_of(artifact: Artifact) -> bytes:
    files = {file: asdict(info) for file, info in artifact.files.items()}
    return json.dumps({"files": files}, sort_keys=True).encode()


def _write_lines(path: Path, lines: Iterable[str]) -> int:
    count = 0
    with gzip.open(path, "wt", encoding="utf-8", compresslevel=6) as stream:
        for line in lines:
            stream.write(line + "\n")
            count += 1
    return count
