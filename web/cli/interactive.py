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
from web.cli.terminal import notes, print_table

HELP = (
    ("an empty line", "write on"),
    ("any text", "add it, and write on; // begins a text with a slash"),
    ("/next [N]", "the N likeliest next tokens with their probabilities; 10 where not given"),
    ("/1, /2, …", "take that one of them, and show what may follow it"),
    ("/undo", "back to before the last step"),
    ("/again", "undo, and write something else"),
    ("/keep NAME", "remember this place"),
    ("/go NAME", "go there: another branch of the text"),
    ("/text", "the whole text"),
    ("/quit", "the end; so is the end of the input"),
)
MARK = "› "


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
                notes().print(error.message)

    def _carry_out(self, line: str) -> None:
        if not line.startswith("/") or line.startswith("//"):
            self._write(line.removeprefix("/"))
            return
        name, _, argument = line[1:].strip().partition(" ")
        if name.isdecimal():
            self._pick(int(name))
        elif name in self._commands:
            self._commands[name](argument.strip())
        else:
            notes().print(f"There is no /{name}; /help lists what there is.")

    def _write(self, further: str) -> None:
        self._choices = []
        for piece in self._text.write(further):
            click.echo(piece, nl=False)
        click.echo()

    def _next(self, argument: str) -> None:
        if argument and not argument.isdecimal():
            notes().print(f"/next {argument}: a number of tokens is wanted, as in /next 5.")
            return
        self._show(self._text.alternatives(int(argument) if argument else 10))

    def _show(self, choices: list[Mapping[str, Any]]) -> None:
        self._choices = choices
        rows = [
            (f"/{place}", f"{100 * each['probability']:.1f} %", shown(each["text"]))
            for place, each in enumerate(choices, 1)
        ]
        print_table(("", "", ""), rows, "Nothing can follow.")

    def _pick(self, place: int) -> None:
        if not 1 <= place <= len(self._choices):
            notes().print(
                f"There is no choice /{place}: "
                + (
                    f"give /1 to /{len(self._choices)}."
                    if self._choices
                    else "ask for /next first."
                )
            )
            return
        choice = self._choices[place - 1]
        if not choice["text"]:
            notes().print("The text ends here. Add some text to go on, or /undo.")
            return
        choices = self._text.pick(choice["token"], choice["text"], len(self._choices))
        click.echo(self._text.tail())
        self._show(choices)

    def _undo(self, _: str) -> None:
        self._choices = []
        if self._text.undo():
            click.echo(self._text.tail())
        else:
            notes().print("This is the beginning.")

    def _again(self, _: str) -> None:
        written = self._text.last
        if written is None:
            notes().print("Nothing was written yet that could be written again.")
            return
        self._text.undo()
        self._write(written)

    def _keep(self, name: str) -> None:
        if not name:
            notes().print("/keep wants a name, as in /keep first.")
            return
        self._text.keep(name)
        notes().print(f"Kept as {name!r}; /go {name} comes back here.")

    def _go(self, name: str) -> None:
        self._choices = []
        if self._text.go(name):
            click.echo(self._text.tail())
            return
        known = ", ".join(self._text.branches) or "none yet"
        notes().print(f"No place is kept as {name!r}; there are: {known}.")

    def _whole(self, _: str) -> None:
        click.echo(self._text.text)

    def _help(self, _: str) -> None:
        print_table(("", ""), HELP, "")


def lines_of_input() -> Iterator[str]:
    """The lines that somebody types or pipes in, without their ends."""
    typed = sys.stdin.isatty()
    if typed:
        with suppress(ImportError):
            import readline  # noqa: F401 - gives `input` its editing keys
    while True:
        try:
            yield input(MARK if typed else "")
        except (EOFError, KeyboardInterrupt):
            return
