"""The answer of a chat completion: replies, whole or in chunks, and their log-probabilities."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from textgen.tokenizers.base import special_name
from worker.contracts import ChoiceDelta, TokenLogprob, Usage
from worker.generation.answer import WrittenAnswer, text_object

END = special_name("end")
_PART_OF_A_CHARACTER = re.compile(r"bytes:((?:\\x[0-9a-f]{2})+)")


class ChatAnswer(WrittenAnswer):
    """Gathers the replies to a conversation; ``top_logprobs`` None: without log-probabilities.

    ``keep`` as in WrittenAnswer.
    """

    def __init__(
        self,
        choices: int,
        *,
        top_logprobs: int | None = None,
        keep: Callable[[str], str] | None = None,
    ) -> None:
        super().__init__(choices, keep=keep)
        self._top = top_logprobs

    def fresh(self) -> ChatAnswer:
        """The same answer with nothing in it yet."""
        return ChatAnswer(self.choices, top_logprobs=self._top, keep=self.keep)

    def body(self, request_id: str, model: str) -> dict[str, Any]:
        """The ``chat.completion`` object of a finished answer."""
        choices = [
            {
                "index": index,
                "message": {
                    "role": "assistant",
                    "content": self.text(index),
                    "refusal": None,
                },
                "logprobs": self._told(self.logprobs.get(index, ())),
                "finish_reason": self.reasons.get(index, "length"),
                **self.state_field(self.states.get(index)),
            }
            for index in range(self.choices)
        ]
        created = int(time.time())
        return text_object("chat.completion", request_id, model, created, choices, self.usage)

    def opening(self) -> list[dict[str, Any]]:
        """Every reply begins with who speaks."""
        delta = {"role": "assistant", "content": "", "refusal": None}
        return [_chunk_choice(index, delta) for index in range(self.choices)]

    def chunk_choices(self, deltas: Iterable[ChoiceDelta]) -> list[dict[str, Any]]:
        """New text, and where a reply ends an empty delta that says why."""
        found = []
        for each in deltas:
            logprobs = self._told(each.logprobs)
            if each.text or (logprobs is not None and logprobs["content"]):
                found.append(_chunk_choice(each.index, {"content": each.text}, logprobs))
            if each.finish_reason is not None:
                ended = _chunk_choice(each.index, {}, reason=each.finish_reason)
                found.append(ended | self.state_field(each.state))
        return found

    def chunk(
        self,
        request_id: str,
        model: str,
        created: int,
        choices: list[dict[str, Any]],
        usage: Usage | None,
    ) -> dict[str, Any]:
        """A ``chat.completion.chunk``."""
        return text_object("chat.completion.chunk", request_id, model, created, choices, usage)

    def _told(self, logprobs: Sequence[TokenLogprob]) -> dict[str, Any] | None:
        """In chat's shape; the end of the turn is no part of the reply."""
        if self._top is None:
            return None
        content = [
            {**_entry(each.text, each.logprob), "top_logprobs": self._likeliest(each)}
            for each in logprobs
            if each.text != END and each.logprob is not None
        ]
        return {"content": content, "refusal": None}

    def _likeliest(self, logprob: TokenLogprob) -> list[dict[str, Any]]:
        ranked = sorted((logprob.top or {}).items(), key=lambda pair: -pair[1])[: self._top]
        return [_entry(text, value) for text, value in ranked]


def _entry(text: str, logprob: float | None) -> dict[str, Any]:
    return {"token": text, "logprob": logprob, "bytes": list(_bytes(text))}


def _bytes(text: str) -> bytes:
    r"""The bytes of a token as it is shown: ``bytes:\xe4`` is a part of a character."""
    part = _PART_OF_A_CHARACTER.fullmatch(text)
    if part is not None:
        return bytes.fromhex(part[1].replace("\\x", ""))
    return text.encode()


def _chunk_choice(
    index: int,
    delta: dict[str, Any],
    logprobs: dict[str, Any] | None = None,
    reason: str | None = None,
) -> dict[str, Any]:
    return {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": reason}
