"""Where an error code is explained: on the page /docs/errors, which is made from the code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from flask import has_request_context, request

PAGE = "docs/errors"


@dataclass(frozen=True)
class Explained:
    """A code with the statuses that it comes with and what it says; … stands for a value."""

    code: str
    statuses: tuple[int, ...]
    messages: tuple[str, ...]


@cache
def reference() -> Mapping[str, Explained]:
    """Every code that is raised on purpose; docs/generate.py writes the file."""
    text = Path(__file__).with_suffix(".json").read_text(encoding="utf-8")
    return {
        code: Explained(code, tuple(said["statuses"]), tuple(said["messages"]))
        for code, said in json.loads(text).items()
    }


def doc_url(code: str | None) -> str | None:
    """The code's place on that page; None for one that is not there, as those of HTTP itself.

    Whole while a request is answered, from the root of the service elsewhere.
    """
    if code not in reference():
        return None
    root = request.url_root if has_request_context() else "/"
    return f"{root}{PAGE}#{code}"
