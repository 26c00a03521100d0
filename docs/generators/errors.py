"""Every error code with its status and what it says, read from where errors are made."""

from __future__ import annotations

import ast
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from docs.generators.sources import PACKAGES, of_package
from web.errors import ANSWERS

HEAD = """# Errors

Every error that is raised on purpose has a stable `code`, and a `message` that names the field, the
value and the way out. Over HTTP it comes in the envelope that the official client reads, `{"error":
{"message", "type", "param", "code", "doc_url"}}`; the events of a job, the lines of a batch and the
command line have the same codes. `doc_url` is the code's place on the service's own copy of this
page, `/docs/errors`. Messages may change; `…` stands for a value. A request with `Accept-Language:
zh` is told in Chinese, as are readers of Chinese pages and of a Chinese command line; codes and
fields are the same ([why](decisions/languages.md)). What to do, by status:

| status | what to do |
|---|---|
| 400, 404, 413, 415, 416, 422 | the request cannot work as it is; the message says what to change |
| 401, 403 | use another key |
| 410 | it was removed after its time; nothing brings it back |
| 408 | send it again, faster or in parts |
| 409 | the thing's state does not allow it now |
| 424 | the webhook's address does not answer: mend it, then test again |
| 429 | wait as `Retry-After` says; with the type `insufficient_quota` waiting does not help |
| 500 | a fault of the service or of what it stored |
| 503, 507 | the same request works later; the official client tries again by itself |
"""


@dataclass(frozen=True)
class Kind:
    """A class of errors, as its source has it."""

    bases: tuple[str, ...]
    code: str | None
    meaning: str


def page() -> str:
    """The page of errors, by code."""
    parts = [HEAD]
    for code, explained in _reference().items():
        parts.append(f"## {code}\n")
        parts.append(f"Status {', '.join(map(str, explained['statuses']))}.\n")
        parts.extend(f"- {_marked(message)}" for message in explained["messages"])
        parts.append("")
    return "\n".join(parts).rstrip() + "\n"


def data() -> str:
    """The same for the service, which has a page of its own."""
    return json.dumps(_reference(), indent=1, ensure_ascii=False) + "\n"


@cache
def _reference() -> dict[str, dict[str, list[Any]]]:
    """Statuses and messages of every code."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    statuses: dict[str, set[int]] = {}
    for call in _calls():
        kind = name_of(call.func)
        if not _is_error(kind):
            continue
        code = _code(call, kind)
        if code is None:
            continue
        statuses.setdefault(code, set()).add(_status(kind))
        message = text_of(call.args[0]) if call.args else ""
        found[code].add(message or _kinds()[kind].meaning)
    return {
        code: {"statuses": sorted(statuses[code]), "messages": sorted(found[code])}
        for code in sorted(found)
    }


@cache
def _trees() -> tuple[ast.Module, ...]:
    return tuple(
        ast.parse(path.read_text()) for package in PACKAGES for path in of_package(package)
    )


def _calls() -> Iterator[ast.Call]:
    for tree in _trees():
        yield from (node for node in ast.walk(tree) if isinstance(node, ast.Call))


@cache
def _kinds() -> Mapping[str, Kind]:
    kinds = {}
    for tree in _trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                bases = tuple(name_of(base) for base in node.bases)
                meaning = (ast.get_docstring(node) or "").split("\n")[0]
                kinds[node.name] = Kind(bases, _default_code(node), meaning)
    return kinds


def _default_code(node: ast.ClassDef) -> str | None:
    for statement in node.body:
        match statement:
            case ast.Assign(targets=[ast.Name(id="default_code")], value=ast.Constant(value=value)):
                return str(value)
            case ast.AnnAssign(target=ast.Name(id="default_code"), value=ast.Constant(value=value)):
                return str(value)
    return None


def _lineage(kind: str) -> Iterator[str]:
    """The class and its bases, the nearest first."""
    yield kind
    for base in _kinds()[kind].bases if kind in _kinds() else ():
        yield from _lineage(base)


def _is_error(kind: str) -> bool:
    return "TextgenError" in _lineage(kind)


def _status(kind: str) -> int:
    statuses = {each.__name__: answer.status for each, answer in ANSWERS.items()}
    return next(statuses[name] for name in _lineage(kind) if name in statuses)


def _code(call: ast.Call, kind: str) -> str | None:
    for keyword in call.keywords:
        if keyword.arg == "code":
            given = keyword.value
            return str(given.value) if isinstance(given, ast.Constant) else None
    return next(code for name in _lineage(kind) if (code := _kinds()[name].code))


def text_of(node: ast.expr) -> str:
    """The text of a message with … for what it fills in; empty where it is made elsewhere."""
    plain = " ".join(_filled(node).split())
    return "" if plain.strip("… .:") == "" else plain


def _filled(node: ast.expr) -> str:
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=values):
            return "".join(
                str(each.value) if isinstance(each, ast.Constant) else "…" for each in values
            )
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _filled(left) + _filled(right)
    return "…"


def _marked(message: str) -> str:
    """As Markdown that shows it as it is."""
    return message.replace("<", "\\<").replace("*", "\\*")


def name_of(node: ast.expr) -> str:
    """The last part of a name; empty for what is none."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(attr=name):
            return name
    return ""
