"""Rows as the lines of JSON that trainings read: dicts, a dataset of Hugging Face, a table.

A row is a mapping with ``text`` (and ``label``), with ``prompt`` and ``completion``, or with
``messages``. Other keys stay here. A row whose text, completion or messages are None or empty is
left out, and a field of a message that is None too: tables have a place for what is not said.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from textgen.errors import InvalidCorpus

KINDS = (("text", "label"), ("messages",), ("prompt", "completion"))


def json_lines(rows: Iterable[Mapping[str, Any]]) -> Iterator[bytes]:
    """A line for each row, ``rows`` being read once, one by one.

    Numbers that stand for the names of Hugging Face's ``ClassLabel`` become these names.
    InvalidCorpus (``invalid_row``) names the row, from 1, that is none.
    """
    names = _class_names(rows)
    for number, row in enumerate(rows, 1):
        said = _said(row, number)
        if said is None:
            continue
        label = said.get("label")
        if names and type(label) is int and 0 <= label < len(names):
            said["label"] = names[label]
        try:
            line = json.dumps(said, ensure_ascii=False, allow_nan=False)
            yield line.encode() + b"\n"
        except (TypeError, ValueError) as error:  # of values that JSON does not have
            raise _bad(
                number, f"holds what JSON cannot say ({error}); make strings of it"
            ) from None


def _said(row: object, number: int) -> dict[str, Any] | None:
    if not isinstance(row, Mapping):
        raise _bad(number, f"is {type(row).__name__}, no mapping such as {{'text': '...'}}")
    kind = next((kind for kind in KINDS if kind[0] in row), None)
    if kind is None:
        keys = ", ".join(map(repr, list(row)[:10]))
        raise _bad(
            number,
            f"has no 'text', 'messages' or 'prompt' (its keys: {keys}); rename the column that "
            "holds the text to 'text'",
        )
    main = row.get("completion") if kind[0] == "prompt" else row[kind[0]]
    if main in (None, "", []):
        return None
    said = {key: row[key] for key in kind if row.get(key) is not None}
    if kind[0] == "prompt":
        said.setdefault("prompt", "")
    if kind[0] == "messages":
        said["messages"] = [_message(each) for each in main]
    return said


def _message(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    return {key: each for key, each in value.items() if each is not None}


def _class_names(rows: object) -> Sequence[str]:
    """The names of the labels, where the rows say what their columns are."""
    features = getattr(rows, "features", None)
    label = features.get("label") if isinstance(features, Mapping) else None
    names = getattr(label, "names", None)
    return names if isinstance(names, list) else ()


def _bad(number: int, what: str) -> InvalidCorpus:
    return InvalidCorpus(f"Row {number} {what}.", code="invalid_row", param="rows")
