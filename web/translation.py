"""The message of an error in another language, with its field and its values; and what jobs tell.

Messages are made where the error is, in English, deep in packages that know of no reader. Each was
made from a template, and the templates are known: the reference of errors lists them, with ``…``
for what is filled in. So a message is translated from outside: the template that it was made from
is found again, and what filled its gaps goes into the translated one, at ``{1}``, ``{2}``, ….

A message that no template fits stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain

from web.catalogues import ENGLISH, entries

GAP = "…"
ERRORS = "errors"  # domains of the catalogues
REPORTS = "reports"  # what the doctor and the events of jobs say
_NUMBERED = re.compile(r"\{(\d)\}")
_LITERAL = re.compile(r"'[^']*'|\"[^\"]*\"|-?[\d.,]+")  # a name or a number, as it was given
_BETWEEN = {", or ": "，或", " or ": "或", ", ": "、"}  # what a value may be, and what else
_MEETING = re.compile(r"[\u4e00-\u9fff]['\"\w-]|['\"\w][\u4e00-\u9fff]", re.ASCII)
_LEAST = 8  # letters that a template must have for a part of a message to be taken for its own


@dataclass(frozen=True)
class Template:
    """What a message is made from: the text around its gaps, and how all of it is said."""

    parts: tuple[str, ...]
    said: str

    @property
    def letters(self) -> int:
        """How much of a message is known for certain to be this one's."""
        return sum(map(len, self.parts))

    def values(self, message: str) -> list[str] | None:
        """What stands in the gaps of a message; None where it was made from another template."""
        first, *further = self.parts
        if not further:
            return [] if message == first else None
        *between, last = further
        place, end = len(first), len(message) - len(last)
        if not (message.startswith(first) and message.endswith(last)):
            return None
        found = []
        for part in between:
            at = message.find(part, place, max(end, 0))
            if at < 0:
                return None
            found.append(message[place:at])
            place = at + len(part)
        return [*found, message[place:end]] if place <= end else None

    def fill(self, values: Sequence[str]) -> str:
        """The message, with values in its gaps."""
        first, *further = _NUMBERED.split(self.said)
        gaps = [values[int(number) - 1] for number in further[::2]]
        return joined(first, *chain.from_iterable(zip(gaps, further[1::2], strict=True)))


@dataclass(frozen=True)
class Known:
    """The templates of a catalogue, those first that say the most.

    ``errors``: the messages of errors, which whole sentences in its gaps may be.
    """

    templates: Sequence[Template]
    errors: Known | None


def translated(message: str, language: str, domain: str = ERRORS) -> str:
    """``message``, which is English, in a language of the catalogues; itself where unknown."""
    if language == ENGLISH:
        return message
    known = _known(language, domain)
    found = _translated(message, known, 0)
    if found is None:
        found = _translated(" ".join(message.split()), known, 0)
    return message if found is None else found


def translated_event(message: str, level: str, language: str) -> str:
    """What an event of a job says; an error's is told as errors are."""
    said = translated(message, language, REPORTS)
    return translated(said, language) if level == "error" else said


def translated_template(template: str, language: str) -> str:
    """A message of the reference of errors, its gaps shown as there."""
    return _NUMBERED.sub(GAP, entries(language, ERRORS).get(template, template))


def _translated(message: str, known: Known, least: int) -> str | None:
    for template in known.templates:
        if template.letters < least and len(template.parts) > 1:
            continue
        values = template.values(message)
        if values is not None:
            return template.fill([_value(value, known) for value in values])
    return None


def _value(value: str, known: Known) -> str:
    """What fills a gap: a name or a number, or words that have a template of their own."""
    if _LITERAL.fullmatch(value):
        return value
    words = value.strip()
    said = _words(words, known)
    if said is None and known.errors is not None and words.endswith("."):
        said = _translated(words, known.errors, _LEAST)
    return value if said is None else said


def _words(value: str, known: Known) -> str | None:
    """Words that are known, or several of them side by side; None for others."""
    if _LITERAL.fullmatch(value):
        return value
    for between, said_between in _BETWEEN.items():
        first, *further = value.split(between)
        if not further:
            continue
        told = _words(first, known)
        for part in further:
            words = None if told is None else _words(part, known)
            if told is None or words is None:
                told = None
                break
            told = joined(told, said_between, words)
        if told is not None:
            return told
    return _translated(value, known, _LEAST)


def joined(*pieces: str) -> str:
    """All of them, with a space where Chinese and Latin characters meet."""
    told = ""
    for piece in pieces:
        meeting = _MEETING.fullmatch(told[-1:] + piece[:1])
        told = f"{told} {piece}" if meeting else told + piece
    return told


@cache
def _known(language: str, domain: str) -> Known:
    """All of a catalogue."""
    found = [
        Template(tuple(english.split(GAP)), said)
        for english, said in entries(language, domain).items()
        if said
    ]
    return Known(
        tuple(sorted(found, key=lambda template: -template.letters)),
        errors=_known(language, ERRORS) if domain == REPORTS else None,
    )
