"""``textgen score``: how surprising each row of a file is to a model, the oddest first."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from web.cli.api import Api, connect, path_of, save
from web.cli.completion import model_argument
from web.cli.language import _
from web.cli.options import given, reading_options
from web.cli.terminal import json_option, notes, print_json, print_table
from web.cli.train import succeeded
from web.cli.uploads import files_for_a_request

SHOWN = 100  # characters of a row in the table


@click.command(epilog="Example: textgen score logs today.log --worst 10")
@model_argument
@click.argument(
    "file", metavar="FILE", type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@click.option(
    "--worst",
    type=click.IntRange(1, 1000),
    default=20,
    show_default=True,
    help="How many rows to show, the most surprising first.",
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write every row's score here, a line of JSON each.",
)
@reading_options
@json_option
def score(
    model: str,
    file: Path,
    worst: int,
    output: Path | None,
    as_json: bool,
    **reading: str | None,
) -> int:
    """Tell how surprising each row of FILE is to MODEL, and show the oddest rows.

    A row is a line of a .txt or .log file, an object of .jsonl, a row of .csv or .parquet.
    Surprise is in nats a character: minus the logarithm of how likely the model finds it.
    Ctrl-C stops watching, not the job.
    """
    api, console = connect(), notes()
    with files_for_a_request(api, console) as store:
        body = {"model": model, "file": store(file, "user_data"), "worst": worst, **given(reading)}
        started = api.post("/v1/scores", body)
    told = {"job": started["id"], "file": file.name}
    console.print(_("Scoring %(job)s of %(file)s") % told, soft_wrap=True)
    if not succeeded(api, started["id"], console):
        return 1
    ended = api.get(path_of("scores", started["id"]))
    if output is not None:
        save(api, path_of("files", ended["scores_file_id"], "content"), output)
    summary = _summary(api, ended)
    if as_json:
        print_json({**ended, "summary": summary})
        return 0
    _print(summary)
    if output is not None:
        console.print(_("Every row's score: %(file)s") % {"file": output}, soft_wrap=True)
    return 0


def _summary(api: Api, ended: Mapping[str, Any]) -> dict[str, Any]:
    """The summary with all rows that were asked for."""
    with tempfile.TemporaryFile() as file:
        api.download(path_of("files", ended["summary_file_id"], "content"), file)
        file.seek(0)
        return dict(json.load(file))


def _print(summary: Mapping[str, Any]) -> None:
    perplexity = summary["perplexity"]
    told = {
        "rows": f"{summary['rows']:,}",
        "characters": f"{summary['characters']:,}",
        "nats": f"{summary['nats_per_character']:.3f}",
        "bits": f"{summary['bits_per_character']:.3f}",
        "perplexity": "" if perplexity is None else f"{perplexity:,.2f}",
    }
    if perplexity is None:
        found = _(
            "%(rows)s rows, %(characters)s characters: %(nats)s nats a character (%(bits)s bits)"
        )
    else:
        found = _(
            "%(rows)s rows, %(characters)s characters: %(nats)s nats a character (%(bits)s bits), "
            "perplexity %(perplexity)s"
        )
    click.echo(found % told)
    rows = [
        (row["line"], f"{row['nats_per_character']:.3f}", marked(row)) for row in summary["worst"]
    ]
    headings = (
        _("line"),
        _("nats/char"),
        _("row, the most surprising character in brackets"),
    )
    print_table(headings, rows, "")


def marked(row: Mapping[str, Any]) -> str:
    """A row's text around the character that surprised most, which is put in brackets."""
    text, place = row["text"], row["most_surprising"]
    if place is None or place >= len(text):
        return _short(text)
    begin = max(0, place - SHOWN // 2)
    before = ("…" if begin else "") + text[begin:place]
    after = text[place + 1 : begin + SHOWN]
    more = "…" if begin + SHOWN < max(len(text), row["characters"]) else ""
    return f"{before}⟦{text[place]}⟧{after}{more}"


def _short(text: str) -> str:
    return text if len(text) <= SHOWN else text[:SHOWN] + "…"
