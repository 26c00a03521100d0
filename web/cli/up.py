"""``textgen up``: the whole service in the foreground."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from contextlib import suppress
from pathlib import Path

import click

from web.cli.api import find_key
from web.cli.language import _
from web.cli.stack import Stack, StoppedEarly
from web.cli.terminal import span
from worker.settings import Settings, load_settings
from worker.stack.process_output import Log
from worker.storage.database import Database
from worker.storage.keys import Keys
from worker.storage.signin_links import SigninLinks

LINK_SECONDS = 900.0


@click.command(epilog="Example: PORT=8001 TEXTGEN_HOME=~/textgen textgen up")
def up() -> int:
    """Run the whole service on this machine, until Ctrl-C.

    Redis, the web server, the reconciler and the workers run as processes of their own, watched
    and restarted. What was running when it stopped goes on at the next start. Settings come from
    the environment: PORT, TEXTGEN_HOME and the others of the settings page.
    """
    settings = load_settings()
    os.umask(0o077)  # what the service writes is its owner's
    tell(settings, _("Starting textgen on %(folder)s") % {"folder": settings.home})
    stack = Stack(settings, sys.stdout)
    stack.stop.install()
    with stack:
        with suppress(StoppedEarly):
            stack.start()
            tell(settings, banner(stack))
            stack.watch()
        tell(
            settings,
            _(
                "Stopping: running jobs keep what they have (up to %(seconds)s s; Ctrl-C again "
                "stops at once)"
            )
            % {"seconds": f"{settings.drain_seconds:.0f}"},
        )
        stack.drain()
    tell(settings, _("Stopped."))
    let_go_of_output()
    return 0


def tell(settings: Settings, text: str) -> None:
    """Say something among the lines of the processes, in their form, where somebody listens."""
    if settings.log_format == "json":
        Log(sys.stdout, [], prefixed=False).write("up", text.strip())
        return
    with suppress(OSError, ValueError):
        click.echo(text)


def let_go_of_output() -> None:
    """Leave nothing that Python would write at its end, and fail at."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def banner(stack: Stack) -> str:
    """What a person needs to know once it runs."""
    settings = stack.settings
    public = settings.public_url.rstrip("/") if settings.public_url else stack.url
    command = command_name(settings)
    told = {
        "url": public,
        "time": span(LINK_SECONDS),
        "link": f"{public}/signin?token={sign_in_token(settings)}",
        "file": settings.home / "credentials",
    }
    lines = [
        "",
        _("textgen is ready: %(url)s") % told,
        "  " + _("Sign in (once, within %(time)s): %(link)s") % told,
        "  " + _("Programs: base_url %(url)s/v1, the key is in %(file)s") % told,
        "",
        _("Next, in another terminal:"),
        f"  {command} train FILE --name mine",
        f'  {command} generate mine "Once upon a time"',
        f"  {command} jobs",
        "",
    ]
    return "\n".join(lines)


def sign_in_token(settings: Settings) -> str:
    """A token that signs a browser in once, as the owner of the first key."""
    database = Database(settings.effective_database_url)
    owner = Keys(database).authenticate(find_key(settings))
    return SigninLinks(database).create(owner.tenant, owner.id, expires_in=LINK_SECONDS)


def command_name(settings: Settings) -> str:
    """How to call this program from the same folder, on the same home."""
    found = shutil.which("textgen")
    own = Path(sys.executable).with_name("textgen")
    if found is not None and Path(found).resolve() == own.resolve():
        name = "textgen"
    else:
        name = str(own.relative_to(Path.cwd())) if own.is_relative_to(Path.cwd()) else str(own)
    return home_prefix(settings) + shlex.quote(name)


def home_prefix(settings: Settings) -> str:
    """What to put before a command so that it finds this home; empty for the usual one."""
    if settings.home == Path(".textgen").absolute():
        return ""
    return f"TEXTGEN_HOME={shlex.quote(str(settings.home))} "
