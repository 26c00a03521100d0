"""Strings of JSON that nothing can be done with: those with NUL or half a surrogate pair.

JSON can escape both. Neither can be stored or sent everywhere, and the half is no character.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from textgen.errors import InvalidInput

HALF_A_PAIR = re.compile("[\ud800-\udfff]")


def refuse_unusable(body: Mapping[str, object]) -> None:
    """Raise InvalidInput where a string of a JSON object, or a key, is such a one."""
    for name, value in body.items():
        for text in (name, *_strings(value)):
            _refuse(name, text)


def _strings(value: object) -> Iterator[str]:
    """All strings of a JSON value, the keys too; without recursion, however deep it is."""
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, str):
            yield each
        elif isinstance(each, dict):
            waiting += [*each.keys(), *each.values()]
        elif isinstance(each, list):
            waiting += each


def _refuse(name: str, text: str) -> None:
    if "\0" in text:
        raise InvalidInput("A string of the body holds the character NUL.", code="invalid_json")
    half = HALF_A_PAIR.search(text)
    if half is not None:
        raise InvalidInput(
            f"{name!r} holds half a surrogate pair (\\u{ord(half[0]):04x}), which is no character. "
            "Send the pair whole, or leave it out.",
            param=name.encode(errors="replace").decode(),
        )
