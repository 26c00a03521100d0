"""The answer of a completion request: texts, the best of several, their log-probabilities."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from worker.contracts import ChoiceDelta, FinishReason, TokenLogprob, Usage
from worker.generation.answer import WrittenAnswer, text_object

KIND = "text_completion"


class CompletionAnswer(WrittenAnswer):
    """Gathers the texts: ``written`` for each of ``prompts``, of which the ``n`` best are told.

    The best are those with the highest mean log-probability of a token. ``keep`` turns their packed
    states into ids; without it none are told.
    """

    def __init__(
        self,
        *,
        prompts: int,
        written: int = 1,
        n: int = 1,
        with_logprobs: bool = False,
        keep: Callable[[str], str] | None = None,
    ) -> None:
        super().__init__(prompts * written, keep=keep)
        self._prompts = prompts
        self._written = written
        self._n = n
        self._with_logprobs = with_logprobs
        self._means: dict[int, float] = {}

    def fresh(self) -> CompletionAnswer:
        """The same answer with nothing in it yet."""
        return CompletionAnswer(
            prompts=self._prompts,
            written=self._written,
            n=self._n,
            with_logprobs=self._with_logprobs,
            keep=self.keep,
        )

    def add_deltas(self, deltas: Iterable[ChoiceDelta]) -> None:
        """Take in new text."""
        deltas = tuple(deltas)
        super().add_deltas(deltas)
        for delta in deltas:
            if delta.mean_logprob is not None:
                self._means[delta.index] = delta.mean_logprob

    def body(self, request_id: str, model: str) -> dict[str, Any]:
        """The ``text_completion`` object of a finished answer."""
        told = [choice for prompt in range(self._prompts) for choice in self._best(prompt)]
        choices = [
            self._choice(
                index,
                self.text(choice),
                self.logprobs.get(choice, ()),
                self.reasons.get(choice, "length"),
                self.states.get(choice),
            )
            for index, choice in enumerate(told)
        ]
        return text_object(KIND, request_id, model, int(time.time()), choices, self.usage)

    def chunk_choices(self, deltas: Iterable[ChoiceDelta]) -> list[dict[str, Any]]:
        """The choices of a stream's chunk with new text; the reason is null until the last."""
        return [
            self._choice(each.index, each.text, each.logprobs, each.finish_reason, each.state)
            for each in deltas
        ]

    def chunk(
        self,
        request_id: str,
        model: str,
        created: int,
        choices: list[dict[str, Any]],
        usage: Usage | None,
    ) -> dict[str, Any]:
        """One chunk of a stream; the last of those with a usage has no choices."""
        return text_object(KIND, request_id, model, created, choices, usage)

    def _best(self, prompt: int) -> list[int]:
        """The texts of a prompt that are told, the best first; of equals the first written."""
        first = prompt * self._written
        written = range(first, first + self._written)
        return sorted(written, key=lambda choice: -self._means.get(choice, 0.0))[: self._n]

    def _choice(
        self,
        index: int,
        text: str,
        logprobs: Sequence[TokenLogprob],
        reason: FinishReason | None,
        state: str | None,
    ) -> dict[str, Any]:
        return {
            "index": index,
            "text": text,
            "logprobs": logprob_arrays(logprobs) if self._with_logprobs else None,
            "finish_reason": reason,
            **self.state_field(state),
        }


def logprob_arrays(logprobs: Sequence[TokenLogprob]) -> dict[str, Any]:
    """The parallel arrays in which OpenAI tells log-probabilities."""
    return {
        "tokens": [each.text for each in logprobs],
        "token_logprobs": [each.logprob for each in logprobs],
        "top_logprobs": [each.top for each in logprobs],
        "text_offset": [each.offset for each in logprobs],
    }
