"""Is it alive, can it work, and how much does it do."""

from __future__ import annotations

from typing import Literal

from flask import Response

from web.metrics import Metrics
from web.resource import Resource, json_answer
from web.schemas.base import Shape
from web.service_metrics import families, parts_up
from web.services import current
from worker.processes.health import Status

health = Resource("health", __name__)


class Health(Shape):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Readiness(Shape):
    """``ok`` or ``unavailable`` for each part that requests need."""

    status: Literal["ok", "unavailable"]
    parts: dict[str, Literal["ok", "unavailable"]]


class Worker(Shape):
    """A worker: ``slots`` are jobs that it takes at once, by queue; a reconciler takes none."""

    object: Literal["worker"] = "worker"
    id: str
    role: str
    slots: dict[str, int]
    status: Status
    started_at: int
    seen_at: int


class WorkerList(Shape):
    """All workers."""

    object: Literal["list"] = "list"
    data: list[Worker]


@health.on("GET /healthz", "Whether the process answers", answer=Health)
def alive() -> Health:
    """Answers without looking at anything."""
    return Health()


@health.on("GET /readyz", "Whether database, broker and storage answer", answer=Readiness)
def ready() -> Response:
    """503 until every part answers; says which does not, and no more, since all may ask."""
    services = current()
    parts: dict[str, Literal["ok", "unavailable"]] = {
        name: "ok" if answers else "unavailable" for name, answers in parts_up(services).items()
    }
    works = all(part == "ok" for part in parts.values())
    answer = json_answer(
        Readiness(status="ok" if works else "unavailable", parts=parts), 200 if works else 503
    )
    if not works:
        answer.headers["Retry-After"] = "2"
    return answer


@health.on("GET /metrics", "Figures for Prometheus", "admin", operator=True, media=("text/plain",))
def metrics() -> Response:
    """Of this web process, of all jobs and workers, and of the engines."""
    services = current()
    return Response(
        Metrics.of_app().render(services.jobs.metrics.registry, families(services)),
        content_type="text/plain; version=0.0.4; charset=utf-8",
    )


@health.on("GET /v1/workers", "How each worker does", "admin", operator=True, answer=WorkerList)
def workers() -> WorkerList:
    """A worker that takes nothing from its queues is not ``ok``, whatever its heartbeat says."""
    return WorkerList(
        data=[
            Worker(
                id=each.name,
                role=each.role,
                slots=dict(each.slots),
                status=each.status,
                started_at=int(each.started_at),
                seen_at=int(each.seen_at),
            )
            for each in current().workers.look()
        ]
    )
