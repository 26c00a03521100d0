"""/v1/files: upload, list, download, delete."""

from __future__ import annotations

from typing import cast

from flask import Response

from web import uploads
from web.auth import actor, tenant
from web.downloads import send_file
from web.resource import Resource
from web.schemas.base import Deleted
from web.schemas.files import UPLOAD_FORM, FileList, FileObject, FileQuery, Purpose
from web.services import current
from worker.storage.files import FileRow

files = Resource("files", __name__)


@files.on(
    "POST /v1/files",
    "Upload a file",
    "train",
    "generate",
    form=UPLOAD_FORM,
    answer=FileObject,
)
def create() -> FileObject:
    """The body is stored while it arrives; memory does not grow with the file."""
    return view(uploads.receive(current(), tenant()))


@files.on("GET /v1/files", "List files", "read", query=FileQuery, answer=FileList)
def index(query: FileQuery) -> FileList:
    """Newest first unless asked otherwise."""
    page = current().files.list(
        tenant(),
        after=query.after,
        limit=query.limit,
        order=query.order,
        purpose=query.purpose,
        sha256=query.sha256,
    )
    data = [view(row) for row in page.items]
    return FileList(
        data=data,
        first_id=data[0].id if data else None,
        last_id=data[-1].id if data else None,
        has_more=page.has_more,
    )


@files.on("GET /v1/files/<file_id>", "Show a file", "read", answer=FileObject)
def show(file_id: str) -> FileObject:
    """One file."""
    return view(current().files.get(tenant(), file_id))


@files.on(
    "GET /v1/files/<file_id>/content",
    "Download a file",
    "read",
    media=("application/octet-stream",),
)
def content(file_id: str) -> Response:
    """The bytes, whole or a range of them."""
    return send_file(current(), current().files.get(tenant(), file_id))


@files.on("DELETE /v1/files/<file_id>", "Delete a file", "train", "generate", answer=Deleted)
def delete(file_id: str) -> Deleted:
    """409 while a waiting or running job needs it."""
    services = current()
    row = services.files.delete(tenant(), file_id)
    data = {"resource": "file", "bytes": row.bytes}
    services.audit.add(actor(), "resource.deleted", tenant(), file_id, data)
    return Deleted(id=file_id, object="file")


def view(row: FileRow) -> FileObject:
    """A file as OpenAI shows it."""
    return FileObject.model_construct(
        id=row.id,
        bytes=row.bytes,
        created_at=int(row.created_at),
        expires_at=None if row.expires_at is None else int(row.expires_at),
        filename=row.filename,
        purpose=cast(Purpose, row.purpose),
        sha256=row.sha256,
    )
