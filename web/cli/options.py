"""Options that several commands have."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import click

from textgen.errors import InvalidOption

Command = TypeVar("Command", bound=Callable[..., Any])
READING = (
    click.option("--column", help="The text column of a .csv or .parquet file."),
    click.option(
        "--format",
        type=click.Choice(["lines", "jsonl", "csv", "parquet"]),
        help="How FILE is read; its name says it otherwise.",
    ),
)


def reading_options(command: Command) -> Command:
    """Add the options that say how a file is read."""
    for option in reversed(READING):
        command = option(command)
    return command


def given(options: Mapping[str, Any]) -> dict[str, Any]:
    """Those options that were given a value."""
    return {name: value for name, value in options.items() if value is not None}


def set_option(example: str) -> Callable[[Command], Command]:
    """The option ``--set``, which fills ``pairs``."""
    return click.option(
        "--set",
        "pairs",
        multiple=True,
        metavar="KEY=VALUE",
        help=f"Any further option, for example --set {example}; may be given several times.",
    )


def values_of(pairs: Iterable[str], example: str) -> dict[str, Any]:
    """``key=value`` pairs: JSON where a value is that, else a plain word. Raises InvalidOption."""
    values: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise InvalidOption(f"--set {pair}: write it as key=value, for example {example}.")
        try:
            values[name.strip()] = json.loads(text)
        except ValueError:
            values[name.strip()] = text  # as in tokenizer=char
    return values
