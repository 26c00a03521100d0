"""/workers: who is there to work, what each does, what waits in the queues and why."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flask import Response

from web.auth import is_operator, tenant
from web.pages import figures
from web.pages.job_rows import name_of_spec, told
from web.pages.language import said
from web.pages.page import Pages, render
from web.services import Services, current
from worker.errors import BrokerUnavailable
from worker.generation.engine_states import EngineState
from worker.processes.presence import Presence, WorkerRow
from worker.processes.queue_states import HeldJob, QueueStates

worker_pages = Pages("worker_pages", __name__)


@dataclass(frozen=True)
class Doing:
    """A job in a worker's hands; without an id it is another project's."""

    id: str
    tenant: str
    kind: str
    name: str
    done: float | None
    figures: Sequence[str]


@dataclass(frozen=True)
class WorkerView:
    """One worker. ``silent``: it holds jobs and has not been heard of."""

    name: str
    role: str
    places: int
    started_at: float | None
    seen_seconds: float | None
    doing: Sequence[Doing]
    engine: EngineState | None
    models: Sequence[tuple[str, int]]  # names and bytes
    silent: bool


@worker_pages.page("GET /workers", "Workers and queues, for people", "read")
def index() -> Response:
    """Everybody sees the project's own jobs; the operator those of all, and the machines."""
    services = current()
    operator = is_operator()
    states = QueueStates(services.database, services.settings)
    rows = Presence(services.database, services.settings).live()
    away = ""
    engines: Mapping[str, EngineState] = {}
    requests: int | None = None
    try:
        engines = services.engines.of(
            [f"{row.name}.{row.incarnation}" for row in rows if row.role == "generate"]
        )
        requests = services.engines.requests_waiting()
    except BrokerUnavailable as error:
        away = said(error.message)
    workers = _workers(services, rows, states.running(), engines)
    return render(
        "workers.html",
        queues=states.all(None if operator else tenant()),
        workers=workers,
        requests=requests,
        away=away if operator else bool(away),
        operator=operator,
        now=time.time(),
        trainers=sum(each.role == "train" and not each.silent for each in workers),
        writers=sum(each.role == "generate" and not each.silent for each in workers),
    )


def _workers(
    services: Services,
    rows: Sequence[WorkerRow],
    running: Sequence[HeldJob],
    engines: Mapping[str, EngineState],
) -> list[WorkerView]:
    """Those that are there by name, then those that hold jobs and are silent."""
    operator, now = is_operator(), time.time()
    held: dict[str, list[HeldJob]] = defaultdict(list)
    for job in running:
        held[job.worker or ""].append(job)
    names = _model_names(services, engines) if operator else {}
    found = []
    for number, row in enumerate(rows, 1):
        engine = engines.get(f"{row.name}.{row.incarnation}")
        found.append(
            WorkerView(
                name=row.name if operator else str(number),
                role=row.role,
                places=row.slots,
                started_at=row.started_at,
                seen_seconds=max(0.0, now - row.seen_at),
                doing=[_doing(job, operator) for job in held.pop(row.name, [])],
                engine=engine,
                models=[] if engine is None else _named(engine, names),
                silent=False,
            )
        )
    for name, jobs in held.items():
        view: dict[str, Any] = {"started_at": None, "seen_seconds": None, "engine": None}
        role = "train" if jobs[0].queue == "training" else "generate"
        doing = [_doing(job, operator) for job in jobs]
        shown = name if operator else ""
        found.append(WorkerView(shown, role, 0, doing=doing, models=[], silent=True, **view))
    return found


def _doing(job: HeldJob, operator: bool) -> Doing:
    own = job.tenant == tenant()
    if not own and not operator:
        return Doing("", "", job.kind, "", None, ())
    return Doing(
        id=job.id,
        tenant="" if own else job.tenant,
        kind=job.kind,
        name=name_of_spec(job.spec),
        done=figures.share_done(job.progress),
        figures=told(job.progress),
    )


def _model_names(services: Services, engines: Mapping[str, EngineState]) -> Mapping[str, str]:
    artifacts = {model.artifact for engine in engines.values() for model in engine.models}
    return services.models.names_of_artifacts(artifacts)


def _named(engine: EngineState, names: Mapping[str, str]) -> list[tuple[str, int]]:
    """The models that are loaded, those used last first; only the operator sees which."""
    return [
        (names.get(each.artifact, each.artifact) if is_operator() else "", each.bytes)
        for each in reversed(engine.models)
    ]
