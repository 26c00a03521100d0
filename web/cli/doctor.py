"""``textgen doctor``: is this file worth training on? Nothing leaves the machine."""

from __future__ import annotations

from pathlib import Path

import click

from textgen.corpus.doctor import examine
from textgen.corpus.sources import Source
from web.cli.terminal import json_option, print_json


@click.command(epilog="Example: textgen doctor novels.txt --seconds 600")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--seconds", type=float, default=300.0, show_default=True, help="Time to train.")
@click.option("--column", help="The text column of a .csv file.")
@click.option("--encoding", help="Of the file; detected where not given.")
@json_option
def doctor(
    file: Path, seconds: float, column: str | None, encoding: str | None, as_json: bool
) -> None:
    """Look FILE over before training on it: size, encoding, symbols, repeats, what to expect."""
    report = examine(Source(path=file, column=column, encoding=encoding), seconds)
    if as_json:
        print_json(report.as_dict())
    else:
        click.echo(report.as_text())
