"""``textgen generate --interactive``: a text that grows at the reader's wish, and the way back.

Commands are lines, so a terminal and a pipe drive it alike. Each step goes on from the state of the
one before, in constant time; where the server has forgotten it the whole text is sent.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import click

from textgen.errors import TextgenError
from web.cli.growing_text import GrowingText, shown
from web.cli.language import _, said
from web.cli.terminal import notes, piped, print_table

MARK = "› "


def commands() -> list[tuple[str, str]]:
    """What a line can be, and what it does."""
    return [
        (_("an empty line"), _("write on")),
        (_("any text"), _("add it, and write on; // begins a text with a slash")),
        (
            "/next [N]",
            _("the N likeliest next tokens with their probabilities; 10 where not given"),
        ),
        ("/1, /2, …", _("take that one of them, and show what may follow it")),
        ("/undo", _("back to before the last step")),
        ("/again", _("undo, and write something else")),
        ("/keep NAME", _("remember this place")),
        ("/go NAME", _("go there: another branch of the text")),
        ("/text", _("the whole text")),
        ("/quit", _("the end; so is the end of the input")),
    ]


class Conversation:
    """Carries out one line after the other."""

    def __init__(self, text: GrowingText) -> None:
        self._text = text
        self._choices: list[Mapping[str, Any]] = []
        self._commands: Mapping[str, Callable[[str], None]] = {
            "next": self._next,
            "undo": self._undo,
            "again": self._again,
            "keep": self._keep,
            "go": self._go,
            "text": self._whole,
            "help": self._help,
        }

    def run(self, lines: Iterator[str]) -> None:
        """Until the lines end, or /quit."""
        for line in lines:
            if line.strip() in ("/quit", "/q"):
                return
            try:
                self._carry_out(line)
            except TextgenError as error:
                notes().print(said(error.message))

    def _carry_out(self, line: str) -> None:
        if not line.startswith("/") or line.startswith("//"):
            self._write(line.removeprefix("/"))
            return
        name, *further = line[1:].strip().split(" ", 1)
        argument = "".join(further)
        if name.isdecimal():
            self._pick(int(name))
        elif name in self._commands:
            self._commands[name](argument.strip())
        else:
            notes().print(_("There is no /%(name)s; /help lists what there is.") % {"name": name})

    def _write(self, further: str) -> None:
        self._choices = []
        for piece in self._text.write(further):
            click.echo(piece, nl=False)
        click.echo()

    def _next(self, argument: str) -> None:
        if argument and not argument.isdecimal():
            wanted = _("/next %(argument)s: a number of tokens is wanted, as in /next 5.")
            notes().print(wanted % {"argument": argument})
            return
        self._show(self._text.alternatives(int(argument) if argument else 10))

    def _show(self, choices: list[Mapping[str, Any]]) -> None:
        self._choices = choices
        rows = [
            (f"/{place}", f"{100 * each['probability']:.1f} %", shown(each["text"]))
            for place, each in enumerate(choices, 1)
        ]
        print_table(("", "", ""), rows, _("Nothing can follow."))

    def _pick(self, place: int) -> None:
        if not 1 <= place <= len(self._choices):
            if self._choices:
                problem = _("There is no choice /%(place)s: give /1 to /%(last)s.")
            else:
                problem = _("There is no choice /%(place)s: ask for /next first.")
            notes().print(problem % {"place": place, "last": len(self._choices)})
            return
        choice = self._choices[place - 1]
        if not choice["text"]:
            notes().print(_("The text ends here. Add some text to go on, or /undo."))
            return
        choices = self._text.pick(choice["token"], choice["text"], len(self._choices))
        click.echo(self._text.tail())
        self._show(choices)

    def _undo(self, argument: str) -> None:  # noqa: ARG002
        self._choices = []
        if self._text.undo():
            click.echo(self._text.tail())
        else:
            notes().print(_("This is the beginning."))

    def _again(self, argument: str) -> None:  # noqa: ARG002
        written = self._text.last
        if written is None:
            notes().print(_("Nothing was written yet that could be written again."))
            return
        self._text.undo()
        self._write(written)

    def _keep(self, name: str) -> None:
        if not name:
            notes().print(_("/keep wants a name, as in /keep first."))
            return
        self._text.keep(name)
        notes().print(_("Kept as '%(name)s'; /go %(name)s comes back here.") % {"name": name})

    def _go(self, name: str) -> None:
        self._choices = []
        if self._text.go(name):
            click.echo(self._text.tail())
            return
        known = ", ".join(self._text.branches) or _("none yet")
        problem = _("No place is kept as '%(name)s'; there are: %(known)s.")
        notes().print(problem % {"name": name, "known": known})

    def _whole(self, argument: str) -> None:  # noqa: ARG002
        click.echo(self._text.text)

    def _help(self, argument: str) -> None:  # noqa: ARG002
        print_table(("", ""), commands(), "")


def lines_of_input() -> Iterator[str]:
    """The lines that somebody types or pipes in, without their ends."""
    typed = sys.stdin.isatty()
    beside = typed and piped()  # the mark has no place among the results
    if typed and not beside:
        with suppress(ImportError):
            import readline  # noqa: F401 - gives `input` its editing keys
    while True:
        try:
            if beside:
                click.echo(MARK, nl=False, err=True)
            yield input(MARK if typed and not beside else "")
        except (EOFError, KeyboardInterrupt):
            return
