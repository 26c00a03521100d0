"""One look at the jobs that somebody watches, shared by all who watch them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from web.catalogues import ENGLISH
from web.schemas.jobs import JobEvent as JobEventShape
from web.translation import translated_event
from worker.jobs.jobs import Jobs
from worker.jobs.rows import JobEvent, JobHead

PAGE = 200  # events that one look takes of a job at a time


class Look:
    """The jobs of ``ids`` at one moment; what is asked for twice is read and written once.

    Used by one thread.
    """

    def __init__(self, jobs: Jobs, ids: Sequence[str]) -> None:
        self._jobs = jobs
        self.heads: Mapping[str, JobHead] = jobs.heads(ids)
        self._events: dict[tuple[str, int, str], Sequence[tuple[int, str]]] = {}
        self._progress: dict[str, str] = {}
        self._newest: dict[str, str] = {}

    def events(self, head: JobHead, after: int, language: str) -> Sequence[tuple[int, str]]:
        """Numbers of the events behind ``after`` and how they are sent, at most ``PAGE``."""
        key = (head.id, after, language)
        if key not in self._events:
            found = self._jobs.events(head.tenant, head.id, after=after, limit=PAGE)
            self._events[key] = [(event.id, encoded(event, language)) for event in found]
        return self._events[key]

    def progress(self, head: JobHead) -> str:
        """How a job's state and progress are sent; without an id, since only the last counts."""
        if head.id not in self._progress:
            data = {
                "id": head.id,
                "state": head.state,
                "phase": head.phase,
                "progress": dict(head.progress),
            }
            self._progress[head.id] = f"event: progress\ndata: {json.dumps(data)}\n\n"
        return self._progress[head.id]

    def newest(self, tenant: str) -> str:
        """The ordinal of the tenant's newest job; empty where there is none."""
        if tenant not in self._newest:
            self._newest[tenant] = self._jobs.newest(tenant)
        return self._newest[tenant]


def event_view(event: JobEvent, language: str = ENGLISH) -> JobEventShape:
    """An event as shown; ``language`` is that of its message."""
    return JobEventShape.model_construct(
        id=event.id,
        job_id=event.job_id,
        created_at=event.created_at,
        level=event.level,
        type=event.type,
        message=translated_event(event.message, event.level, language),
        data=dict(event.data),
    )


def encoded(event: JobEvent, language: str) -> str:
    """An event as it is sent, under its number."""
    data = event_view(event, language).model_dump_json()
    return f"id: {event.id}\nevent: {event.type}\ndata: {data}\n\n"
