"""What a training can learn to do beside predicting the next token.

``causal`` is next-token prediction on the text as it stands. Every other objective makes tasks of
passages of the text: something to read, the mark ``answer``, something to write, the end. Only
what is to be written counts in the loss. A further objective is one class here and its name in
``options.ObjectiveName``.

Marks are special ids (textgen.tokenizers.marked), so no text can be mistaken for one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from textgen.options import ObjectiveName
from textgen.tokenizers import Ids, Tokenizer

Tokens = npt.NDArray[np.int64]
ANSWER = "answer"
GAPS = tuple(f"gap{number}" for number in range(8))
_SENTENCE_ENDS = ".!?。！？…\n"  # the last character of a sentence, or of what closes it
_TRIES = 200  # passages in a row that an objective may find no task in
_CLOSING = "\"'”’」』)） "


@dataclass(frozen=True, slots=True)
class Example:
    """One task: ids to read, the last of them the mark ``answer``, and ids to write, with the end.

    Both int64.
    """

    prompt: Tokens
    answer: Tokens

    @property
    def size(self) -> int:
        """All of its ids."""
        return len(self.prompt) + len(self.answer)


class Objective(ABC):
    """Makes tasks for one tokenizer that has its marks."""

    name: ClassVar[ObjectiveName]
    passage: ClassVar[tuple[int, int]]  # the fewest and the most tokens to draw for a task

    def __init__(self, tokenizer: Tokenizer) -> None:
        ids = tokenizer.special_ids
        self._start = ids[self.name]
        self._gaps = [ids[gap] for gap in GAPS]
        self._answer = ids[ANSWER]
        self._end = tokenizer.end_id

    @classmethod
    def marks(cls) -> tuple[str, ...]:
        """The names of the special ids that it needs."""
        return (cls.name, *GAPS, ANSWER)

    @abstractmethod
    def example(self, passage: Tokens, random: np.random.Generator) -> Example | None:
        """A task made of ``passage``; None where it is too short or otherwise good for none."""

    def _task(self, to_read: Sequence[Tokens | list[int]], to_write: list[Tokens]) -> Example:
        parts: list[Tokens | list[int]] = [[self._start], *to_read, [self._answer]]
        return Example(_joined(parts), _joined([*to_write, [self._end]]))


class Infill(Objective):
    """A passage without its middle; the middle is to be written (Bavarian et al. 2022).

    What follows the gap is read first and what precedes it last ("SPM", §3), so that the middle
    goes on where reading stopped: what an LSTM remembers best.
    """

    name = "infill"
    passage = (4, 96)

    def example(self, passage: Tokens, random: np.random.Generator) -> Example | None:
        """Both ends of the middle are uniform, so any part may be empty but not the middle."""
        if len(passage) < self.passage[0]:
            return None
        first, last = np.sort(random.choice(len(passage) + 1, 2, replace=False))
        prompt = self.prompt(passage[:first], passage[last:])
        return Example(prompt, _joined([passage[first:last], [self._end]]))

    def prompt(self, prefix: Tokens, suffix: Tokens) -> Tokens:
        """What a model reads to write what stands between ``prefix`` and ``suffix``."""
        return _joined([[self._start], suffix, [self._gaps[0]], prefix, [self._answer]])


class Mask(Objective):
    """A passage with short gaps, each with a mark of its own; the gaps' texts are to be written.

    Span corruption as in T5 (Raffel et al. 2020, §3.1.4), for a model that reads one way.
    """

    name = "mask"
    passage = (4, 96)
    _SHARE = 0.2  # of the tokens are in gaps
    _SPAN = 4  # tokens in a gap, on average

    def example(self, passage: Tokens, random: np.random.Generator) -> Example | None:
        """Gaps of random lengths, at least one token apart."""
        if len(passage) < self.passage[0]:
            return None
        hidden = max(1, round(self._SHARE * len(passage)))
        count = min(max(1, round(hidden / self._SPAN)), len(GAPS), hidden)
        gaps = _composition(hidden, count, random)
        shown = _composition(len(passage) - hidden + 2, count + 1, random)
        shown[0] -= 1  # the first and the last part may be empty
        shown[-1] -= 1
        to_read: list[Tokens | list[int]] = []
        to_write: list[Tokens] = []
        place = 0
        for number, (before, gap) in enumerate(zip(shown, gaps, strict=False)):
            mark = [self._gaps[number]]
            to_read += [passage[place : place + before], mark]
            to_write.append(_joined([mark, passage[place + before : place + before + gap]]))
            place += before + gap
        return self._task([*to_read, passage[place:]], to_write)


class Order(Objective):
    """Sentences in a shuffled order, each after a mark; the marks in the right order are to come.

    Sentences end with ``.``, ``!``, ``?``, their Chinese forms, or a line's end.
    """

    name = "order"
    passage = (48, 240)

    def __init__(self, tokenizer: Tokenizer) -> None:
        super().__init__(tokenizer)
        texts = (tokenizer.token_text(token) for token in range(tokenizer.vocab_size))
        self._ends = np.array([_ends_sentence(text) for text in texts])  # (V,) bool

    def example(self, passage: Tokens, random: np.random.Generator) -> Example | None:
        """Up to eight whole sentences of the passage; None where it has fewer than two."""
        sentences = self._sentences(passage)
        if len(sentences) < 2:
            return None
        order = random.permutation(len(sentences))  # place → number of the sentence shown there
        to_read: list[Tokens | list[int]] = []
        for place, number in enumerate(order):
            to_read += [[self._gaps[place]], sentences[number]]
        places = np.argsort(order)  # number of the sentence → place
        return self._task(to_read, [np.array([self._gaps[place] for place in places], np.int64)])

    def _sentences(self, passage: Tokens) -> list[Tokens]:
        """The first whole ones: after the first sentence's end, up to the last one's."""
        ends = np.flatnonzero(self._ends[passage]) + 1
        ends = ends[np.diff(ends, append=len(passage) + 2) > 1]  # "...": one end
        pieces = [passage[start:stop] for start, stop in pairwise(ends)]
        return pieces[: len(GAPS)]


OBJECTIVES: Mapping[ObjectiveName, type[Objective]] = MappingProxyType(
    {each.name: each for each in (Infill, Mask, Order)}
)


def marks_of(objectives: Sequence[ObjectiveName]) -> tuple[str, ...]:
    """The special ids that a tokenizer needs for ``objectives``, each once, in a fixed order."""
    names = [mark for name in sorted(objectives) if name in OBJECTIVES
             for mark in OBJECTIVES[name].marks()]  # fmt: skip
    return tuple(dict.fromkeys(names))


class Passages:
    """Stretches of a text; where it has documents, of one document or one turn each."""

    def __init__(self, tokens: Ids, tokenizer: Tokenizer, *, documents: bool) -> None:
        self.end_id = tokenizer.end_id
        self._tokens = tokens
        self._documents = documents
        self._bounds = [i for i in tokenizer.special_ids.values() if i != tokenizer.unknown_id]

    @property
    def size(self) -> int:
        """Tokens of the text."""
        return self._tokens.size

    def draw(self, fewest: int, most: int, random: np.random.Generator) -> Tokens:
        """``fewest`` … ``most`` ids, the length log-uniform; fewer where a document is short."""
        length = int(np.exp(random.uniform(np.log(fewest), np.log(most + 1))))
        size = self._tokens.size
        place = int(random.integers(max(size - length, 0) + 1))
        if not self._documents:
            return self._tokens[place : place + length].astype(np.int64)
        first = max(place - length, 0)
        around = self._tokens[first : place + length].astype(np.int64)
        ends = np.flatnonzero(np.isin(around, self._bounds))
        before, after = ends[ends <= place - first], ends[ends > place - first]
        start = before[-1] + 1 if before.size else place - first
        stop = after[0] if after.size else len(around)
        return around[start:stop][:length]


def examples(
    objective: Objective, passages: Passages, random: np.random.Generator
) -> Iterator[Example]:
    """Tasks for ever, or until many passages in a row were good for none."""
    misses = 0
    while misses < _TRIES:
        example = objective.example(passages.draw(*objective.passage, random), random)
        misses = misses + 1 if example is None else 0
        if example is not None:
            yield example


def _composition(total: int, parts: int, random: np.random.Generator) -> list[int]:
    """``total`` as a sum of ``parts`` numbers of at least 1, all such sums equally likely."""
    cuts = np.sort(random.choice(total - 1, parts - 1, replace=False)) + 1
    return [int(size) for size in np.diff(cuts, prepend=0, append=total)]


def _joined(parts: Sequence[Tokens | list[int]]) -> Tokens:
    return np.concatenate([np.asarray(part, np.int64) for part in parts])


def _ends_sentence(text: str) -> bool:
    return text.rstrip(_CLOSING)[-1:] in tuple(_SENTENCE_ENDS) or text.endswith("\n")
