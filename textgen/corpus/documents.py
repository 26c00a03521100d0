"""One entry of a corpus: a text, turns of which only some are to be learnt, a text with a label.

A turn is written to the ids as its mark, its text and an end. Marks are special ids, so nothing
that a user writes can be taken for one:

    {"prompt", "completion"}   prompt · answer · completion · end
    {"messages"}               system · text · end · user · text · end · assistant · text · end · …

The loss counts the completion and what the assistant says, each with its end. Generation begins
with the same marks (`textgen.engine.context`). Of ``{"text", "label"}`` the text alone is written;
labels lie beside the ids, so that no label can be read by a model that is to find it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from textgen.objectives import ANSWER
from textgen.options import RowKind

ROLES = ("system", "user", "assistant")
LONGEST_LABEL = 100  # characters
MOST_LABELS = 1000


@dataclass(frozen=True, slots=True)
class Turn:
    """``mark`` comes before the text, an end after it where ``closed``."""

    text: str
    mark: str | None = None
    closed: bool = True
    counted: bool = False  # whether the loss counts the text and its end


@dataclass(frozen=True)
class Dialogue:
    """Turns in their order; at least one is counted."""

    turns: tuple[Turn, ...]

    @cached_property
    def text(self) -> str:
        """All of the text, to count and to look at."""
        return "".join(turn.text for turn in self.turns)

    def __len__(self) -> int:
        """Its characters."""
        return len(self.text)

    @property
    def counted(self) -> int:
        """The characters that the loss counts."""
        return sum(len(turn.text) for turn in self.turns if turn.counted)


@dataclass(frozen=True, slots=True)
class Labelled:
    """A text and the class that it belongs to."""

    text: str
    label: str

    def __len__(self) -> int:
        """Its characters; a row without any is left out like an empty text."""
        return len(self.text)


Document = str | Dialogue | Labelled


class BadRow(ValueError):
    """A row of a file that is no document; the reader adds file and line."""


def text_of(document: Document) -> str:
    """The characters of a document."""
    return document if isinstance(document, str) else document.text


def texts_of(document: Document) -> list[str]:
    """The texts of a document that no token joins."""
    if not isinstance(document, Dialogue):
        return [text_of(document)]
    return [turn.text for turn in document.turns if turn.text]


def identity(document: Document) -> bytes:
    """Equal for equal documents alone, whatever their labels.

    So a text that has two labels is never learnt under one and measured under the other, and it is
    held out from a classifier if it was from the language model that it begins with.
    """
    if not isinstance(document, Dialogue):
        return text_of(document).encode()
    turns = [(turn.mark, turn.text, turn.counted) for turn in document.turns]
    return b"\0" + json.dumps(turns).encode()


def document_hash(document: Document) -> int:
    """64 bits that depend on the document alone, the same on every machine."""
    return int.from_bytes(hashlib.blake2b(identity(document), digest_size=8).digest(), "big")


def prompt_and_completion(prompt: str, completion: str) -> Dialogue | None:
    """The completion is to be learnt; None where there is none."""
    if not completion:
        return None
    return Dialogue((Turn(prompt, closed=False), Turn(completion, mark=ANSWER, counted=True)))


def conversation(messages: object) -> Dialogue | None:
    """OpenAI's messages; what the assistant says is to be learnt, but where its weight is 0.

    None where nothing is to be learnt. BadRow names what is wrong.
    """
    if not isinstance(messages, list) or not messages:
        raise BadRow("has 'messages' that are not a list with a message in it")
    turns = tuple(_turn(number, message) for number, message in enumerate(messages))
    return Dialogue(turns) if any(turn.counted for turn in turns) else None


def _turn(number: int, message: object) -> Turn:
    where = f"has in 'messages' as number {number}"
    if not isinstance(message, dict):
        raise BadRow(f'{where} no object; write {{"role": "user", "content": "..."}}')
    role, content = message.get("role"), message.get("content")
    role = "system" if role == "developer" else role
    if role not in ROLES:
        raise BadRow(f"{where} the role {role!r}; it can be {', '.join(ROLES)}")
    if not isinstance(content, str):
        raise BadRow(f"{where} a content that is not a string")
    weight = message.get("weight", 1)
    if weight not in (0, 1):
        raise BadRow(f"{where} the weight {weight!r}; it can be 0 or 1")
    return Turn(content, mark=role, counted=role == "assistant" and weight == 1 and content != "")


def label_text(value: object) -> str:
    """A label as text: a string without spaces around it, or a number, true or false as in JSON.

    BadRow names what is wrong.
    """
    if isinstance(value, (bool, int, float)):
        value = json.dumps(value)
    if not isinstance(value, str):
        raise BadRow(
            "has a 'label' that is no string, number, true or false; correct it, or train with "
            "the objective causal, which leaves labels aside"
        )
    label = value.strip()
    if not label or len(label) > LONGEST_LABEL or not label.isprintable():
        raise BadRow(
            f"has the label {label[:40]!r} of {len(label):,} characters; a label has 1 to "
            f"{LONGEST_LABEL} printable characters"
        )
    return label


def label_mark(label: str) -> str:
    """The special id that stands for a label: what a classifier draws, and never reads."""
    return f"label:{label}"


def kind_of(document: Document) -> RowKind:
    """What kind of row it was."""
    if isinstance(document, str):
        return "text"
    if isinstance(document, Labelled):
        return "labels"
    return "prompts" if document.turns[0].mark is None else "messages"


# The special ids that a tokenizer needs for the rows of a kind.
MARKS: Mapping[RowKind, tuple[str, ...]] = {
    "text": (),
    "prompts": (ANSWER,),
    "messages": ROLES,
    "labels": (ANSWER,),  # and one for each label
}
