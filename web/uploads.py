"""Receives a multipart upload straight into storage, in constant memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from flask import request
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.sansio.multipart import Data, Epilogue, Field, File, MultipartDecoder, NeedData

from textgen.errors import InvalidInput
from web.errors import UnsupportedMedia
from web.requests import limit_body
from web.schemas.files import FileForm
from web.services import Services
from web.submission import check_room, storage_room
from worker.errors import TooLarge
from worker.storage.artifact_staging import HashingWriter
from worker.storage.artifacts import Artifact
from worker.storage.files import FileRow
from worker.storage.ids import new_id
from worker.storage.upload_rows import Part

CHUNK = 64 * 1024
FORM_ALLOWANCE = 64 * 1024  # for the fields and the boundaries around the file
FIELD_LIMIT = 4096
MAX_PARTS = 16
MAX_PART_BYTES = 64 * 2**20  # of an upload in parts
CONTENT = "content"  # what the file is called inside its artifact


@dataclass
class Received:
    """What an upload brought."""

    fields: dict[str, str] = field(default_factory=dict)
    filename: str | None = None
    bytes: int = 0

    def form(self) -> FileForm:
        """The fields, checked; raises InvalidOption."""
        values: dict[str, Any] = {}
        for name, value in self.fields.items():
            if name.startswith("expires_after[") and name.endswith("]"):
                inner = name.removeprefix("expires_after[").removesuffix("]")
                values.setdefault("expires_after", {})[inner] = (
                    int(value) if inner == "seconds" and value.isdecimal() else value
                )
            else:
                values[name] = value
        return FileForm.parse(values)


def receive(services: Services, tenant: str) -> FileRow:
    """Store the upload of the current request; nothing stays behind when it fails."""
    limit = services.settings.max_upload_bytes
    expect(services, tenant, limit)
    file_id = new_id("file-")
    with services.store.create(f"files/{file_id}") as staging:
        with staging.open(CONTENT) as target:
            received = read_form(target, limit, "file")
        if received.filename is None:
            raise InvalidInput("The form has no part 'file' with a file name.", param="file")
        form = received.form()
        if received.bytes == 0:
            raise InvalidInput(
                f"{received.filename!r} is empty: there is nothing to learn or to run.",
                code="empty_file",
                param="file",
            )
        artifact = staging.commit()
    return publish(
        services,
        tenant,
        artifact,
        filename=received.filename,
        purpose=form.purpose,
        expires_in=None if form.expires_after is None else form.expires_after.seconds,
    )


def publish(
    services: Services,
    tenant: str,
    artifact: Artifact,
    *,
    filename: str,
    purpose: str,
    expires_in: float | None = None,
) -> FileRow:
    """Make the file of an artifact known, whatever the request had announced.

    Raises InsufficientQuota; then nothing stays behind.
    """
    with services.store.deleted_if_refused(artifact.name):
        return services.files.create(
            tenant,
            id=artifact.name.removeprefix("files/"),
            filename=filename,
            purpose=purpose,
            artifact=artifact.name,
            file=CONTENT,
            expires_in=expires_in,
            room=storage_room(services, tenant),
        )


def expect(services: Services, tenant: str, limit: int) -> None:
    """Let the current request bring a file of ``limit`` bytes, if there is room for what it says.

    Raises TooLarge, DiskFull, InsufficientQuota.
    """
    limit_body(limit + FORM_ALLOWANCE)
    if announced() > limit:
        raise _too_large(limit)
    check_room(services)
    services.quotas.check_storage(services.tenants.known(tenant), announced())


def receive_part(services: Services, tenant: str, upload_id: str) -> Part:
    """Store a part of an upload; nothing stays behind when it fails."""
    limit_body(MAX_PART_BYTES + FORM_ALLOWANCE)
    if announced() > MAX_PART_BYTES:
        raise _too_large(MAX_PART_BYTES)
    part_id = new_id("part_")
    with services.store.create(f"uploads/{upload_id}/{part_id}") as staging:
        with staging.open(CONTENT) as target:
            received = read_form(target, MAX_PART_BYTES, "data")
        if received.filename is None or received.bytes == 0:
            raise InvalidInput("The form has no part 'data' with bytes in it.", param="data")
        artifact = staging.commit()
    with services.store.deleted_if_refused(artifact.name):
        return services.uploads.add_part(
            tenant,
            upload_id,
            part_id,
            bytes=received.bytes,
            sha256=artifact.files[CONTENT].sha256,
            artifact=artifact.name,
            room=storage_room(services, tenant),
        )


def announced() -> int:
    """About how many bytes the current request's file has; 0 where it does not say."""
    length = request.content_length
    return 0 if length is None else max(0, length - FORM_ALLOWANCE)


def read_form(target: HashingWriter, limit: int, part: str) -> Received:
    """Write the file of the current request's form, its ``part``, to ``target``."""
    received = Received()
    text: bytearray | None = None  # of the field that is being read; None inside the file
    name = ""
    for event in _events():
        if isinstance(event, File):
            if event.name != part or received.filename is not None:
                raise InvalidInput(f"Unknown part {event.name!r}; the file's part is {part!r}.")
            received.filename, text = checked_name(event.filename), None
        elif isinstance(event, Field):
            if not event.name:  # werkzeug reads some broken headers so, whatever its types say
                raise InvalidInput("A part of the form has no name.", code="invalid_form")
            name, text = event.name, bytearray()
        elif isinstance(event, Data):
            if text is None:
                received.bytes += len(event.data)
                if received.bytes > limit:
                    raise _too_large(limit)
                target.write(event.data)
                continue
            text += event.data
            if len(text) > FIELD_LIMIT:
                raise TooLarge(f"The field {name!r} is too long.", param=name)
            if not event.more_data:
                received.fields[name] = text.decode()
    return received


def _events() -> Iterator[Field | File | Data]:
    """The parts of the current request's form; raises InvalidInput where it is malformed."""
    boundary = request.mimetype_params.get("boundary")
    if request.mimetype != "multipart/form-data" or not boundary:
        raise UnsupportedMedia("An upload is a form: Content-Type multipart/form-data.")
    decoder = MultipartDecoder(
        boundary.encode("latin-1"), max_form_memory_size=2 * CHUNK, max_parts=MAX_PARTS
    )
    try:
        while True:
            chunk = request.stream.read(CHUNK)
            decoder.receive_data(chunk or None)
            event = decoder.next_event()
            while not isinstance(event, NeedData | Epilogue):
                if isinstance(event, Field | File | Data):
                    yield event
                event = decoder.next_event()
            if isinstance(event, Epilogue):
                return
    except RequestEntityTooLarge:
        raise InvalidInput(
            f"The form is malformed: {CHUNK:,} bytes of it are neither a file nor a field. Send "
            "each part as multipart/form-data has it, its head first.",
            code="invalid_form",
        ) from None
    except ValueError as error:  # also a name or field that is not UTF-8
        raise InvalidInput(f"The form is malformed: {error}.", code="invalid_form") from None


def checked_name(filename: str) -> str:
    """The name a file is shown under; it never becomes a path."""
    if not filename or len(filename) > 255 or not filename.isprintable():
        raise InvalidInput("A file's name has 1 to 255 printable characters.", param="file")
    return filename


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"The file is over the limit of {limit:,} bytes; split it.", param="file")
