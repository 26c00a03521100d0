"""/: what runs, what waits, who works, what it costs, and how to call the service."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from flask import Response, request

from web.auth import tenant
from web.pages.job_rows import JobRow, job_row
from web.pages.page import Pages, render
from web.pages.words import job_words
from web.services import Services, current
from worker.jobs.states import State
from worker.processes.presence import Presence
from worker.processes.queue_states import QueueStates
from worker.usage.usage import UsageQuery

overview = Pages("overview", __name__)

ROWS = 20
RECENT = 8
MINUTE = 60
DAY = 86_400


@overview.page("GET /", "The dashboard", "read")
def index() -> Response:
    """Made on the server; a script renews what changes while it is looked at."""
    services = current()
    running = _rows(services, ["running", "paused"], ROWS)
    waiting = _rows(services, ["queued"], ROWS)
    recent = _rows(services, ["succeeded", "failed", "cancelled"], RECENT)
    rows = [*running, *waiting, *recent]
    return render(
        "overview.html",
        running=running,
        waiting=waiting,
        recent=recent,
        newest=services.jobs.newest(tenant()),
        watched=[row.id for row in rows if row.state in ("queued", "running", "paused")],
        workers=_workers(services),
        queues=QueueStates(services.database, services.settings).all(tenant()),
        throughput=throughput(services, running),
        standing=any(each.status == "not_consuming" for each in services.workers.look()),
        cost=cost_today(services),
        base_url=base_url(services),
        words=job_words(),
    )


def _rows(services: Services, states: Sequence[State], limit: int) -> list[JobRow]:
    return [job_row(job) for job in services.jobs.list(tenant(), states=states, limit=limit).items]


def _workers(services: Services) -> dict[str, int]:
    """How many are there by role, ``train`` and ``generate``."""
    rows = Presence(services.database, services.settings).live()
    return Counter(role for _name, role in {(row.name, row.role) for row in rows})


@dataclass(frozen=True)
class Throughput:
    """What the project gets done now: written texts over the last minute, trainings as they say."""

    characters_per_second: float
    requests_per_second: float
    training_tokens_per_second: float


def throughput(services: Services, running: Sequence[JobRow]) -> Throughput:
    """Of texts that were asked for one by one, and of the trainings that run."""
    with services.database.read() as connection:
        now = services.database.now(connection)
    last = UsageQuery(now - MINUTE, now, [tenant()], kinds=["completions"])
    written = services.usage.total(last)
    return Throughput(
        written.characters_out / MINUTE,
        written.requests / MINUTE,
        sum(row.tokens_per_second for row in running if row.state == "running"),
    )


def cost_today(services: Services) -> tuple[float, str] | None:
    """What the project has used since midnight (UTC), in its currency; None without prices."""
    if not services.terms.prices.lists:
        return None
    currency = services.tenants.known(tenant()).currency
    midnight = time.time() // DAY * DAY
    with services.database.read() as connection:
        lines = services.budgets.costs.lines(
            connection, tenant(), currency, midnight, midnight + DAY
        )
        return float(sum(line.amount for line in lines)), currency


def base_url(services: Services) -> str:
    """Where clients call."""
    public = services.settings.public_url
    return (public if public else request.url_root).rstrip("/") + "/v1"
