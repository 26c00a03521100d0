"""Batches as OpenAI shows them: made from the job's row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from web.schemas.batches import (
    BatchError,
    BatchErrors,
    BatchObject,
    BatchStatus,
    BatchUsage,
    RequestCounts,
)
from worker.jobs.rows import Job

ENDED: Mapping[str, BatchStatus] = {
    "succeeded": "completed",
    "failed": "failed",
    "cancelled": "cancelled",
}


def batch_view(job: Job) -> BatchObject:
    """The whole object."""
    result: Mapping[str, Any] = {} if job.result is None else job.result
    now = status(job)
    counts = result.get("request_counts", job.progress.get("request_counts"))
    finished = None if job.finished_at is None else int(job.finished_at)
    return BatchObject.model_construct(
        id=job.id,
        endpoint=job.spec["endpoint"],
        errors=_errors(job),
        input_file_id=job.spec["input_file"]["id"],
        completion_window=job.spec["completion_window"],
        status=now,
        output_file_id=result.get("output_file_id"),
        error_file_id=result.get("error_file_id"),
        created_at=int(job.created_at),
        in_progress_at=_seconds(job.phase_times.get("in_progress")),
        finalizing_at=_seconds(job.phase_times.get("finalizing")),
        completed_at=finished if now == "completed" else None,
        failed_at=finished if now == "failed" else None,
        expired_at=finished if now == "expired" else None,
        cancelling_at=_seconds(job.cancel_requested_at),
        cancelled_at=finished if now == "cancelled" else None,
        request_counts=RequestCounts() if counts is None else RequestCounts(**counts),
        usage=_usage(result.get("usage")),
        metadata=dict(job.metadata),
    )


def status(job: Job) -> BatchStatus:
    """OpenAI's word for state and phase."""
    if job.state == "failed" and job.phase == "expired":
        return "expired"
    if job.state in ENDED:
        return ENDED[job.state]
    if job.cancel_requested_at is not None:
        return "cancelling"
    if job.phase == "finalizing":
        return "finalizing"
    return "validating" if job.started_at is None else "in_progress"


def _seconds(moment: float | None) -> int | None:
    return None if moment is None else int(moment)


def _errors(job: Job) -> BatchErrors | None:
    """What is wrong with the input, line by line."""
    if job.error is None:
        return None
    found = job.error.get("errors", [job.error])
    return BatchErrors(
        data=[
            BatchError(
                code=str(error.get("code", "failed")),
                line=error.get("line"),
                message=str(error.get("message", "")),
                param=error.get("param"),
            )
            for error in found
        ]
    )


def _usage(usage: Mapping[str, int] | None) -> BatchUsage | None:
    if usage is None:
        return None
    read, written = usage["prompt_tokens"], usage["completion_tokens"]
    return BatchUsage(input_tokens=read, output_tokens=written, total_tokens=read + written)
