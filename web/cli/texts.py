"""Texts that a command is given as arguments, on standard input, or in a file."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from textgen.corpus.documents import text_of
from textgen.corpus.sources import Source, read_documents
from textgen.errors import InvalidInput

TEXTS = 64  # in a request
CHARACTERS = 500_000


def given_texts(given: Iterable[str]) -> Iterator[str]:
    """The arguments; one of - reads lines from standard input."""
    for text in given:
        if text == "-":
            yield from (line.rstrip("\n") for line in sys.stdin)
        else:
            yield text


def texts_of_file(path: Path, column: str | None) -> Iterator[str]:
    """Rows of .jsonl, .csv, .parquet, lines of other files; InvalidInput where there are none."""
    source = Source(path, column=column, labels=False)
    if not source.has_documents:
        source = Source(path, format="lines", labels=False)
    count = 0
    for document in read_documents(source):
        if not isinstance(document, str):
            raise InvalidInput(f'{path.name} holds no rows of texts; give {{"text": "..."}}.')
        count += 1
        yield text_of(document)
    if count == 0:
        raise InvalidInput(f"{path.name} holds no texts.")


def in_requests(texts: Iterable[str]) -> Iterator[list[str]]:
    """The texts in groups that one request can take."""
    waiting = iter(texts)
    while some := _some(waiting):
        yield some


def _some(texts: Iterator[str]) -> list[str]:
    some, size = list[str](), 0
    for text in islice(texts, TEXTS):
        some.append(text)
        size += len(text)
        if size >= CHARACTERS:
            break
    return some
