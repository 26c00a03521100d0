"""Kinds of characters, and where they stand: what a unit of a model may follow along a text."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

_QUOTES = {"“": "”", "«": "»", "„": "“", "「": "」", "『": "』", "《": "》", '"': '"'}
_BRACKETS = {"(": ")", "[": "]", "{": "}", "（": "）", "【": "】"}
Flags = npt.NDArray[np.float64]

_ALONE: Mapping[str, Callable[[str], bool]] = MappingProxyType(
    {
        "letter": str.isalpha,
        "capital": str.isupper,
        "digit": str.isdigit,
        "space": str.isspace,
        "punctuation": lambda character: unicodedata.category(character).startswith("P"),
    }
)


def kinds_of(texts: Sequence[str]) -> dict[str, Flags]:
    """For each kind its value at the end of each of the N ``texts``, which follow each other.

    1 or 0; of ``place in line`` the characters since the line began. A text without characters is
    as the one before it.
    """
    found: dict[str, list[float]] = {name: [] for name in (*_ALONE, *_PLACES)}
    place = _Place()
    last = ""
    for text in texts:
        for character in text:
            place.read(character)
        last = text[-1:] or last
        for name, is_one in _ALONE.items():
            found[name].append(float(bool(last) and is_one(last)))
        for name, value in zip(_PLACES, place.values(), strict=True):
            found[name].append(value)
    return {name: np.array(values) for name, values in found.items()}


_PLACES = ("within quotes", "within brackets", "place in line")


class _Place:
    """Where a text has come to."""

    def __init__(self) -> None:
        self._open = ""  # what would close the quotation
        self._brackets: list[str] = []
        self._column = 0

    def read(self, character: str) -> None:
        self._column = 0 if character == "\n" else self._column + 1
        if self._open:
            self._open = "" if character == self._open else self._open
        elif character in _QUOTES:
            self._open = _QUOTES[character]
        if self._brackets and character == self._brackets[-1]:
            self._brackets.pop()
        elif character in _BRACKETS:
            self._brackets.append(_BRACKETS[character])

    def values(self) -> tuple[float, float, float]:
        return float(bool(self._open)), float(bool(self._brackets)), float(self._column)
