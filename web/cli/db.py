"""``textgen db``: the database's tables."""

from __future__ import annotations

import click

from worker.settings import load_settings
from worker.storage.database import Database


@click.group()
def db() -> None:
    """Look after the database."""


@db.command(epilog="Example: TEXTGEN_DATABASE_URL=postgresql+psycopg://… textgen db upgrade")
def upgrade() -> None:
    """Bring the tables up to this version; safe to run at any time, and twice."""
    settings = load_settings()
    if not settings.database_url:
        settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    Database(settings.effective_database_url).migrate()
    click.echo("The database is up to date.")
