"""A job's events over a connection that may break: what was seen, what is asked for next."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

import httpx

from textgen.client.errors import ServiceUnreachable, error_of
from textgen.client.exchange import STATUSES, check, no_service, seconds_of
from textgen.client.shapes import Event

PATIENCE = 90.0  # a service may be restarted while a job is followed
SILENCE = httpx.Timeout(connect=5, read=60, write=60, pool=5)  # it says something every 15 s
PAUSE = 0.5
EVENTS_REMOVED = "events_removed"  # some time after a job's end
# What HTTP would have answered, of an error that came in the middle
BY_CODE = {"job_not_found": 404, EVENTS_REMOVED: 410}
BY_TYPE = {"authentication_error": 401, "permission_error": 403}


class Following:
    """Takes the lines of server-sent events; none comes twice, and none is left out."""

    def __init__(self, base_url: str, api_key: str, job_id: str, after: int) -> None:
        self.ended = False
        self._base_url = base_url
        self._url = f"{base_url}/jobs/{job_id}/events?stream=true"
        self._key = api_key
        self._seen = after
        self._name, self._data = "message", list[str]()
        self._heard = time.monotonic()

    def arguments(self) -> dict[str, Any]:
        """What httpx is told to stream: all behind the last event that was seen."""
        self._name, self._data = "message", []
        headers = {"Authorization": f"Bearer {self._key}", "Last-Event-ID": str(self._seen)}
        return {"method": "GET", "url": self._url, "headers": headers, "timeout": SILENCE}

    def streams(self, response: httpx.Response) -> bool:
        """Whether an answer is one whose lines are to be taken; `refused` judges any other."""
        kind = response.headers.get("content-type", "").partition(";")[0].strip()
        return response.is_success and kind.lower() == "text/event-stream"

    def take(self, line: str) -> Event | None:
        """The event that a line completes, if it does; raises ApiError for one that is an error."""
        self._heard = time.monotonic()
        field, _, value = line.partition(":")
        if field == "event":
            self._name = value.strip()
        elif field == "data":
            self._data.append(value.strip())
        elif line == "" and self._data:
            name, data = self._name, json.loads("\n".join(self._data))
            self._name, self._data = "message", []
            return self._event(name, data)
        return None

    def refused(self, response: httpx.Response) -> float:
        """Seconds until the next try; raises ApiError where another brings nothing else."""
        if response.status_code not in STATUSES or self._patience_is_over():
            check(response, self._base_url)
            raise no_service(response, self._base_url, "a stream of events")
        return min(seconds_of(response.headers), PATIENCE)

    def broke_off(self, error: httpx.TransportError | None) -> float:
        """Seconds until the next try; raises ServiceUnreachable where patience is over."""
        if self._patience_is_over():
            raise ServiceUnreachable(
                f"No textgen service has answered at {self._url} for {PATIENCE:.0f} s."
            ) from error
        return PAUSE

    def _event(self, name: str, data: Any) -> Event | None:
        if name == "end":
            self.ended = True
            return None
        if name == "error" and isinstance(data, dict) and "error" in data:
            raise error_of(_status(data["error"]), data, None)
        event = Event.model_validate(data)
        self._seen = event.id
        return event

    def _patience_is_over(self) -> bool:
        return time.monotonic() - self._heard > PATIENCE


def _status(error: Mapping[str, Any]) -> int:
    code, kind = str(error.get("code")), str(error.get("type"))
    return BY_CODE.get(code) or BY_TYPE.get(kind, 500)
