"""Retries of clients that send no Idempotency-Key: the stock client's carry a count.

A request that breaks off before its answer was written whole may have made its job. The client's
retry then says ``x-stainless-retry-count``, and gets that job instead of a second one. An answer
that was written may still be lost on its way; whoever lost it asks again within seconds. A job
whose answer left longer ago is never taken for a retry: who asks twice means twice.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator

from flask import Response, after_this_request, request

from worker.jobs.origin import Retry

COUNT_HEADER = "x-stainless-retry-count"
# No client's own key can begin like this: those are printable.
PREFIX = "\x01retry:"
REMEMBERED = 10_000
LOST_SECONDS = 10.0  # the stock client waits at most 8 s before it tries again


class Answered:
    """The jobs whose answer has arrived: this process has written it whole some seconds ago.

    Safe to share between threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: OrderedDict[str, float] = OrderedDict()  # when, by a clock that only advances

    def __contains__(self, job_id: object) -> bool:
        with self._lock:
            written = self._jobs.get(str(job_id))
        return written is not None and time.monotonic() - written > LOST_SECONDS

    def add(self, job_id: str) -> None:
        """Note that an answer was written."""
        with self._lock:
            self._jobs[job_id] = time.monotonic()
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
