"""Retries of clients that send no Idempotency-Key: the stock client's carry a count.

A request that breaks off before its answer was written whole may have made its job. The client's
retry then says ``x-stainless-retry-count``, and gets that job instead of a second one. A job whose
answer was written is never taken for a retry: who asks twice means twice.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterator

from flask import Response, after_this_request, request

from worker.jobs.origin import Retry

COUNT_HEADER = "x-stainless-retry-count"
# No client's own key can begin like this: those are printable.
PREFIX = "\x01retry:"
REMEMBERED = 10_000


class Answered:
    """The jobs whose answer this process has written whole. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: OrderedDict[str, None] = OrderedDict()

    def __contains__(self, job_id: object) -> bool:
        with self._lock:
            return job_id in self._jobs

    def add(self, job_id: str) -> None:
        """Note that an answer was written."""
        with self._lock:
            self._jobs[job_id] = None
            if len(self._jobs) > REMEMBERED:
                self._jobs.popitem(last=False)

    def when_written(self, job_id: str) -> None:
        """Note the job as soon as the answer of the current request has left."""

        def watch(response: Response) -> Response:
            body = response.get_data()
            response.headers["Content-Length"] = str(len(body))
            response.response = self._watched(body, job_id)
            return response

        after_this_request(watch)

    def _watched(self, body: bytes, job_id: str) -> Iterator[bytes]:
        yield body
        self.add(job_id)  # the server asks for more once it has written all


def retry_of(api_key: str, asked: str, answered: Answered) -> Retry:
    """What the current request may be a retry of; ``asked`` is all that it asks for."""
    count = request.headers.get(COUNT_HEADER, "0")
    name = hashlib.sha256(f"{api_key}\n{asked}".encode()).hexdigest()
    return Retry(PREFIX + name, count.isdecimal() and int(count[:9]) > 0, answered.__contains__)
