"""Reading training texts: one text, a text a line, JSON lines, columns of a CSV or Parquet file.

Everything streams: memory is bounded by the longest line, and that by ``MAX_LINE``. Whatever is
wrong with a file is an InvalidCorpus that names the file, the line or row, and the way out.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

from textgen.corpus.columns import ColumnOptions, choose_columns
from textgen.corpus.documents import (
    BadRow,
    Document,
    Labelled,
    label_text,
    prompt_and_completion,
)
from textgen.corpus.encoding import Encoding, decode_file, detect_encoding
from textgen.corpus.json_rows import READERS, kind_of_row, strict_json
from textgen.corpus.parquet import check_parquet, parquet_rows
from textgen.errors import InvalidCorpus
from textgen.reading_options import CorpusFormat, ReadingOptions, format_by_name

MAX_LINE = 16 << 20  # characters


@dataclass(frozen=True, slots=True)
class Source:
    """One file of text and how to read it."""

    path: Path
    format: CorpusFormat | None = None  # None: from the suffix of its name
    column: str | None = None  # of a table (csv, parquet); None: "text", or the only one
    prompt_column: str | None = None  # of a table, with the next one; None: "prompt"
    completion_column: str | None = None  # None: "completion"
    label_column: str | None = None  # None: "label", where there is a column "text" too
    labels: bool = True  # False: rows of texts with labels are rows of texts
    encoding: str | None = None  # None: detected
    name: str | None = None  # what its owner calls it; None: the path's last part

    @property
    def shown(self) -> str:
        """The name in messages."""
        return self.path.name if self.name is None else self.name

    @property
    def kind(self) -> CorpusFormat:
        """The format, from the name's suffix where none was given."""
        if self.format is not None:
            return self.format
        return format_by_name(self.shown)

    @property
    def has_documents(self) -> bool:
        """Whether it holds many documents rather than one text."""
        return self.kind != "text"

    @property
    def column_options(self) -> ColumnOptions:
        """Which columns of a table were named."""
        return ColumnOptions(
            self.column,
            self.prompt_column,
            self.completion_column,
            self.label_column,
            self.labels,
        )

    def find_encoding(self) -> Encoding:
        """How its characters are written. InvalidCorpus where it is no file of its kind."""
        if self.kind == "parquet":
            check_parquet(self.path, self.shown)
            return Encoding("utf-8", reason="strings of a Parquet file are UTF-8")
        return detect_encoding(self.path, self.encoding, name=self.shown)

    def read_as(self, options: ReadingOptions) -> Source:
        """This file, read as the options say where it does not say it itself."""
        unsaid = [name for name in ReadingOptions.model_fields if getattr(self, name) is None]
        return replace(self, **{name: getattr(options, name) for name in unsaid})


def read_documents(source: Source, encoding: Encoding | None = None) -> Iterator[Document]:
    """The documents of ``source``, or of one text its pieces in order.

    Documents are whole and never empty: empty lines, rows and cells are left out, and dialogues in
    which nothing is to be learnt. The pieces of
    one text are at most a block long and are cut anywhere between two characters. ``encoding``
    saves the detection where the caller has already made it.
    """
    if source.has_documents:
        yield from (document for _, document in read_rows(source, encoding))
    else:
        yield from _pieces(source, encoding)


def read_rows(source: Source, encoding: Encoding | None = None) -> Iterator[tuple[int, Document]]:
    """``read_documents``, each with the number from 1 of its row, or the line on which it ends.

    Of a source that has documents.
    """
    if source.kind == "parquet":
        if encoding is None:
            source.find_encoding()
        return parquet_rows(source.path, source.shown, source.column_options, MAX_LINE)
    pieces = _pieces(source, encoding)
    if source.kind == "jsonl":
        return _json_documents(source, pieces)
    if source.kind == "csv":
        return _csv_documents(source, pieces)
    return ((number, line) for number, line in _lines(source, pieces) if line)


def _pieces(source: Source, encoding: Encoding | None) -> Iterator[str]:
    if encoding is None:
        encoding = source.find_encoding()
    return decode_file(source.path, encoding, name=source.shown)


def _lines(source: Source, pieces: Iterator[str]) -> Iterator[tuple[int, str]]:
    r"""Each line with its number from 1, without its ``\n`` or ``\r\n``."""
    number, parts, length = 1, list[str](), 0
    for piece in pieces:
        first, *others = piece.split("\n")
        parts.append(first)
        length += len(first)
        for line in others:
            yield number, "".join(parts).removesuffix("\r")
            number, parts, length = number + 1, [line], len(line)
        if length > MAX_LINE:
            code = "invalid_jsonl_line" if source.kind == "jsonl" else "line_too_long"
            _refuse(source, number, f"longer than {MAX_LINE:,} characters; split it", code)
    if length:
        yield number, "".join(parts).removesuffix("\r")


def _json_documents(source: Source, pieces: Iterator[str]) -> Iterator[tuple[int, Document]]:
    kind = ""
    for number, line in _lines(source, pieces):
        if not line.strip():
            continue
        try:
            row = strict_json(line)
            kind = kind_of_row(row, kind, source.labels)
            document = READERS[kind](row)
        except RecursionError:
            _refuse(source, number, "nested too deeply", "invalid_jsonl_line")
        except json.JSONDecodeError as error:
            what = f"not valid JSON ({error.msg} at character {error.pos + 1})"
            _refuse(source, number, what, "invalid_jsonl_line")
        except ValueError as error:
            _refuse(source, number, str(error), "invalid_jsonl_line")
        if document:
            yield number, document


def _csv_documents(source: Source, pieces: Iterator[str]) -> Iterator[tuple[int, Document]]:
    # The module's limit of 131,072 characters a cell is for the whole process; raising it lets
    # through nothing that _lines would not stop.
    csv.field_size_limit(max(csv.field_size_limit(), MAX_LINE))
    rows = csv.reader((f"{line}\n" for _, line in _lines(source, pieces)), strict=True)
    try:
        header = next(rows, [])
        document_of = _csv_reader(source, header)
        for row in rows:
            if not row:
                continue
            if len(row) != len(header):
                what = f"{len(row)} cells where the first line has {len(header)}"
                _refuse(source, rows.line_num, what, "invalid_csv_row")
            if document := document_of(row):
                yield rows.line_num, document
    except BadRow as error:
        _refuse(source, rows.line_num, str(error), "invalid_csv_row")
    except csv.Error as error:
        _refuse(source, rows.line_num, f"not valid CSV ({error})", "invalid_csv_row")


def _csv_reader(source: Source, header: list[str]) -> Callable[[Sequence[str]], Document | None]:
    """How a row becomes a document: a column, a prompt and a completion, a text and a label."""
    chosen = choose_columns(source.shown, header, source.column_options)
    place = {key: header.index(column) for key, column in chosen.items()}
    if "prompt" in place:
        prompt, completion = place["prompt"], place["completion"]
        return lambda row: prompt_and_completion(row[prompt], row[completion])
    text = place["text"]
    if "label" not in place:
        return lambda row: row[text]
    label = place["label"]
    return lambda row: Labelled(row[text], label_text(row[label]))


def _refuse(source: Source, number: int, what: str, code: str) -> NoReturn:
    raise InvalidCorpus(f"{source.shown}, line {number}: {what}.", code=code) from None
