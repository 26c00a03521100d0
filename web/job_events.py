"""A job's events as a stream that can break off anywhere and be taken up again."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

from textgen.errors import TextgenError
from web.connection import Client
from web.errors import error_body
from web.job_waits import has_ended
from web.schemas.jobs import JobEvent as JobEventShape
from web.services import Services
from worker.jobs.rows import JobEvent

POLL_SECONDS = 0.5
KEEPALIVE_SECONDS = 10.0
PAGE = 200


def follow(
    services: Services, tenant: str, job_id: str, after: int, client: Client
) -> Iterator[str]:
    """Server-sent events from number ``after`` + 1 to the job's end, none left out or repeated.

    Numbers count per job without gaps and are committed in order, so the last one seen says
    exactly what is missing. The end itself is an event named ``end`` without an id.
    """
    spoke = time.monotonic()
    try:
        while not services.stopping.is_set() and not client.gone():
            # The state is read before the events: what ended the job is then among them.
            ended = has_ended(services.jobs.get(tenant, job_id))
            found = services.jobs.events(tenant, job_id, after=after, limit=PAGE)
            for event in found:
                yield _encode(event)
                after = event.id
                spoke = time.monotonic()
            if len(found) == PAGE:
                continue
            if ended:
                yield "event: end\ndata: {}\n\n"
                return
            if time.monotonic() - spoke >= KEEPALIVE_SECONDS:
                yield ": waiting\n\n"
                spoke = time.monotonic()
            services.stopping.wait(POLL_SECONDS)
    except TextgenError as error:
        yield f"event: error\ndata: {json.dumps(error_body(error))}\n\n"


def event_view(event: JobEvent) -> JobEventShape:
    """An event as shown."""
    return JobEventShape.model_construct(
        id=event.id,
        job_id=event.job_id,
        created_at=event.created_at,
        level=event.level,
        type=event.type,
        message=event.message,
        data=dict(event.data),
    )


def _encode(event: JobEvent) -> str:
    return f"id: {event.id}\nevent: {event.type}\ndata: {event_view(event).model_dump_json()}\n\n"
