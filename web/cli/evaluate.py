"""``textgen eval``: how well a model does."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from textgen.evaluation.options import EvaluationOptions
from web.catalogues import ENGLISH
from web.cli.api import Api, connect, path_of, save
from web.cli.completion import model_argument
from web.cli.figures import figures
from web.cli.language import _, language, named, said
from web.cli.options import given, reading_options, set_option, values_of
from web.cli.terminal import json_option, notes, print_json, print_table
from web.cli.train import succeeded
from web.cli.uploads import files_for_a_request
from web.evaluation_pages import page_in


@click.command("eval", epilog="Example: textgen eval novels --html novels.html --set samples=20")
@model_argument
@click.argument(
    "file",
    metavar="[FILE]",
    required=False,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)
@set_option("samples=20")
@click.option(
    "--html",
    "page",
    metavar="PATH",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the whole report here, as a page.",
)
@reading_options
@json_option
def evaluate(
    model: str,
    file: Path | None,
    pairs: tuple[str, ...],
    page: Path | None,
    as_json: bool,
    **reading: str | None,
) -> int:
    """Measure how well MODEL does on FILE, else on what was held out of its own training.

    Ctrl-C stops watching, not the job.
    """
    options = EvaluationOptions.parse(values_of(pairs, "samples=20"))
    api, console = connect(), notes()
    body: dict[str, Any] = {
        "model": model,
        "options": options.model_dump(mode="json", exclude_unset=True),
    }
    with files_for_a_request(api, console) as store:
        if file is not None:
            body |= {"file": store(file, "user_data"), **given(reading)}
        started = api.post("/v1/evaluations", body)
    on = _("what its training held out") if file is None else file.name
    told = {"job": started["id"], "model": started["model"], "text": on}
    console.print(_("Evaluation %(job)s of %(model)s on %(text)s") % told, soft_wrap=True)
    if not succeeded(api, started["id"], console):
        return 1
    ended = api.get(path_of("evaluations", started["id"]))
    if page is not None:
        save_page(api, ended, page)
    if as_json:
        print_json({**ended, "report": report_of(api, ended)})
        return 0
    summary = ended["summary"]
    headings = (_("measure"), _("value"))
    print_table(headings, list(figures(summary)), _("Nothing could be measured."))
    for part, reason in summary.get("missing", {}).items():
        why = {"part": named(part), "reason": said(reason)}
        console.print(_("%(part)s: not measured, %(reason)s") % why, soft_wrap=True)
    if page is not None:
        console.print(_("The whole report: %(file)s") % {"file": page}, soft_wrap=True)
    return 0


def save_page(api: Api, ended: Mapping[str, Any], target: Path) -> None:
    """Write the page of an evaluation that has ended, in the command line's language."""
    save(api, path_of("files", ended["page_file_id"], "content"), target)
    if language() != ENGLISH:
        page = page_in(language(), target.read_text(encoding="utf-8"))
        target.write_text(page, encoding="utf-8")


def report_of(api: Api, ended: Mapping[str, Any]) -> dict[str, Any]:
    """The whole report of an evaluation that has ended."""
    with tempfile.TemporaryFile() as file:
        api.download(path_of("files", ended["report_file_id"], "content"), file)
        file.seek(0)
        return dict(json.load(file))
