"""/v1/uploads: large files in parts, each safe as soon as it is answered."""

from __future__ import annotations

from typing import cast

from web.auth import tenant
from web.resource import Resource
from web.schemas.uploads import (
    PART_FORM,
    CompleteBody,
    PartObject,
    Status,
    StoredPart,
    UploadBody,
    UploadObject,
)
from web.services import current
from web.submission import check_room, storage_room
from web.uploads import checked_name, receive_part
from web.views.files import view as file_view
from worker.errors import TooLarge
from worker.storage.upload_rows import Part, Upload

uploads = Resource("uploads", __name__)
ROOT = "/v1/uploads"


@uploads.on(
    f"POST {ROOT}", "Begin an upload", "train", "generate", body=UploadBody, answer=UploadObject
)
def create(body: UploadBody) -> UploadObject:
    """Then send its parts, in any order, some at once if you like."""
    services = current()
    limit = services.settings.max_upload_bytes
    if body.bytes > limit:
        raise TooLarge(f"The file is over the limit of {limit:,} bytes; split it.", param="bytes")
    check_room(services)
    made = services.uploads.create(
        tenant(),
        filename=checked_name(body.filename),
        mime_type=body.mime_type,
        purpose=body.purpose,
        bytes=body.bytes,
        expires_in=None if body.expires_after is None else body.expires_after.seconds,
        room=storage_room(services, tenant()),
    )
    return _view(made)


@uploads.on(f"GET {ROOT}/<upload_id>", "Show an upload", "read", answer=UploadObject)
def show(upload_id: str) -> UploadObject:
    """With the parts that are there, to go on where it broke off."""
    services = current()
    found = services.uploads.get(tenant(), upload_id)
    parts = [_stored(part) for part in services.uploads.parts(tenant(), upload_id)]
    return _view(found).model_copy(update={"parts": parts})


@uploads.on(
    f"POST {ROOT}/<upload_id>/parts",
    "Add a part",
    "train",
    "generate",
    form=PART_FORM,
    answer=PartObject,
)
def add_part(upload_id: str) -> PartObject:
    """At most 64 MiB; stored while it arrives."""
    services = current()
    services.uploads.check_open(tenant(), upload_id)
    check_room(services)
    part = receive_part(services, tenant(), upload_id)
    return PartObject(id=part.id, created_at=int(part.created_at), upload_id=upload_id)


@uploads.on(
    f"POST {ROOT}/<upload_id>/complete",
    "Complete an upload",
    "train",
    "generate",
    body=CompleteBody,
    answer=UploadObject,
)
def complete(upload_id: str, body: CompleteBody) -> UploadObject:
    """The parts become a file; asked again, the answer is the same."""
    services = current()
    room = storage_room(services, tenant())
    found, file_id = services.uploads.complete(tenant(), upload_id, body.part_ids, body.md5, room)
    file = file_view(services.files.get(tenant(), file_id))
    return _view(found).model_copy(update={"file": file})


@uploads.on(
    f"POST {ROOT}/<upload_id>/cancel", "Cancel an upload", "train", "generate", answer=UploadObject
)
def cancel(upload_id: str) -> UploadObject:
    """Its parts are forgotten."""
    return _view(current().uploads.cancel(tenant(), upload_id))


def _view(found: Upload) -> UploadObject:
    return UploadObject(
        id=found.id,
        bytes=found.bytes,
        created_at=int(found.created_at),
        expires_at=int(found.expires_at),
        filename=found.filename,
        purpose=found.purpose,
        status=cast(Status, found.status),
    )


def _stored(part: Part) -> StoredPart:
    return StoredPart(
        id=part.id,
        created_at=int(part.created_at),
        upload_id=part.upload_id,
        bytes=part.bytes,
        sha256=part.sha256,
    )
