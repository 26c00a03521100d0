"""/trainings/compare: several trainings in one plot, and what sets them apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from flask import Response, url_for
from pydantic import BeforeValidator, Field

from web.auth import tenant
from web.pages.job_rows import name_of
from web.pages.model_rows import facts_of, said
from web.pages.page import Pages, render
from web.pages.words import comparison_words
from web.schemas.base import Query
from web.services import Services, current
from worker.errors import Gone, NotFound
from worker.jobs.rows import Job
from worker.jobs.states import FINAL

comparison = Pages("comparison", __name__)

MOST = 6  # lines that people still tell apart
LETTERS = "ABCDEF"
PAGE = 1000  # events that are read at a time
MOST_PAGES = 20
LEFT_OUT = ("numerics", "base", "replay", "embeddings", "seed")  # of a plan: hashes, said already
Axis = Literal["step", "tokens", "time"]
AXES: tuple[Axis, ...] = ("step", "tokens", "time")


def _split(value: object) -> object:
    return [each for each in value.split(",") if each] if isinstance(value, str) else value


class ComparisonQuery(Query):
    """Which trainings, ``ids=a,b`` or ``ids[]=a&ids[]=b``, and what the curves lie over."""

    ids: Annotated[tuple[str, ...], BeforeValidator(_split), Field(max_length=MOST)] = ()
    x: Axis = "step"


@dataclass(frozen=True)
class Point:
    """What was measured after a step; losses in nats a token."""

    step: int
    at: float  # seconds since the training began
    train: float | None
    valid: float | None


@dataclass(frozen=True)
class Compared:
    """One of the trainings."""

    job: Job
    letter: str
    name: str
    points: Sequence[Point]
    seen: int  # number of the last event that is among them
    best: Point | None  # with the lowest validation loss
    last_train: float | None
    last_valid: float | None


@dataclass(frozen=True)
class Setting:
    """A row of the table: a name, and the value that each training has."""

    name: str
    values: Sequence[str]

    @property
    def differs(self) -> bool:
        """Whether not all are the same."""
        return len(set(self.values)) > 1


@comparison.page(
    "GET /trainings/compare", "Trainings beside each other", "read", query=ComparisonQuery
)
def show(query: ComparisonQuery) -> Response:
    """Without ids: how to choose some."""
    found = [
        _compared(current(), job_id, letter)
        for job_id, letter in zip(dict.fromkeys(query.ids), LETTERS, strict=False)
    ]
    settings = list(_settings([each.job for each in found]))
    return render(
        "comparison.html",
        found=found,
        query=query,
        axes=AXES,
        most=MOST,
        different=[row for row in settings if row.differs],
        same=[row for row in settings if not row.differs],
        curves=[_curve(each) for each in found],
        words=comparison_words(),
    )


def _compared(services: Services, job_id: str, letter: str) -> Compared:
    job = services.jobs.get(tenant(), job_id)
    if job.kind != "training":
        raise NotFound(
            f"{job_id[:100]!r} is no training; only trainings have curves.", code="job_not_found"
        )
    points, seen = _points(services, job)
    measured = [point for point in points if point.valid is not None]
    return Compared(
        job=job,
        letter=letter,
        name=name_of(job),
        points=points,
        seen=seen,
        best=min(measured, key=lambda point: point.valid or 0.0, default=None),
        last_train=next((p.train for p in reversed(points) if p.train is not None), None),
        last_valid=measured[-1].valid if measured else None,
    )


def _points(services: Services, job: Job) -> tuple[list[Point], int]:
    """The curve of a training, by rising steps, and the number of the last event read.

    One that goes on from a checkpoint repeats some steps: what came later counts. Where events
    were removed after its end there is none.
    """
    points: list[Point] = []
    began = job.created_at if job.started_at is None else job.started_at
    seen = 0
    for _ in range(MOST_PAGES):
        try:
            events = services.jobs.events(tenant(), job.id, after=seen, limit=PAGE)
        except Gone:
            return [], seen
        for event in events:
            seen = event.id
            step = event.data.get("step")
            if event.type != "metrics" or step is None:
                continue
            while points and points[-1].step >= step:
                points.pop()
            train, valid = event.data.get("train_loss"), event.data.get("valid_loss")
            points.append(Point(step, event.created_at - began, train, valid))
        if len(events) < PAGE:
            break
    return points, seen


def _curve(found: Compared) -> dict[str, Any]:
    """What the script draws, and where it hears of more."""
    job, plan = found.job, found.job.plan or {}
    events = None
    if job.state not in FINAL:
        events = url_for("jobs.events", job_id=job.id, stream="true", after=found.seen)
    return {
        "letter": found.letter,
        "tokens_per_step": plan.get("batch_size", 0) * plan.get("sequence_length", 0),
        "began": job.created_at if job.started_at is None else job.started_at,
        "events": events,
        "points": [
            [point.step, round(point.at, 1), point.train, point.valid] for point in found.points
        ],
    }


def _settings(jobs: Sequence[Job]) -> Iterator[Setting]:
    """All that was asked for or settled, by name, in the order of its first appearance."""
    each = [dict(_facts(job)) for job in jobs]
    names = dict.fromkeys(name for facts in each for name in facts)
    for name in names:
        yield Setting(name, [facts.get(name, "–") for facts in each])


def _facts(job: Job) -> Iterator[tuple[str, str]]:
    spec = job.spec
    yield "model", said(spec.get("model"))
    yield "files", ", ".join(file["filename"] for file in spec.get("files") or ())
    yield "seed", str(spec.get("seed"))
    yield from facts_of(spec.get("hyperparameters"))
    plan: Mapping[str, Any] = job.plan or {}
    yield from facts_of({name: plan[name] for name in plan if name not in LEFT_OUT}, "plan")
