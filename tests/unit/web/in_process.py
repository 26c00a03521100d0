"""A broker and a generation worker inside the test's own process.

What travels is turned to JSON and back, as it is with the real broker, so a message that would
not survive the way fails here too. The worker writes the prompt backwards.
"""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Iterator, Sequence

from worker.contracts import (
    BundleReference,
    ChoiceDelta,
    Conversation,
    Gap,
    GenerateRequest,
    Queue,
    StreamEntry,
    TokenLogprob,
    Usage,
    decode_entries,
    encode_entries,
)
from worker.errors import BrokerUnavailable
from worker.generation.engine_states import EngineState
from worker.storage.ids import new_id
from worker.storage.text_states import StoredState, another_model, not_found


class InProcessWakeups:
    """Keeps what was published; can be away."""

    def __init__(self) -> None:
        self.published: list[Queue] = []
        self.away = False

    def publish(self, queue: Queue) -> bool:
        if self.away:
            return False
        self.published.append(queue)
        return True

    def ping(self) -> None:
        if self.away:
            raise BrokerUnavailable("The broker is away.")


class InProcessEngines:
    """What engines were said to say; `worker.generation.engine_states` reads it from a Redis."""

    def __init__(self) -> None:
        self.told: dict[str, EngineState] = {}
        self.waiting = 0
        self.away = False

    def of(self, workers: Sequence[str]) -> dict[str, EngineState]:
        self.requests_waiting()
        return {worker: self.told[worker] for worker in workers if worker in self.told}

    def requests_waiting(self) -> int:
        if self.away:
            raise BrokerUnavailable("Redis does not answer.")
        return self.waiting


class InProcessPublished:
    """What workers publish of themselves, by their lives; can be away."""

    def __init__(self) -> None:
        self.by_worker: dict[str, str] = {}
        self.messages: dict[str, int] = {}
        self.away = False

    def texts(self, workers: Sequence[str]) -> list[str | None]:
        self._check()
        return [self.by_worker.get(worker) for worker in workers]

    def waiting(self, queues: Sequence[str]) -> list[int]:
        self._check()
        return [self.messages.get(queue, 0) for queue in queues]

    def _check(self) -> None:
        if self.away:
            raise BrokerUnavailable("The broker is away.")


class InProcessStates:
    """States of texts without an end; `worker.storage.text_states` is tested with a real Redis."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], tuple[StoredState, str]] = {}
        self.allowed = True

    def check_allowed(self) -> None:
        return

    def add(self, tenant: str, model: str, bundle: BundleReference, packed: str) -> str:
        state_id = new_id("state_")
        tokens = json.loads(packed)["tokens"]
        stored = StoredState(state_id, model, bundle, tokens, 100, 200, len(packed))
        self.kept[tenant, state_id] = stored, packed
        return state_id

    def use(self, tenant: str, state_id: str, model: str, bundle: BundleReference) -> str:
        stored = self.get(tenant, state_id)
        if stored.bundle != bundle:
            raise another_model(stored.model, model)
        return self.kept[tenant, state_id][1]

    def get(self, tenant: str, state_id: str) -> StoredState:
        if (tenant, state_id) not in self.kept:
            raise not_found(state_id)
        return self.kept[tenant, state_id][0]

    def of_tenant(self, tenant: str) -> list[StoredState]:
        kept = [stored for (owner, _), (stored, _) in self.kept.items() if owner == tenant]
        return sorted(kept, key=lambda stored: stored.id, reverse=True)

    def delete(self, tenant: str, state_id: str) -> None:
        self.get(tenant, state_id)
        del self.kept[tenant, state_id]

    def forget(self, tenant: str, artifact: str = "") -> int:
        gone = [
            stored.id
            for stored in self.of_tenant(tenant)
            if artifact in ("", stored.bundle.artifact)
        ]
        for state_id in gone:
            self.delete(tenant, state_id)
        return len(gone)


class InProcessCompletions:
    """Answers each request with every prompt reversed, a few characters an entry."""

    def __init__(self) -> None:
        self.requests: list[GenerateRequest] = []
        self.closed = threading.Event()
        self.before: Sequence[StreamEntry | None] = ()
        self.instead: Sequence[StreamEntry | None] | None = None
        self.failure: Exception | None = None
        self.gaps_end = True  # whether what fills a gap comes to an end

    def start(self, request: GenerateRequest) -> None:
        if self.failure is not None:
            raise self.failure
        self.requests.append(GenerateRequest.model_validate_json(request.model_dump_json()))

    def read(self, request_id: str) -> Iterator[StreamEntry | None]:
        request = next(found for found in self.requests if found.id == request_id)
        entries = deque(
            [*self.before, *(self._answer(request) if self.instead is None else self.instead)]
        )
        try:
            while entries:
                entry = entries.popleft()
                if entry is None:
                    yield None
                else:
                    [(_, travelled)] = decode_entries(encode_entries([(request_id, entry)]))
                    yield travelled
        finally:
            self.closed.set()

    def _answer(self, request: GenerateRequest) -> list[StreamEntry]:
        return answer(request, ends=self.gaps_end and isinstance(request.prompts[0], Gap))


def _text(prompt: str | tuple[int, ...] | Conversation | Gap) -> str:
    """What a prompt says; of a conversation its last turn, of a gap what stands before it."""
    if isinstance(prompt, Gap):
        return prompt.before
    if isinstance(prompt, Conversation):
        return prompt.turns[-1].text
    return prompt if isinstance(prompt, str) else "".join(map(chr, prompt))


def answer(request: GenerateRequest, *, ends: bool = False) -> list[StreamEntry]:
    """What the in-process worker says to a request; with ``ends`` texts end by themselves."""
    entries = [StreamEntry(kind="accepted", worker="here")]
    read = written = 0
    state = request.return_state
    for number, prompt in enumerate(request.prompts):
        read += len(_text(prompt))
        text = _text(prompt)[::-1][: request.options.max_tokens]
        for choice in range(request.n):
            index = number * request.n + choice
            written += len(text)
            half = len(text) // 2
            wanted = request.logprobs is not None or request.task == "choose"
            told = logprobs(text, -0.5 - choice) if wanted else ()
            mark = str(choice) if request.ranked and not ends else ""
            first = ChoiceDelta(index=index, text=text[:half], tokens=half, logprobs=told[:half])
            second = ChoiceDelta(
                index=index,
                text=text[half:] + mark,
                tokens=len(text) - half,
                finish_reason="stop" if ends else "length",
                logprobs=told[half:],
                mean_logprob=choice - 9.0 if request.ranked else None,
                state=json.dumps({"tokens": len(text), "after": text}) if state else None,
            )
            entries += [StreamEntry(kind="delta", deltas=(delta,)) for delta in (first, second)]
    usage = Usage(prompt_tokens=read, completion_tokens=written)
    return [*entries, StreamEntry(kind="end", usage=usage)]


def logprobs(text: str, value: float) -> tuple[TokenLogprob, ...]:
    """Every character is a token of the same log-probability, without rivals."""
    return tuple(
        TokenLogprob(token=ord(each), text=each, logprob=value, top={each: value}, offset=place)
        for place, each in enumerate(text)
    )
