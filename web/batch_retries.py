"""The lines of a batch that have no answer, as the input of another one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import PurePath

from web.services import Services
from web.submission import check_storage
from web.uploads import CONTENT, publish
from worker.errors import Conflict, NotFound
from worker.jobs.rows import Job
from worker.jobs.states import FINAL
from worker.storage.files import FileRow
from worker.storage.ids import new_id

BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def store_failed_lines(services: Services, job: Job) -> FileRow:
    """A file of the lines that failed, or that a cancelled batch did not come to.

    Raises Conflict where the batch still runs, never ran, or has no such lines.
    """
    _check_ended(job)
    check_storage(services, job.tenant)
    file_id = new_id("file-")
    lines = 0
    with services.store.create(f"files/{file_id}") as staging:
        with staging.open(CONTENT) as target:
            for line in _without_answer(services, job):
                target.write(line + b"\n")
                lines += 1
        if not lines:
            raise Conflict(
                f"Every line of {job.id} has its answer: there is nothing to run again.",
                code="no_failed_lines",
            )
        artifact = staging.commit()
    name = PurePath(job.spec["input_file"]["filename"])
    filename = f"{name.stem[:200]}_failed.jsonl"
    return publish(services, job.tenant, artifact, filename=filename, purpose="batch")


def _check_ended(job: Job) -> None:
    if job.state not in FINAL:
        raise Conflict(
            f"{job.id} is {job.state}: which lines fail is known when it has ended. Wait for its "
            "end, or cancel it.",
            code="batch_not_finished",
        )
    if job.result is None:
        raise Conflict(
            f"{job.id} has run no line. POST /v1/jobs/{job.id}/retry runs all of them, once its "
            "input is right.",
            code="batch_never_ran",
        )


def _without_answer(services: Services, job: Job) -> Iterator[bytes]:
    """Lines of the input that the output does not have; both are in the same order."""
    answered = _answered(services, job)
    following = next(answered, None)
    try:
        source = services.files.get(job.tenant, job.spec["input_file"]["id"])
    except NotFound:
        raise _gone(job, "input") from None
    with services.files.open(source) as stream:
        for number, raw in enumerate(stream):
            line = (raw.removeprefix(BYTE_ORDER_MARK) if number == 0 else raw).strip()
            if not line:
                continue
            if following is not None and json.loads(line)["custom_id"] == following:
                following = next(answered, None)
            else:
                yield line


def _answered(services: Services, job: Job) -> Iterator[str]:
    """The ids of the lines that have an answer, in order."""
    file_id = None if job.result is None else job.result["output_file_id"]
    if file_id is None:
        return
    try:
        row = services.files.get(job.tenant, file_id)
    except NotFound:
        raise _gone(job, "output") from None
    with services.files.open(row) as stream:
        for raw in stream:
            yield json.loads(raw)["custom_id"]


def _gone(job: Job, what: str) -> Conflict:
    return Conflict(
        f"The {what} file of {job.id} was deleted, so which lines failed is not known any more. "
        "Upload the lines that you want, and start a batch with them.",
        code="batch_file_deleted",
    )
