"""What a batch has written: of one that runs what its finished shards have, in order."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, BinaryIO

from flask import Response

from web.downloads import CHUNK, send_file
from web.services import Services
from worker.batches.shard import ERROR_FILE, OUTPUT_FILE
from worker.errors import NotFound
from worker.jobs.rows import Job
from worker.jobs.shards import ShardRow

RESULT_OF = {OUTPUT_FILE: "output_file_id", ERROR_FILE: "error_file_id"}
PREVIEW_BYTES = 2**18


def send_results(services: Services, job: Job, part: str) -> Response:
    """Its answers (``OUTPUT_FILE``) or failed lines (``ERROR_FILE``) so far; empty where none are.

    NotFound where the batch has ended and its owner has deleted the file since.
    """
    if job.result is not None:
        file_id = job.result[RESULT_OF[part]]
        if file_id is not None:
            return send_file(services, services.files.get(job.tenant, file_id))
    shards = _shards_with(services, job, part)
    answer = Response(_joined(services, shards, part), mimetype="application/octet-stream")
    answer.headers["Content-Disposition"] = f'attachment; filename="{job.id}_{part}"'
    return answer


def first_results(services: Services, job: Job, part: str, most: int) -> list[dict[str, Any]]:
    """The first lines of what is there; of a running batch those of its newest finished shard.

    Fewer where lines are long, and none where the file was deleted.
    """
    try:
        with _opened(services, job, part) as stream:
            raw = stream.read(PREVIEW_BYTES)
    except (NotFound, FileNotFoundError):
        return []
    lines = raw.split(b"\n")[:-1]  # what stands behind the last line break is not whole
    return [json.loads(line) for line in islice(lines, most)]


def _opened(services: Services, job: Job, part: str) -> BinaryIO:
    if job.result is not None:
        file_id = job.result[RESULT_OF[part]]
        if file_id is None:
            raise NotFound("There are no such lines.")
        return services.files.open(services.files.get(job.tenant, file_id))
    shards = _shards_with(services, job, part)
    if not shards:
        raise NotFound("There are no such lines yet.")
    return services.store.open(shards[-1].artifact, part)


def _shards_with(services: Services, job: Job, part: str) -> Sequence[ShardRow]:
    """The finished shards that have such lines; a batch with its result has them no more."""
    if job.result is not None:
        return ()
    done = services.jobs.shards_done(job)
    return [each for each in done if (each.completed if part == OUTPUT_FILE else each.failed)]


def _joined(services: Services, shards: Sequence[ShardRow], part: str) -> Iterator[bytes]:
    """Shards go away when the batch ends: then the download breaks off, and the next has all."""
    for shard in shards:
        with services.store.open(shard.artifact, part) as stream:
            while piece := stream.read(CHUNK):
                yield piece
