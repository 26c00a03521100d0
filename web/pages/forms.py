"""From a form to the body that the API's own schemas check."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

from flask import request

from textgen.errors import InvalidOption, TextgenError


def body_of_form() -> dict[str, Any]:
    """The fields of the current form that say something, ``a.b`` as b within a.

    A name ending in ``[]`` collects a list; of other fields that come twice the last one holds.
    Values stay text, which the schemas of options turn into what they ask for. Raises
    InvalidOption where fields give one thing as a value and as a list or with fields within it.
    """
    body: dict[str, Any] = {}
    for name, given in request.form.items(multi=True):
        value = given.strip() if name != "prompt" else given
        if value == "":
            continue
        path = name.removesuffix("[]").split(".")
        place = body
        for depth, part in enumerate(path[:-1], 1):
            place = place.setdefault(part, {})
            if not isinstance(place, dict):
                _in_two_ways(path[:depth], name, value)
        last = path[-1]
        kind = list if name.endswith("[]") else str
        if not isinstance(place.setdefault(last, kind()), kind):
            _in_two_ways(path, name, value)
        if kind is list:
            place[last].append(value)
        else:
            place[last] = value
    return body


def _in_two_ways(path: Sequence[str], name: str, value: str) -> NoReturn:
    field = ".".join(path)
    raise InvalidOption(
        f"{name[:100]!r} is {value[:100]!r}, but {field[:100]!r} is given in another way, too. "
        "Leave out one of the two.",
        param=field,
    )


def field_of(error: TextgenError | None) -> str:
    """The name of the form's field that an error is about; empty for the form as a whole."""
    return "" if error is None or error.param is None else error.param
