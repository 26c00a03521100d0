"""Figures of the whole service, looked up when they are asked for: jobs, workers, storage, parts.

Those that only Redis knows are NaN while it is away, which is Prometheus' word for unknown.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

from prometheus_client.core import GaugeMetricFamily, Metric

from textgen.errors import TextgenError
from web.services import Services
from worker.contracts import BATCH, INTERACTIVE, TRAINING
from worker.errors import BrokerUnavailable
from worker.processes.health import RECONCILER, WorkerHealth
from worker.usage.storage_usage import stored_bytes
from worker.webhooks.outbox import look_at_outbox

QUEUES = (INTERACTIVE, BATCH, TRAINING)
MOST_TRAININGS = 100  # running ones that are told by their ids
CONSUMING = {"ok": 1.0, "not_consuming": 0.0, "silent": 0.0, "unknown": math.nan}


def families(services: Services) -> Iterator[Metric]:
    """Everything; raises DatabaseUnavailable."""
    yield _parts(services)
    yield from _jobs(services)
    yield _messages(services)
    workers = services.workers.look()
    yield from _workers(workers)
    for worker in workers:
        yield from (each for each in worker.metrics if each.name != "textgen_worker_consuming")
    yield from _trainings(services)
    yield from _storage(services)
    yield from _webhooks(services)


def parts_up(services: Services) -> dict[str, bool]:
    """Whether each part that requests need answers."""
    checks: dict[str, Callable[[], object]] = {
        "database": services.database.ping,
        "broker": services.wakeups.ping,
        "storage": services.store.free_bytes,
    }
    return {name: _works(check) for name, check in checks.items()}


def _parts(services: Services) -> Metric:
    family = _gauge("textgen_part_up", "1: the part answers this web process.", "part")
    for name, answers in parts_up(services).items():
        family.add_metric([name], float(answers))
    return family


def _works(check: Callable[[], object]) -> bool:
    try:
        check()
    except (TextgenError, OSError):
        return False
    return True


def _jobs(services: Services) -> Iterator[Metric]:
    counts = _gauge(
        "textgen_jobs", "Jobs that have not ended, by queue and state.", "queue", "state"
    )
    known = {(queue, state): count for queue, state, count in services.jobs.counts()}
    for queue in (TRAINING, BATCH):
        for state in ("queued", "running", "paused"):
            counts.add_metric([queue, state], known.get((queue, state), 0))
    yield counts
    oldest = _gauge(
        "textgen_jobs_oldest_due_age_seconds",
        "Since when the oldest job has been queued that could be claimed now.",
        "queue",
    )
    ages = services.jobs.oldest_due_ages()
    for queue in (TRAINING, BATCH):
        oldest.add_metric([queue], ages.get(queue, 0.0))
    yield oldest


def _messages(services: Services) -> Metric:
    try:
        waiting: Sequence[float] = services.published.waiting(QUEUES)
    except BrokerUnavailable:
        waiting = [math.nan] * len(QUEUES)
    family = _gauge(
        "textgen_queue_messages",
        "Messages in Redis that no worker has taken: interactive requests, wake-ups.",
        "queue",
    )
    for queue, count in zip(QUEUES, waiting, strict=True):
        family.add_metric([queue], count)
    return family


def _workers(workers: Sequence[WorkerHealth]) -> Iterator[Metric]:
    labels = ("worker", "role")
    up = _gauge("textgen_worker_up", "1: its heartbeat is there.", *labels)
    seen = _gauge(
        "textgen_worker_heartbeat_timestamp_seconds", "When it was last seen, since 1970.", *labels
    )
    slots = _gauge("textgen_worker_slots", "Jobs that it takes at once.", "worker", "queue")
    online = _gauge("flower_worker_online", "As textgen_worker_up, of Celery's workers.", "worker")
    consuming = _gauge(
        "textgen_worker_consuming",
        "1: takes what is in its queues; 0: does not; NaN: Redis is away, so nobody knows.",
        *labels,
    )
    for worker in workers:
        alive = float(worker.status != "silent")
        up.add_metric([worker.name, worker.role], alive)
        seen.add_metric([worker.name, worker.role], worker.seen_at)
        for queue, number in worker.slots.items():
            slots.add_metric([worker.name, queue], number)
        if worker.role != RECONCILER:
            online.add_metric([worker.name], alive)
            consuming.add_metric([worker.name, worker.role], CONSUMING[worker.status])
    yield from (up, seen, slots, online, consuming)


def _trainings(services: Services) -> Iterator[Metric]:
    """Of running trainings; a job's series end with it, and there are so many at most."""
    speed = _gauge("textgen_training_tokens_per_second", "Tokens that it learns from.", "job")
    loss = _gauge("textgen_training_loss_nats", "Loss on the training text, per token.", "job")
    step = _gauge("textgen_training_step", "Steps that are done.", "job")
    total = _gauge("textgen_training_steps", "Steps of its plan.", "job")
    names = {
        "tokens_per_second": speed,
        "train_loss": loss,
        "step": step,
        "total_steps": total,
    }
    for job_id, progress in services.jobs.running_progress("training", MOST_TRAININGS):
        for name, family in names.items():
            if isinstance(progress.get(name), int | float):
                family.add_metric([job_id], progress[name])
    yield from names.values()


def _storage(services: Services) -> Iterator[Metric]:
    free = _gauge("textgen_storage_free_bytes", "Space left for artifacts.")
    try:
        free.add_metric([], services.store.free_bytes())
    except OSError:
        free.add_metric([], math.nan)
    yield free
    floor = _gauge("textgen_storage_floor_bytes", "With less than this free no new work is taken.")
    floor.add_metric([], services.settings.disk_floor_bytes)
    yield floor
    used = _gauge("textgen_storage_used_bytes", "Files and models of all projects, by the hour.")
    stored = stored_bytes(services.database)
    used.add_metric([], math.nan if stored is None else stored)
    yield used


def _webhooks(services: Services) -> Iterator[Metric]:
    outbox = look_at_outbox(services.database)
    pending = _gauge("textgen_webhook_deliveries_pending", "Events that are not delivered yet.")
    pending.add_metric([], outbox.pending)
    yield pending
    late = _gauge(
        "textgen_webhook_oldest_due_age_seconds",
        "Since when the oldest delivery is due that nobody has tried.",
    )
    late.add_metric([], outbox.oldest_due_age)
    yield late


def _gauge(name: str, meaning: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, meaning, labels=labels)
