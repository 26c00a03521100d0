"""Waits a little while for what a call has asked of a job."""

from __future__ import annotations

import time
from collections.abc import Callable

from web.services import Services
from worker.jobs.rows import Job

WAIT_SECONDS = 5.0
POLL_SECONDS = 0.1
ENDED = ("succeeded", "failed", "cancelled")


def wait_until(
    services: Services, job: Job, done: Callable[[Job], bool], seconds: float = WAIT_SECONDS
) -> Job:
    """The job once ``done`` holds, or as it is when the time is over."""
    deadline = time.monotonic() + seconds
    while not done(job) and time.monotonic() < deadline and not services.stopping.is_set():
        time.sleep(POLL_SECONDS)
        job = services.jobs.get(job.tenant, job.id)
    return job


def has_ended(job: Job) -> bool:
    """Nothing will change about this job any more."""
    return job.state in ENDED


def rests(job: Job) -> bool:
    """Paused, or at its end."""
    return job.state == "paused" or has_ended(job)
