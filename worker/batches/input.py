"""Reading the input file of a batch: checked once as a whole, then read shard by shard.

Memory does not grow with the length of a line's text, only with the number of lines: 16 bytes
a line for the check that ids are unique, one offset for each shard.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from textgen.errors import TextgenError
from worker.errors import JobFailed
from worker.json_strings import HALF_A_PAIR

SHARD_LINES = 512
MOST_ERRORS = 100  # more are not listed, the first hundred say enough
ID_CHARACTERS = 256
KNOWN_FIELDS = frozenset({"custom_id", "method", "url", "body"})


@dataclass(frozen=True, slots=True)
class BatchLine:
    """One request of a batch; ``number`` counts from 0."""

    number: int
    custom_id: str
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """How a batch is cut: shard ``i`` begins at byte ``offsets[i]`` of the input file."""

    lines: int
    offsets: tuple[int, ...]
    per_shard: int = SHARD_LINES

    def shard_lines(self, shard: int) -> int:
        """Lines in one shard; all but the last have the same."""
        return min(self.per_shard, self.lines - shard * self.per_shard)

    def shard_bytes(self, shard: int) -> int:
        """Bytes of one shard in the input file; of the last, which is not known, 0."""
        following = self.offsets[shard + 1 : shard + 2]
        return following[0] - self.offsets[shard] if following else 0

    def sizes(self) -> list[int]:
        """Lines of every shard."""
        return [self.shard_lines(shard) for shard in range(len(self.offsets))]

    def as_dict(self) -> dict[str, Any]:
        """For the job's row."""
        return {
            "lines": self.lines,
            "offsets": list(self.offsets),
            "lines_per_shard": self.per_shard,
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> BatchPlan:
        """Back from the job's row."""
        return cls(values["lines"], tuple(values["offsets"]), values["lines_per_shard"])


class InvalidBatch(JobFailed):
    """The input file cannot be run; ``errors`` has {code, line, message, param} for each fault."""

    default_code = "invalid_batch"

    def __init__(self, errors: list[dict[str, Any]]) -> None:
        super().__init__(errors[0]["message"], code=errors[0]["code"])
        self.errors = errors


class _LineError(TextgenError):
    """One line's fault."""


def plan_batch(stream: BinaryIO, endpoint: str, *, max_lines: int, max_bytes: int) -> BatchPlan:
    """Check every line and note where shards begin; raises InvalidBatch."""
    errors: list[dict[str, Any]] = []
    offsets: list[int] = []
    seen: set[bytes] = set()
    lines = 0
    for number, offset, raw in _raw_lines(stream, max_bytes):
        if lines == max_lines:
            message = f"The file has more than {max_lines:,} lines; split it into several batches."
            raise InvalidBatch([_fault("too_many_lines", number, message)])
        if lines % SHARD_LINES == 0:
            offsets.append(offset)
        lines += 1
        try:
            _check_unique(parse_line(raw, endpoint, lines - 1, max_bytes), seen)
        except _LineError as error:
            errors.append(_fault(error.code, number, error.message, error.param))
            if len(errors) == MOST_ERRORS:
                break
    if errors:
        raise InvalidBatch(errors)
    if not lines:
        raise InvalidBatch([_fault("empty_file", None, "The input file has no lines.")])
    return BatchPlan(lines, tuple(offsets))


def read_shard(
    stream: BinaryIO, plan: BatchPlan, shard: int, endpoint: str, max_bytes: int
) -> Iterator[BatchLine]:
    """The lines of one shard; ``stream`` stands at the shard's offset."""
    first = shard * plan.per_shard
    rows = _raw_lines(stream, max_bytes)
    for number in range(first, first + plan.shard_lines(shard)):
        _, _, raw = next(rows)
        yield parse_line(raw, endpoint, number, max_bytes)


def parse_line(raw: bytes, endpoint: str, number: int, max_bytes: int) -> BatchLine:
    """One line as a request; raises an error with the batch error code of its fault."""
    if len(raw) > max_bytes:
        raise _LineError(
            f"The line has over {max_bytes:,} bytes; shorten its prompt.", code="line_too_long"
        )
    try:
        value = json.loads(raw.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise _LineError(f"The line is not valid JSON: {error}", code="invalid_json_line") from None
    if not isinstance(value, dict):
        raise _LineError("The line is not a JSON object.", code="invalid_json_line")
    unknown = sorted(set(value) - KNOWN_FIELDS)
    if unknown:
        raise _LineError(
            f"Unknown field {unknown[0]!r}; a line has custom_id, method, url and body.",
            code="unknown_field",
            param=unknown[0],
        )
    custom_id = value.get("custom_id")
    if not isinstance(custom_id, str) or not 0 < len(custom_id) <= ID_CHARACTERS:
        raise _LineError(
            f"'custom_id' must be a text of 1 to {ID_CHARACTERS} characters.",
            code="invalid_custom_id",
            param="custom_id",
        )
    if HALF_A_PAIR.search(custom_id):
        raise _LineError(
            f"'custom_id' is {custom_id!r}, which holds half a surrogate pair, no character. "
            "Write the pair whole, or leave it out.",
            code="invalid_custom_id",
            param="custom_id",
        )
    if value.get("method") != "POST":
        raise _LineError("'method' must be 'POST'.", code="invalid_method", param="method")
    if value.get("url") != endpoint:
        raise _LineError(
            f"'url' is {value.get('url')!r}, but the batch was created for {endpoint!r}.",
            code="url_mismatch",
            param="url",
        )
    if not isinstance(value.get("body"), dict):
        raise _LineError("'body' must be a JSON object.", code="invalid_body", param="body")
    return BatchLine(number, custom_id, value["body"])


def _check_unique(line: BatchLine, seen: set[bytes]) -> None:
    digest = hashlib.blake2b(line.custom_id.encode(), digest_size=16)
    if digest.digest() in seen:
        raise _LineError(
            f"'custom_id' {line.custom_id!r} occurs more than once.",
            code="duplicate_custom_id",
            param="custom_id",
        )
    seen.add(digest.digest())


def _raw_lines(stream: BinaryIO, max_bytes: int) -> Iterator[tuple[int, int, bytes]]:
    """(line number from 1, byte offset, content) of each line that is not blank.

    Of an over-long line only the beginning is kept, one byte more than allowed.
    """
    offset = number = 0
    while chunk := stream.readline(max_bytes + 2):
        number += 1
        start, offset = offset, offset + len(chunk)
        line = chunk
        while not chunk.endswith(b"\n") and (chunk := stream.readline(max_bytes)):
            offset += len(chunk)
        if start == 0:
            line = line.removeprefix(b"\xef\xbb\xbf")
        line = line.strip(b" \t\r\n")
        if line:
            yield number, start, line


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON value")


def _fault(code: str, line: int | None, message: str, param: str | None = None) -> dict[str, Any]:
    return {"code": code, "line": line, "message": message, "param": param}
