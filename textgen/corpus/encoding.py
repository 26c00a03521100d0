"""Which encoding a text file has, found without guessing where guessing would be silent.

The whole file is decoded once, in constant memory, so that a text that passed here can be read
to its end. What is not UTF-8 is taken as GB18030 only if it is so from the first byte to the
last and does not look like damaged UTF-8; everything else is refused at the byte where it fails.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from textgen.corpus.byte_evidence import high_bytes, looks_binary, mostly_chinese, mostly_utf8
from textgen.errors import InvalidCorpus

BLOCK = 1 << 20  # bytes read at a time
_BOMS = (  # the longer first: UTF-32's little-endian mark begins with UTF-16's
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
PARQUET = b"PAR1"
_SIGNATURES = (
    (b"%PDF-", "a PDF"),
    (b"PK\x03\x04", "a zip archive or an Office document"),
    (b"\x1f\x8b", "gzip-compressed"),
    (b"BZh", "bzip2-compressed"),
    (b"\xfd7zXZ\x00", "xz-compressed"),
    (b"\x28\xb5\x2f\xfd", "Zstandard-compressed"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"SQLite format 3\x00", "an SQLite database"),
)
# Encodings of Python that are not a way to write a text file, or need unbounded time.
_REFUSED = {"idna", "punycode", "unicode-escape", "unicode_escape", "raw-unicode-escape"}
_REFUSED |= {"raw_unicode_escape", "undefined", "utf-7"}


@dataclass(frozen=True, slots=True)
class Encoding:
    """A file's encoding: Python's ``name``, how many bytes of mark to skip, how it was found."""

    name: str
    bom: int = 0
    reason: str = "valid UTF-8"

    @property
    def converted(self) -> bool:
        """Whether reading changes the bytes: the user is told then."""
        return self.name != "utf-8"


class _Undecodable(Exception):
    """Decoding failed at byte ``offset`` of the file."""

    def __init__(self, offset: int, reason: str) -> None:
        super().__init__(reason)
        self.offset = offset
        self.reason = reason


def detect_encoding(path: Path, declared: str | None = None, *, name: str = "") -> Encoding:
    """The encoding of a whole file, checked to its end.

    InvalidCorpus ``empty_file``, ``binary_file``, ``invalid_encoding`` (names the first byte that
    cannot be read) or ``unknown_encoding`` (of ``declared``); ``name`` is the file's in messages.
    """
    shown = name if name else path.name
    head = _head(path)
    if not head:
        raise InvalidCorpus(f"{shown} is empty; give a file with text.", code="empty_file")
    if head.startswith(PARQUET):
        raise InvalidCorpus(
            f"{shown} is a Parquet file; give it a name that ends in .parquet, or the option "
            "'format' with the value parquet.",
            code="binary_file",
            param="format",
        )
    for signature, what in _SIGNATURES:
        if head.startswith(signature):
            raise _binary(shown, f"is {what}")
    encoding = _marked(head, declared) if declared is None else _declared(head, declared)
    if len(head) == encoding.bom:
        raise InvalidCorpus(
            f"{shown} is empty but for its byte-order mark; give a file with text.",
            code="empty_file",
        )
    try:
        _check(path, encoding, shown)
    except _Undecodable as error:
        if declared is None and encoding.bom == 0:
            return _not_utf8(path, error, shown)
        raise _invalid(shown, encoding.name, error) from None
    return encoding


def decode_file(path: Path, encoding: Encoding, *, name: str = "") -> Iterator[str]:
    """The characters of a file in pieces of at most ``BLOCK``, none of them empty.

    InvalidCorpus ``invalid_encoding`` where the file is no longer what ``detect_encoding`` saw.
    """
    try:
        yield from _decode(path, encoding)
    except _Undecodable as error:
        raise _invalid(name if name else path.name, encoding.name, error) from None


def _decode(path: Path, encoding: Encoding) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder(encoding.name)("strict")
    offset = encoding.bom
    try:
        for block in _blocks(path, encoding.bom):
            if text := decoder.decode(block):
                yield text
            offset += len(block)
        if text := decoder.decode(b"", final=True):
            yield text
    except UnicodeDecodeError as error:
        # error.start counts from the bytes that the decoder had kept from earlier blocks; it
        # puts them before the block, so the file's offset follows from the lengths.
        at = offset - _kept(decoder) + error.start
        raise _Undecodable(at, error.reason) from None


def _kept(decoder: codecs.IncrementalDecoder) -> int:
    return len(decoder.getstate()[0])


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(64)


def _blocks(path: Path, start: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(start)
        while block := file.read(BLOCK):
            yield block


def _marked(head: bytes, declared: str | None) -> Encoding:
    for mark, name in _BOMS:
        if head.startswith(mark) and (declared is None or name.startswith(declared)):
            return Encoding(name, len(mark), "its byte-order mark says so")
    if declared is None:
        return Encoding("utf-8")
    # UTF-16 and UTF-32 without a mark: nearly always written on a little-endian machine.
    return Encoding(declared if declared == "utf-8" else f"{declared}-le", reason="as declared")


def _declared(head: bytes, declared: str) -> Encoding:
    try:
        info = codecs.lookup(declared)
    except (LookupError, ValueError):  # ValueError: a NUL in the name
        raise _unknown(declared) from None
    is_text = getattr(info, "_is_text_encoding", True)
    if not is_text or info.incrementaldecoder is None or info.name in _REFUSED:
        raise _unknown(declared)
    family = {"utf-8-sig": "utf-8", "ascii": "utf-8"}.get(info.name, info.name)
    if family in ("utf-8", "utf-16", "utf-32"):
        return _marked(head, family)
    for mark, name in _BOMS:
        if family == name and head.startswith(mark):
            return Encoding(name, len(mark), "as declared")
    return Encoding(family, reason="as declared")


def _check(path: Path, encoding: Encoding, shown: str) -> None:
    for text in _decode(path, encoding):
        if "\0" in text:
            hint = "" if encoding.name != "utf-8" else "; if it is UTF-16, say so with 'encoding'"
            raise _binary(shown, f"holds NUL characters, which no text does{hint}")


def _not_utf8(path: Path, error: _Undecodable, shown: str) -> Encoding:
    """GB18030 where the file is that throughout and is not damaged UTF-8; else InvalidCorpus."""
    sample = _around(path, error.offset)
    if looks_binary(sample):
        raise _binary(shown, "holds control characters and is not UTF-8")
    gb18030 = Encoding("gb18030", reason=f"not UTF-8 from byte {error.offset} on, valid GB18030")
    if not _damaged_utf8(path, error, sample) and mostly_chinese(sample):
        try:
            _check(path, gb18030, shown)
        except _Undecodable:
            pass
        else:
            return gb18030
    raise _invalid(shown, "UTF-8", error) from None


def _around(path: Path, offset: int) -> bytes:
    """A stretch of the file that begins a little before ``offset``, at the start of a line."""
    with path.open("rb") as file:
        start = max(0, offset - 4096)
        file.seek(start)
        sample = file.read(BLOCK // 4)
    before = sample[: offset - start].rfind(b"\n")
    return sample[before + 1 :] if before >= 0 else sample


def _damaged_utf8(path: Path, error: _Undecodable, sample: bytes) -> bool:
    """Whether the file is UTF-8 that was cut off, broken, or joined to something else.

    In GB18030 about one character in five passes for UTF-8 by chance, so a long run of such
    before the first fault, or more than half of the bytes above 127, is UTF-8.
    """
    if error.offset + 4 > path.stat().st_size and "unexpected end" in error.reason:
        return True  # everything but the last character is UTF-8: it was cut off
    if _high_bytes_before(path, error.offset) > 64:
        return True
    return mostly_utf8(sample)


def _high_bytes_before(path: Path, offset: int) -> int:
    count, left = 0, offset
    for block in _blocks(path, 0):
        count += high_bytes(block[:left])
        left -= len(block)
        if left <= 0:
            break
    return count


def _binary(shown: str, what: str) -> InvalidCorpus:
    return InvalidCorpus(
        f"{shown} {what}; give a plain text, or a .jsonl, .csv or .parquet file.",
        code="binary_file",
    )


def _invalid(shown: str, encoding: str, error: _Undecodable) -> InvalidCorpus:
    return InvalidCorpus(
        f"{shown} is not valid {encoding} at byte {error.offset} ({error.reason}). Repair the "
        "file, or name its encoding with the option 'encoding', such as gb18030 or cp1252.",
        code="invalid_encoding",
        param="encoding",
    )


def _unknown(declared: str) -> InvalidCorpus:
    return InvalidCorpus(
        f"'encoding' is {declared[:40]!r}, which is no known text encoding; try utf-8, gb18030, "
        "big5, utf-16, shift_jis or cp1252, or leave it out to have it detected.",
        code="unknown_encoding",
        param="encoding",
    )
