"""What a Celery worker does, by Flower's names, and whether it takes what is there to be taken.

Flower reads these figures from Celery's events; here the worker measures them itself, so they are
there without events being sent.

A consumer may stand still although its process lives: a connection that is half open, a consumer
that does not come back after Redis was away. So a worker looks at its queues. Where messages wait,
a thread of it is free, and it has taken none for a while, it does not consume.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import redis
from celery.signals import task_failure, task_postrun, task_prerun, task_received, task_success
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

PATIENCE_SECONDS = 10.0  # that messages may wait for a free thread
RUNTIME_SECONDS = (0.001, 0.005, 0.025, 0.1, 0.5, 1, 5, 30, 60, 300, 1800, 7200, 86_400)


class WorkerMetrics:
    """Of the worker of this process, which has so many ``threads``. Safe to share between threads.

    ``waiting`` tells how many messages are in the worker's queues; it may raise RedisError.
    """

    def __init__(
        self,
        threads: int,
        waiting: Callable[[], int],
        *,
        patience: float = PATIENCE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.registry = CollectorRegistry()
        self._threads = threads
        self._waiting = waiting
        self._patience = patience
        self._clock = clock
        self._lock = threading.Lock()
        self._began: dict[str, float] = {}  # by the id of a task that is being executed
        self._received = self._received_before = 0
        self._behind_since: float | None = None
        self._events = Counter(
            "flower_events",
            "What happened to Celery's tasks.",
            ("type", "task"),
            registry=self.registry,
        )
        self._runtime = Histogram(
            "flower_task_runtime_seconds",
            "How long Celery's tasks took.",
            ("task",),
            buckets=RUNTIME_SECONDS,
            registry=self.registry,
        )
        self._executing = Gauge(
            "flower_worker_number_of_currently_executing_tasks",
            "Celery's tasks that are being executed.",
            registry=self.registry,
        )
        self._executing.set_function(lambda: len(self._began))
        self._consuming = Gauge(
            "textgen_worker_consuming",
            "1: takes what is in its queues; 0: messages wait although a thread is free.",
            registry=self.registry,
        )

    def listen(self) -> None:
        """Hear of every task of this process from now on."""
        task_received.connect(self._on_received, weak=False)
        task_prerun.connect(self._on_start, weak=False)
        task_postrun.connect(self._on_end, weak=False)
        task_success.connect(self._on_success, weak=False)
        task_failure.connect(self._on_failure, weak=False)

    def look(self) -> bool:
        """Whether the worker consumes; raises RedisError. To be called each second."""
        waiting, now = self._waiting(), self._clock()
        with self._lock:
            idle = len(self._began) < self._threads
            still = self._received == self._received_before
            self._received_before = self._received
        if not (waiting and idle and still):
            self._behind_since = None
        elif self._behind_since is None:
            self._behind_since = now
        behind = 0.0 if self._behind_since is None else now - self._behind_since
        consumes = behind < self._patience
        self._consuming.set(consumes)
        return consumes

    def _on_received(self, request: Any, **_: Any) -> None:
        with self._lock:
            self._received += 1
        self._events.labels("task-received", request.task_name).inc()

    def _on_start(self, task_id: str, task: Any, **_: Any) -> None:
        with self._lock:
            self._began[task_id] = self._clock()
        self._events.labels("task-started", task.name).inc()

    def _on_end(self, task_id: str, task: Any, **_: Any) -> None:
        with self._lock:
            began = self._began.pop(task_id, None)
        if began is not None:
            self._runtime.labels(task.name).observe(self._clock() - began)

    def _on_success(self, sender: Any, **_: Any) -> None:
        self._events.labels("task-succeeded", sender.name).inc()

    def _on_failure(self, sender: Any, **_: Any) -> None:
        self._events.labels("task-failed", sender.name).inc()


def waiting_in(connection: redis.Redis, queues: Sequence[str]) -> int:
    """Messages in these queues that nobody has taken; raises RedisError."""
    with connection.pipeline(transaction=False) as pipe:
        for queue in queues:
            pipe.llen(queue)
        return sum(map(int, pipe.execute()))
