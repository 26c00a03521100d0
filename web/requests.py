"""Reads what a client sent: strict JSON bodies and query strings, checked against a schema."""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn, TypeVar

from flask import request

from textgen.errors import InvalidInput
from textgen.options import Options
from web.errors import UnsupportedMedia
from worker.json_strings import refuse_unusable

Q = TypeVar("Q", bound=Options)
MOST_IN_LIST = 100
MOST_DEPTH = 32
# NUL or a surrogate, as JSON can escape them; whether a pair is whole, the strings tell.
UNUSABLE_ESCAPE = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
MAP_KEY = re.compile(r"(\w+)\[([^\]]*)\]")


def json_body() -> dict[str, Any]:
    """The request's JSON object; raises InvalidInput saying what is wrong with it and where."""
    if request.content_encoding:
        raise UnsupportedMedia(
            f"Content-Encoding is {request.content_encoding!r}: send the body as it is."
        )
    raw = request.get_data(cache=False)
    try:
        body = json.loads(raw, object_pairs_hook=_without_twins, parse_constant=_refuse_constant)
    except RecursionError:
        raise InvalidInput("The body is nested too deeply.", code="invalid_json") from None
    except ValueError as error:  # also bytes that are not UTF-8
        raise InvalidInput(f"The body is not JSON: {error}.", code="invalid_json") from None
    if not isinstance(body, dict):
        raise InvalidInput("The body must be a JSON object, {…}.", code="invalid_json")
    if raw.count(b"[") + raw.count(b"{") > MOST_DEPTH and _is_deep(body):
        raise InvalidInput(
            f"The body is nested too deeply: at most {MOST_DEPTH} levels.", code="invalid_json"
        )
    if UNUSABLE_ESCAPE.search(raw):
        refuse_unusable(body)
    return body


def _is_deep(body: object) -> bool:
    """Whether anything lies deeper than is allowed; itself without recursion."""
    level = [body]
    for _ in range(MOST_DEPTH):
        level = [
            inner
            for value in level
            if isinstance(value, dict | list)
            for inner in (value.values() if isinstance(value, dict) else value)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands there twice")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def query(schema: type[Q]) -> Q:
    """The query string as ``schema``.

    ``name[key]=value`` pairs become a mapping, ``name[]=value`` a list.
    """
    values: dict[str, Any] = {}
    for name, given in request.args.items(multi=True):
        match = MAP_KEY.fullmatch(name)
        if match is not None and match[2] == "":
            values.setdefault(match[1], [])
            _append(values[match[1]], name, given)
            continue
        target = values if match is None else values.setdefault(match[1], {})
        key = name if match is None else match[2]
        if not isinstance(target, dict) or key in target:
            raise InvalidInput(f"{name!r} is given twice.", param=name)
        if "\0" in key + given:
            raise InvalidInput(f"{name!r} holds the character NUL.", param=name)
        target[key] = given
    return schema.parse(values)


def _append(target: object, name: str, given: str) -> None:
    if not isinstance(target, list) or len(target) >= MOST_IN_LIST:
        raise InvalidInput(f"{name!r} is given in two ways, or too often.", param=name)
    if "\0" in given:
        raise InvalidInput(f"{name!r} holds the character NUL.", param=name)
    target.append(given)


def limit_body(size: int) -> None:
    """Let this request's body have ``size`` bytes, whatever the service's usual limit."""
    request.max_content_length = size
