"""``textgen files``: what was uploaded, and what jobs have written."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from web.cli import completion
from web.cli.api import connect, path_of, save
from web.cli.deletions import confirm_deletion, yes_option
from web.cli.language import _
from web.cli.terminal import ago, json_option, notes, print_json, print_table, size
from web.cli.uploads import upload as upload_file


@click.group(invoke_without_command=True)
@click.pass_context
def files(context: click.Context) -> None:
    """Files on the server; without a command, list them."""
    if context.invoked_subcommand is None:
        context.invoke(show_list, as_json=False)


@files.command("list", epilog="Example: textgen files list --json")
@json_option
def show_list(as_json: bool) -> None:
    """List files, the newest first."""
    found = list(connect().pages("/v1/files", limit=1000))
    if as_json:
        print_json(found)
        return
    rows = [
        (
            each["id"],
            each["filename"],
            size(each["bytes"]),
            each["purpose"],
            ago(each["created_at"]),
        )
        for each in found
    ]
    headings = (_("file"), _("name"), _("size"), _("purpose"), _("made"))
    print_table(headings, rows, _("No files yet."))


@files.command(epilog="Example: textgen files upload novels.txt")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--purpose", type=click.Choice(["fine-tune", "batch"]), default="fine-tune")
@json_option
def upload(file: Path, purpose: str, as_json: bool) -> None:
    """Store FILE on the server."""
    stored = upload_file(connect(), file, purpose, notes())
    if as_json:
        print_json(stored)
    else:
        click.echo(stored["id"])


@files.command(epilog="Example: textgen files content file-… --out results.jsonl")
@click.argument("file_id", shell_complete=completion.files)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write it there.")
def content(file_id: str, out: Path | None) -> None:
    """Print a file's content, or write it to a file."""
    path = path_of("files", file_id, "content")
    if out is None:
        connect().download(path, sys.stdout.buffer)
        sys.stdout.buffer.flush()
    else:
        save(connect(), path, out)


@files.command(epilog="Example: textgen files rm file-…")
@click.argument("file_id", shell_complete=completion.files)
@yes_option
@json_option
def rm(file_id: str, yes: bool, as_json: bool) -> None:
    """Delete a file for good; says first what has used it."""
    api = connect()
    confirm_deletion(api.get(path_of("uses", "files", file_id)), yes)
    answer = api.delete(path_of("files", file_id))
    if as_json:
        print_json(answer)
    else:
        click.echo(_("Deleted %(id)s") % {"id": answer["id"]})
