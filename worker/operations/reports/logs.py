"""Lines of a log, reduced to what our own sources have put into them.

Of a message stays the format that our source has for it; in its places stay ids and numbers. Of a
traceback stay our own frames and the class of the error. Whatever is not recognised is counted.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import BinaryIO

from worker.jobs.states import FINAL, LIVE
from worker.operations.reports.sources import errors, formats, loggers, roots
from worker.storage.ids import ALPHABET, ORDINAL_LENGTH

MOST_BYTES = 2**22  # from the end of a log
MOST_LINES = 5000
LONGEST = 2000  # characters of a line that are looked at
ELSEWHERE = "other"
LEVELS = frozenset(("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"))
OTHERS = frozenset(("celery", "kombu", "gunicorn", "alembic", "sqlalchemy", "redis"))
_COLOUR = re.compile("\x1b\\[[0-9;]*m")
_PROCESS = re.compile(r"(?P<process>redis|web|reconcile|train|generate(?:-\d{1,3})?) +\| ")
_HEAD = re.compile(
    r"(?P<time>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}) (?P<logger>[\w.]+) (?P<level>[A-Z]+) "
    r"(?P<message>.*)"
)
_FRAME = re.compile(r'[ |]*File "(?P<file>[^"]+)", line (?P<line>\d{1,7}), in (?P<function>.+)')
_ERROR = re.compile(r"[ |]*(?P<kind>[A-Za-z_][\w.]*)(?::.*)?")
_ID = rf"(?:(?:ftjob|score|eval)-|batch_)[{ALPHABET}]{{{ORDINAL_LENGTH}}}"
_SAFE = re.compile(_ID + r"|[-+]?\d{1,9}(?:\.\d{1,6})?")
_BEGINNING = "Traceback (most recent call last):"
_STATES = FINAL | LIVE


def reduced(path: Path) -> list[str]:
    """The end of a log file, reduced; raises OSError."""
    with path.open("rb") as stream:
        lines = deque(_tail(stream), MOST_LINES)
    return list(reduce_lines(lines))


def _tail(stream: BinaryIO) -> Iterator[str]:
    size = stream.seek(0, 2)
    stream.seek(max(0, size - MOST_BYTES))
    if size > MOST_BYTES:
        stream.readline()  # the rest of a line
    for line in stream:
        yield line.decode("utf-8", "replace").rstrip("\r\n")[:LONGEST]


def reduce_lines(lines: Iterable[str]) -> Iterator[str]:
    """What may be told of each line; the lines of several processes may stand mixed."""
    tracebacks: dict[str, _Traceback] = {}
    unknown = 0
    for line in lines:
        process, text = _process_of(_COLOUR.sub("", line))
        head = _HEAD.fullmatch(text)
        if head is None:
            if _BEGINNING in text:
                yield from tracebacks.pop(process, _Traceback()).finish(process)
                tracebacks[process] = _Traceback()
            elif process in tracebacks:
                traceback = tracebacks[process]
                if traceback.add(text):
                    yield from tracebacks.pop(process).finish(process)
            else:
                unknown += 1
            continue
        yield from tracebacks.pop(process, _Traceback()).finish(process)
        yield _line(process, head)
    for process, traceback in tracebacks.items():
        yield from traceback.finish(process)
    if unknown:
        yield f"({unknown} lines of other kinds)"


class _Traceback:
    """One that is being read."""

    def __init__(self) -> None:
        self._frames: list[str] = []
        self._others = 0
        self._kind = ""

    def add(self, text: str) -> bool:
        """Take in a line; True when it was the last."""
        frame = _FRAME.fullmatch(text)
        if frame is not None:
            own = own_frame(frame["file"], frame["line"], frame["function"])
            if own is None:
                self._others += 1
            else:
                self._skip()
                self._frames.append(own)
            return False
        if text[:1] in (" ", "|", ""):  # a source line, or the rest of a group
            return False
        self._kind = error_kind(text)
        return True

    def finish(self, process: str) -> Iterator[str]:
        """What may be told of it; nothing of one that never began."""
        self._skip()
        if not self._frames and not self._kind:
            return
        prefix = f"{process} | " if process else ""
        yield f"{prefix}Traceback"
        yield from (f"{prefix}  {frame}" for frame in self._frames)
        if self._kind:
            yield f"{prefix}  {self._kind}"

    def _skip(self) -> None:
        if self._others:
            self._frames.append(f"… {self._others} frames of other packages")
            self._others = 0


def own_frame(file: str, line: str, function: str) -> str | None:
    """A frame within our packages, as they lie on this machine, as ``path:line in function``."""
    path = Path(file)
    for name, root in roots().items():
        if path.is_relative_to(root) and path.suffix == ".py" and path.is_file():
            shown = (Path(name) / path.relative_to(root)).as_posix()
            known = function if re.fullmatch(r"[\w.<>]{1,100}", function) else "…"
            return f"{shown}:{line} in {known}"
    return None


def error_kind(text: str) -> str:
    """The class of the error in a traceback's last line, where it is one of a known package."""
    found = _ERROR.fullmatch(text)
    kind = "" if found is None else found["kind"]
    package, _, name = kind.rpartition(".")
    package = package.partition(".")[0]
    if name in errors() and package in ("", *roots()):
        return name
    return kind if package in _packages() else "an error"


@cache
def _packages() -> frozenset[str]:
    """Names of what is installed and can be imported."""
    return frozenset(packages_distributions())


def _process_of(text: str) -> tuple[str, str]:
    found = _PROCESS.match(text)
    return ("", text) if found is None else (found["process"], text[found.end() :])


def _line(process: str, head: re.Match[str]) -> str:
    logger = head["logger"]
    ours = logger in loggers()
    if not ours:
        package = logger.partition(".")[0]
        logger = package if package in OTHERS else ELSEWHERE
    level = head["level"] if head["level"] in LEVELS else "…"
    prefix = f"{process} | " if process else ""
    told = _message(head["message"]) if ours else "…"
    return f"{prefix}{head['time']} {logger} {level} {told}"


def _message(message: str) -> str:
    for form in formats():
        places = form.fill(message)
        if places is not None and form.weight > 0:
            told = [form.parts[0]]
            for place, part in zip(places, form.parts[1:], strict=True):
                told += [place if _SAFE.fullmatch(place) or place in _STATES else "…", part]
            return "".join(told)
    return "…"
