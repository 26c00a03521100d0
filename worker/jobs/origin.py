"""Where a job comes from, and who decides whether it may be made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy.engine import Connection

from worker.jobs.states import Kind

# Called within the transaction that makes a job: raises what speaks against it, or gives the
# millionths of its tenant's budget that are set aside for it. Takes the time, the kind, the spec.
Admit = Callable[[Connection, float, Kind, Mapping[str, Any]], int]


RETRY_SECONDS = 60.0  # so long may a retry follow what it repeats


@dataclass(frozen=True, slots=True)
class Retry:
    """Under what name a request is remembered, and whether it may repeat an earlier one.

    ``answered`` tells of a job's id whether its answer was written whole: that is no retry.
    """

    key: str
    repeats: bool
    answered: Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a job comes from, and who decides whether it may be made."""

    api_key: str | None = None
    request_id: str | None = None
    admit: Admit | None = None
    retry: Retry | None = None
