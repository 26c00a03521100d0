"""/v1/completions: text from a trained model, whole or as a stream."""

from __future__ import annotations

from flask import Response

from web.engine_answers import begin, streamed, whole
from web.resource import Resource
from web.schemas.completions import Completion
from worker.generation.completions import CompletionBody
from worker.generation.endpoints import COMPLETIONS

completions = Resource("completions", __name__)


@completions.on(
    "POST /v1/completions",
    "Complete texts",
    "generate",
    body=CompletionBody,
    check=CompletionBody.check,
    answer=Completion,
    media=("application/json", "text/event-stream"),
)
def create(body: CompletionBody) -> Response:
    """With ``stream`` the text comes as it is made; the work stops when the client leaves."""
    work = begin(COMPLETIONS, body)
    if not body.stream:
        return whole(work)
    options = body.stream_options
    return streamed(work, with_usage=options is not None and options.include_usage)
