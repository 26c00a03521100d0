"""``textgen keys``: who may call. Works on the database itself, so it needs no running server."""

from __future__ import annotations

from typing import Any

import click

from textgen.errors import TextgenError
from web.cli.api import find_key
from web.cli.terminal import ago, json_option, notes, print_json, print_table
from worker.settings import Settings, load_settings
from worker.storage.database import Database
from worker.storage.keys import DEFAULT_TENANT, SCOPES, Key, Keys


def open_keys() -> tuple[Keys, str]:
    """The keys of the database that the settings name, and the tenant of our own key."""
    settings = load_settings()
    path = settings.home / "textgen.db"
    if not settings.database_url and not path.is_file():
        raise TextgenError(
            f"There is no database in {settings.home}. Start the service once (`textgen up`), or "
            "name its database: TEXTGEN_DATABASE_URL=…"
        )
    keys = Keys(Database(settings.effective_database_url))
    return keys, _tenant(keys, settings)


def _tenant(keys: Keys, settings: Settings) -> str:
    own = find_key(settings)
    return keys.authenticate(own).tenant if own else DEFAULT_TENANT


@click.group(invoke_without_command=True)
@click.pass_context
def keys(context: click.Context) -> None:
    """API keys; without a command, list them. Run it where the database is."""
    if context.invoked_subcommand is None:
        context.invoke(show_list, as_json=False)


@keys.command(epilog="Example: textgen keys create website --scope read --scope generate")
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(SCOPES),
    default=("read", "generate", "train"),
    show_default=True,
    help="What it may do; may be given several times.",
)
@click.option("--days", type=click.FloatRange(min=0, min_open=True), help="Valid for so long.")
@json_option
def create(name: str, scopes: tuple[str, ...], days: float | None, as_json: bool) -> None:
    """Make a key. It is shown this once; only its hash is kept."""
    known, tenant = open_keys()
    expires_in = None if days is None else days * 86400
    key, plaintext = known.create(tenant, name, scopes, expires_in=expires_in)
    if as_json:
        print_json({**_shown(key), "key": plaintext})
        return
    click.echo(plaintext)
    notes().print(f"Keep it: it is not shown again. It may {', '.join(key.scopes)}.")


@keys.command("list", epilog="Example: textgen keys list")
@json_option
def show_list(as_json: bool) -> None:
    """List keys, the oldest first."""
    known, tenant = open_keys()
    found = [_shown(key) for key in known.list(tenant)]
    if as_json:
        print_json(found)
        return
    rows = [
        (key["id"], key["name"], " ".join(key["scopes"]), key["state"], ago(key["created_at"]))
        for key in found
    ]
    print_table(("key", "name", "may", "state", "made"), rows, "No keys.")


@keys.command(epilog="Example: textgen keys revoke 3f2a90c1d4e5b687")
@click.argument("key_id")
@json_option
def revoke(key_id: str, as_json: bool) -> None:
    """Make a key useless, within five seconds everywhere."""
    known, tenant = open_keys()
    key = known.revoke(tenant, key_id)
    if as_json:
        print_json(_shown(key))
    else:
        click.echo(f"{key.id} ({key.name}) is revoked")


def _shown(key: Key) -> dict[str, Any]:
    state = "valid" if key.revoked_at is None else "revoked"
    return {
        "id": key.id,
        "name": key.name,
        "scopes": list(key.scopes),
        "state": state,
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
    }
