"""What one process has seen of jobs: how many came, how long they waited and ran, how they ended.

Counted after the COMMIT that makes it true, by whichever process wrote it: most ends by workers,
lost jobs by the reconciler, cancelled ones by web processes. So all of them have these figures.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Histogram

if TYPE_CHECKING:
    from worker.jobs.rows import Job

# How jobs fail by no fault of their owners: deploy/alerts.yml asks for these.
SERVICE_FAULTS = (
    "poison", "too_many_retries", "resources_exhausted", "file_unreadable", "model_unreadable",
    "internal_error", "unknown",
)  # fmt: skip
REQUEUED = ("lost_worker", "passing_fault", "let_go")
SECONDS = (
    0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21_600, 86_400, 259_200,
)  # fmt: skip


class JobMetrics:
    """Counters of one process. Labels are kinds, outcomes and error codes, all few.

    What alerts ask for is there from the start: of a counter that appears with its first event
    Prometheus sees no increase, and a first failure would go unsaid.
    """

    def __init__(self, kinds: Iterable[str]) -> None:
        self.registry = CollectorRegistry()
        self._submitted = Counter(
            "textgen_jobs_submitted", "Jobs taken in.", ("kind",), registry=self.registry
        )
        self._wait = Histogram(
            "textgen_job_wait_seconds",
            "From the submission of a job until a worker first took it.",
            ("kind",),
            buckets=SECONDS,
            registry=self.registry,
        )
        self._run = Histogram(
            "textgen_job_run_seconds",
            "From the first claim of a job to its end, with whatever lay between.",
            ("kind", "outcome"),
            buckets=SECONDS,
            registry=self.registry,
        )
        self._ended = Counter(
            "textgen_jobs_ended",
            "Jobs that ended; code is the error's, none otherwise.",
            ("kind", "outcome", "code"),
            registry=self.registry,
        )
        self._requeued = Counter(
            "textgen_jobs_requeued",
            "Running jobs that went back to the queue: a lost worker, a passing fault, a drain.",
            ("kind", "reason"),
            registry=self.registry,
        )

        for kind in kinds:
            for code in SERVICE_FAULTS:
                self._ended.labels(kind, "failed", code)
            for reason in REQUEUED:
                self._requeued.labels(kind, reason)

    def submitted(self, job: Job) -> None:
        """A job was taken in."""
        self._submitted.labels(job.kind).inc()

    def claimed(self, job: Job) -> None:
        """A worker took a job."""
        if job.token == 1 and job.started_at is not None:
            self._wait.labels(job.kind).observe(max(0.0, job.started_at - job.created_at))

    def ended(self, job: Job) -> None:
        """A job reached its last state."""
        error = job.error if job.state == "failed" else None
        code = "none" if error is None else str(error.get("code", "unknown"))
        self._ended.labels(job.kind, job.state, code).inc()
        if job.started_at is not None and job.finished_at is not None:
            seconds = max(0.0, job.finished_at - job.started_at)
            self._run.labels(job.kind, job.state).observe(seconds)

    def requeued(self, job: Job, *, attempts: int, losses: int) -> None:
        """A running job was queued again; what it counts as is told by which of the two grew."""
        reason = "lost_worker" if losses else "passing_fault" if attempts else "let_go"
        self._requeued.labels(job.kind, reason).inc()
