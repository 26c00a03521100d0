"""Running one worker process until SIGTERM: `textgen worker train|generate|reconcile`."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from celery import Celery
from celery.signals import setup_logging, worker_shutting_down

from worker.backend import Backend, open_backend
from worker.batches.run import BatchRun
from worker.celery_app import make_consumer, make_publisher
from worker.children.run import ChildRun
from worker.children.scratch import remove_stale
from worker.client import ANSWER_RETRIES, Wakeups, connect
from worker.contracts import BATCH, INTERACTIVE, TRAINING
from worker.errors import InvalidSetting
from worker.evaluation.run import EvaluationRun
from worker.examination.run import ExaminationRun
from worker.generation.answers import Answers
from worker.generation.engine_link import EngineLink
from worker.jobs.states import Kind
from worker.metrics.exposition import to_text
from worker.metrics.publisher import publishing
from worker.metrics.worker_metrics import WorkerMetrics, waiting_in
from worker.operations.retention import Retention
from worker.processes.cores import available_cores
from worker.processes.health import RECONCILER
from worker.processes.identity import Identity, take_identity
from worker.processes.presence import announce, life_of
from worker.processes.reconciler import Reconciler
from worker.processes.runner import Runner
from worker.repeating import repeating
from worker.scoring.run import ScoringRun
from worker.settings import Settings
from worker.storage.artifacts import ArtifactStore
from worker.tasks import register_generate, register_wake
from worker.training.run import TrainingRun
from worker.usage.interactive import InteractiveMeter
from worker.webhooks.deliverer import LET_GO_SECONDS, Deliverer
from worker.webhooks.destinations import Allowed
from worker.webhooks.sender import Sender

LOG = logging.getLogger(__name__)

# What training workers do, each job in a process of its own.
CHILD_RUNS: Mapping[Kind, type[ChildRun]] = {
    "training": TrainingRun,
    "scoring": ScoringRun,
    "evaluation": EvaluationRun,
    "examination": ExaminationRun,
}
ROLES = ("train", "generate", "reconcile")
BATCHES_AT_ONCE = 4  # so that a small batch need not wait for a large one
INTERACTIVE_THREADS = 4  # they only hand requests on to the engine
TIDY_SECONDS = 600.0


def run_worker(role: str, settings: Settings) -> int:
    """Run a worker of the role until it is told to stop; returns the exit status."""
    if not settings.broker_url:
        raise InvalidSetting(
            "TEXTGEN_BROKER_URL is not set: a worker by itself needs the Redis that the web "
            "process uses. `textgen up` starts a whole stack with one.",
            param="TEXTGEN_BROKER_URL",
        )
    return {"train": _train, "generate": _generate, "reconcile": _reconcile}[role](settings)


def _train(settings: Settings) -> int:
    backend = open_backend(settings)
    identity = take_identity(settings.work_folder, "train")
    slots = max(1, settings.train_workers)
    remove_stale(settings.work_folder, backend.jobs.is_live)

    def run(job: Any, draining: Callable[[], bool]) -> None:
        CHILD_RUNS[job.kind](backend, job, draining).run()

    app = make_consumer(settings)
    runner = Runner(backend.jobs, TRAINING, identity, slots, run)
    register_wake(app, runner)
    with (
        announce(backend, identity, "train", {TRAINING: slots}),
        _tidied(backend.store),
        _measured(backend, identity, [TRAINING], slots),
    ):
        return _consume(app, settings, identity, [TRAINING], slots, [runner])


def _generate(settings: Settings) -> int:
    backend = open_backend(settings)
    identity = take_identity(settings.work_folder, "generate")
    link = EngineLink(
        device=settings.device,
        slots=settings.slots,
        cache_bytes=settings.model_cache_bytes,
        prefix_cache_bytes=settings.prefix_cache_bytes,
        weights=settings.generation_weights,
        threads=settings.threads if settings.threads else available_cores(),
        log_format=settings.log_format,
        traces=settings.traces,
    )
    link.start()
    meter = InteractiveMeter(backend.database)
    meter.start()
    life = life_of(identity.name, identity.incarnation)
    answers = Answers(connect(settings, retries=ANSWER_RETRIES), link, life, meter)
    answers.start()

    def run(job: Any, draining: Callable[[], bool]) -> None:
        BatchRun(backend, link, job, draining).run()

    for name in ("celery.app.trace", "celery.worker.strategy"):  # two lines for each request
        logging.getLogger(name).setLevel(logging.WARNING)
    app = make_consumer(settings)
    runner = Runner(backend.jobs, BATCH, identity, BATCHES_AT_ONCE, run)
    register_wake(app, runner)
    register_generate(app, answers, backend.store)
    threads = BATCHES_AT_ONCE + INTERACTIVE_THREADS
    try:
        with (
            announce(backend, identity, "generate", {BATCH: BATCHES_AT_ONCE}),
            _tidied(backend.store),
            _measured(backend, identity, [INTERACTIVE, BATCH], threads, link),
        ):
            status = _consume(app, settings, identity, [INTERACTIVE, BATCH], threads, [runner])
        answers.stop(settings.drain_seconds)
        meter.stop()
        return status
    finally:
        link.close()


def _reconcile(settings: Settings) -> int:
    backend = open_backend(settings)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    wakeups = Wakeups(make_publisher(settings), connect(settings), settings.broker_retry_seconds)
    deliverer = Deliverer(
        backend.database,
        Sender(Allowed.parse(settings.webhook_allow)),
        hold_seconds=settings.webhook_hold_seconds,
    )
    sending = threading.Thread(target=deliverer.run, args=(stop,), name="webhooks", daemon=True)
    retention = threading.Thread(
        target=Retention(backend).run, args=(stop,), name="retention", daemon=True
    )
    for thread in (sending, retention):
        thread.start()
    identity = take_identity(settings.work_folder, RECONCILER)
    life = life_of(identity.name, identity.incarnation)
    with (
        announce(backend, identity, RECONCILER, {"": 0}),
        publishing(connect(settings), life, lambda: to_text([backend.jobs.metrics.registry])),
    ):
        Reconciler(backend, wakeups).run(stop)
    for thread in (sending, retention):
        thread.join(LET_GO_SECONDS)
    return 0


@contextmanager
def _measured(
    backend: Backend,
    identity: Identity,
    queues: Sequence[str],
    threads: int,
    link: EngineLink | None = None,
) -> Iterator[None]:
    """Measure what this worker does and publish it, until the block ends."""
    connection = connect(backend.settings)
    metrics = WorkerMetrics(threads, lambda: waiting_in(connection, queues))
    metrics.listen()
    registries = [metrics.registry, backend.jobs.metrics.registry]

    def text() -> str:
        return to_text(registries) + ("" if link is None else link.metrics_text())

    life = life_of(identity.name, identity.incarnation)
    with publishing(connection, life, text, metrics.look):
        yield


@contextmanager
def _tidied(store: ArtifactStore) -> Iterator[None]:
    """Let go of copies that are over, now and every ten minutes, until the block ends."""

    def tidy() -> None:
        try:
            store.tidy_copies()
        except OSError as error:
            LOG.warning("copies of files could not be tidied: %s", error)

    with repeating("copies", tidy, TIDY_SECONDS):
        yield


def _leave_logging(**_: Any) -> None:
    """That somebody listens is enough for Celery to leave log handlers as they are."""


def _consume(
    app: Celery,
    settings: Settings,
    identity: Identity,
    queues: Sequence[str],
    threads: int,
    runners: Sequence[Runner],
) -> int:
    """Consume until a signal; running jobs are let go before this returns."""

    def drain(**_: Any) -> None:
        for runner in runners:
            runner.drain()

    worker_shutting_down.connect(drain, weak=False)
    setup_logging.connect(_leave_logging, weak=False)
    worker = app.Worker(
        pool="threads",
        concurrency=threads,
        queues=list(queues),
        hostname=identity.name,
        loglevel="INFO",
        quiet=settings.log_format == "json",  # its banner is no JSON
        redirect_stdouts=False,
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
    )
    worker.start()
    return int(worker.exitcode or 0)
