"""Where a job comes from, and who decides whether it may be made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy.engine import Connection

from worker.jobs.states import Kind


@dataclass(frozen=True, slots=True)
class Reserved:
    """What is set aside for a job until it ends: money in millionths, and of monthly quotas."""

    money: int = 0
    characters: int = 0
    tokens: int = 0
    seconds: float = 0.0


# Called within the transaction that makes a job: raises what speaks against it, or gives what is
# set aside for it. Takes the time, the kind, the spec.
Admit = Callable[[Connection, float, Kind, Mapping[str, Any]], Reserved]


RETRY_SECONDS = 60.0  # so long may a retry follow what it repeats


@dataclass(frozen=True, slots=True)
class Retry:
    """Under what name a request is remembered, and whether it may repeat an earlier one.

    ``answered`` tells of a job's id whether its answer has arrived: then this is no retry.
    """

    key: str
    repeats: bool
    answered: Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a job comes from, and who decides whether it may be made."""

    api_key: str | None = None
    request_id: str | None = None
    traceparent: str | None = None
    admit: Admit | None = None
    retry: Retry | None = None
