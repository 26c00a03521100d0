"""``textgen admin report``: what a bug report needs of a service."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import click

from web.cli.language import _
from web.cli.operator import open_operator
from web.cli.terminal import json_option, notes, print_json
from worker.client import connect
from worker.operations.reports.report import write_report
from worker.stack.embedded_redis import with_running_redis


@click.command(epilog="Example: textgen admin report --log textgen.log")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The archive to write; else textgen-report-TIME.zip, here.",
)
@click.option(
    "--log",
    "logs",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    multiple=True,
    help="A log of the service, as `textgen up` prints it; may be given several times. Those "
    "that end with .log in the home are taken too.",
)
@json_option
def report(output: Path | None, logs: tuple[Path, ...], as_json: bool) -> None:
    """Write one archive for a bug report: versions, settings, health, queues, counts, errors, logs.

    Secrets are masked, and there are no prompts, texts, keys or names of files in it: of a log stay
    the messages that textgen itself has words for, of a traceback the lines of its own code. Look
    into it before you send it.
    """
    backend = open_operator().backend()
    settings = with_running_redis(backend.settings)
    broker = connect(settings) if settings.broker_url else None
    target = Path(time.strftime("textgen-report-%Y%m%dT%H%M%SZ.zip", time.gmtime()))
    kept = sorted(settings.home.glob("*.log"))
    made = write_report(
        replace(backend, settings=settings),
        broker,
        target if output is None else output,
        [*logs, *kept],
    )
    if as_json:
        print_json(
            {"path": str(made.path), "parts": list(made.parts), "missing": dict(made.missing)}
        )
        return
    told = {"file": made.path, "parts": ", ".join(made.parts)}
    click.echo(_("Wrote %(file)s: %(parts)s") % told)
    for name, reason in made.missing.items():
        notes().print(_("Left out: %(part)s (%(reason)s)") % {"part": name, "reason": reason})
