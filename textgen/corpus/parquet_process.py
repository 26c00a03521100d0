"""`python -m textgen.corpus.parquet_process ORDER`: the rows of a Parquet file as lines of JSON.

``ORDER`` is JSON: path, shown (the file's name in messages), columns, longest (characters of a
text), memory (bytes that reading may take, beside the program itself). Standard output gets
``[number, row]`` for each row that has something in it, a row having the keys of JSON lines
(`textgen.corpus.json_rows`), then ``{"rows": N}`` or ``{"error": …}``. Only what is asked for is
read, a group of rows after the other and some rows of it at a time.
"""

from __future__ import annotations

import contextlib
import json
import resource
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from textgen.corpus.columns import ColumnOptions, choose_columns, short
from textgen.corpus.parquet_footer import most_characters
from textgen.errors import InvalidCorpus

_BLOCK = 4 << 20  # bytes that rows read together have on average
_MOST_ROWS = 1024  # read together
_BUFFER = 1 << 20  # bytes
_MESSAGE = ("role", "content", "weight")


class Table:
    """An open Parquet file: which of its columns are wanted, and their rows.

    InvalidCorpus where it cannot be read, or has no such columns.
    """

    def __init__(self, path: Path, shown: str, options: ColumnOptions, memory: int) -> None:
        self.shown = shown
        self._memory = memory
        with _readable(shown, memory):
            self._file = _open(path)
            schema = self._file.schema_arrow
            talks = [field.name for field in schema if _is_talk(field.type)]
            self.columns = choose_columns(shown, list(schema.names), options, messages=talks)
            for key, name in self.columns.items():
                self._check_type(key, schema.field(name))
            self._classes = _class_names(schema.metadata, self.columns.get("label"))

    def _check_type(self, key: str, field: Any) -> None:
        if key == "messages" or _is_text(field.type) or (key == "label" and _is_plain(field.type)):
            return
        wanted = {
            "text": "strings, or lists of {role, content} for conversations",
            "label": "strings, numbers or booleans",
        }
        option = "column" if key == "text" else f"{key}_column"
        raise InvalidCorpus(
            f"{self.shown}, column {short(field.name)}: it holds {short(str(field.type))}; needed "
            f"are {wanted.get(key, 'strings')}. Write it as such, or name another column in the "
            f"option {option!r}.",
            code="wrong_column_type",
            param=option,
        )

    def rows(self) -> Iterator[dict[str, Any]]:
        """All rows; each has the keys of JSON lines, and None for what is null."""
        count = int(self._file.metadata.num_row_groups)
        names = ", ".join(map(short, self.columns.values()))
        for group in range(count):
            where = f"{self.shown}, column {names}, row group {group + 1} of {count}"
            with _readable(where, self._memory):
                yield from self._rows(group)

    def _rows(self, group: int) -> Iterator[dict[str, Any]]:
        names = list(self.columns.values())
        batches = self._file.iter_batches(
            batch_size=self._together(group), row_groups=[group], columns=names, use_threads=False
        )
        for batch in batches:
            columns = [batch.column(batch.schema.get_field_index(name)) for name in names]
            for row in zip(*columns, strict=True):
                yield {
                    key: self._value(key, value.as_py())
                    for key, value in zip(self.columns, row, strict=True)
                }

    def _together(self, group: int) -> int:
        """How many rows of a group are read together, by how long they are on average."""
        facts, names = self._file.metadata.row_group(group), self.columns.values()
        columns = map(facts.column, range(facts.num_columns))
        size = sum(
            column.total_uncompressed_size
            for column in columns
            if column.path_in_schema.split(".")[0] in names
        )
        return int(min(_MOST_ROWS, max(1, _BLOCK * max(1, facts.num_rows) // max(1, size))))

    def _value(self, key: str, value: Any) -> Any:
        if key == "messages" and value is not None:
            return [None if each is None else _message(each) for each in value]
        if key == "label" and self._classes and type(value) is int:
            return self._classes[value] if 0 <= value < len(self._classes) else None
        return value


def _open(path: Path) -> Any:
    import pyarrow
    from pyarrow.parquet import ParquetFile

    pyarrow.set_cpu_count(1)
    pyarrow.set_io_thread_count(1)
    return ParquetFile(path, buffer_size=_BUFFER, pre_buffer=False, page_checksum_verification=True)


@contextlib.contextmanager
def _readable(where: str, memory: int) -> Iterator[None]:
    """InvalidCorpus that begins with ``where`` for whatever a damaged file leads pyarrow to."""
    try:
        yield
    except InvalidCorpus:
        raise
    except MemoryError:
        raise InvalidCorpus(
            f"{where}: it takes more than {memory >> 20:,} MiB of memory to be read. Write the "
            "file with smaller groups of rows, or give .jsonl.",
            code="parquet_too_large",
        ) from None
    except Exception as error:
        lines = str(error).strip().splitlines()
        what = lines[0][:200].rstrip(".") if lines else type(error).__name__
        raise InvalidCorpus(
            f"{where}: it cannot be read as Parquet ({what}). Upload or write it anew.",
            code="invalid_parquet",
        ) from None


def _is_text(kind: Any) -> bool:
    from pyarrow import types

    if types.is_dictionary(kind):
        kind = kind.value_type
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def _is_plain(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind))


def _is_talk(kind: Any) -> bool:
    """Whether it is a list of objects that have a role and a content."""
    from pyarrow import types

    if not (types.is_list(kind) or types.is_large_list(kind)):
        return False
    entry = kind.value_type
    if not types.is_struct(entry):
        return False
    return {"role", "content"} <= {entry.field(index).name for index in range(entry.num_fields)}


def _message(value: Mapping[str, Any]) -> dict[str, Any]:
    """What it says: a column has a place also for what a message leaves out."""
    return {name: value[name] for name in _MESSAGE if value.get(name) is not None}


def _class_names(metadata: Mapping[bytes, bytes] | None, column: str | None) -> Sequence[str]:
    """The names of the classes where labels are numbers of Hugging Face's ``ClassLabel``."""
    if column is None or not metadata or b"huggingface" not in metadata:
        return ()
    with contextlib.suppress(ValueError, LookupError, TypeError, RecursionError):
        names = json.loads(metadata[b"huggingface"])["info"]["features"][column]["names"]
        if isinstance(names, list) and all(isinstance(name, str) for name in names):
            return names
    return ()


def documents(table: Table, size: int, longest: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows that have something in them, numbered from 1 over the whole file.

    InvalidCorpus for what cannot be read, is longer than ``longest`` characters, or is more than
    ``size`` bytes can mean.
    """
    told = 0
    most = most_characters(size)
    for number, row in enumerate(table.rows(), 1):
        length = _length(row)
        told += 1 + length
        where = f"{table.shown}, row {number}"
        if length > longest:
            raise InvalidCorpus(
                f"{where}: longer than {longest:,} characters; split it.", code="line_too_long"
            )
        if told > most:
            raise InvalidCorpus(
                f"{where}: the {size:,} bytes of the file hold more than {most:,} characters, the "
                "same again and again. Write it anew without what repeats, or give .jsonl.",
                code="parquet_too_large",
            )
        filled = _filled(row)
        if filled is not None:
            yield number, filled


def _length(row: Mapping[str, Any]) -> int:
    """How many characters it has, about."""
    found = 0
    for value in row.values():
        if isinstance(value, str):
            found += len(value)
        elif isinstance(value, list):
            found += sum(1 + len(str(each.get("content", ""))) for each in value if each)
    return found


def _filled(row: dict[str, Any]) -> dict[str, Any] | None:
    """The row as JSON lines would have it; None where what is to be learnt is empty or null."""
    if "prompt" in row:
        row = {**row, "prompt": row["prompt"] or ""}
    main = next(row[key] for key in ("completion", "messages", "text") if key in row)
    return row if main else None


def _limit(memory: int) -> None:
    """Have the system refuse more than ``memory`` bytes beside those taken now, if it can."""
    with contextlib.suppress(ValueError, OSError):
        status = Path("/proc/self/status").read_text()
        taken = int(status.partition("VmData:")[2].split()[0]) << 10
        _, most = resource.getrlimit(resource.RLIMIT_DATA)
        wanted = taken + memory
        if most != resource.RLIM_INFINITY:
            wanted = min(wanted, most)
        resource.setrlimit(resource.RLIMIT_DATA, (wanted, most))


def _told(order: Mapping[str, Any]) -> Iterator[object]:
    """What is to be written: rows, and an end."""
    path, shown, number = Path(order["path"]), order["shown"], 0
    try:
        import pyarrow.parquet  # noqa: F401 (before the limit: it is on what the file takes)
    except ImportError:
        error = InvalidCorpus(
            f"{shown} is a Parquet file, and pyarrow, which reads those, is not installed where "
            "texts are read. Install it there: pip install 'textgen-backend[parquet]'. Or give "
            ".jsonl or .csv.",
            code="parquet_not_installed",
        )
        yield {"error": error.as_dict()}
        return
    _limit(order["memory"])
    try:
        table = Table(path, shown, ColumnOptions(**order["columns"]), order["memory"])
        for number, row in documents(table, path.stat().st_size, order["longest"]):
            yield [number, row]
    except InvalidCorpus as error:
        yield {"error": error.as_dict()}
        return
    yield {"rows": number}


def main() -> None:
    """Follow one order."""
    for each in _told(json.loads(sys.argv[1])):
        sys.stdout.buffer.write(json.dumps(each, ensure_ascii=False).encode() + b"\n")


if __name__ == "__main__":
    main()
