"""What is translated beside what ``_(…)`` marks: the help of commands, the messages of errors.

Babel asks for it (`make messages`), as `web/translations/*.cfg` say.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click
from babel.messages.extract import extract_from_dir

from docs.generators import errors as reference
from docs.generators.evaluation_words import EVALUATIONS
from docs.generators.names import all_names
from docs.generators.sentences import HINTS, REASONS, REPORTS
from docs.generators.sources import PACKAGES, of_package
from web.cli.app import COMMANDS, as_written, textgen
from web.cli.demo import demo
from web.cli.spoken_help import paragraphs
from web.translation import GAP

# Of click, what is said to users; the rest is for those who write commands.
CLICKS = ("exceptions.py", "parser.py", "types.py")
TOO_LITTLE = "… is not …."  # of a choice among one; it would fit many a sentence
CLICKS_CORE = ("Got unexpected", "Missing command", "Takes {nargs}")
# Calls that are given a reason
REFUSERS = ("ValueError", "NotMeasured", "_refuse", "_binary", "_gone")
Found = tuple[int, str, str, list[str]]


def extractor(messages: Callable[[Any], Iterable[str]]) -> Callable[..., Iterator[Found]]:
    """Messages as Babel asks for them: with the file, and options that none of ours has."""

    def extract(file: Any, *_: object, **__: object) -> Iterator[Found]:
        for message in messages(file):
            yield 1, "", message, []

    return extract


@extractor
def commands(_file: Any) -> Iterator[str]:
    """The help of all commands."""
    for command in (textgen, *map(as_written, COMMANDS), demo):
        yield from _help(command)


@extractor
def errors(file: Any) -> Iterator[str]:
    """The messages of the reference of errors, and what stands in their gaps."""
    for explained in json.load(file).values():
        yield from explained["messages"]
    yield from (*_refusals(), *_clicks(), *REASONS, *HINTS)


@extractor
def evaluations(_file: Any) -> Iterable[str]:
    """What the page of an evaluation says."""
    return EVALUATIONS


@extractor
def names(_file: Any) -> Iterable[str]:
    """What the API calls what people read of."""
    return all_names()


@extractor
def reports(_file: Any) -> Iterable[str]:
    """What the doctor and jobs tell."""
    return REPORTS


def _help(command: click.Command) -> Iterator[str]:
    yield from paragraphs(command.help or "")
    for parameter in command.params:
        if isinstance(parameter, click.Option) and parameter.help:
            yield " ".join(parameter.help.split())
    if isinstance(command, click.Group):  # textgen has none until they are asked for
        for inner in command.commands.values():
            yield from _help(inner)


def _refusals() -> Iterator[str]:
    """Why a value or a file is refused, as validators of options and readers of files say it."""
    for package in PACKAGES:
        for path in of_package(package):
            text = path.read_text(encoding="utf-8")
            validates = "field_validator" in text or "model_validator" in text
            for node in ast.walk(ast.parse(text)):
                if not isinstance(node, ast.Call):
                    continue
                name = reference.name_of(node.func)
                if name in REFUSERS and (validates or name != "ValueError"):
                    yield from filter(_is_sentence, map(reference.text_of, node.args))


def _is_sentence(text: str) -> bool:
    return " " in text


def _clicks() -> Iterator[str]:
    """What click says of wrong usage; its gaps are named fields."""
    origin = importlib.util.find_spec("click")
    assert origin is not None and origin.origin is not None  # noqa: S101  it is imported above
    for file, _, message, *_ in extract_from_dir(Path(origin.origin).parent):
        forms: Sequence[str] = (message,) if isinstance(message, str) else message
        for form in forms:
            if file in CLICKS or (file == "core.py" and form.startswith(CLICKS_CORE)):
                template = re.sub(r"\{\w+(!r)?\}", GAP, form)
                if template != TOO_LITTLE:
                    yield template
