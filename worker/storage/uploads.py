"""Uploads in parts: each part is safe as soon as it is answered, and the file is made of them.

An upload that breaks off goes on with the parts that are missing. What is not completed within a
day is forgotten, with its parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

from sqlalchemy import ColumnElement, delete, func, insert, literal_column, select, update
from sqlalchemy.engine import Row

from worker.errors import TooLarge
from worker.storage.artifacts import ArtifactStore
from worker.storage.database import Database
from worker.storage.files import FileRow, NewFile, Room, add_file
from worker.storage.ids import new_id
from worker.storage.tables import upload_parts, uploads
from worker.storage.upload_joining import chosen_parts, join_parts
from worker.storage.upload_rows import (
    Part,
    Upload,
    not_pending,
    part_from,
    upload_from,
    upload_row,
)

EXPIRES_SECONDS = 86_400.0
MOST_PARTS = 10_000
AT_ONCE = 100
# Spelt out, or SQLite would not use its index of those that are pending.
_PENDING: ColumnElement[str] = literal_column("'pending'")


class Uploads:
    """The uploads of every tenant. Safe to share between threads."""

    def __init__(self, database: Database, store: ArtifactStore) -> None:
        self._database = database
        self._store = store

    def create(
        self,
        tenant: str,
        *,
        filename: str,
        mime_type: str,
        purpose: str,
        bytes: int,  # noqa: A002  (the word that clients see)
        expires_in: float | None = None,
        room: Room = nullcontext,
    ) -> Upload:
        """Begin an upload; raises what ``room`` does where it does not hold so much."""
        with self._database.write() as connection, room(connection):
            now = self._database.now(connection)
            row = connection.execute(
                insert(uploads)
                .values(
                    id=new_id("upload_"),
                    tenant=tenant,
                    filename=filename,
                    mime_type=mime_type,
                    purpose=purpose,
                    bytes=bytes,
                    status="pending",
                    expires_in=expires_in,
                    created_at=now,
                    expires_at=now + EXPIRES_SECONDS,
                )
                .returning(*uploads.c)
            ).one()
        return upload_from(row)

    def get(self, tenant: str, upload_id: str) -> Upload:
        """One; raises NotFound."""
        with self._database.read() as connection:
            return upload_from(upload_row(connection, tenant, upload_id))

    def parts(self, tenant: str, upload_id: str) -> list[Part]:
        """Those that are stored, in the order of their coming."""
        with self._database.read() as connection:
            rows = connection.execute(
                select(upload_parts)
                .where(upload_parts.c.tenant == tenant, upload_parts.c.upload_id == upload_id)
                .order_by(upload_parts.c.id)
            ).all()
        return [part_from(row) for row in rows]

    def check_open(self, tenant: str, upload_id: str) -> Upload:
        """One that still takes parts; raises NotFound, Conflict."""
        found = self.get(tenant, upload_id)
        if found.status != "pending":
            not_pending(found)
        return found

    def add_part(
        self,
        tenant: str,
        upload_id: str,
        part_id: str,
        *,
        bytes: int,  # noqa: A002
        sha256: str,
        artifact: str,
        room: Room = nullcontext,
    ) -> Part:
        """Make a stored part known; raises NotFound, Conflict, TooLarge, and what ``room`` does."""
        with self._database.write() as connection, room(connection):
            found = upload_from(upload_row(connection, tenant, upload_id, lock=True))
            if found.status != "pending":
                not_pending(found)
            stored, count = connection.execute(
                select(func.coalesce(func.sum(upload_parts.c.bytes), 0), func.count()).where(
                    upload_parts.c.upload_id == upload_id
                )
            ).one()
            if count >= MOST_PARTS:
                raise TooLarge(f"An upload has at most {MOST_PARTS:,} parts.", param="data")
            # A part may come twice, when it is retried, but none is more than the whole.
            if bytes > found.bytes or int(stored) + bytes > 2 * found.bytes:
                raise TooLarge(
                    f"The upload was announced with {found.bytes:,} bytes, and its parts have "
                    f"{int(stored) + bytes:,}. Begin a new one with the right number.",
                    param="data",
                )
            row = connection.execute(
                insert(upload_parts)
                .values(
                    id=part_id,
                    upload_id=upload_id,
                    tenant=tenant,
                    bytes=bytes,
                    sha256=sha256,
                    artifact=artifact,
                    created_at=self._database.now(connection),
                )
                .returning(*upload_parts.c)
            ).one()
        return part_from(row)

    def complete(
        self,
        tenant: str,
        upload_id: str,
        part_ids: Sequence[str],
        md5: str | None = None,
        room: Room = nullcontext,
    ) -> tuple[Upload, str]:
        """Make the file of these parts, in this order; its id. Asked again: the file made then.

        Raises NotFound, Conflict (cancelled or expired), InvalidInput (unknown parts, another
        number of bytes, another MD5), and what ``room`` does: then the parts stay.
        """
        found = self.get(tenant, upload_id)
        if found.status == "completed" and found.file_id is not None:
            return found, found.file_id
        if found.status != "pending":
            not_pending(found)
        chosen = chosen_parts(found, self.parts(tenant, found.id), part_ids)
        file_id = new_id("file-")
        new = join_parts(self._store, found, chosen, file_id, md5)
        with self._store.deleted_if_refused(new.artifact):
            done = self._publish(tenant, upload_id, new, room)
        if done.file_id != file_id:  # another request was faster
            self._store.delete(new.artifact)
        self._drop_parts(tenant, upload_id)
        return done, str(done.file_id)

    def cancel(self, tenant: str, upload_id: str) -> Upload:
        """Forget the parts; raises NotFound, or Conflict when it is completed."""
        with self._database.write() as connection:
            found = upload_from(upload_row(connection, tenant, upload_id, lock=True))
            if found.status == "completed":
                not_pending(found)
            row = connection.execute(
                update(uploads)
                .where(uploads.c.id == upload_id)
                .values(status="cancelled" if found.status == "pending" else found.status)
                .returning(*uploads.c)
            ).one()
        self._drop_parts(tenant, upload_id)
        return upload_from(row)

    def expire_old(self) -> int:
        """Forget what was not completed in time; returns how many."""
        expired = 0
        while True:
            page = self._expire_some()
            for row in page:
                self._drop_parts(row.tenant, row.id)
            expired += len(page)
            if len(page) < AT_ONCE:
                return expired

    def _expire_some(self) -> Sequence[Row[Any]]:
        with self._database.write() as connection:
            now = self._database.now(connection)
            found = connection.execute(
                select(uploads.c.tenant, uploads.c.id)
                .where(uploads.c.status == _PENDING, uploads.c.expires_at < now)
                .limit(AT_ONCE)
                .with_for_update(skip_locked=True)
            )
            rows = [*found]
            connection.execute(
                update(uploads)
                .where(uploads.c.id.in_([row.id for row in rows]))
                .values(status="expired")
            )
        return rows

    def _publish(self, tenant: str, upload_id: str, new: NewFile, room: Room) -> Upload:
        with self._database.write() as connection, room(connection):
            found = upload_from(upload_row(connection, tenant, upload_id, lock=True))
            if found.status == "completed":
                return found
            if found.status != "pending":
                not_pending(found)
            file: FileRow = add_file(connection, tenant, new, self._database.now(connection))
            row = connection.execute(
                update(uploads)
                .where(uploads.c.id == upload_id)
                .values(status="completed", file_id=file.id)
                .returning(*uploads.c)
            ).one()
        return upload_from(row)

    def _drop_parts(self, tenant: str, upload_id: str) -> None:
        found = self.parts(tenant, upload_id)
        with self._database.write() as connection:
            connection.execute(
                delete(upload_parts).where(
                    upload_parts.c.tenant == tenant, upload_parts.c.upload_id == upload_id
                )
            )
        for part in found:  # should we die here, the sweep does it
            self._store.delete(part.artifact)
