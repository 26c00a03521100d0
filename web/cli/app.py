"""The commands and how they end: exit code 0 done, 1 failed, 2 wrong usage; never a traceback."""

from __future__ import annotations

import importlib
import sys

import click

from textgen.errors import InvalidOption, TextgenError

# name → module and attribute; a command's module is loaded when it is used or listed
COMMANDS = {
    "up": "web.cli.up:up",
    "train": "web.cli.train:train",
    "generate": "web.cli.generate:generate",
    "chat": "web.cli.chat:chat",
    "classify": "web.cli.classify:classify",
    "embed": "web.cli.embed:embed",
    "tokenize": "web.cli.tokenize:tokenize",
    "batch": "web.cli.batch:batch",
    "score": "web.cli.score:score",
    "eval": "web.cli.evaluate:evaluate",
    "jobs": "web.cli.jobs:jobs",
    "models": "web.cli.models:models",
    "alias": "web.cli.alias:alias",
    "files": "web.cli.files:files",
    "doctor": "web.cli.doctor:doctor",
    "keys": "web.cli.keys:keys",
    "tenants": "web.cli.tenants:tenants",
    "usage": "web.cli.usage:usage",
    "webhooks": "web.cli.webhooks:webhooks",
    "worker": "web.cli.worker:worker",
    "db": "web.cli.db:db",
}


class LazyGroup(click.Group):
    """A group that imports a command when it is needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """In the order of `COMMANDS`: what newcomers need comes first."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:  # noqa: ARG002
        """Load the command; None for an unknown one."""
        if name not in COMMANDS:
            return None
        module, attribute = COMMANDS[name].split(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
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
    try:
        code = textgen.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.Abort:
        click.echo("Stopped.", err=True)
        sys.exit(1)
    except InvalidOption as error:
        click.echo(f"Error: {error.message}", err=True)
        sys.exit(2)
    except TextgenError as error:
        click.echo(f"Error: {error.message}", err=True)
        sys.exit(1)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output went away, as `head` does
        sys.exit(1)
    except OSError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)
