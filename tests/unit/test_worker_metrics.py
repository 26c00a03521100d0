"""Whether a worker consumes, by what it sees of its queues and its own threads."""

from __future__ import annotations

from types import SimpleNamespace

from worker.metrics.exposition import to_text
from worker.metrics.worker_metrics import WorkerMetrics


class Queue:
    """Messages that wait, and a clock."""

    def __init__(self) -> None:
        self.waiting = 0
        self.now = 100.0

    def metrics(self, threads: int = 2) -> WorkerMetrics:
        return WorkerMetrics(threads, lambda: self.waiting, patience=10, clock=lambda: self.now)

    def consumes(self, metrics: WorkerMetrics, seconds: float) -> bool:
        """What its last look says, when it looks each second for so long."""
        found = metrics.look()
        for _ in range(round(seconds)):
            self.now += 1
            found = metrics.look()
        return found


TASK = SimpleNamespace(name="textgen.wake")


def test_nothing_waits() -> None:
    queue = Queue()
    metrics = queue.metrics()

    assert queue.consumes(metrics, 60)
    assert "textgen_worker_consuming 1.0" in to_text([metrics.registry])


def test_messages_that_nobody_takes() -> None:
    queue = Queue()
    metrics = queue.metrics()
    queue.waiting = 1

    assert queue.consumes(metrics, 9)
    assert not queue.consumes(metrics, 2)
    assert "textgen_worker_consuming 0.0" in to_text([metrics.registry])

    queue.waiting = 0
    assert queue.consumes(metrics, 0)


def test_a_worker_that_takes_one_after_the_other_consumes_however_many_wait() -> None:
    queue = Queue()
    metrics = queue.metrics()
    queue.waiting = 1000

    for _ in range(10):
        metrics._on_received(SimpleNamespace(task_name="textgen.wake"))
        assert queue.consumes(metrics, 5)


def test_a_worker_whose_threads_are_all_busy_need_take_nothing() -> None:
    queue = Queue()
    metrics = queue.metrics(threads=1)
    metrics._on_start("1", TASK)
    queue.waiting = 3

    assert queue.consumes(metrics, 60)

    metrics._on_end("1", TASK)
    assert not queue.consumes(metrics, 12)


def test_tasks_by_flowers_names() -> None:
    queue = Queue()
    metrics = queue.metrics()
    metrics._on_received(SimpleNamespace(task_name="textgen.wake"))
    metrics._on_start("1", TASK)
    text = to_text([metrics.registry])
    assert "flower_worker_number_of_currently_executing_tasks 1.0" in text

    queue.now += 0.5
    metrics._on_success(TASK)
    metrics._on_end("1", TASK)

    text = to_text([metrics.registry])
    assert "flower_worker_number_of_currently_executing_tasks 0.0" in text
    assert 'flower_events_total{task="textgen.wake",type="task-succeeded"} 1.0' in text
    assert 'flower_task_runtime_seconds_sum{task="textgen.wake"} 0.5' in text
