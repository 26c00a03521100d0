"""How much text a Parquet file says that it holds: from its footer alone, and without pyarrow.

A file's size says nothing of that, since its columns are compressed. The footer is a structure in
Thrift's compact protocol; the numbers of its fields are those of parquet.thrift. Anybody may have
written it, so a bounded part of it is read, and what makes no sense is no answer.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

from textgen.corpus.columns import ColumnOptions, choose_columns
from textgen.corpus.encoding import PARQUET
from textgen.errors import InvalidCorpus

MOST_READ = 256 << 10  # bytes of a footer; groups of rows after them are taken to be like these
# A text is compressed to a third or a hundredth of its length. A file that says to be still shorter
# repeats a value as often as it likes, so as to fill somebody's disk.
_LEAST_ALLOWED, _EXPANSION = 64 << 20, 200
# What a structure leads to that is not as it should be.
NONSENSE = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)
_END = 4 + len(PARQUET)  # the footer's length, and the mark
_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _MAP, _STRUCT = 1, 2, 3, 7, 8, 11, 12
_NUMBERS, _LISTS = (4, 5, 6), (9, 10)


def most_characters(size: int) -> int:
    """More than a Parquet file of ``size`` bytes may hold."""
    return _LEAST_ALLOWED + _EXPANSION * size


def text_bytes(file: BinaryIO, options: ColumnOptions) -> int | None:
    """About how many bytes the texts in an open file have, of the columns that ``options`` choose.

    What the writer has counted, or the size before compression where it has not. None where the
    footer does not say it, or says what cannot be.
    """
    size = file.seek(0, os.SEEK_END)
    try:
        rows, groups = _row_groups(_footer(file, size))
        found = _texts(groups, options)
        seen = sum(group[3] for group in groups)
        if seen < rows:
            found = found * rows // seen
    except (*NONSENSE, InvalidCorpus):
        return None
    return found if 0 <= found <= most_characters(size) else None


def _footer(file: BinaryIO, size: int) -> bytes:
    """The beginning of the footer, in most cases all of it. ValueError where there is none."""
    start = max(0, size - MOST_READ - _END)
    file.seek(start)
    tail = file.read(size - start)
    length = int.from_bytes(tail[-_END:-4], "little")
    if tail[-4:] != PARQUET or length > size - _END - len(PARQUET):
        raise ValueError("no footer")
    if length <= len(tail) - _END:
        return tail[-_END - length : -_END]
    file.seek(size - _END - length)
    return file.read(MOST_READ)


def _row_groups(footer: bytes) -> tuple[int, list[dict[int, Any]]]:
    """The number of rows, and the fields of those groups of them that are there whole."""
    thrift, rows, groups = _Compact(footer), 0, list[dict[int, Any]]()
    for field, kind in thrift.fields():
        if field == 3:
            rows = thrift.value(kind)
        elif field == 4:
            count, inner = thrift.list_head()
            try:
                for _ in range(count):
                    groups.append(thrift.value(inner))
            except IndexError:
                return rows, groups
        else:
            thrift.value(kind)
    return rows, groups


def _texts(groups: list[dict[int, Any]], options: ColumnOptions) -> int:
    """The bytes of what is learnt from in these groups of rows."""
    columns = [chunk[3] for group in groups for chunk in group[1]]
    leaves = {tuple(part.decode() for part in column[3]) for column in columns}
    names = list(dict.fromkeys(column[3][0].decode() for column in columns))
    talks = [name for name in names if _fields(leaves, name) >= {"role", "content"}]
    chosen = choose_columns("", names, options, messages=talks) if names else {}
    learnt = {name: key for key, name in chosen.items() if key != "label"}
    found = 0
    for column in columns:
        name, field = column[3][0].decode(), column[3][-1]
        if name in learnt and (learnt[name] != "messages" or field == b"content"):
            found += _size(column)
    return found


def _fields(leaves: set[tuple[str, ...]], name: str) -> set[str]:
    return {leaf[-1] for leaf in leaves if leaf[0] == name and len(leaf) > 1}


def _size(column: Mapping[int, Any]) -> int:
    """The bytes of the strings of a column in a group of rows."""
    counted = column.get(16, {}).get(1)
    return int(column[6] if counted is None else counted)


class _Compact:
    """Reads values of Thrift's compact protocol one after the other.

    IndexError at the end of the data, ValueError for what is none.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def fields(self) -> Iterator[tuple[int, int]]:
        """Number and type of each field of a structure; its value is to be read before the next."""
        field = 0
        while head := self._byte():
            field = field + (head >> 4) if head >> 4 else self._number()
            yield field, head & 15

    def list_head(self) -> tuple[int, int]:
        """How many values of which type a list has; they are what comes next."""
        head = self._byte()
        return (self._unsigned() if head >> 4 == 15 else head >> 4), head & 15

    def value(self, kind: int) -> Any:
        """The value of a field; a structure is a dict by the numbers of its fields."""
        if kind in (_TRUE, _FALSE):
            return kind == _TRUE
        if kind == _STRUCT:
            return {field: self.value(inner) for field, inner in self.fields()}
        if kind in _LISTS:
            count, inner = self.list_head()
            return [self._entry(inner) for _ in range(count)]
        if kind == _MAP:
            return self._map()
        if kind == _BINARY:
            return self._bytes(self._unsigned())
        if kind == _DOUBLE:
            return self._bytes(8)
        if kind == _BYTE:
            return self._byte()
        if kind in _NUMBERS:
            return self._number()
        raise ValueError(f"no type {kind}")

    def _entry(self, kind: int) -> Any:
        """One of a list or map, where a truth value is a byte."""
        return self._byte() == _TRUE if kind in (_TRUE, _FALSE) else self.value(kind)

    def _map(self) -> None:
        """Passed over: nothing that is asked for is in one."""
        count = self._unsigned()
        kinds = self._byte() if count else 0
        for _ in range(count):
            self._entry(kinds >> 4)
            self._entry(kinds & 15)

    def _number(self) -> int:
        found = self._unsigned()
        return (found >> 1) ^ -(found & 1)

    def _unsigned(self) -> int:
        found = 0
        for shift in range(0, 70, 7):
            byte = self._byte()
            found |= (byte & 127) << shift
            if byte < 128:
                return found
        raise ValueError("a number of more than 64 bits")

    def _byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1]

    def _bytes(self, count: int) -> bytes:
        if self._at + count > len(self._data):
            raise IndexError("the data is at its end")
        self._at += count
        return self._data[self._at - count : self._at]
