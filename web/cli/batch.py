"""``textgen batch``: many prompts at once."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from textgen.errors import InvalidInput
from web.batch_lines import ENDPOINT, read_requests, write_requests
from web.cli.api import Api, connect, path_of, save
from web.cli.batch_files import SUFFIXES, merge, write_results
from web.cli.completion import model_argument
from web.cli.follow import Left, follow
from web.cli.generate import body_of
from web.cli.language import _, said
from web.cli.sampling import sampling_options
from web.cli.terminal import json_option, notes, print_json
from web.cli.train import say_how_to_come_back, say_not_done
from web.cli.uploads import files_for_a_request


@click.command(epilog="Example: textgen batch novels prompts.txt texts.csv --max-tokens 200")
@model_argument
@click.argument("source", metavar="IN", type=click.Path(exists=True, path_type=Path))
@click.argument("target", metavar="OUT", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--column", default="prompt", show_default=True, help="Of prompts in a .csv file.")
@sampling_options
@json_option
def batch(model: str, source: Path, target: Path, column: str, as_json: bool, **given: Any) -> int:
    """Continue every prompt of IN with MODEL and write the texts to OUT.

    IN is .txt (a prompt a line), .csv or .jsonl (texts, objects with "prompt", or batch lines);
    OUT is .jsonl, .csv or .txt. Ctrl-C stops watching, not the batch.
    """
    check_target(target)
    api, console = connect(), notes()
    with tempfile.TemporaryDirectory(prefix="textgen-batch-") as name:
        folder = Path(name)
        requests = folder / f"{source.stem}.jsonl"
        count = write_requests(read_requests(source, body_of(api, model, given), column), requests)
        if count == 0:
            raise InvalidInput(f"{source} has no prompts in it.")
        job = start(api, requests, console)
        told = {"job": job["id"], "count": f"{count:,}"}
        console.print(_("Batch %(job)s with %(count)s prompts") % told)
        try:
            ended = follow(api, job["id"], console)
        except Left:
            say_how_to_come_back(console, job["id"])
            return 1
        finished = api.get(path_of("batches", job["id"]))
        output, errors = fetch(api, finished, folder)
        write_results(requests, merge(requests, output, errors), target)
    return _report(ended, finished, target, console, as_json)


def check_target(target: Path) -> None:
    """Refuse before the work what could not be written after it."""
    if target.suffix.lower() not in SUFFIXES:
        known = _("'%(file)s': its name must end in .jsonl, .csv or .txt.") % {"file": target}
        raise click.BadParameter(known, param_hint="OUT")
    if not os.access(target if target.exists() else target.parent, os.W_OK):
        wrong = _("'%(file)s' cannot be written: is its folder there?") % {"file": target}
        raise click.BadParameter(wrong, param_hint="OUT")


def start(api: Api, requests: Path, console: Console) -> dict[str, Any]:
    """Upload batch lines and start the batch."""
    with files_for_a_request(api, console) as store:
        file_id = store(requests, "batch")
        body = {"input_file_id": file_id, "endpoint": ENDPOINT, "completion_window": "24h"}
        return dict(api.post("/v1/batches", body))


def fetch(api: Api, finished: dict[str, Any], folder: Path) -> tuple[Path | None, Path | None]:
    """Download what the batch has written: (results, failed lines), where there are any."""
    found: list[Path | None] = []
    for name in ("output", "error"):
        file_id = finished[f"{name}_file_id"]
        found.append(None if file_id is None else folder / f"{name}.jsonl")
        if file_id is not None:
            save(api, path_of("files", file_id, "content"), folder / f"{name}.jsonl")
    return found[0], found[1]


def _report(
    ended: dict[str, Any],
    finished: dict[str, Any],
    target: Path,
    console: Console,
    as_json: bool,
) -> int:
    counts = finished["request_counts"]
    if as_json:
        print_json(finished)
    elif ended["state"] == "succeeded":
        written = {"count": f"{counts['completed']:,}", "file": target}
        click.echo(_("Done: %(count)s texts in %(file)s") % written)
    if counts["failed"]:
        failed = {"count": f"{counts['failed']:,}", "file": target}
        console.print(_("%(count)s lines failed; %(file)s says why.") % failed, soft_wrap=True)
    if ended["state"] != "succeeded":
        for error in (finished["errors"] or {"data": []})["data"][:10]:
            message = said(error["message"])
            if error["line"] is not None:
                told = {"line": error["line"], "message": message}
                message = _("line %(line)s: %(message)s") % told
            console.print(f"  {message}", soft_wrap=True)
        say_not_done(console, ended)
        return 1
    return 1 if counts["failed"] else 0
