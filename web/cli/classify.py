"""``textgen classify``: which class texts belong to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click

from web.cli.api import Api, connect
from web.cli.completion import model_argument
from web.cli.language import _
from web.cli.terminal import json_option, print_json, print_table
from web.cli.texts import given_texts, in_requests, texts_of_file


@click.command(epilog='Example: textgen classify reviews "The soup was cold." --top-k 3')
@model_argument
@click.argument("texts", nargs=-1, metavar="[TEXT]...")
@click.option(
    "--file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Texts to classify: .txt has one a line, .jsonl, .csv and .parquet have them in 'text'.",
)
@click.option("--column", help="The text column of a .csv or .parquet file.")
@click.option("--top-k", type=click.IntRange(min=1), help="Labels to show of each text.")
@json_option
def classify(
    model: str,
    texts: tuple[str, ...],
    file: Path | None,
    column: str | None,
    top_k: int | None,
    as_json: bool,
) -> int:
    """Say which label of MODEL (an id or a name) each TEXT gets; a TEXT of - reads lines.

    One text is shown with its labels; of several each line is label, probability and text.
    """
    if bool(texts) == (file is not None):
        example = "textgen classify m 'Hi.'"
        raise click.UsageError(
            _("Give either TEXT or --file, for example: %(command)s") % {"command": example}
        )
    given = given_texts(texts) if file is None else texts_of_file(file, column)
    results = classifications(connect(), model, given, top_k)
    if as_json:
        print_json(list(results))
        return 0
    if len(texts) == 1 and texts[0] != "-":
        only = next(results)
        rows = [(each["label"], f"{each['probability']:.4f}") for each in only["probabilities"]]
        print_table((_("label"), _("probability")), rows, _("no labels"))
        return 0
    for result in results:
        text = " ".join(result["text"].split())
        click.echo(f"{_ranked(result, top_k)}\t{text}")
    return 0


def classifications(
    api: Api, model: str, texts: Iterable[str], top_k: int | None
) -> Iterator[dict[str, Any]]:
    """What the server says of each text, with the text; a request for some at a time."""
    index = 0
    for some in in_requests(texts):
        body: dict[str, Any] = {"model": model, "input": some}
        if top_k is not None:
            body["top_k"] = top_k
        answer = api.post("/v1/classify", body)
        for text, found in zip(some, answer["data"], strict=True):
            yield {**found, "index": index, "text": text}
            index += 1


def _ranked(result: dict[str, Any], top_k: int | None) -> str:
    shown = result["probabilities"][: 1 if top_k is None else top_k]
    return "\t".join(f"{each['label']}\t{each['probability']:.4f}" for each in shown)
