"""The commands and how they end: exit code 0 done, 1 failed, 2 wrong usage; never a traceback."""

from __future__ import annotations

import importlib
import io
import json
import os
import sys
from pathlib import Path

import click
from click.shell_completion import CompletionItem, add_completion_class

from textgen.errors import InvalidOption, TextgenError
from web.catalogues import LANGUAGES
from web.cli.bash_completion import Bash
from web.cli.language import VARIABLE, _, said
from web.cli.spoken_help import SpokenContext, in_language, show

# name → module and attribute; a command's module is loaded when it is used
COMMANDS = {
    "up": "web.cli.up:up",
    "train": "web.cli.train:train",
    "generate": "web.cli.generate:generate",
    "insert": "web.cli.insert:insert",
    "chat": "web.cli.chat:chat",
    "classify": "web.cli.classify:classify",
    "embed": "web.cli.embed:embed",
    "tokenize": "web.cli.tokenize:tokenize",
    "batch": "web.cli.batch:batch",
    "score": "web.cli.score:score",
    "eval": "web.cli.evaluate:evaluate",
    "trace": "web.cli.trace:trace",
    "jobs": "web.cli.jobs:jobs",
    "models": "web.cli.models:models",
    "alias": "web.cli.alias:alias",
    "files": "web.cli.files:files",
    "doctor": "web.cli.doctor:doctor",
    "keys": "web.cli.keys:keys",
    "tenants": "web.cli.tenants:tenants",
    "usage": "web.cli.usage:usage",
    "webhooks": "web.cli.webhooks:webhooks",
    "admin": "web.cli.admin:admin",
    "worker": "web.cli.worker:worker",
    "db": "web.cli.db:db",
    "backup": "web.cli.backup:backup",
    "restore": "web.cli.backup:restore",
    "completion": "web.cli.completion:completion",
}
# The first paragraph of each one's help; docs/generate.py writes the file.
SUMMARIES = Path(__file__).with_name("summaries.json")


def as_written(name: str) -> click.Command:
    """A command of `COMMANDS`, whose help is in English; its module is loaded."""
    module, attribute = COMMANDS[name].split(":")
    command: click.Command = getattr(importlib.import_module(module), attribute)
    return command


class LazyGroup(click.Group):
    """A group that imports a command when it is needed."""

    context_class = SpokenContext

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """In the order of `COMMANDS`: what newcomers need comes first."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:  # noqa: ARG002
        """Load the command, in the reader's language; None for an unknown one."""
        return in_language(as_written(name)) if name in COMMANDS else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """What each does, as `SUMMARIES` has it: to load them all would take seconds."""
        limit = formatter.width - 6 - max(map(len, COMMANDS))
        rows = []
        for name, text in json.loads(SUMMARIES.read_text(encoding="utf-8")).items():
            listed = in_language(click.Command(name, help=text))
            rows.append((name, listed.get_short_help_str(limit)))
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
        """Names alone, since what they do would mean to load them all, and a key was pressed."""
        names = [CompletionItem(name) for name in COMMANDS if name.startswith(incomplete)]
        return [*names, *click.Command.shell_complete(self, ctx, incomplete)]


def choose(_context: click.Context, _option: click.Parameter, language: str | None) -> None:
    """Let all that follows be in the language that was asked for."""
    if language is not None:
        os.environ[VARIABLE] = language


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--language",
    type=click.Choice(list(LANGUAGES)),
    envvar=VARIABLE,
    is_eager=True,
    expose_value=False,
    callback=choose,
    help="What to speak; without it TEXTGEN_LANGUAGE says, else the locale (LANG).",
)
@click.version_option(package_name="textgen-backend", prog_name="textgen")
def textgen() -> None:
    """Train small language models on your own text and generate from them.

    \b
    A first session:
      textgen up                           start the server, in another terminal
      textgen train my.txt --name mine     five minutes of training
      textgen generate mine "Once upon"
    """


def run() -> None:
    """Run one command and exit with its code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal may not have every character
    add_completion_class(Bash)
    plain = bool(os.environ.get("NO_COLOR"))
    try:
        code = textgen.main(
            prog_name="textgen", standalone_mode=False, color=False if plain else None
        )
    except click.ClickException as error:
        show(error)
        sys.exit(error.exit_code)
    except click.Abort:
        click.echo(_("Stopped."), err=True)
        sys.exit(1)
    except InvalidOption as error:
        _tell(said(error.message))
        sys.exit(2)
    except TextgenError as error:
        _tell(said(error.message))
        if url := getattr(error, "doc_url", None):  # of errors that a server answered with
            click.echo(_("More: %(url)s") % {"url": url}, err=True)
        sys.exit(1)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output went away, as `head` does
        sys.exit(1)
    except OSError as error:
        _tell(str(error))
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)


def _tell(problem: str) -> None:
    click.echo(_("Error: %(message)s") % {"message": problem}, err=True)
