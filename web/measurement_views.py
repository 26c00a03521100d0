"""Scorings and evaluations as clients see them: made from the job's row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from web.schemas.evaluations import EvaluationObject
from web.schemas.scores import ScoreObject
from web.training_views import error_view, estimated_finish
from worker.jobs.rows import Job


def score_view(job: Job) -> ScoreObject:
    """The whole object."""
    result: Mapping[str, Any] = {} if job.result is None else job.result
    return ScoreObject.model_construct(
        **_common(job),
        worst=job.spec["worst"],
        reading=job.spec["reading"],
        summary=result.get("summary"),
        scores_file_id=result.get("scores_file_id"),
        summary_file_id=result.get("summary_file_id"),
    )


def evaluation_view(job: Job) -> EvaluationObject:
    """The whole object."""
    result: Mapping[str, Any] = {} if job.result is None else job.result
    return EvaluationObject.model_construct(
        **_common(job),
        training_files=[file["id"] for file in job.spec["training_files"]],
        reading=job.spec["reading"],
        options=job.spec["options"],
        summary=result.get("summary"),
        report_file_id=result.get("report_file_id"),
        page_file_id=result.get("page_file_id"),
    )


def _common(job: Job) -> dict[str, Any]:
    file = job.spec["input_file"]
    return {
        "id": job.id,
        "status": job.state,
        "model": job.spec["model"],
        "file": None if file is None else file["id"],
        "created_at": int(job.created_at),
        "started_at": None if job.started_at is None else int(job.started_at),
        "finished_at": None if job.finished_at is None else int(job.finished_at),
        "estimated_finish": estimated_finish(job),
        "progress": dict(job.progress),
        "error": error_view(job),
        "metadata": dict(job.metadata),
    }
