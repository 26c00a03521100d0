"""What one reader has seen, and what it is told next."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Protocol

from textgen.errors import TextgenError
from web.catalogues import ENGLISH
from web.errors import error_body
from web.live.looks import PAGE, Look
from worker.errors import Gone, NotFound
from worker.jobs.states import FINAL
from worker.storage.keys import Key


class Watch(Protocol):
    """One reader's place. Used by one thread at a time."""

    key: Key  # who reads
    ids: Sequence[str]  # the jobs whose rows it needs
    hungry: bool  # there is more than one look brings: look again at once
    ended: bool  # nothing will come any more

    def news(self, look: Look) -> Iterator[str]:
        """Server-sent events that the reader has not had yet."""

    def failed(self, error: TextgenError) -> str:
        """The last event, named ``error``: nothing comes behind it."""


class JobWatch:
    """The events of one job from number ``after`` + 1 to its end, none left out or repeated.

    Numbers count per job without gaps and are committed in order, so the last one seen says
    exactly what is missing. The end itself is an event named ``end`` without an id. With
    ``progress``, changes of state and progress come too, as events without an id.
    """

    def __init__(
        self,
        key: Key,
        job_id: str,
        after: int,
        *,
        progress: bool = False,
        language: str = ENGLISH,  # of events and errors
    ) -> None:
        self.key = key
        self.ids: Sequence[str] = (job_id,)
        self.hungry = self.ended = False
        self._seen = after
        self._wants_progress = progress
        self._language = language
        self._progress = ""

    def news(self, look: Look) -> Iterator[str]:
        """Events first, then the progress, which is as new as they are or newer."""
        head = look.heads.get(self.ids[0])
        if head is None or head.tenant != self.key.tenant:
            gone = NotFound(f"There is no job {self.ids[0]!r} any more.", code="job_not_found")
            yield self.failed(gone)
            return
        try:
            behind = head.event_count > self._seen
            found = look.events(head, self._seen, self._language) if behind else ()
        except Gone as removed:  # a reader that was away for days
            yield self.failed(removed)
            return
        for number, text in found:
            self._seen = number
            yield text
        self.hungry = len(found) == PAGE
        if self._wants_progress and (progress := look.progress(head)) != self._progress:
            self._progress = progress
            yield progress
        if head.state in FINAL and not self.hungry:
            self.ended = True
            yield "event: end\ndata: {}\n\n"

    def failed(self, error: TextgenError) -> str:
        """Of a job that is gone, or a reader who may watch no longer."""
        self.ended, self.hungry = True, False
        return _error(error, self._language)


class ListWatch:
    """The jobs of a list that is being looked at, and whether it has a newer one."""

    def __init__(
        self, key: Key, ids: Sequence[str], newest: str, *, language: str = ENGLISH
    ) -> None:
        self.key = key
        self.ids = ids
        self.hungry = self.ended = False
        self._language = language
        self._newest = newest
        self._sent: dict[str, str] = {}

    def news(self, look: Look) -> Iterator[str]:
        """Jobs that have changed since the last look, and ``new`` when there is another."""
        for job_id in self.ids:
            head = look.heads.get(job_id)
            if head is None or head.tenant != self.key.tenant:
                continue
            text = look.progress(head)
            if self._sent.get(job_id) != text:
                self._sent[job_id] = text
                yield text
        newest = look.newest(self.key.tenant)
        if newest != self._newest:
            self._newest = newest
            yield f"event: new\ndata: {json.dumps({'newest': newest})}\n\n"

    def failed(self, error: TextgenError) -> str:
        """Of a job that is gone, or a reader who may watch no longer."""
        self.ended, self.hungry = True, False
        return _error(error, self._language)


def _error(error: TextgenError, language: str) -> str:
    return f"event: error\ndata: {json.dumps(error_body(error, language))}\n\n"
