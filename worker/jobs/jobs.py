"""Everything that can be asked of, or done to, jobs, as one class."""

from __future__ import annotations

from worker.jobs.checkpoints import JobCheckpoints
from worker.jobs.endings import JobEndings
from worker.jobs.figures import JobFigures
from worker.jobs.leases import JobLeases
from worker.jobs.lists import JobLists
from worker.jobs.recovery import JobRecovery
from worker.jobs.requests import JobRequests
from worker.jobs.search import JobSearch
from worker.jobs.shards import JobShards
from worker.jobs.waits import JobWaits


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
