"""``textgen embed``: texts as vectors."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click

from web.cli.api import Api, connect
from web.cli.completion import model_argument
from web.cli.language import _
from web.cli.terminal import json_option, print_json
from web.cli.texts import given_texts, in_requests, texts_of_file


@click.command(epilog="Example: textgen embed novels --file lines.txt > vectors.jsonl")
@model_argument
@click.argument("texts", nargs=-1, metavar="[TEXT]...")
@click.option(
    "--file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Texts to embed: .txt has one a line, .jsonl, .csv and .parquet have them in 'text'.",
)
@click.option("--column", help="The text column of a .csv or .parquet file.")
@json_option
def embed(
    model: str, texts: tuple[str, ...], file: Path | None, column: str | None, as_json: bool
) -> int:
    """Print a line of JSON for each TEXT: its index, itself, and its vector by MODEL.

    A TEXT of - reads lines from standard input. Vectors have length 1, so the likeness of two
    texts is the sum of the products of their numbers. With --json the lines are one list.
    """
    if bool(texts) == (file is not None):
        example = "textgen embed m 'Hi.'"
        raise click.UsageError(
            _("Give either TEXT or --file, for example: %(command)s") % {"command": example}
        )
    given = given_texts(texts) if file is None else texts_of_file(file, column)
    rows = embedded(connect(), model, given)
    if as_json:
        print_json(list(rows))
        return 0
    for row in rows:
        click.echo(json.dumps(row, ensure_ascii=False))
    return 0


def embedded(api: Api, model: str, texts: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Each text with its vector; a request for some at a time."""
    index = 0
    for some in in_requests(texts):
        answer = api.post("/v1/embeddings", {"model": model, "input": some})
        for text, found in zip(some, answer["data"], strict=True):
            yield {"index": index, "text": text, "embedding": found["embedding"]}
            index += 1
