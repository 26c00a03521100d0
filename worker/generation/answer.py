"""What gathers the answer of a request, whichever endpoint it came in by."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from worker.contracts import ChoiceDelta, FinishReason, StreamEntry, TokenLogprob, Usage


@dataclass
class Answer(ABC):
    """Gathers stream entries into the whole answer; ``ended`` when nothing more comes."""

    choices: int
    usage: Usage = field(default_factory=Usage)
    error: dict[str, Any] | None = None
    ended: bool = False

    @abstractmethod
    def fresh(self) -> Answer:
        """The same answer with nothing in it yet."""

    def add(self, entry: StreamEntry) -> None:
        """Take in one entry."""
        self.add_deltas(entry.deltas)
        if entry.usage is not None:
            self.usage = entry.usage
        if entry.error is not None:
            self.error = entry.error
        self.ended = entry.kind in ("end", "error")

    @abstractmethod
    def add_deltas(self, deltas: Iterable[ChoiceDelta]) -> None:
        """Take in what was found."""

    @abstractmethod
    def body(self, request_id: str, model: str) -> dict[str, Any]:
        """The JSON object of a finished answer."""


@dataclass
class WrittenAnswer(Answer):
    """Texts with their log-probabilities, which can be sent while they are written.

    ``keep`` turns their packed states into ids; without it none are told.
    """

    keep: Callable[[str], str] | None = None

    texts: dict[int, list[str]] = field(default_factory=dict)
    reasons: dict[int, FinishReason] = field(default_factory=dict)
    logprobs: dict[int, list[TokenLogprob]] = field(default_factory=dict)
    states: dict[int, str] = field(default_factory=dict)  # packed

    def add_deltas(self, deltas: Iterable[ChoiceDelta]) -> None:
        """Take in new text."""
        for delta in deltas:
            self.texts.setdefault(delta.index, []).append(delta.text)
            self.logprobs.setdefault(delta.index, []).extend(delta.logprobs)
            if delta.finish_reason is not None:
                self.reasons[delta.index] = delta.finish_reason
            if delta.state is not None:
                self.states[delta.index] = delta.state

    def text(self, choice: int) -> str:
        """What is written of a choice so far."""
        return "".join(self.texts.get(choice, ()))

    def state_field(self, state: str | None) -> dict[str, str | None]:
        """What a choice says of its packed ``state``, which it has at its end."""
        if self.keep is None:
            return {}
        return {"state_id": None if state is None else self.keep(state)}

    def opening(self) -> list[dict[str, Any]]:
        """The choices of a stream's first chunk, before there is text; none: no such chunk."""
        return []

    @abstractmethod
    def chunk_choices(self, deltas: Iterable[ChoiceDelta]) -> list[dict[str, Any]]:
        """The choices of a stream's chunk with new text."""

    @abstractmethod
    def chunk(
        self,
        request_id: str,
        model: str,
        created: int,
        choices: list[dict[str, Any]],
        usage: Usage | None,
    ) -> dict[str, Any]:
        """One chunk of a stream; the last of those with a usage has no choices."""


def text_object(
    kind: str,
    request_id: str,
    model: str,
    created: int,
    choices: list[dict[str, Any]],
    usage: Usage | None,
) -> dict[str, Any]:
    """The object of that ``kind`` that OpenAI makes of written choices, whole or a chunk."""
    return {
        "id": request_id,
        "object": kind,
        "created": created,
        "model": model,
        "system_fingerprint": None,
        "choices": choices,
        "usage": None if usage is None else usage_dict(usage),
    }


def usage_dict(usage: Usage) -> dict[str, int]:
    """Usage as OpenAI counts it."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }
