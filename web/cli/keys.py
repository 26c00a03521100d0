"""``textgen keys``: who may call. Works on the database itself, so it needs no running server."""

from __future__ import annotations

import time
from typing import Any

import click

from web.cli.language import _
from web.cli.operator import open_operator, tenant_option
from web.cli.terminal import ago, json_option, notes, print_json, print_table
from worker.settings import Settings
from worker.storage.key_files import CREDENTIALS
from worker.storage.keys import GRACE_SECONDS, SCOPES, Key


@click.group(invoke_without_command=True)
@click.pass_context
def keys(context: click.Context) -> None:
    """API keys; without a command, list them. Run it where the database is."""
    if context.invoked_subcommand is None:
        context.invoke(show_list, tenant=None, as_json=False)


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
@tenant_option
@json_option
def create(
    name: str, scopes: tuple[str, ...], days: float | None, tenant: str | None, as_json: bool
) -> None:
    """Make a key. It is shown this once; only its hash is kept."""
    operator = open_operator()
    expires_in = None if days is None else days * 86400
    key, plaintext = operator.keys.create(
        operator.tenant(tenant), name, scopes, expires_in=expires_in
    )
    _print_new(key, plaintext, as_json)


@keys.command("list", epilog="Example: textgen keys list")
@tenant_option
@json_option
def show_list(tenant: str | None, as_json: bool) -> None:
    """List keys, the oldest first."""
    operator = open_operator()
    found = [_shown(key) for key in operator.keys.list(operator.tenant(tenant))]
    if as_json:
        print_json(found)
        return
    rows = [
        (
            key["id"],
            key["name"],
            " ".join(key["scopes"]),
            _states()[key["state"]],
            ago(key["created_at"]),
        )
        for key in found
    ]
    headings = (_("key"), _("name"), _("may"), _("state"), _("made"))
    print_table(headings, rows, _("No keys."))


@keys.command(epilog="Example: textgen keys rotate 3f2a90c1d4e5b687 --grace-hours 1")
@click.argument("key_id")
@click.option(
    "--grace-hours",
    type=click.FloatRange(min=0),
    default=GRACE_SECONDS / 3600,
    show_default=True,
    help="So long the old key is valid beside the new one.",
)
@tenant_option
@json_option
def rotate(key_id: str, grace_hours: float, tenant: str | None, as_json: bool) -> None:
    """Replace a key by a new one with the same scopes. It is shown this once."""
    operator = open_operator()
    owner = operator.tenant(tenant)
    key, plaintext = operator.keys.rotate(owner, key_id, grace_seconds=grace_hours * 3600)
    if _replace_own(operator.settings, key_id, plaintext):
        path = operator.settings.home / CREDENTIALS
        notes().print(_("%(file)s has the new key.") % {"file": path})
    _print_new(key, plaintext, as_json)


@keys.command(epilog="Example: textgen keys revoke 3f2a90c1d4e5b687")
@click.argument("key_id")
@tenant_option
@json_option
def revoke(key_id: str, tenant: str | None, as_json: bool) -> None:
    """Make a key useless, within five seconds everywhere."""
    operator = open_operator()
    key = operator.keys.revoke(operator.tenant(tenant), key_id)
    if as_json:
        print_json(_shown(key))
    else:
        click.echo(_("%(key)s (%(name)s) is revoked") % {"key": key.id, "name": key.name})


def _print_new(key: Key, plaintext: str, as_json: bool) -> None:
    if as_json:
        print_json({**_shown(key), "key": plaintext})
        return
    click.echo(plaintext)
    told = _("Keep it: it is not shown again. It may %(scopes)s.")
    notes().print(told % {"scopes": ", ".join(key.scopes)})


def _replace_own(settings: Settings, key_id: str, plaintext: str) -> bool:
    """Where the home keeps the key that was replaced, put the new one there."""
    path = settings.home / CREDENTIALS
    if not path.is_file() or not path.read_text().startswith(f"tg_{key_id}_"):
        return False
    fresh = path.with_name(f"{CREDENTIALS}.new")
    fresh.touch(mode=0o600)
    fresh.write_text(plaintext + "\n")
    fresh.replace(path)
    return True


def _shown(key: Key) -> dict[str, Any]:
    return {
        "id": key.id,
        "tenant": key.tenant,
        "name": key.name,
        "scopes": list(key.scopes),
        "state": _state(key),
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
    }


def _states() -> dict[str, str]:
    return {"valid": _("valid"), "expired": _("expired"), "revoked": _("revoked")}


def _state(key: Key) -> str:
    if key.revoked_at is not None:
        return "revoked"
    expired = key.expires_at is not None and key.expires_at <= time.time()
    return "expired" if expired else "valid"
