"""What the engine answers, sent in one piece or as a stream, whichever endpoint was asked."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from flask import Response

from textgen.errors import TextgenError
from textgen.option_model import Options
from web.answers import Entries, gather, present
from web.auth import key, tenant
from web.completion_errors import to_error
from web.connection import Client, current_client
from web.errors import error_body
from web.event_stream import stream_response
from web.services import Services, current
from web.slots import Place
from worker.contracts import GenerateRequest, Owner, StreamEntry, Usage
from worker.generation.answer import Answer, WrittenAnswer
from worker.generation.completions import new_seed
from worker.generation.endpoints import Endpoint
from worker.generation.text_policy import TextPolicy
from worker.generation.work import Asker, Work
from worker.storage.ids import new_id
from worker.tenants.tenants import Tenant
from worker.usage.characters import characters_in

B = TypeVar("B", bound=Options)
A = TypeVar("A", bound=Answer)
W = TypeVar("W", bound=WrittenAnswer)


def begin(endpoint: Endpoint[B, A], body: B) -> Work[A]:
    """The work of a checked body for the current caller; raises what is wrong with it."""
    services = current()
    project = services.tenants.known(tenant())
    services.budgets.check(project.id)
    services.quotas.check_characters(project)
    asker = Asker(
        services.models,
        tenant(),
        max_characters=services.settings.max_prompt_characters,
        max_prompts=services.settings.max_prompts,
        states=services.states,
    )
    work = endpoint.begin(body, asker, new_id(endpoint.prefix), new_seed())
    owner = Owner(tenant=tenant(), api_key=key().id, model=work.model)
    work.request = _policy(project).admitted(work.request.model_copy(update={"owner": owner}))
    per_minute = project.limits.characters_per_minute
    if per_minute is not None:
        services.rates.characters(project.id, per_minute, _asked(work.request))
    return work


def _policy(project: Tenant) -> TextPolicy:
    return TextPolicy(project.label, project.blocked_words)


def _entries(services: Services, request_id: str) -> Entries:
    """The answer's entries, with the project's label behind its texts where it has one."""
    entries = cast(Entries, services.completions.read(request_id))
    policy = _policy(services.tenants.known(tenant()))
    return cast(Entries, _labelled(entries, policy)) if policy.label else entries


def _labelled(entries: Entries, policy: TextPolicy) -> Iterator[StreamEntry | None]:
    try:
        for entry in entries:
            if entry is None or not entry.deltas:
                yield entry
            else:
                yield entry._replace(deltas=policy.labelled(entry.deltas))
    finally:
        entries.close()


def _asked(request: GenerateRequest) -> int:
    """Characters of the prompts, and one for each token that may come."""
    return characters_in(request) + len(request.prompts) * request.n * request.options.max_tokens


def _place(services: Services) -> Place:
    """A thread's place, and one of those that the project may have; raises QueueFull."""
    limit = services.tenants.known(tenant()).limits.concurrent_completions
    give_back = services.project_slots.take(tenant(), limit)
    try:
        return services.answers.take().also(give_back)
    except BaseException:
        give_back()
        raise


def whole(work: Work[A]) -> Response:
    """Wait for the end and answer in one piece; the work stops when the client leaves."""
    services = current()
    with _place(services):
        services.completions.start(work.request)
        entries = _entries(services, work.request.id)
        gather(current_client(), entries, work.answer)
    body = work.answer.body(work.request.id, work.model)
    return Response(json.dumps(body), mimetype="application/json")


def streamed(work: Work[W], *, with_usage: bool) -> Response:
    """Send the text as it is made; the work stops when the client leaves."""
    services = current()
    stream = _Stream(work, current_client(), int(time.time()), with_usage)
    place = _place(services)
    try:
        services.completions.start(work.request)
        entries = _entries(services, work.request.id)
        first = _first(stream.client, entries)
        return stream_response(stream.events(first, entries), entries.close, place.free)
    except BaseException:
        place.free()
        raise


def _first(client: Client, entries: Entries) -> StreamEntry:
    """Wait until a worker has taken the request, so that a failure still has its status."""
    try:
        entry = next(present(client, entries))
        if entry.kind == "error":
            raise to_error({} if entry.error is None else entry.error)
    except BaseException:
        entries.close()
        raise
    return entry


@dataclass(frozen=True)
class _Stream(Generic[W]):
    """Entries become server-sent events."""

    work: Work[W]
    client: Client
    created: int
    with_usage: bool

    def events(self, first: StreamEntry, entries: Entries) -> Iterator[str]:
        """The text as it comes; the last event is ``[DONE]`` or an error."""
        try:
            opening = self.work.answer.opening()
            if opening:
                yield self._chunk(opening, None)
            yield from self._events(first)
            for entry in entries:
                if entry is not None:
                    yield from self._events(entry)
                elif self.client.gone():
                    return
                else:
                    yield ": still working\n\n"
        except TextgenError as error:
            yield _data(error_body(error))

    def _events(self, entry: StreamEntry) -> Iterator[str]:
        choices = self.work.answer.chunk_choices(entry.deltas)
        if choices:
            yield self._chunk(choices, None)
        if entry.kind == "error":
            yield _data(error_body(to_error({} if entry.error is None else entry.error)))
        if entry.kind == "end":
            if self.with_usage and entry.usage is not None:
                yield self._chunk([], entry.usage)
            yield "data: [DONE]\n\n"

    def _chunk(self, choices: list[dict[str, Any]], usage: Usage | None) -> str:
        work = self.work
        chunk = work.answer.chunk(work.request.id, work.model, self.created, choices, usage)
        if not self.with_usage:
            del chunk["usage"]
        return _data(chunk)


def _data(value: dict[str, Any]) -> str:
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n"
