"""The options that say how text is drawn, for every command that has text written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from web.cli.options import set_option, values_of

Command = TypeVar("Command", bound=Callable[..., Any])
EXAMPLE = "min_tokens=20"


def temperature(value: str) -> float | list[float]:
    """A number, or a list of those with commas between them; ValueError for others."""
    numbers = [float(part) for part in value.split(",")]
    return numbers[0] if len(numbers) == 1 else numbers


SAMPLING = (
    click.option("--max-tokens", type=click.IntRange(min=0), help="Longest text, in tokens."),
    click.option(
        "--temperature",
        type=temperature,
        metavar="NUMBER[,NUMBER…]",
        help="0 is always the likeliest, 2 is wild; of 0.3,1.2 the tokens take turns.",
    ),
    click.option("--top-p", type=float, help="Only the likeliest tokens with this mass."),
    click.option("--top-k", type=int, help="Only the k likeliest tokens."),
    click.option("--min-p", type=float, help="Only tokens near the likeliest, by this factor."),
    click.option("--typical-p", type=float, help="Only the most typical tokens with this mass."),
    click.option("--repetition-penalty", type=float, help="Over 1: less of what was said."),
    click.option("--frequency-penalty", type=float, help="The same, for each time it was said."),
    click.option("--presence-penalty", type=float, help="The same, once said."),
    click.option("--no-repeat-ngram-size", type=int, help="No so many tokens in a row come twice."),
    click.option("--bad-word", "bad_words", multiple=True, help="A text that does not come."),
    click.option(
        "--allowed-word", "allowed_words", multiple=True, help="All is made of these texts."
    ),
    click.option(
        "--reject-if-copied-over",
        type=int,
        help="No more characters in a row are copied from the training text (needs copy_index).",
    ),
    click.option("--stop", multiple=True, help="A text that ends it; up to four times."),
    click.option("--seed", type=int, help="The same seed gives the same text."),
    set_option(EXAMPLE),
)


def sampling_options(command: Command) -> Command:
    """Add the options that say how text is drawn."""
    for option in reversed(SAMPLING):
        command = option(command)
    return command


def chosen_from(given: Mapping[str, Any]) -> dict[str, Any]:
    """Those that were given a value, by the names of the API. Raises InvalidOption."""
    chosen = {name: value for name, value in given.items() if value is not None and value != ()}
    return chosen | values_of(chosen.pop("pairs", ()), EXAMPLE)
