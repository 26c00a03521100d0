"""Rows of a Parquet file, read by a process of its own (`textgen.corpus.parquet_process`).

A reader of Parquet is much code in C++ that believes what a file says of itself. Apart from here
it may run out of its memory, or crash, and the file is refused by name; nor does a process that
trains get the reader's threads and pools.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from signal import SIGKILL, SIGTERM, Signals
from typing import Any

from textgen.corpus.columns import ColumnOptions
from textgen.corpus.documents import BadRow, Document
from textgen.corpus.encoding import PARQUET
from textgen.corpus.json_rows import READERS
from textgen.errors import InvalidCorpus

MEMORY = 2 << 30  # bytes that reading may take
# One thread, and memory that goes back to the system: the limit is on what is in use.
_ENVIRONMENT = {
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}


def check_parquet(path: Path, shown: str) -> None:
    """InvalidCorpus ``empty_file`` or ``invalid_parquet`` for what is none at the first glance."""
    with path.open("rb") as file:
        head = file.read(len(PARQUET))
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - len(PARQUET)))
        tail = file.read()
    if not head:
        raise InvalidCorpus(f"{shown} is empty; give a file with text.", code="empty_file")
    if head != PARQUET:
        raise InvalidCorpus(
            f"{shown} is read as a Parquet file and does not begin as one; name what it is in the "
            "option 'format', or give it a name with another ending.",
            code="invalid_parquet",
            param="format",
        )
    if tail != PARQUET or size < 3 * len(PARQUET):
        raise InvalidCorpus(
            f"{shown} does not end as a Parquet file does: it was cut off. Upload or write it "
            "anew.",
            code="invalid_parquet",
        )


def parquet_rows(
    path: Path, shown: str, columns: ColumnOptions, longest: int
) -> Iterator[tuple[int, Document]]:
    """The documents, each with the number of its row from 1; rows without text are left out.

    A text has at most ``longest`` characters. InvalidCorpus ``invalid_parquet``,
    ``parquet_too_large``, ``parquet_not_installed``, ``missing_column``, ``invalid_parquet_row``
    or ``line_too_long``: each names the file and, where there is one, the column, the row or the
    group of rows.
    """
    order = {
        "path": str(path),
        "shown": shown,
        "columns": asdict(columns),
        "longest": longest,
        "memory": MEMORY,
    }
    process = subprocess.Popen(  # noqa: S603 (our own module)
        [sys.executable, "-m", "textgen.corpus.parquet_process", json.dumps(order)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        env={**os.environ, **_ENVIRONMENT},
    )
    with process:
        try:
            yield from _documents(process, shown)
        finally:
            process.kill()


def _documents(process: subprocess.Popen[bytes], shown: str) -> Iterator[tuple[int, Document]]:
    assert process.stdout is not None  # noqa: S101 (it is a pipe)
    for line in process.stdout:
        told = json.loads(line)
        if isinstance(told, dict):
            if "error" in told:
                raise InvalidCorpus(
                    told["error"]["message"],
                    code=told["error"]["code"],
                    param=told["error"]["param"],
                )
            return
        number, row = told
        if document := _document(shown, number, row):
            yield number, document
    raise _ended(shown, process.wait())


def _document(shown: str, number: int, row: Mapping[str, Any]) -> Document | None:
    kind = next(key for key in ("label", "messages", "prompt", "text") if key in row)
    try:
        return READERS[kind](row)
    except BadRow as error:
        raise InvalidCorpus(
            f"{shown}, row {number}: {error}.", code="invalid_parquet_row"
        ) from None


def _ended(shown: str, status: int) -> Exception:
    """Why a reader ended without a word: its file killed it, or somebody else did."""
    if status in (-SIGKILL, -SIGTERM):
        return ChildProcessError(f"The process that read {shown} was ended by signal {-status}.")
    how = f"exit status {status}" if status >= 0 else Signals(-status).name
    return InvalidCorpus(
        f"{shown} cannot be read: its reader ended with {how}, so the file is damaged, or its "
        "maker's fault. Write it anew with another program, or give .jsonl.",
        code="invalid_parquet",
    )
