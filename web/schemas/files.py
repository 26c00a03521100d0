"""Files: texts to train on, prompts for batches, and what jobs write."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from web.schemas.base import Body, PageQuery, Shape

# What clients may upload; results get their purpose from the job that writes them.
UploadPurpose = Literal["fine-tune", "batch", "user_data", "evals", "assistants", "vision"]
Purpose = Literal[
    "fine-tune",
    "fine-tune-results",
    "batch",
    "batch_output",
    "user_data",
    "evals",
    "assistants",
    "assistants_output",
    "vision",
]
HOUR = 3600
MONTH = 30 * 86400
SHA256 = "^[0-9a-f]{64}$"


class ExpiresAfter(Body):
    """When a file goes away by itself."""

    anchor: Literal["created_at"]
    seconds: int = Field(ge=HOUR, le=MONTH)


class FileForm(Body):
    """The fields of an upload beside the file itself."""

    purpose: UploadPurpose
    expires_after: ExpiresAfter | None = None


class FileQuery(PageQuery):
    """A page of files."""

    limit: int = Field(10_000, ge=1, le=10_000)
    order: Literal["asc", "desc"] = "desc"
    purpose: Purpose | None = None
    sha256: str | None = Field(None, pattern=SHA256)


class FileObject(Shape):
    """A file; ``bytes`` is its size, ``filename`` the name its owner gave it, ``sha256`` the
    hash of its content in hexadecimal digits.
    """

    id: str
    object: Literal["file"] = "file"
    bytes: int
    created_at: int
    expires_at: int | None = None
    filename: str
    purpose: Purpose
    sha256: str
    status: Literal["uploaded", "processed", "error"] = "processed"
    status_details: str | None = None


class FileList(Shape):
    """A page of files."""

    object: Literal["list"] = "list"
    data: list[FileObject]
    first_id: str | None
    last_id: str | None
    has_more: bool


UPLOAD_FORM: dict[str, Any] = {
    "type": "object",
    "required": ["file", "purpose"],
    "properties": {
        "file": {"type": "string", "contentMediaType": "application/octet-stream"},
        "purpose": {"enum": list(UploadPurpose.__args__)},  # type: ignore[attr-defined]
        "expires_after[anchor]": {"const": "created_at"},
        "expires_after[seconds]": {"type": "integer", "minimum": HOUR, "maximum": MONTH},
    },
}
