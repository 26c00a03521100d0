"""Jobs: the one door for clients, workers and the reconciler.

states       the states and every move between them
rows         what the tables hold, as values
requests     clients: submit, cancel, pause, resume, retry
lists        clients: look at jobs, events, checkpoints
search       clients: find jobs
waits        clients: why a job waits
figures      operators: how many there are, and how they do
leases       workers: claim, hold, progress, events
checkpoints  workers: checkpoints and their models
shards       workers: shards of batches
endings      workers: finish, or give back
recovery     the reconciler: lost workers, deadlines
"""

from __future__ import annotations

from worker.jobs.checkpoints import JobCheckpoints
from worker.jobs.endings import JobEndings
from worker.jobs.figures import JobFigures
from worker.jobs.idempotency import IdempotencyKey
from worker.jobs.leases import JobLeases
from worker.jobs.lists import JobLists
from worker.jobs.recovery import JobRecovery
from worker.jobs.requests import JobRequests
from worker.jobs.rows import Checkpoint, Hold, Job, JobEvent, Queue, Signals, Waiting
from worker.jobs.search import JobSearch
from worker.jobs.shards import JobShards, ShardRow
from worker.jobs.states import FINAL, LIVE, Kind, State
from worker.jobs.waits import JobWaits
from worker.storage.pages import Page

__all__ = [
    "FINAL",
    "LIVE",
    "Checkpoint",
    "Hold",
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
    JobRequests,
    JobLists,
    JobSearch,
    JobWaits,
    JobFigures,
    JobLeases,
    JobCheckpoints,
    JobShards,
    JobEndings,
    JobRecovery,
):
    """Everything that can be asked of, or done to, jobs. Safe to share between threads."""
