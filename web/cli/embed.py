"""``textgen embed``: texts as vectors."""

from __future__ import annotations

import json
from pathlib import Path

import click

from web.cli.api import connect
from web.cli.texts import given_texts, in_requests, texts_of_file


@click.command(epilog="Example: textgen embed novels --file lines.txt > vectors.jsonl")
@click.argument("model")
@click.argument("texts", nargs=-1, metavar="[TEXT]...")
@click.option(
    "--file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Texts to embed: .txt has one a line, .jsonl and .csv have them in 'text'.",
)
@click.option("--column", help="The text column of a .csv file.")
def embed(model: str, texts: tuple[str, ...], file: Path | None, column: str | None) -> int:
    """Print a line of JSON for each TEXT: its index, itself, and its vector by MODEL.

    A TEXT of - reads lines from standard input. Vectors have length 1, so the likeness of two
    texts is the sum of the products of their numbers.
    """
    if bool(texts) == (file is not None):
        raise click.UsageError("Give either TEXT or --file, for example: textgen embed m 'Hi.'")
    given = given_texts(texts) if file is None else texts_of_file(file, column)
    api, index = connect(), 0
    for some in in_requests(given):
        answer = api.post("/v1/embeddings", {"model": model, "input": some})
        for text, found in zip(some, answer["data"], strict=True):
            row = {"index": index, "text": text, "embedding": found["embedding"]}
            click.echo(json.dumps(row, ensure_ascii=False))
            index += 1
    return 0
