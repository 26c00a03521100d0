"""What gathers the answer of a request, whichever endpoint it came in by."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from worker.contracts import ChoiceDelta, FinishReason, StreamEntry, Usage


@dataclass
class Answer(ABC):
    """Gathers stream entries into the whole answer; ``ended`` when nothing more comes."""

    choices: int
    texts: dict[int, list[str]] = field(default_factory=dict)
    reasons: dict[int, FinishReason] = field(default_factory=dict)
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

    def add_deltas(self, deltas: Iterable[ChoiceDelta]) -> None:
        """Take in new text."""
        for delta in deltas:
            self.texts.setdefault(delta.index, []).append(delta.text)
            if delta.finish_reason is not None:
                self.reasons[delta.index] = delta.finish_reason

    @abstractmethod
    def body(self, request_id: str, model: str) -> dict[str, Any]:
        """The JSON object of a finished answer."""

    def opening(self) -> list[dict[str, Any]]:
        """The choices of a stream's first chunk, before there is text; none: no such chunk."""
        return []

    def chunk_choices(self, deltas: Iterable[ChoiceDelta]) -> list[dict[str, Any]]:  # noqa: ARG002
        """The choices of a stream's chunk with new text; none where there are no streams."""
        return []

    def chunk(
        self,
        request_id: str,  # noqa: ARG002
        model: str,  # noqa: ARG002
        created: int,  # noqa: ARG002
        choices: list[dict[str, Any]],
        usage: Usage | None,  # noqa: ARG002
    ) -> dict[str, Any]:
        """One chunk of a stream; the last of those with a usage has no choices."""
        return {"choices": choices}


def usage_dict(usage: Usage) -> dict[str, int]:
    """Usage as OpenAI counts it."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }
