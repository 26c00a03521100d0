"""Sends a stored file, whole or a range of it, in constant memory."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO
from urllib.parse import quote

from flask import Response, request

from web.errors import BadRange
from web.services import Services
from worker.errors import CorruptArtifact
from worker.storage.files import FileRow
from worker.storage.models import Model

logger = logging.getLogger("textgen.web")

CHUNK = 256 * 1024
NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class ModelContent:
    """The file of a model."""

    id: str
    filename: str
    bytes: int
    sha256: str
    artifact: str
    file: str


Content = FileRow | ModelContent


def model_content(services: Services, model: Model) -> ModelContent:
    """A model's file; raises CorruptArtifact where its bytes are gone."""
    try:
        info = services.store.get(model.artifact).files[model.file]
    except (FileNotFoundError, KeyError):
        raise CorruptArtifact(
            f"The file of the model {model.id!r} is gone from storage. `textgen admin check` "
            "lists what is missing."
        ) from None
    name = f"{NOT_IN_A_NAME.sub('-', model.id)}.safetensors"
    return ModelContent(model.id, name, info.bytes, info.sha256, model.artifact, model.file)


def send_file(services: Services, row: Content) -> Response:
    """The file's bytes; understands Range, If-Range and If-None-Match."""
    tag = row.sha256
    if request.if_none_match.contains(tag):
        return _with_headers(Response(status=304), row)
    start, stop = _span(row)
    partial = (start, stop) != (0, row.bytes)
    if request.method == "HEAD":
        body: Response = Response(status=206 if partial else 200)
    else:
        source = services.store.open(row.artifact, row.file, start)
        pieces = _pieces(source, stop - start)
        body = Response(pieces if partial else _checked(pieces, row), 206 if partial else 200)
        body.call_on_close(source.close)
    if partial:
        body.headers["Content-Range"] = f"bytes {start}-{stop - 1}/{row.bytes}"
    body.content_length = stop - start
    return _with_headers(body, row)


def _span(row: Content) -> tuple[int, int]:
    """First byte, and the one after the last; raises BadRange."""
    asked = request.range
    fresh = request.if_range.etag in (None, row.sha256) and request.if_range.date is None
    if asked is None or asked.units != "bytes" or len(asked.ranges) != 1 or not fresh:
        return 0, row.bytes
    span = asked.range_for_length(row.bytes)
    if span is None or span[0] is None or span[1] is None:
        error = BadRange(
            f"The range lies outside of the file's {row.bytes:,} bytes.", param="Range"
        )
        error.headers = {"Content-Range": f"bytes */{row.bytes}"}
        raise error
    return span[0], span[1]


def _pieces(source: BinaryIO, length: int) -> Iterator[bytes]:
    with source:
        while length > 0:
            piece = source.read(min(CHUNK, length))
            if not piece:
                return  # shorter than its row says: the client sees fewer bytes than announced
            length -= len(piece)
            yield piece


def _checked(pieces: Iterator[bytes], row: Content) -> Iterator[bytes]:
    """Keep the last piece back until the whole has the hash that was stored.

    Wrong bytes then arrive as a download that broke off, never as one that went well.
    """
    digest, last = hashlib.sha256(), b""
    for piece in pieces:
        if last:
            yield last
        digest.update(piece)
        last = piece
    if digest.hexdigest() != row.sha256:
        logger.error("%s: the stored bytes are damaged; the download was cut short", row.id)
        raise CorruptArtifact(f"The stored bytes of {row.id} are damaged.")
    yield last


def _with_headers(response: Response, row: Content) -> Response:
    response.headers["Content-Type"] = "application/octet-stream"
    response.headers["Content-Disposition"] = (
        f"attachment; filename*=UTF-8''{quote(row.filename, safe='')}"
    )
    response.headers["Accept-Ranges"] = "bytes"
    response.set_etag(row.sha256)
    return response
