"""Is it alive, can it work, and how much does it do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from flask import Response
from sqlalchemy import text

from textgen.errors import TextgenError
from web.metrics import Metrics
from web.resource import Resource, json_answer
from web.schemas.base import Shape
from web.services import Services, current

health = Resource("health", __name__)


class Health(Shape):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Readiness(Shape):
    """``ok`` or ``unavailable`` for each part that requests need."""

    status: Literal["ok", "unavailable"]
    parts: dict[str, Literal["ok", "unavailable"]]


@health.on("GET /healthz", "Whether the process answers", answer=Health)
def alive() -> Health:
    """Answers without looking at anything."""
    return Health()


@health.on("GET /readyz", "Whether database, broker and storage answer", answer=Readiness)
def ready() -> Response:
    """503 until every part answers; says which does not, and no more, since all may ask."""
    services = current()
    parts: dict[str, Literal["ok", "unavailable"]] = {
        name: "ok" if _works(check) else "unavailable" for name, check in _checks(services).items()
    }
    works = all(part == "ok" for part in parts.values())
    answer = json_answer(
        Readiness(status="ok" if works else "unavailable", parts=parts), 200 if works else 503
    )
    if not works:
        answer.headers["Retry-After"] = "2"
    return answer


def _checks(services: Services) -> dict[str, Callable[[], object]]:
    def database() -> None:
        with services.database.read() as connection:
            connection.execute(text("SELECT 1"))

    return {
        "database": database,
        "broker": services.wakeups.ping,
        "storage": services.store.free_bytes,
    }


def _works(check: Callable[[], object]) -> bool:
    try:
        check()
    except (TextgenError, OSError):
        return False
    return True


@health.on("GET /metrics", "Figures for Prometheus", "admin", operator=True, media=("text/plain",))
def metrics() -> Response:
    """Jobs by queue and state over all tenants, requests and their latency."""
    return Response(
        Metrics.of_app().render(current().jobs.counts()),
        content_type="text/plain; version=0.0.4; charset=utf-8",
    )
