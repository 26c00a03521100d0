"""Uploads in parts: each part is safe as soon as it is answered, and the file is made of them.

An upload that breaks off goes on with the parts that are missing. What is not completed within a
day is forgotten, with its parts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.engine import Connection, Row

from textgen.errors import InvalidInput
from worker.errors import Conflict, NotFound, TooLarge
from worker.storage.artifacts import ArtifactStore
from worker.storage.database import Database
from worker.storage.files import FileRow, NewFile, add_file
from worker.storage.ids import new_id
from worker.storage.tables import upload_parts, uploads

CONTENT = "content"
EXPIRES_SECONDS = 86_400.0
CHUNK = 2**20
MOST_PARTS = 10_000
AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that is coming in parts; ``bytes`` are those it will have."""

    id: str
    tenant: str
    filename: str
    mime_type: str
    purpose: str
    bytes: int
    status: str  # pending, completed, cancelled or expired
    expires_in: float | None  # of the file, from its completion on
    created_at: float
    expires_at: float
    file_id: str | None


@dataclass(frozen=True, slots=True)
class Part:
    """A part that is stored."""

    id: str
    upload_id: str
    bytes: int
    sha256: str
    artifact: str
    created_at: float


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
    ) -> Upload:
        """Begin an upload."""
        with self._database.write() as connection:
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
        return _upload(row)

    def get(self, tenant: str, upload_id: str) -> Upload:
        """One; raises NotFound."""
        with self._database.read() as connection:
            return _upload(_row(connection, tenant, upload_id))

    def parts(self, tenant: str, upload_id: str) -> list[Part]:
        """Those that are stored, in the order of their coming."""
        with self._database.read() as connection:
            rows = connection.execute(
                select(upload_parts)
                .where(upload_parts.c.tenant == tenant, upload_parts.c.upload_id == upload_id)
                .order_by(upload_parts.c.id)
            ).all()
        return [_part(row) for row in rows]

    def check_open(self, tenant: str, upload_id: str) -> Upload:
        """One that still takes parts; raises NotFound, Conflict."""
        found = self.get(tenant, upload_id)
        if found.status != "pending":
            _not_pending(found)
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
    ) -> Part:
        """Make a stored part known; raises NotFound, Conflict, TooLarge."""
        with self._database.write() as connection:
            found = _upload(_row(connection, tenant, upload_id, lock=True))
            if found.status != "pending":
                _not_pending(found)
            stored, count = connection.execute(
                select(func.coalesce(func.sum(upload_parts.c.bytes), 0), func.count()).where(
                    upload_parts.c.upload_id == upload_id
                )
            ).one()
            if count >= MOST_PARTS:
                raise TooLarge(f"An upload has at most {MOST_PARTS:,} parts.", param="data")
            if int(stored) + bytes > 2 * found.bytes:  # a part may come twice, when it is retried
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
        return _part(row)

    def complete(
        self, tenant: str, upload_id: str, part_ids: Sequence[str], md5: str | None = None
    ) -> tuple[Upload, str]:
        """Make the file of these parts, in this order; its id. Asked again: the file made then.

        Raises NotFound, Conflict (cancelled or expired), InvalidInput (unknown parts, another
        number of bytes, another MD5).
        """
        found = self.get(tenant, upload_id)
        if found.status == "completed" and found.file_id is not None:
            return found, found.file_id
        if found.status != "pending":
            _not_pending(found)
        chosen = self._chosen(tenant, found, part_ids)
        file_id = new_id("file-")
        new = self._joined(found, chosen, file_id, md5)
        try:
            done = self._publish(tenant, upload_id, new)
        except BaseException:
            self._store.delete(new.artifact)
            raise
        if done.file_id != file_id:  # another request was faster
            self._store.delete(new.artifact)
        self._drop_parts(tenant, upload_id)
        return done, str(done.file_id)

    def cancel(self, tenant: str, upload_id: str) -> Upload:
        """Forget the parts; raises NotFound, or Conflict when it is completed."""
        with self._database.write() as connection:
            found = _upload(_row(connection, tenant, upload_id, lock=True))
            if found.status == "completed":
                _not_pending(found)
            row = connection.execute(
                update(uploads)
                .where(uploads.c.id == upload_id)
                .values(status="cancelled" if found.status == "pending" else found.status)
                .returning(*uploads.c)
            ).one()
        self._drop_parts(tenant, upload_id)
        return _upload(row)

    def expire_old(self) -> int:
        """Forget what was not completed in time; returns how many."""
        with self._database.write() as connection:
            now = self._database.now(connection)
            rows = connection.execute(
                select(uploads.c.tenant, uploads.c.id)
                .where(uploads.c.status == "pending", uploads.c.expires_at < now)
                .limit(AT_ONCE)
                .with_for_update(skip_locked=True)
            ).all()
            connection.execute(
                update(uploads)
                .where(uploads.c.id.in_([row.id for row in rows]))
                .values(status="expired")
            )
        for row in rows:
            self._drop_parts(row.tenant, row.id)
        return len(rows)

    def _chosen(self, tenant: str, found: Upload, part_ids: Sequence[str]) -> list[Part]:
        known = {part.id: part for part in self.parts(tenant, found.id)}
        missing = [part_id for part_id in part_ids if part_id not in known]
        if missing or len(set(part_ids)) < len(part_ids):
            what = f"{missing[0][:100]!r} is no part of it" if missing else "a part is there twice"
            raise InvalidInput(f"'part_ids': {what}.", code="invalid_parts", param="part_ids")
        chosen = [known[part_id] for part_id in part_ids]
        size = sum(part.bytes for part in chosen)
        if size != found.bytes:
            raise InvalidInput(
                f"The parts have {size:,} bytes, and {found.bytes:,} were announced. Send what is "
                "missing, or begin a new upload.",
                code="invalid_parts",
                param="part_ids",
            )
        return chosen

    def _joined(
        self, found: Upload, parts: Sequence[Part], file_id: str, md5: str | None
    ) -> NewFile:
        """Store the parts behind each other; raises InvalidInput when the MD5 is another."""
        digest = hashlib.md5(usedforsecurity=False)
        with self._store.create(f"files/{file_id}") as staging:
            with staging.open(CONTENT) as target:
                for part in parts:
                    with self._store.open(part.artifact, CONTENT) as source:
                        while chunk := source.read(CHUNK):
                            digest.update(chunk)
                            target.write(chunk)
            if md5 is not None and digest.hexdigest() != md5.lower():
                raise InvalidInput(
                    f"The MD5 of the parts is {digest.hexdigest()}, not {md5[:40]}. Send them "
                    "again.",
                    code="checksum_mismatch",
                    param="md5",
                )
            info = staging.commit().files[CONTENT]
        return NewFile(
            id=file_id,
            filename=found.filename,
            purpose=found.purpose,
            bytes=info.bytes,
            sha256=info.sha256,
            artifact=f"files/{file_id}",
            file=CONTENT,
            expires_in=found.expires_in,
        )

    def _publish(self, tenant: str, upload_id: str, new: NewFile) -> Upload:
        with self._database.write() as connection:
            found = _upload(_row(connection, tenant, upload_id, lock=True))
            if found.status == "completed":
                return found
            if found.status != "pending":
                _not_pending(found)
            file: FileRow = add_file(connection, tenant, new, self._database.now(connection))
            row = connection.execute(
                update(uploads)
                .where(uploads.c.id == upload_id)
                .values(status="completed", file_id=file.id)
                .returning(*uploads.c)
            ).one()
        return _upload(row)

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


def _row(connection: Connection, tenant: str, upload_id: str, *, lock: bool = False) -> Row[Any]:
    query = select(uploads).where(uploads.c.tenant == tenant, uploads.c.id == upload_id)
    row = connection.execute(query.with_for_update() if lock else query).one_or_none()
    if row is None:
        raise NotFound(
            f"There is no upload {upload_id[:100]!r}.", code="upload_not_found", param="upload_id"
        )
    return row


def _not_pending(found: Upload) -> NoReturn:
    raise Conflict(
        f"The upload {found.id} is {found.status}; begin a new one.", code="upload_not_pending"
    )


def _upload(row: Row[Any]) -> Upload:
    return Upload(**{name: row._mapping[name] for name in Upload.__dataclass_fields__})


def _part(row: Row[Any]) -> Part:
    return Part(**{name: row._mapping[name] for name in Part.__dataclass_fields__})
