"""Jobs: the one door for clients, workers and the reconciler.

job_states     the states and every move between them
job_rows       what the tables hold, as values
job_requests   clients: submit, cancel, pause, resume, retry
job_lists      clients: look at jobs, events, checkpoints
job_waits      clients: why a job waits
job_leases     workers: claim, hold, progress, events
job_checkpoints  workers: checkpoints and their models
job_shards     workers: shards of batches
job_endings    workers: finish, or give back
job_recovery   the reconciler: lost workers, deadlines
"""

from __future__ import annotations

from worker.idempotency import IdempotencyKey
from worker.job_checkpoints import JobCheckpoints
from worker.job_endings import JobEndings
from worker.job_leases import JobLeases
from worker.job_lists import JobLists
from worker.job_recovery import JobRecovery
from worker.job_requests import JobRequests
from worker.job_rows import Checkpoint, Job, JobEvent, Queue, Signals, Waiting
from worker.job_shards import JobShards, ShardRow
from worker.job_states import FINAL, LIVE, Kind, State
from worker.job_waits import JobWaits
from worker.pages import Page

__all__ = [
    "FINAL",
    "LIVE",
    "Checkpoint",
    "IdempotencyKey",
    "Job",
    "JobEvent",
    "Jobs",
    "Kind",
    "Page",
    "Queue",
    "ShardRow",
    "Signals",
    "State",
    "Waiting",
]


class Jobs(
    JobRequests, JobLists, JobWaits, JobLeases, JobCheckpoints, JobShards, JobEndings, JobRecovery
):
    """Everything that can be asked of, or done to, jobs. Safe to share between threads."""
