"""A client for what the official ``openai`` package cannot say of a textgen service.

    from openai import OpenAI
    from textgen.client import Textgen

    openai = OpenAI()
    textgen = Textgen.beside(openai)
    job = openai.fine_tuning.jobs.create(model="lstm-auto", training_file=file.id)
    textgen.wait(job.id, on_event=lambda event: print(event.message))

`Textgen` waits, `AsyncTextgen` is awaited; both have the same methods, which are `calls`,
`workflows`, and those of their classes. Neither torch nor a server's code is loaded.
"""

from __future__ import annotations

from textgen.client.asynchronous import AsyncTextgen
from textgen.client.errors import (
    ApiError,
    Conflict,
    InvalidRequest,
    JobEnded,
    NotFound,
    NotMeasured,
    QuotaUsedUp,
    RateLimited,
    ServiceFailed,
    ServiceUnreachable,
    Unauthorised,
)
from textgen.client.shapes import Place
from textgen.client.synchronous import Textgen

__all__ = [
    "ApiError",
    "AsyncTextgen",
    "Conflict",
    "InvalidRequest",
    "JobEnded",
    "NotFound",
    "NotMeasured",
    "Place",
    "QuotaUsedUp",
    "RateLimited",
    "ServiceFailed",
    "ServiceUnreachable",
    "Textgen",
    "Unauthorised",
]
