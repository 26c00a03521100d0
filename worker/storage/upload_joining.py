"""The file that the parts of an upload become."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from textgen.errors import InvalidInput
from worker.storage.artifacts import ArtifactStore
from worker.storage.files import NewFile
from worker.storage.upload_rows import Part, Upload

CONTENT = "content"
CHUNK = 2**20


def chosen_parts(found: Upload, parts: Sequence[Part], part_ids: Sequence[str]) -> list[Part]:
    """Those asked for, in that order; raises InvalidInput unless they make the whole."""
    known = {part.id: part for part in parts}
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


def join_parts(
    store: ArtifactStore, found: Upload, parts: Sequence[Part], file_id: str, md5: str | None
) -> NewFile:
    """Store the parts behind each other; raises InvalidInput when the MD5 is another."""
    digest = hashlib.md5(usedforsecurity=False)
    with store.create(f"files/{file_id}") as staging:
        with staging.open(CONTENT) as target:
            for part in parts:
                with store.open(part.artifact, CONTENT) as source:
                    while chunk := source.read(CHUNK):
                        digest.update(chunk)
                        target.write(chunk)
        if md5 is not None and digest.hexdigest() != md5.lower():
            raise InvalidInput(
                f"The MD5 of the parts is {digest.hexdigest()}, not {md5[:40]}. Send them again.",
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
