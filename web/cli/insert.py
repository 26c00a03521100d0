"""``textgen insert``: a text that grows in its middle."""

from __future__ import annotations

import sys
from typing import Any

import click

from web.cli.api import connect
from web.cli.completion import model_argument
from web.cli.generate import defaults_of
from web.cli.language import _
from web.cli.sampling import chosen_from, sampling_options
from web.cli.terminal import json_option, print_json

MAX_TOKENS = 40  # of an insertion


@click.command(epilog='Example: textgen insert mine "我是一名程序员" --count 2')
@model_argument
@click.argument("text")
@click.option(
    "--at",
    "positions",
    type=click.IntRange(min=0),
    multiple=True,
    help="Where something may be inserted, in characters from the beginning; may be given several "
    "times. Without it, between any two words.",
)
@click.option(
    "--count",
    type=click.IntRange(1, 16),
    default=1,
    show_default=True,
    help="So many insertions, the one that the model is surest of first.",
)
@click.option("--mark", is_flag=True, help="Put what was inserted in ⟦brackets⟧.")
@sampling_options
@json_option
def insert(
    model: str,
    text: str,
    positions: tuple[int, ...],
    count: int,
    mark: bool,
    as_json: bool,
    **given: Any,
) -> int:
    """Make TEXT longer by what MODEL, which has learnt infill, puts between its words.

    A TEXT of - is read from standard input.
    """
    api = connect()
    body: dict[str, Any] = {
        "max_tokens": MAX_TOKENS,
        "temperature": defaults_of(api, model).get("temperature", 1.0),
        **chosen_from(given),
        "model": model,
        "input": sys.stdin.read() if text == "-" else text,
        "max_insertions": count,
    }
    if positions:
        body["positions"] = positions
    answer = api.post("/v1/insertions", body)
    if as_json:
        print_json(answer)
        return 0
    longer, spans = answer["text"], answer["insertions"]
    if not spans:
        problem = _("Nothing was inserted: the model brought no filling to an end.")
        click.echo(problem, err=True)
    click.echo(marked(longer, [(each["start"], each["end"]) for each in spans]) if mark else longer)
    return 0


def marked(text: str, spans: list[tuple[int, int]]) -> str:
    """The text with brackets around spans, which come in its order."""
    parts, done = list[str](), 0
    for start, end in spans:
        parts += [text[done:start], "⟦", text[start:end], "⟧"]
        done = end
    return "".join([*parts, text[done:]])
