"""A job as a line of a list."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from web.pages import figures
from web.pages.language import _, named, said
from worker.jobs.rows import Job


@dataclass(frozen=True)
class JobRow:
    """What people want to see of a job among others."""

    id: str
    kind: str
    state: str
    name: str
    done: float | None  # 0 to 1
    figures: tuple[str, ...]
    problem: str
    created_at: float
    tokens_per_second: float  # of a training


def job_row(job: Job) -> JobRow:
    """The line of one job."""
    live = job.state in ("running", "paused")
    return JobRow(
        id=job.id,
        kind=job.kind,
        state=job.state,
        name=name_of(job),
        done=figures.share_done(job.progress) if live else None,
        figures=tuple(told(job.progress) if live else outcome(job.result)),
        problem="" if job.error is None else said(str(job.error.get("message", ""))),
        created_at=job.created_at,
        tokens_per_second=float(job.progress.get("tokens_per_second") or 0.0),
    )


def name_of(job: Job) -> str:
    """What a job works on, in its owner's words."""
    return name_of_spec(job.spec)


def name_of_spec(spec: Mapping[str, Any]) -> str:
    """As ``name_of``, of what was asked for."""
    files = [*(spec.get("files") or ()), spec.get("input_file")]
    names = [spec.get("alias"), spec.get("model"), *(file["filename"] for file in files if file)]
    return " · ".join(list(dict.fromkeys(name for name in names if name))[:3])


def told(progress: dict[str, Any]) -> list[str]:
    """The few numbers that matter while a job runs: rate and time left, while it makes steps."""
    found, steps = [], not progress.get("doing")
    counts = progress.get("request_counts")
    if counts is not None:
        done = counts["completed"] + counts["failed"]
        found.append(_("%(done)s of %(total)s lines") % _counted(done, counts["total"]))
    if progress.get("total") is not None:
        counted = _counted(progress["done"], progress["total"])
        found.append(f"{counted['done']} / {counted['total']} {named(progress['unit'])}")
    if progress.get("part"):
        found.append(_("measuring %(part)s") % {"part": named(progress["part"])})
    elif progress.get("step") is not None:
        counted = _counted(progress["step"], progress.get("total_steps", 0))
        found.append(_("step %(done)s of %(total)s") % counted)
    if progress.get("train_loss") is not None:
        loss = f"{progress['train_loss']:.3f}"
        found.append(_("loss %(loss)s nats/token") % {"loss": loss})
    if progress.get("epsilon_spent") is not None:
        found.append(f"ε {progress['epsilon_spent']:.2f}")
    if steps and progress.get("tokens_per_second") is not None:
        rate = f"{progress['tokens_per_second']:,.0f}"
        found.append(_("%(rate)s tokens/s") % {"rate": rate})
    if steps and progress.get("seconds_left") is not None:
        left = figures.duration(progress["seconds_left"])
        found.append(_("%(time)s left") % {"time": left})
    return found


def outcome(result: dict[str, Any] | None) -> list[str]:
    """What became of a job's lines, where it has some."""
    counts = None if result is None else result.get("request_counts")
    if counts is None:
        return []
    found = [_("%(done)s of %(total)s lines") % _counted(counts["completed"], counts["total"])]
    if counts["failed"]:
        found.append(_("%(count)s failed") % {"count": f"{counts['failed']:,}"})
    return found


def _counted(done: float, total: float) -> dict[str, str]:
    return {"done": f"{done:,}", "total": f"{total:,}"}
