"""``textgen generate``: text from a model, as it is written."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import click

from web.cli.api import Api, RequestFailed, connect, path_of
from web.cli.completion import model_argument
from web.cli.growing_text import GrowingText
from web.cli.interactive import Conversation, lines_of_input
from web.cli.language import _
from web.cli.sampling import chosen_from, sampling_options
from web.cli.terminal import json_option, piped, print_json


def body_of(api: Api, model: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """A completion's fields but the prompt: the model's own defaults under those given."""
    return {"model": model, **defaults_of(api, model), **chosen_from(given)}


def defaults_of(api: Api, model: str) -> dict[str, Any]:
    """What suits the model, measured when it was trained; raises RequestFailed if unknown."""
    defaults = api.get(path_of("models", model)).get("generation_defaults")
    return {} if defaults is None else {k: v for k, v in defaults.items() if v is not None}


@click.command(epilog='Example: textgen generate novels "It was a dark and" --temperature 0.7')
@model_argument
@click.argument("prompt", default="")
@click.option("--suffix", help="Fill the gap between PROMPT and this text.")
@click.option(
    "--interactive",
    "-i",
    is_flag=True,
    help="Write line by line: go on, choose the next token, undo, branch. /help says how.",
)
@sampling_options
@json_option
def generate(model: str, prompt: str, as_json: bool, interactive: bool, **given: Any) -> int:
    """Continue PROMPT with MODEL; a PROMPT of - is read from standard input.

    MODEL is an id or a name. The id of a training is its model, and while it runs its newest
    checkpoint.
    """
    if interactive and (as_json or given["suffix"] is not None or prompt == "-"):
        raise click.UsageError(
            _(
                "--interactive reads its lines from standard input and writes text for people: it "
                "goes with neither --json, nor --suffix, nor a PROMPT of -."
            )
        )
    api = connect()
    if interactive:
        growing = GrowingText(api, body_of(api, model, given), prompt)
        if sys.stdin.isatty():
            click.secho(f"{prompt}\n" if prompt else "", nl=False, bold=True, err=piped())
            click.secho(_("/help lists what a line can be."), err=True, dim=True)
        Conversation(growing).run(lines_of_input())
        return 0
    text = sys.stdin.read() if prompt == "-" else prompt
    body = {**body_of(api, model, given), "prompt": text}
    if as_json:
        print_json(api.post("/v1/completions", body))
        return 0
    if sys.stdout.isatty():
        click.secho(text, nl=False, bold=True)
    try:
        for chunk in api.stream("/v1/completions", {**body, "stream": True}):
            for choice in chunk["choices"]:
                click.echo(choice["text"], nl=False)
    except KeyboardInterrupt:
        click.echo()
        return 1
    except RequestFailed:
        click.echo()
        raise
    click.echo()
    return 0
