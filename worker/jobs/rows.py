"""What the job tables hold, as frozen values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

from sqlalchemy.engine import Row

from worker.contracts import Queue
from worker.jobs.states import RUNNING_PHASE, Kind, State

Level = Literal["info", "warn", "error"]
WaitReason = Literal["behind_others", "quota", "no_worker", "does_not_fit"]


@dataclass(frozen=True, slots=True)
class Job:
    """One job as it was at one moment. Times are seconds since 1970."""

    id: str
    tenant: str
    kind: Kind
    queue: Queue
    state: State
    phase: str  # what clients see beside the state
    phase_times: Mapping[str, float]  # when each phase was entered first
    spec: dict[str, Any]  # what was asked for; never changes
    metadata: dict[str, str]
    plan: dict[str, Any] | None
    progress: dict[str, Any]
    result: dict[str, Any] | None
    error: dict[str, Any] | None  # code, message, param
    token: int  # counts the claims; writes of an older one are refused
    attempts: int  # retries after passing faults
    losses: int  # workers lost since the last checkpoint that was a step forward
    priority: int
    created_at: float
    due_at: float  # not to be claimed before; 0: at once
    deadline_at: float | None
    started_at: float | None  # of the first claim
    finished_at: float | None
    lease_expires_at: float | None
    worker: str | None  # who holds it, or held it last
    incarnation: str | None
    cancel_requested_at: float | None
    pause_requested_at: float | None
    checkpoint: dict[str, Any] | None  # the newest pointer: artifact, file, step
    checkpoint_history: Sequence[dict[str, Any]]  # the newest first, at most 3
    retry_of: str | None
    api_key: str | None  # the id of the key that asked for it
    request_id: str | None  # of the HTTP request that made it
    traceparent: str | None  # of that request's trace
    reserved: int  # of its tenant's budget, in millionths of the currency's unit

    @property
    def about(self) -> dict[str, str]:
        """What a log line says that is about this job."""
        known = {"job_id": self.id, "tenant": self.tenant}
        return known if self.request_id is None else {**known, "request_id": self.request_id}


@dataclass(frozen=True, slots=True)
class JobHead:
    """What those who watch a job need of it: where it is, and how many events it has."""

    id: str
    tenant: str
    state: State
    phase: str
    progress: dict[str, Any]
    event_count: int


@dataclass(frozen=True, slots=True)
class JobEvent:
    """Something that happened to a job; ids count per job from 1 without gaps."""

    job_id: str
    id: int
    created_at: float
    level: Level
    type: str
    message: str
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint that was published as a model."""

    id: str
    job_id: str
    step: int
    model_id: str
    artifact: str
    metrics: dict[str, Any]
    created_at: float


@dataclass(frozen=True, slots=True)
class Signals:
    """What the owner of a running job wants."""

    cancel: bool
    pause: bool


@dataclass(frozen=True, slots=True)
class Hold:
    """Why a tenant's queued jobs may not start: it is suspended, or so many run already."""

    suspended: bool
    running_limit: int | None = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """Why a job waits, how many are before it, and when it may start, where that is known.

    ``hold`` is there where the reason is ``quota``.
    """

    reason: WaitReason
    position: int
    estimated_start: float | None
    hold: Hold | None = None


__all__ = [
    "Checkpoint",
    "Hold",
    "Job",
    "JobEvent",
    "JobHead",
    "Level",
    "Queue",
    "Signals",
    "WaitReason",
    "Waiting",
]

_JOB_FIELDS = tuple(field.name for field in fields(Job))
_EVENT_FIELDS = tuple(field.name for field in fields(JobEvent))
_CHECKPOINT_FIELDS = tuple(field.name for field in fields(Checkpoint))


def job_from(row: Row[Any]) -> Job:
    """The job in a row of the table."""
    values = {name: row._mapping[name] for name in _JOB_FIELDS}
    if values["started_at"] is not None:
        running = RUNNING_PHASE[values["kind"]]
        values["phase_times"] = {**values["phase_times"], running: values["started_at"]}
    return Job(**values)


def event_from(row: Row[Any]) -> JobEvent:
    """The event in a row of the table."""
    return JobEvent(**{name: row._mapping[name] for name in _EVENT_FIELDS})


def checkpoint_from(row: Row[Any]) -> Checkpoint:
    """The checkpoint in a row of the table."""
    return Checkpoint(**{name: row._mapping[name] for name in _CHECKPOINT_FIELDS})
