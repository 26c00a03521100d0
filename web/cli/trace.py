"""``textgen trace``: how a model reads a text, token by token."""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from web.cli.api import connect, path_of
from web.cli.completion import model_argument
from web.cli.evaluate import report_of, save_page
from web.cli.language import _
from web.cli.terminal import json_option, notes, print_json, print_table
from web.cli.train import succeeded

MOST_TOKENS = 2000
_LEVELS = ((6.0, "red"), (3.0, "yellow"), (1.5, "cyan"))  # nats


@click.command(
    epilog='Example: textgen trace novels "It was a dork and stormy night." --html t.html'
)
@model_argument
@click.argument("text")
@click.option(
    "--unit",
    "units",
    multiple=True,
    metavar="c1:17",
    help="A unit to show: c (cell) or h (output), the layer, a colon, its number from 0; may be "
    "given several times.",
)
@click.option("--most", type=click.IntRange(0, 50), default=5, show_default=True,
              help="So many of the units that vary most.")  # fmt: skip
@click.option(
    "--html",
    "page",
    metavar="PATH",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write a page here, with the text in colours and what each unit does along it.",
)
@json_option
def trace(
    model: str, text: str, units: tuple[str, ...], most: int, page: Path | None, as_json: bool
) -> int:
    """Show how surprising each token of TEXT is to MODEL, and which units follow what in it.

    A TEXT of - is read from standard input. At most 2,000 tokens are read.
    """
    api, console = connect(), notes()
    content = sys.stdin.read() if text == "-" else text
    stored = api.upload("text.txt", io.BytesIO(content.encode()), "user_data")
    options: dict[str, Any] = {
        "parts": ["traces"],
        "trace_tokens": MOST_TOKENS,
        "trace_units": most,
    }
    if units:
        options["units"] = units
    started = api.post(
        "/v1/evaluations", {"model": model, "file": stored["id"], "options": options}
    )
    told = {"job": started["id"], "model": started["model"]}
    console.print(_("Evaluation %(job)s of %(model)s") % told, soft_wrap=True)
    if not succeeded(api, started["id"], console):
        return 1
    ended = api.get(path_of("evaluations", started["id"]))
    if page is not None:
        save_page(api, ended, page)
    report = report_of(api, ended)
    found = report.get("traces")
    if found is None:
        reason = report["missing"].get("traces")
        click.echo(_("Nothing was traced: %(reason)s") % {"reason": reason}, err=True)
        return 1
    if as_json:
        print_json(found)
        return 0
    for token in found["tokens"]:
        click.echo(coloured(token), nl=False)
    click.echo()
    rows = [
        (each["unit"], f"{each['spread']:.3f}",
         ", ".join(f"{kind} ({value:+.2f})" for kind, value in each["kinds"].items()))
        for each in found["units"]
    ]  # fmt: skip
    print_table((_("unit"), _("deviation"), _("goes with")), rows, "")
    if page is not None:
        console.print(_("In colours, with every unit: %(file)s") % {"file": page}, soft_wrap=True)
    return 0


def coloured(token: Mapping[str, Any]) -> str:
    """The token, on a terminal in a colour for its surprise."""
    nats = token["nats"]
    for least, colour in _LEVELS:
        if nats is not None and nats >= least:
            return click.style(token["text"], fg=colour)
    return str(token["text"])
