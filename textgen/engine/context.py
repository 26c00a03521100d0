"""What a model reads before it writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from textgen.corpus.documents import Dialogue, Turn, label_mark
from textgen.corpus.id_writer import encode_parts
from textgen.engine.echo import EchoedPrompt
from textgen.engine.requests import Request
from textgen.errors import InvalidOption
from textgen.objectives import ANSWER, Infill
from textgen.options import ObjectiveName, RowKind, Task
from textgen.tokenizers import Tokenizer

# What the texts of each task are called in requests.
PARAMS: Mapping[Task, str] = {
    "write": "prompt",
    "choose": "prompt",
    "reply": "messages",
    "classify": "input",
    "embed": "input",
}
TokenIds = npt.NDArray[np.integer[Any]]


class ContextMaker:
    """What the model reads before its first drawn token.

    A model that learnt from documents reads an end token, the boundary before a new document, and
    then the prompt; one that learnt to answer also the mark of the answer, as in its corpus
    (`textgen.corpus.documents`), where a prompt is what the user says. Others read the prompt; in
    the place of an empty one a line's end, else the first token that has a text. Ids that begin
    with the end already are read as they stand: what this makes can be given as a prompt again.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        documents: bool,
        objectives: Sequence[ObjectiveName] = ("causal",),
        rows: RowKind = "text",
        labels: Sequence[str] = (),
    ) -> None:
        ids = tokenizer.special_ids
        self._tokenizer = tokenizer
        self._vocab_size = tokenizer.vocab_size
        self._replies = rows == "messages"
        self._start = tokenizer.end_id if documents else _line_end(tokenizer)
        self._always = documents
        self._end = tokenizer.end_id
        self._before: list[int] = []  # what stands before and after a prompt
        self._after: list[int] = []
        if rows == "prompts":
            self._after = [ids[ANSWER]]
        elif rows == "messages":
            self._before = [ids["user"]]
            self._after = [self._end, ids["assistant"]]
        self._infill = Infill(tokenizer) if "infill" in objectives else None
        self._answer = ids[ANSWER] if labels else None  # before a label

    def check(self, request: Request) -> None:
        """InvalidOption where an id is not of this vocabulary, or the task was not learnt."""
        self._check_ids(request.prompt, PARAMS[request.task])
        if request.task == "classify" and self._answer is None:
            raise not_a_classifier()
        if request.task == "reply" and not self._replies:
            raise not_a_chat_model()
        if request.echo and request.scored and (request.start or request.return_state):
            raise InvalidOption(
                "The log-probabilities of an echoed prompt are told of whole prompts alone, and "
                "without a state. Leave out 'echo', 'logprobs' or the state.",
                param="echo",
            )
        if request.suffix is None:
            return
        if self._infill is None:
            raise suffix_not_learnt()
        if request.start is not None or request.return_state:
            raise InvalidOption(
                "A gap is filled between a prompt and a suffix; there is no state before it or "
                "after it. Leave out the state or 'suffix'.",
                param="suffix",
            )
        self._check_ids(request.suffix, "suffix")

    def of(self, request: Request) -> npt.NDArray[np.int64]:
        """What is read for a request, at least one id."""
        if request.task == "classify":
            return self.classification(request.prompt)
        if request.task == "embed":
            return self._framed(request.prompt, [])
        unread: list[npt.ArrayLike] = []  # of the text that it goes on from, whose last token it is
        if request.start is not None:
            unread = [[request.start.token], self._tokenizer.encode(request.start.rest)]
        if request.task == "reply":  # the end is that of the conversation, or turn, before
            return _joined(*unread, [self._end], request.prompt)
        if request.start is not None:  # the prompt as it stands
            return _joined(*unread, request.prompt)
        return self.make(request.prompt, request.suffix)

    def echoed(self, request: Request) -> EchoedPrompt:
        """The prompt of a request to write, without a suffix, to be fed token by token."""
        before = len(self._framed(request.prompt, [])) - len(request.prompt)
        return EchoedPrompt(
            self._tokenizer,
            self.of(request),
            request.prompt,
            before,
            only_read=request.options.max_tokens == 0,
        )

    def _check_ids(self, ids: TokenIds, param: str) -> None:
        if len(ids) == 0:
            return
        for wrong in (int(ids.min()), int(ids.max())):
            if not 0 <= wrong < self._vocab_size:
                raise InvalidOption(
                    f"'{param}' has the token id {wrong}; this model knows 0 to "
                    f"{self._vocab_size - 1}.",
                    param=param,
                )

    def make(self, prompt: TokenIds, suffix: TokenIds | None = None) -> npt.NDArray[np.int64]:
        """At least one id. With ``suffix`` it is a gap after ``prompt`` that is to be filled."""
        if suffix is not None and self._infill is not None:
            task = self._infill.prompt(prompt.astype(np.int64), suffix.astype(np.int64))
            return _joined([self._end], task)
        return self._framed(prompt, self._after)

    def _framed(self, prompt: TokenIds, after: list[int]) -> npt.NDArray[np.int64]:
        if self._is_framed(prompt):
            return prompt.astype(np.int64)
        start = [self._start] if self._always or len(prompt) == 0 else []
        return _joined([*start, *self._before], prompt, after)

    def _is_framed(self, prompt: TokenIds) -> bool:
        return self._always and len(prompt) > 0 and int(prompt[0]) == self._end

    def classification(self, text: TokenIds) -> npt.NDArray[np.int64]:
        """What is read before the label of ``text``; InvalidOption where none were learnt."""
        if self._answer is None:
            raise not_a_classifier()
        return _joined([self._end], text, [self._answer])


