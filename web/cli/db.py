"""``textgen db``: the database's tables."""

from __future__ import annotations

import click

from web.cli.language import _
from web.cli.operator import open_operator
from web.cli.terminal import json_option, print_json
from worker.migrations.revisions import known_revisions
from worker.settings import load_settings
from worker.storage.database import Database


@click.group()
def db() -> None:
    """Look after the database."""


@db.command(epilog="Example: TEXTGEN_DATABASE_URL=postgresql+psycopg://… textgen db upgrade")
@json_option
def upgrade(as_json: bool) -> None:
    """Bring the tables up to this version; safe to run at any time, and twice."""
    settings = load_settings()
    if not settings.database_url:
        settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    Database(settings.effective_database_url).migrate()
    if as_json:
        print_json({"revision": known_revisions()[-1]})
    else:
        click.echo(_("The database is up to date."))


@db.command(epilog="Example: textgen db downgrade 0006")
@click.argument("revision")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def downgrade(revision: str, yes: bool, as_json: bool) -> None:
    """Take the tables back to REVISION, for the textgen of before; stop the service first.

    What only the later tables hold is lost: make a backup.
    """
    operator = open_operator()
    if not yes:
        question = _("Drop what tables after %(revision)s hold?") % {"revision": revision}
        click.confirm(question, abort=True, err=True)
    operator.database.downgrade(revision)
    if as_json:
        print_json({"revision": revision})
    else:
        click.echo(_("The database is at %(revision)s.") % {"revision": revision})
