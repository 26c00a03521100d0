"""Uploads and their parts as the tables hold them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn

from sqlalchemy import select
from sqlalchemy.engine import Connection, Row

from worker.errors import Conflict, NotFound
from worker.storage.tables import uploads


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


def upload_row(
    connection: Connection, tenant: str, upload_id: str, *, lock: bool = False
) -> Row[Any]:
    """A tenant's row, kept from changing where asked for; raises NotFound."""
    query = select(uploads).where(uploads.c.tenant == tenant, uploads.c.id == upload_id)
    row = connection.execute(query.with_for_update() if lock else query).one_or_none()
    if row is None:
        raise NotFound(
            f"There is no upload {upload_id[:100]!r}.", code="upload_not_found", param="upload_id"
        )
    return row


def not_pending(found: Upload) -> NoReturn:
    """Raise Conflict."""
    raise Conflict(
        f"The upload {found.id} is {found.status}; begin a new one.", code="upload_not_pending"
    )


def upload_from(row: Row[Any]) -> Upload:
    """The upload in a row of the table."""
    return Upload(**{name: row._mapping[name] for name in Upload.__dataclass_fields__})


def part_from(row: Row[Any]) -> Part:
    """The part in a row of the table."""
    return Part(**{name: row._mapping[name] for name in Part.__dataclass_fields__})