def conversation_ids(tokenizer: Tokenizer, turns: Sequence[Turn]) -> npt.NDArray[np.int64]:
    """What is read before the assistant's next turn: ``turns`` as in training, then its mark.

    InvalidOption ``not_a_chat_model`` where the tokenizer has no such marks.
    """
    if "assistant" not in tokenizer.special_ids:
        raise not_a_chat_model()
    parts = [ids for ids, _, _ in encode_parts(Dialogue(tuple(turns)), tokenizer)]
    return _joined(*parts, [tokenizer.special_ids["assistant"]])


def label_ids(tokenizer: Tokenizer, labels: Sequence[str]) -> list[int]:
    """The special ids that stand for ``labels``, in their order."""
    return [tokenizer.special_ids[label_mark(label)] for label in labels]


def not_a_classifier() -> InvalidOption:
    """The error for a model that has learnt no labels."""
    return InvalidOption(
        "This model has learnt no labels, so it can classify nothing. Train one on rows of "
        '{"text": "...", "label": "..."} with the objective classify; a training that goes on '
        "from this model (its id as 'model') needs fewer rows.",
        code="not_a_classifier",
        param="model",
    )


def not_a_chat_model() -> InvalidOption:
    """The error for a model that has not learnt from conversations."""
    return InvalidOption(
        "This model has not learnt from conversations, so it cannot reply in one: ask it by "
        'POST /v1/completions. To have one that can, train on rows of {"messages": [{"role": '
        '"user", "content": "..."}, {"role": "assistant", "content": "..."}]}; a training may go '
        "on from this model (its id as 'model').",
        code="not_a_chat_model",
        param="model",
    )


def writing_not_learnt(labels: Sequence[str]) -> InvalidOption:
    """The error for a model that has learnt labels and no text."""
    some = ", ".join(labels[:5]) + ", …" * (len(labels) > 5)
    return InvalidOption(
        f"This model tells texts apart ({some}) and has not learnt to write any: ask it by "
        'POST /v1/classify. To have both in one model, train with objectives {"classify": 1, '
        '"causal": 1}.',
        code="writing_not_learnt",
        param="model",
    )


_LEARN_INFILL = (
    'train with the hyperparameter objectives {"causal": 1, "infill": 1}; a model that you have '
    "can learn it too, by a training that goes on from it."
)


def suffix_not_learnt() -> InvalidOption:
    """The error for a gap that the model cannot fill."""
    return InvalidOption(
        "'suffix' is given, but this model has not learnt to fill gaps. Leave it out, or "
        f"{_LEARN_INFILL}",
        code="suffix_not_learnt",
        param="suffix",
    )


def gaps_not_learnt() -> InvalidOption:
    """The error for a model that is to insert into texts and cannot."""
    return InvalidOption(
        "This model has not learnt to fill gaps, so it can insert nothing. Use one that has, or "
        f"{_LEARN_INFILL}",
        code="suffix_not_learnt",
        param="model",
    )


def _joined(*parts: npt.ArrayLike) -> npt.NDArray[np.int64]:
    return np.concatenate([np.asarray(part).astype(np.int64) for part in parts])


def _line_end(tokenizer: Tokenizer) -> int:
    ids = tokenizer.encode("\n").tolist()
    special = set(tokenizer.special_ids.values())
    if len(ids) == 1 and ids[0] not in special:
        return int(ids[0])
    return next((token for token in range(tokenizer.vocab_size) if token not in special), 0)
