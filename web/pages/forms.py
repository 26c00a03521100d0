"""From a form to the body that the API's own schemas check."""

from __future__ import annotations

from typing import Any

from flask import request

from textgen.errors import TextgenError


def body_of_form() -> dict[str, Any]:
    """The fields of the current form that say something, ``a.b`` as b within a.

    A name ending in ``[]`` collects a list. Values stay text, which the schemas of options turn
    into what they ask for.
    """
    body: dict[str, Any] = {}
    for name, given in request.form.items(multi=True):
        value = given.strip() if name != "prompt" else given
        if value == "":
            continue
        target, *inner = name.removesuffix("[]").split(".")
        place = body
        for part in inner:
            place = place.setdefault(target, {})
            target = part
        if name.endswith("[]"):
            place.setdefault(target, []).append(value)
        else:
            place[target] = value
    return body


def field_of(error: TextgenError | None) -> str:
    """The name of the form's field that an error is about; empty for the form as a whole."""
    return "" if error is None or error.param is None else error.param
