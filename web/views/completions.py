"""/v1/completions: text from a trained model, whole or as a stream."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

from flask import Response

from textgen.errors import TextgenError
from web.answers import Entries, gather, present
from web.auth import tenant
from web.completion_errors import to_error
from web.connection import Client, current_client
from web.errors import error_body
from web.event_stream import stream_response
from web.resource import Resource
from web.schemas.completions import Completion
from web.services import current
from worker.contracts import StreamEntry
from worker.generation.completions import (
    Answer,
    CompletionBody,
    completion_choice,
    completion_object,
    new_seed,
    usage_dict,
)
from worker.generation.serving import find_writer
from worker.storage.ids import new_id

completions = Resource("completions", __name__)


@dataclass(frozen=True)
class Call:
    """One request on its way."""

    id: str
    model: str
    body: CompletionBody
    client: Client
    created: int


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
    services = current()
    settings = services.settings
    body.check_limits(
        max_characters=settings.max_prompt_characters, max_choices=settings.max_prompts
    )
    model, bundle = find_writer(
        services.models, tenant(), body.model, fills_gaps=body.suffix is not None
    )
    call = Call(new_id("cmpl-"), model, body, current_client(), int(time.time()))
    place = services.answers.take()
    try:
        services.completions.start(body.to_request(call.id, bundle, new_seed()))
        entries = cast(Entries, services.completions.read(call.id))
        if not body.stream:
            with place:
                return _whole(call, entries)
        first = _first(call, entries)
        return stream_response(_chunks(call, first, entries), entries.close, place.free)
    except BaseException:
        place.free()
        raise


def _whole(call: Call, entries: Entries) -> Response:
    """Wait for the end and answer in one piece."""
    answer = Answer(len(call.body.prompt) * call.body.n)
    gather(call.client, entries, answer)
    return Response(json.dumps(answer.body(call.id, call.model)), mimetype="application/json")


def _first(call: Call, entries: Entries) -> StreamEntry:
    """Wait until a worker has taken the request, so that a failure still has its status."""
    try:
        entry = next(present(call.client, entries))
        if entry.kind == "error":
            raise to_error({} if entry.error is None else entry.error)
    except BaseException:
        entries.close()
        raise
    return entry


def _chunks(call: Call, first: StreamEntry, entries: Entries) -> Iterator[str]:
    """Server-sent events with the text as it comes; the last is ``[DONE]`` or an error."""
    options = call.body.stream_options
    with_usage = options is not None and options.include_usage
    try:
        yield from _chunk(call, first, with_usage)
        for entry in entries:
            if entry is not None:
                yield from _chunk(call, entry, with_usage)
            elif call.client.gone():
                return
            else:
                yield ": still working\n\n"
    except TextgenError as error:
        yield _data(error_body(error))


def _chunk(call: Call, entry: StreamEntry, with_usage: bool) -> Iterator[str]:
    """What one entry becomes."""
    if entry.deltas:
        choices = [completion_choice(d.index, d.text, d.finish_reason) for d in entry.deltas]
        yield _data(_object(call, choices, None, with_usage))
    if entry.kind == "error":
        yield _data(error_body(to_error({} if entry.error is None else entry.error)))
    if entry.kind == "end":
        if with_usage and entry.usage is not None:
            yield _data(_object(call, [], usage_dict(entry.usage), with_usage))
        yield "data: [DONE]\n\n"


def _object(
    call: Call, choices: list[dict[str, Any]], usage: dict[str, int] | None, with_usage: bool
) -> dict[str, Any]:
    found = completion_object(call.id, call.model, choices, usage, call.created)
    if not with_usage:
        del found["usage"]
    return found


def _data(value: dict[str, Any]) -> str:
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n"
