"""What the engine answers, sent in one piece or as a stream, whichever endpoint was asked."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from flask import Response, g

from textgen.errors import TextgenError
from textgen.option_model import Options
from web.answers import Entries, gather, present
from web.auth import key, tenant
from web.connection import Client, current_client
from web.errors import error_body
from web.event_stream import stream_response
from web.metrics import Metrics
from web.pages.language import language
from web.services import Services, current
from web.slots import Place
from worker import tracing
from worker.contracts import GenerateRequest, Owner, StreamEntry, Usage
from worker.generation.answer import Answer, WrittenAnswer
from worker.generation.completions import new_seed
from worker.generation.endpoints import Endpoint
from worker.generation.engine_errors import to_error
from worker.generation.text_policy import TextPolicy
from worker.generation.work import Asker, Work
from worker.storage.ids import new_id
from worker.tenants.tenants import Tenant
from worker.usage.characters import characters_in, prompt_tokens

B = TypeVar("B", bound=Options)
A = TypeVar("A", bound=Answer)
W = TypeVar("W", bound=WrittenAnswer)


def begin(endpoint: Endpoint[B, A], body: B) -> Work[A]:
    """The work of a checked body for the current caller; raises what is wrong with it."""
    services = current()
    project = services.tenants.known(tenant())
    services.budgets.check(project.id)
    services.monthly.check(project)
    asker = Asker(
        services.models,
        tenant(),
        max_characters=services.settings.max_prompt_characters,
        max_prompts=services.settings.max_prompts,
        states=services.states,
    )
    work = endpoint.begin(body, asker, new_id(endpoint.prefix), new_seed())
    owner = Owner(tenant=tenant(), api_key=key().id, model=work.model)
    asked = {"owner": owner, "request_id": g.request_id, "traceparent": tracing.traceparent()}
    work.request = _policy(project).admitted(work.request.model_copy(update=asked))
    _count(services, project, work)
    return work


def _count(services: Services, project: Tenant, work: Work[A]) -> None:
    """Count what is asked for against the project's minute; raises RateLimited."""
    limits, to_come = project.limits, _tokens_to_come(work.request)
    if limits.characters_per_minute is not None:
        characters = characters_in(work.request) + to_come
        services.rates.characters(project.id, limits.characters_per_minute, characters)
    if limits.tokens_per_minute is not None:
        model = services.models.resolve(project.id, work.model)
        tokens = prompt_tokens(work.request, services.tokenizers.of(model).tokenizer) + to_come
        g.setdefault("windows", {})["tokens"] = services.rates.tokens(
            project.id, limits.tokens_per_minute, tokens
        )


def _policy(project: Tenant) -> TextPolicy:
    return TextPolicy(project.label, project.blocked_words)


def label() -> str:
    """What the caller's project wants behind each text."""
    return _policy(current().tenants.known(tenant())).label


def _entries(services: Services, request_id: str, *, labelled: bool = True) -> Entries:
    """The answer's entries, with the project's label behind its texts where it has one."""
    entries = cast(Entries, services.completions.read(request_id))
    if not labelled:
        return entries
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


def _tokens_to_come(request: GenerateRequest) -> int:
    """The most that may be written; each counts as a character too."""
    return len(request.prompts) * request.n * request.options.max_tokens


def _place(services: Services) -> Place:
    """A thread's place, and one of those that the project may have; raises QueueFull."""
    limit = services.tenants.known(tenant()).limits.concurrent_completions
    give_back = services.project_slots.take(tenant(), limit)
    try:
        return services.answers.take().also(give_back)
    except BaseException:
        give_back()
        raise


def wait_for(work: Work[A], *, labelled: bool = True) -> None:
    """Fill the answer to its end; the work stops when the client leaves."""
    services = current()
    with _place(services):
        services.completions.start(work.request)
        entries = _entries(services, work.request.id, labelled=labelled)
        gather(current_client(), entries, work.answer)


def whole(work: Work[A]) -> Response:
    """Wait for the end and answer in one piece; the work stops when the client leaves."""
    wait_for(work)
    body = work.answer.body(work.request.id, work.model)
    return Response(json.dumps(body), mimetype="application/json")


def streamed(work: Work[W], *, with_usage: bool) -> Response:
    """Send the text as it is made; the work stops when the client leaves."""
    services = current()
    stream = _Stream(
        work, current_client(), int(time.time()), with_usage, Metrics.of_app(), language()
    )
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
    metrics: Metrics
    language: str  # of errors; the stream outlives the request that asked

    def events(self, first: StreamEntry, entries: Entries) -> Iterator[str]:
        """The text as it comes; the last event is ``[DONE]`` or an error."""
        try:
            opening = self.work.answer.opening()
            if opening:
                yield self._chunks(opening)
            yield from self._events(first)
            for entry in entries:
                if entry is not None:
                    yield from self._events(entry)
                elif self.client.gone():
                    return
                else:
                    yield ": still working\n\n"
        except TextgenError as error:
            yield self._failure(error)

    def _events(self, entry: StreamEntry) -> Iterator[str]:
        choices = self.work.answer.chunk_choices(entry.deltas)
        if choices:
            yield self._chunks(choices)
        if entry.kind == "error":
            yield self._failure(to_error({} if entry.error is None else entry.error))
        if entry.kind == "end":
            if self.with_usage and entry.usage is not None:
                yield self._chunk([], entry.usage)
            yield "data: [DONE]\n\n"

    def _chunks(self, choices: list[dict[str, Any]]) -> str:
        """A chunk for each choice, as OpenAI sends them: clients look at the first one alone."""
        return "".join(self._chunk([choice], None) for choice in choices)

    def _failure(self, error: TextgenError) -> str:
        self.metrics.failed(error.code)
        return _data(error_body(error, self.language))

    def _chunk(self, choices: list[dict[str, Any]], usage: Usage | None) -> str:
        work = self.work
        chunk = work.answer.chunk(work.request.id, work.model, self.created, choices, usage)
        if not self.with_usage:
            del chunk["usage"]
        return _data(chunk)


def _data(value: dict[str, Any]) -> str:
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n"
