"""/: what runs, what waits, which models there are, and how to call them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from flask import Response, render_template, request

from web.auth import key, tenant
from web.resource import Resource
from web.services import Services, current
from worker.jobs.rows import Job
from worker.jobs.states import State
from worker.storage.models import Model

dashboard = Resource("dashboard", __name__)

ROWS = 20
RECENT = 8


@dataclass(frozen=True)
class JobRow:
    """One job as the page shows it."""

    id: str
    kind: str
    state: str
    name: str
    done: float | None  # 0 to 1
    figures: tuple[str, ...]
    problem: str


@dashboard.on("GET /", "The dashboard", "read", page=True, media=("text/html",))
def overview() -> Response:
    """Made on the server; a small script renews it while it is looked at."""
    services, owner = current(), tenant()
    page = render_template(
        "dashboard.html",
        tenant=owner,
        scopes=key().scopes,
        running=_rows(services, ["running", "paused"], ROWS),
        waiting=_rows(services, ["queued"], ROWS),
        recent=_rows(services, ["succeeded", "failed", "cancelled"], RECENT),
        models=[_model_row(model) for model in services.models.list(owner)[:ROWS]],
        base_url=_base_url(services),
    )
    return Response(page, mimetype="text/html")


def _rows(services: Services, states: Sequence[State], limit: int) -> list[JobRow]:
    page = services.jobs.list(tenant(), states=states, limit=limit)
    return [_job_row(job) for job in page.items]


def _job_row(job: Job) -> JobRow:
    return JobRow(
        id=job.id,
        kind=job.kind,
        state=job.state,
        name=_name(job),
        done=_share_done(job.progress),
        figures=tuple(_figures(job.progress)) if job.state == "running" else (),
        problem="" if job.error is None else str(job.error.get("message", "")),
    )


def _name(job: Job) -> str:
    """What a job works on, in its owner's words."""
    file = job.spec.get("input_file")
    names = [job.spec.get("model"), None if file is None else file["filename"]]
    return " · ".join(name for name in names if name)


def _share_done(progress: dict[str, Any]) -> float | None:
    counts = progress.get("request_counts")
    if counts is not None:
        total, now = counts["total"], counts["completed"] + counts["failed"]
    else:
        total = progress.get("total_steps", progress.get("total"))
        now = progress.get("step", progress.get("done"))
    return min(1.0, now / total) if total and now is not None else None


def _figures(progress: dict[str, Any]) -> list[str]:
    """The few numbers that matter while a job runs."""
    found = []
    counts = progress.get("request_counts")
    if counts is not None:
        found.append(f"{counts['completed'] + counts['failed']:,} of {counts['total']:,} lines")
    if progress.get("total") is not None:
        found.append(f"{progress['done']:,} of {progress['total']:,} {progress['unit']}")
    if progress.get("part"):
        found.append(f"measuring {progress['part']}")
    elif progress.get("step") is not None:
        found.append(f"step {progress['step']:,} of {progress.get('total_steps', 0):,}")
    if progress.get("train_loss") is not None:
        found.append(f"loss {progress['train_loss']:.3f} nats/token")
    if progress.get("epsilon_spent") is not None:
        found.append(f"epsilon {progress['epsilon_spent']:.2f}")
    if progress.get("tokens_per_second") is not None:
        found.append(f"{progress['tokens_per_second']:,.0f} tokens/s")
    if progress.get("seconds_left") is not None:
        found.append(f"{_duration(progress['seconds_left'])} left")
    return found


def _duration(seconds: float) -> str:
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _model_row(model: Model) -> dict[str, Any]:
    metrics = model.header.get("metrics") or {}
    return {
        "id": model.id,
        "made": datetime.fromtimestamp(model.created_at, UTC),
        "bits": metrics.get("bits_per_character"),
    }


def _base_url(services: Services) -> str:
    public = services.settings.public_url
    return (public if public else request.url_root).rstrip("/") + "/v1"
