"""Files that users upload and jobs produce: a row that points to a file in an artifact."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal, NoReturn

from sqlalchemy import delete, insert, not_, or_, select
from sqlalchemy.engine import Connection, Row

from worker.errors import Conflict, NotFound
from worker.jobs.uses import has_live_user, live_user
from worker.storage.artifacts import ArtifactStore
from worker.storage.database import Database
from worker.storage.file_rows import FileRow, file_from
from worker.storage.file_search import FileSearch
from worker.storage.ids import new_id
from worker.storage.pages import Page, cut
from worker.storage.tables import files

__all__ = ["FileRow", "Files", "NewFile", "Room", "add_file"]

AT_ONCE = 100

Room = Callable[[Connection], AbstractContextManager[object]]  # that has to hold what is added


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file to be added."""

    id: str
    filename: str
    purpose: str
    bytes: int
    sha256: str
    artifact: str
    file: str
    expires_in: float | None = None


def add_file(connection: Connection, tenant: str, new: NewFile, now: float) -> FileRow:
    """Add a file within a transaction, such as the one that ends a job."""
    values = {
        "id": new.id,
        "tenant": tenant,
        "filename": new.filename,
        "purpose": new.purpose,
        "status": "processed",
        "bytes": new.bytes,
        "sha256": new.sha256,
        "artifact": new.artifact,
        "file": new.file,
        "created_at": now,
        "expires_at": None if new.expires_in is None else now + new.expires_in,
    }
    return file_from(connection.execute(insert(files).values(**values).returning(*files.c)).one())


class Files(FileSearch):
    """The files of every tenant. Safe to share between threads."""

    def __init__(self, database: Database, store: ArtifactStore) -> None:
        super().__init__(database)
        self._store = store

    def create(
        self,
        tenant: str,
        *,
        filename: str,
        purpose: str,
        artifact: str,
        file: str,
        bytes: int | None = None,  # noqa: A002  (the word that clients see)
        id: str | None = None,  # noqa: A002
        expires_in: float | None = None,
        room: Room = nullcontext,
    ) -> FileRow:
        """Make a published artifact's file known; size and hash are its manifest's.

        Raises what ``room`` does where there is none; the artifact is the caller's to delete.
        """
        info = self._store.get(artifact).files[file]
        if bytes is not None and bytes != info.bytes:
            raise ValueError(f"{artifact}/{file} has {info.bytes} bytes, not {bytes}")
        new = NewFile(
            id=new_id("file-") if id is None else id,
            filename=filename,
            purpose=purpose,
            bytes=info.bytes,
            sha256=info.sha256,
            artifact=artifact,
            file=file,
            expires_in=expires_in,
        )
        with self._database.write() as connection, room(connection):
            return add_file(connection, tenant, new, self._database.now(connection))

    def get(self, tenant: str, file_id: str) -> FileRow:
        """A file by its id; raises NotFound."""
        with self._database.read() as connection:
            row = connection.execute(
                select(files).where(files.c.tenant == tenant, files.c.id == file_id)
            ).one_or_none()
        return file_from(row) if row is not None else _missing(file_id)

    def list(
        self,
        tenant: str,
        *,
        after: str | None = None,
        limit: int = 10_000,
        order: Literal["asc", "desc"] = "desc",
        purpose: str | None = None,
        sha256: str | None = None,
    ) -> Page[FileRow]:
        """Some files; ids are in the order of making."""
        query = select(files).where(files.c.tenant == tenant)
        if purpose is not None:
            query = query.where(files.c.purpose == purpose)
        if sha256 is not None:
            query = query.where(files.c.sha256 == sha256)
        if after is not None:
            query = query.where(files.c.id < after if order == "desc" else files.c.id > after)
        query = query.order_by(files.c.id.desc() if order == "desc" else files.c.id)
        with self._database.read() as connection:
            rows = connection.execute(query.limit(limit + 1)).all()
        return cut([file_from(row) for row in rows], limit)

    def open(self, row: FileRow, offset: int = 0) -> BinaryIO:
        """The bytes, from one on."""
        return self._store.open(row.artifact, row.file, offset)

    def delete(self, tenant: str, file_id: str) -> FileRow:
        """Forget a file; raises NotFound, or Conflict while a job needs it.

        Its bytes go when nothing else points to them; should we die before, the sweep does it.
        """
        with self._database.write() as connection:
            row = connection.execute(
                select(files)
                .where(files.c.tenant == tenant, files.c.id == file_id)
                .with_for_update()
            ).one_or_none()
            if row is None:
                _missing(file_id)
            user = live_user(connection, tenant, "file", file_id)
            if user is not None:
                raise Conflict(
                    f"The file {file_id!r} is used by the job {user}. Wait for its end or cancel "
                    "it, then delete the file.",
                    code="file_in_use",
                    param="file_id",
                )
            connection.execute(delete(files).where(files.c.tenant == tenant, files.c.id == file_id))
            shared = connection.execute(
                select(files.c.id).where(files.c.artifact == row.artifact).limit(1)
            ).first()
        if shared is None and row.artifact.startswith("files/"):
            self._store.delete(row.artifact)
        return file_from(row)

    def delete_expired(self) -> int:
        """Delete files whose time is over and that no job needs; returns how many went."""
        removed = 0
        last = (0.0, "")
        while True:
            page = self._expired(*last)
            removed += sum(self._delete_if_free(row.tenant, row.id) for row in page)
            if len(page) < AT_ONCE:
                return removed
            last = page[-1].expires_at, page[-1].id

    def _expired(self, since: float, last: str) -> Sequence[Row[Any]]:
        """The next that may go, by their time and id. Those in use are passed over by SQL."""
        time = files.c.expires_at
        with self._database.read() as connection:
            found = connection.execute(
                select(files.c.tenant, files.c.id, time)
                .where(
                    time.is_not(None),
                    time >= since,
                    time < self._database.now(connection),
                    or_(time > since, files.c.id > last),
                    not_(has_live_user("file")),
                )
                .order_by(time, files.c.id)
                .limit(AT_ONCE)
            )
            return [*found]

    def _delete_if_free(self, tenant: str, file_id: str) -> bool:
        try:
            self.delete(tenant, file_id)
        except (Conflict, NotFound):
            return False
        return True


def _missing(file_id: str) -> NoReturn:
    raise NotFound(f"There is no file {file_id[:100]!r}.", code="file_not_found", param="file_id")
