"""The lines of several processes in one log, each with its process' name before it."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TextIO

from worker.logs import timestamp

COLOURS = (36, 33, 32, 35, 34, 96, 93, 92)  # of terminals, told apart on dark and on light
LONGEST_LINE = 65_536  # bytes; a longer line is broken there, so that memory stays bounded


class Log:
    """Writes lines to one stream; coloured names on a terminal only.

    With ``prefixed=False`` lines are JSON: those of processes that write none themselves become it.
    What cannot be written, to a pipe that nobody reads any more or a full disk, is left out.
    """

    def __init__(self, stream: TextIO, names: Sequence[str], *, prefixed: bool = True) -> None:
        self._stream = stream
        self._names = list(names)
        self._width = max((len(name) for name in names), default=0)
        self._coloured = stream.isatty()
        self._prefixed = prefixed

    def write(self, name: str, line: str) -> None:
        """Write one line of the named process."""
        if not self._prefixed and not line.startswith("{"):
            line = json.dumps(
                {"time": timestamp(time.time()), "level": "info", "process": name, "message": line},
                ensure_ascii=False,
            )
        with suppress(OSError, ValueError):  # ValueError: closed, or a character it cannot tell
            self._stream.write(f"{self._prefix(name)}{line}\n")
            self._stream.flush()

    def _prefix(self, name: str) -> str:
        if not self._prefixed:
            return ""
        label = f"{name:<{self._width}} |"
        if self._coloured:
            place = self._names.index(name) if name in self._names else 0
            label = f"\x1b[{COLOURS[place % len(COLOURS)]}m{label}\x1b[0m"
        return f"{label} "


class Lines:
    """Cuts what a process writes, in pieces of any size, into whole lines."""

    def __init__(self) -> None:
        self._rest = b""

    def push(self, piece: bytes) -> list[str]:
        """Take in a piece; return the lines that are complete now."""
        *whole, self._rest = (self._rest + piece).split(b"\n")
        if len(self._rest) > LONGEST_LINE:
            whole.append(self._rest)
            self._rest = b""
        return [_text(line) for line in whole]

    def finish(self) -> list[str]:
        """The last line, where the process ended without a line break."""
        rest, self._rest = self._rest, b""
        return [_text(rest)] if rest else []


def _text(line: bytes) -> str:
    return line.rstrip(b"\r").decode("utf-8", errors="replace")
