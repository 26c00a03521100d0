"""Uploads in parts."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from web.schemas.base import Body, Id, Shape
from web.schemas.files import ExpiresAfter, FileObject, UploadPurpose

Status = Literal["pending", "completed", "cancelled", "expired"]


class UploadBody(Body):
    """A file that will come in parts."""

    bytes: int = Field(ge=1, le=2**50)
    filename: str = Field(min_length=1, max_length=255)
    mime_type: str = Field(min_length=1, max_length=255)
    purpose: UploadPurpose
    expires_after: ExpiresAfter | None = None


class CompleteBody(Body):
    """The parts in their order."""

    part_ids: Annotated[list[Id], Field(min_length=1, max_length=10_000)]
    md5: str | None = Field(None, pattern="^[0-9a-fA-F]{32}$")


class PartObject(Shape):
    """A part that is safe."""

    id: str
    object: Literal["upload.part"] = "upload.part"
    created_at: int
    upload_id: str


class StoredPart(PartObject):
    """A part with what to compare it by."""

    bytes: int
    sha256: str


class UploadObject(Shape):
    """An upload; ``parts`` are those that are there, to go on where it broke off."""

    id: str
    object: Literal["upload"] = "upload"
    bytes: int
    created_at: int
    expires_at: int
    filename: str
    purpose: str
    status: Status
    file: FileObject | None = None
    parts: list[StoredPart] | None = None


PART_FORM: dict[str, Any] = {
    "type": "object",
    "required": ["data"],
    "properties": {"data": {"type": "string", "contentMediaType": "application/octet-stream"}},
}
