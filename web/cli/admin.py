"""``textgen admin``: look whether a service is sound, and say what it is like in a bug report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict

import click

from textgen.errors import TextgenError
from web.cli.language import _, named, reported
from web.cli.operator import open_operator
from web.cli.report import report
from web.cli.terminal import json_option, notes, print_json, print_table
from worker.backend import Backend
from worker.client import connect
from worker.migrations.revisions import current_revision, known_revisions
from worker.operations.check import MIN_AGE, Checked, ServiceCheck
from worker.operations.checks.finding import Finding
from worker.stack.embedded_redis import with_running_redis

SHOWN = 50


@click.group()
def admin() -> None:
    """Look after a service: what is wrong with it, and what it is like."""


admin.add_command(report)


@admin.command(epilog="Example: textgen admin check --mend --deep")
@click.option("--mend", is_flag=True, help="Mend what can be mended, then look again.")
@click.option(
    "--min-age",
    type=click.FloatRange(0),
    default=MIN_AGE,
    show_default=True,
    help="In seconds: what is younger may be waiting for its row, and is left alone.",
)
@click.option(
    "--deep", is_flag=True, help="Read every byte in storage too, and compare it with its hash."
)
@json_option
def check(mend: bool, min_age: float, deep: bool, as_json: bool) -> int:
    """Find what has no owner, points to nothing or is stuck: files in storage, rows, jobs, keys.

    The service may run meanwhile. Without --mend nothing is changed. Exits 0 when nothing is
    wrong (any more), 1 when something is.
    """
    backend = _current_backend()
    settings = with_running_redis(backend.settings)
    broker = connect(settings) if settings.broker_url else None
    service = ServiceCheck(backend, broker, min_age=min_age, say=_say, deep=deep)
    done = service.mend() if mend else service.look()
    if as_json:
        print_json(
            {
                "clean": not done.left,
                **{
                    name: [asdict(each) for each in getattr(done, name)]
                    for name in ("found", "mended", "left")
                },
                "unseen": list(done.unseen),
            }
        )
    else:
        _print(done, mend)
    return 1 if done.left else 0


def _say(line: str) -> None:
    notes().print(reported(line))


def _print(done: Checked, mend: bool) -> None:
    for line in done.unseen:
        notes().print(_("Not looked at: %(what)s") % {"what": reported(line)})
    if done.mended:
        click.echo(_("Mended: %(findings)s") % {"findings": _counted(done.mended)})
    if not done.left:
        click.echo(_("Nothing else is wrong.") if done.mended else _("Nothing is wrong."))
        return
    rows = [
        (named(each.what), each.id, each.tenant, reported(each.detail))
        for each in done.left[:SHOWN]
    ]
    print_table((_("what"), _("which"), _("tenant"), _("how")), rows, "")
    if len(done.left) > SHOWN:
        more = f"{len(done.left) - SHOWN:,}"
        click.echo(_("… and %(count)s more; --json has all of them.") % {"count": more})
    for hint in sorted({each.hint for each in done.left if each.hint}):
        notes().print(reported(hint))
    click.echo(_("Wrong: %(findings)s") % {"findings": _counted(done.left)})
    if not mend and any(not each.hint for each in done.left):
        notes().print(_("`textgen admin check --mend` mends what can be mended."))


def _counted(findings: Sequence[Finding]) -> str:
    return _(", ").join(
        f"{count:,} × {named(what).replace('_', ' ')}"
        for what, count in sorted(Counter(each.what for each in findings).items())
    )


def _current_backend() -> Backend:
    """The service that the settings name; raises TextgenError for other tables than ours.

    Nothing is changed: the tables are not brought up to date.
    """
    backend = open_operator().backend()
    newest = known_revisions()[-1]
    with backend.database.read() as connection:
        found = current_revision(connection)
    if found != newest:
        raise TextgenError(
            f"The database's tables are of version {found}, and this textgen works with {newest}. "
            "Bring them up to date (`textgen db upgrade`), or use the textgen that runs on them."
        )
    return backend
