"""``textgen backup`` and ``textgen restore``: the whole service, kept elsewhere, brought back."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from web.cli.language import _
from web.cli.operator import open_operator
from web.cli.terminal import ago, json_option, notes, print_json, size
from worker.operations.archive import read_archive, write_archive
from worker.operations.backup import Backup
from worker.operations.restore import Restore
from worker.settings import load_settings
from worker.stack.home_lock import HomeLock
from worker.storage.artifacts import ArtifactStore
from worker.storage.database import Database


@click.command(epilog="Example: textgen backup /mnt/backups/textgen")
@click.argument("target")
@json_option
def backup(target: str, as_json: bool) -> int:
    """Write database and artifacts to TARGET while the service runs.

    TARGET is a folder, an fsspec URL such as s3://bucket/prefix, or a file that ends with .zip. A
    folder holds many backups, and what it has already is not copied again. A backup holds hashes
    of API keys and the secrets of webhooks: keep it as you keep the database.

    Exits 1 where files of the service are missing or damaged; the rest is in the backup.
    """
    operator = open_operator()
    os.umask(0o077)
    store = ArtifactStore(operator.settings.effective_storage_url)
    with write_archive(target) as archive, _bar() as progress:
        made = Backup(operator.database, store, archive, progress).make()
    if as_json:
        print_json({name: getattr(made, name) for name in made.__dataclass_fields__})
    else:
        told = {
            "name": made.name,
            "rows": f"{made.rows:,}",
            "artifacts": f"{made.artifacts:,}",
            "copied": f"{made.copied:,}",
            "size": size(made.bytes_copied),
        }
        click.echo(
            _(
                "Backup %(name)s: %(rows)s rows, %(artifacts)s artifacts, of which %(copied)s were "
                "copied (%(size)s)"
            )
            % told
        )
    for name in made.damaged:
        problem = _("%(name)s is missing or damaged in the service, and not in the backup")
        notes().print(problem % {"name": name})
    return 1 if made.damaged else 0


@click.command(epilog="Example: TEXTGEN_HOME=/srv/new textgen restore /mnt/backups/textgen")
@click.argument("source")
@click.option("--backup", "name", help="Which one; else the newest.")
@click.option("--verify", is_flag=True, help="Only read it and compare every hash.")
@json_option
def restore(source: str, name: str | None, verify: bool, as_json: bool) -> None:
    """Bring a backup back, into an empty home or an empty database and storage.

    The settings say where to. Every hash is verified. Start the service afterwards: jobs that
    were running go on from their checkpoints.
    """
    settings = load_settings()
    with read_archive(source) as archive, _bar() as progress:
        found = Restore(archive, name, progress)
        stored = found.stored
        told = {
            "name": stored.name,
            "when": ago(stored.made_at),
            "version": stored.textgen,
            "rows": f"{sum(stored.rows.values()):,}",
            "artifacts": f"{stored.artifacts:,}",
        }
        notes().print(
            _(
                "Backup %(name)s, made %(when)s by textgen %(version)s: %(rows)s rows, "
                "%(artifacts)s artifacts"
            )
            % told
        )
        if verify:
            found.verify()
            report = {"name": stored.name, "verified": True}
        else:
            os.umask(0o077)
            with HomeLock(settings.home) if not settings.database_url else nullcontext():
                database = Database(settings.effective_database_url)
                store = ArtifactStore(settings.effective_storage_url)
                done = found.run(settings, database, store)
            report = {each: getattr(done, each) for each in done.__dataclass_fields__}
    for damaged in stored.damaged:
        problem = _("%(name)s was missing or damaged when the backup was made")
        notes().print(problem % {"name": damaged})
    if as_json:
        print_json(report)
    elif verify:
        click.echo(_("Every hash is as it was stored."))
    else:
        resumed = _("Restored; %(count)s jobs that were running are queued again.")
        click.echo(resumed % {"count": done.resumed})
        _say_next(settings.home)


def _say_next(home: Path) -> None:
    if not (home / "credentials").exists():
        notes().print(
            _(
                "Keys of before are valid still. The credentials file is in no backup: the next "
                "start makes a new admin key."
            )
        )


@contextmanager
def _bar() -> Iterator[Callable[[str, int, int], None]]:
    """A bar on a terminal, nothing elsewhere; yields what moves it."""
    console = notes()
    if not console.is_terminal:
        yield lambda *moved: None  # noqa: ARG005
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("")

        def move(what: str, done: int, of: int) -> None:
            progress.update(task, description=what, completed=done, total=of)

        yield move
