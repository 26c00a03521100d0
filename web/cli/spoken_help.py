"""The help of commands, and what click says of wrong usage, in the command line's language.

Help stands in the code in English, and is translated when a command is loaded.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from copy import copy
from typing import TypeVar

import click

from web.catalogues import ENGLISH
from web.cli.language import _, language, said

Parameter = TypeVar("Parameter", bound=click.Parameter)

HELP = "Show this message and exit."  # click's own
WIDE = "[\u2e80-\u9fff\uf900-\ufaff\uff00-\uff60]"  # characters that take two columns
CLOSING, OPENING = "，。；：、）」》！？", "（「《"  # no line begins, or ends, with them
HELD = "\ue000"  # of private use: a second column that no line ends before


def in_language(command: click.Command) -> click.Command:
    """A command whose help is in the command line's language; for English the command itself."""
    if language() == ENGLISH:
        return command
    spoken = copy(command)
    spoken.context_class = SpokenContext
    spoken.params = [_parameter(each) for each in command.params]
    if command.help:
        spoken.help = "\n\n".join(_(part) for part in paragraphs(command.help))
        spoken.short_help = spoken.help.partition("。")[0]
    if command.epilog:
        spoken.epilog = command.epilog.replace("Example: ", _("Example: "))
    if isinstance(spoken, click.Group):
        spoken.commands = {name: in_language(each) for name, each in spoken.commands.items()}
    return spoken


def paragraphs(text: str) -> list[str]:
    """Those of a help text, each in one line but for blocks that click leaves as they are."""
    parts = [part.strip("\n") for part in inspect.cleandoc(text).split("\n\n")]
    return [part if part.startswith("\b") else " ".join(part.split()) for part in parts if part]


def show(error: click.ClickException) -> None:
    """Say on standard error how a command was used wrongly, as click does in English."""
    if language() == ENGLISH or isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        return
    if isinstance(error, click.UsageError) and error.ctx is not None:
        command = error.ctx.command_path
        click.echo(error.ctx.get_usage(), err=True)
        click.echo(_("Try '%(command)s --help' for help.") % {"command": command}, err=True)
        click.echo(err=True)
    click.echo(_("Error: %(message)s") % {"message": said(error.format_message())}, err=True)


class SpokenFormatter(click.HelpFormatter):
    """Help in lines of the right width.

    click counts characters, and breaks lines at spaces. A wide character takes two columns, and a
    line may end behind it: so it has a space behind it, or what holds the next one, until the end.
    """

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        """The usage of a command."""
        super().write_usage(prog, args, _("Usage:") + " " if prefix is None else prefix)

    def write_heading(self, heading: str) -> None:
        """The name of a part."""
        names = {"Options": _("Options:"), "Commands": _("Commands:")}
        self.write(" " * self.current_indent + names.get(heading, f"{heading}:") + "\n")

    def write_text(self, text: str) -> None:
        """Paragraphs."""
        super().write_text(_widened(text))

    def write_dl(
        self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2
    ) -> None:
        """Options or commands, with their meanings."""
        told = [(term, _widened(_meaning(text))) for term, text in rows]
        super().write_dl(told, col_max, col_spacing)

    def getvalue(self) -> str:
        """All that was written."""
        return re.sub(f"({WIDE}) ", r"\1", super().getvalue()).replace(HELD, "")


class SpokenContext(click.Context):
    """Where help is asked for in another language than English."""

    formatter_class = SpokenFormatter

    def get_help(self) -> str:
        """The help of the command, also of one that was loaded before the language was chosen."""
        return in_language(self.command).get_help(self)


def _parameter(parameter: Parameter) -> Parameter:
    if not isinstance(parameter, click.Option) or not parameter.help:
        return parameter
    spoken, meaning = copy(parameter), " ".join(parameter.help.split())
    spoken.help = _(meaning)
    return spoken


def _meaning(text: str) -> str:
    """An option's meaning, and what click has put behind it in brackets."""
    if text == HELP:
        return _("Show this message and exit.")
    own, space, added = text.rpartition("  [")
    if not space:
        return text
    told = added.replace("default: ", _("default: ")).replace("required", _("required"))
    return f"{own}{space}{told}"


def _widened(text: str) -> str:
    def widen(found: re.Match[str]) -> str:
        wide, following = found.groups()
        held = wide in OPENING or (following != "" and following in CLOSING)
        return str(wide) + (HELD if held else " ")

    return re.sub(f"({WIDE})(?=(.?))", widen, text, flags=re.DOTALL)
