"""What our own sources say that may stand in a report: formats of log lines, codes of errors.

Both are read from the sources themselves, so that whatever else a log or a row holds is known to
be somebody's word.
"""

from __future__ import annotations

import ast
import builtins
import re
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path

NAMES = ("textgen", "worker", "web")
LEVELS = frozenset(("debug", "info", "warning", "error", "exception", "critical"))
_PLACE = re.compile(r"%[-+#0 ]*\d*(?:\.\d+)?[a-z]")
_CODE = re.compile(r"[a-z]+(?:_[a-z0-9]+)*")


@cache
def roots() -> dict[str, Path]:
    """Where our packages lie, by name; each is looked for, not assumed."""
    found = {}
    for name in NAMES:
        spec = find_spec(name)
        if spec is not None and spec.submodule_search_locations:
            found[name] = Path(next(iter(spec.submodule_search_locations))).resolve()
    return found


@dataclass(frozen=True, slots=True)
class _Known:
    """What one walk over all sources has found."""

    loggers: set[str] = field(default_factory=set)
    formats: set[str] = field(default_factory=set)
    classes: set[str] = field(default_factory=set)
    codes: set[str] = field(default_factory=set)


@cache
def loggers() -> frozenset[str]:
    """How our loggers are called: as the modules are, or by a name of their own."""
    return frozenset(_known().loggers)


class Format:
    """The format of a log line: what is ours in it, and where others' words stand."""

    def __init__(self, text: str) -> None:
        self.parts = [part.replace("%%", "%") for part in _PLACE.split(text)]

    @property
    def weight(self) -> int:
        """How many letters are ours."""
        return sum(letter.isalpha() for part in self.parts for letter in part)

    def fill(self, message: str) -> list[str] | None:
        """What stands in the places of a message of this format; None for another one.

        Each part is looked for once, so that no message takes long.
        """
        first, *middle = self.parts
        if not middle:
            return [] if message == first else None
        last = middle.pop()
        end = len(message) - len(last)
        at = len(first)
        if not message.startswith(first) or not message.endswith(last):
            return None
        places = []
        for part in middle:
            found = message.find(part, at, end)
            if found < 0:
                return None
            places.append(message[at:found])
            at = found + len(part)
        return [*places, message[at:end]] if at <= end else None


@cache
def formats() -> tuple[Format, ...]:
    """Those of all our log lines, the most telling first."""
    found = map(Format, _known().formats)
    return tuple(sorted(found, key=lambda each: (-each.weight, each.parts)))


@cache
def errors() -> frozenset[str]:
    """The names of all our classes and of Python's own errors."""
    python = {
        name
        for name, value in vars(builtins).items()
        if isinstance(value, type) and issubclass(value, BaseException)
    }
    return frozenset(_known().classes | python)


@cache
def codes() -> frozenset[str]:
    """The codes that errors have: every text of our sources that could be one."""
    return frozenset(_known().codes)


@cache
def _known() -> _Known:
    known = _Known()
    for name, root in roots().items():
        for path in root.rglob("*.py"):
            parts = (name, *path.relative_to(root).with_suffix("").parts)
            known.loggers.add(".".join(parts).removesuffix(".__init__"))
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                _note(node, known)
    return known


def _note(node: ast.AST, known: _Known) -> None:
    match node:
        case ast.Constant(value=str(text)) if _CODE.fullmatch(text):
            known.codes.add(text)
        case ast.ClassDef(name=name):
            known.classes.add(name)
        case ast.Call(func=ast.Attribute(attr=called), args=[ast.Constant(value=str(text)), *_]):
            if called in LEVELS:
                known.formats.add(text)
            elif called == "getLogger":
                known.loggers.add(text)
