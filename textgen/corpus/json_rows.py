"""One row of JSON lines: which kind it is, and the document that it holds."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from textgen.corpus.columns import short
from textgen.corpus.documents import (
    BadRow,
    Document,
    Labelled,
    conversation,
    label_text,
    prompt_and_completion,
)


def kind_of_row(row: Any, before: str, labels: bool) -> str:
    """Which kind of row it is; BadRow where it is none, or another than those before.

    Labels count where the first row has one: then all must have one.
    """
    if not isinstance(row, dict):
        raise BadRow('not an object; write {"text": "..."}')
    found = next((kind for kind in ("text", "messages", "prompt") if kind in row), None)
    if found is None:
        keys = ", ".join(short(key) for key in list(row)[:5])
        raise BadRow(
            f"has no 'text', 'messages' or 'prompt' (its keys: {keys}); write "
            '{"text": "..."} or {"prompt": "...", "completion": "..."}'
        )
    if found == "text" and labels and before in ("", "label"):
        if "label" in row:
            return "label"
        if before:
            raise BadRow("has no 'label', as the rows before have; give it one, or leave it out")
    if before not in ("", found):
        raise BadRow(f"a row with {found!r} after rows with {before!r}; put them in two files")
    return found


def _text_row(row: Mapping[str, Any]) -> Document | None:
    return _string(row, "text")


def _labelled_row(row: Mapping[str, Any]) -> Document | None:
    return Labelled(_string(row, "text"), label_text(row["label"]))


def _prompt_row(row: Mapping[str, Any]) -> Document | None:
    return prompt_and_completion(_string(row, "prompt"), _string(row, "completion"))


def _messages_row(row: Mapping[str, Any]) -> Document | None:
    dialogue = conversation(row["messages"])
    if dialogue is not None:
        _check_text(dialogue.text)
    return dialogue


READERS: Mapping[str, Callable[[Mapping[str, Any]], Document | None]] = {
    "text": _text_row,
    "label": _labelled_row,
    "messages": _messages_row,
    "prompt": _prompt_row,
}


def strict_json(line: str) -> Any:
    """The value of a line; BadRow where it is no JSON in the strict sense, or has a key twice."""
    return json.loads(line, parse_constant=_no_constant, object_pairs_hook=_no_duplicates)


def _no_constant(name: str) -> NoReturn:
    raise BadRow(f"holds {name}, which is not JSON")


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict[str, Any]()
    for key, value in pairs:
        if key in found:
            raise BadRow(f"has the key {short(key)} twice")
        found[key] = value
    return found


def _string(row: Mapping[str, Any], key: str) -> str:
    text = row.get(key)
    if not isinstance(text, str):
        keys = ", ".join(short(key) for key in list(row)[:5])
        found = f"no {key!r}" if key not in row else f"a {key!r} that is not a string"
        raise BadRow(f"has {found} (its keys: {keys})")
    _check_text(text)
    return text


def _check_text(text: str) -> None:
    if "\0" in text:
        raise BadRow("has a NUL character in its text")
    if not _encodable(text):
        raise BadRow("has half a surrogate pair in its text, which is no character")


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
