"""``textgen tokenize``: what a model reads a text as."""

from __future__ import annotations

import sys

import click

from web.cli.api import connect
from web.cli.completion import model_argument
from web.cli.language import _
from web.cli.terminal import json_option, print_json, print_table


@click.command(epilog='Example: textgen tokenize novels "It was a dark night."')
@model_argument
@click.argument("text")
@json_option
def tokenize(model: str, text: str, as_json: bool) -> int:
    """Show TEXT as MODEL reads it, a token a line; a TEXT of - is read from standard input."""
    text = sys.stdin.read() if text == "-" else text
    body = {"model": model, "prompt": text, "return_token_strs": True}
    answer = connect().post("/v1/tokenize", body)
    if as_json:
        print_json(answer)
        return 0
    shown = [repr(token)[1:-1] for token in answer["token_strs"]]
    rows = list(zip(map(str, answer["tokens"]), shown, strict=True))
    print_table((_("id"), _("token")), rows, _("no tokens"))
    return 0
