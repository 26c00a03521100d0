"""The command line's language: what is asked for, else that of the environment, else English.

What commands print is marked with ``_``; what ``--json`` prints is the same in every language.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from rich.cells import cell_len

from web.catalogues import ENGLISH, LANGUAGES, catalogue
from web.cli.routes import as_commands
from web.names import called
from web.translation import REPORTS, translated

DOMAIN = "commands"
VARIABLE = "TEXTGEN_LANGUAGE"  # --language sets it, for this process and those that it starts
LOCALE = ("LC_ALL", "LC_MESSAGES", "LANG")


def language() -> str:
    """A key of ``LANGUAGES``, chosen as gettext chooses."""
    chosen = os.environ.get(VARIABLE, "")
    return chosen if chosen in LANGUAGES else language_of(os.environ)


def language_of(environment: Mapping[str, str]) -> str:
    """That of the locale; LANGUAGE may name others before it, unless the locale is C."""
    locale = next((environment[name] for name in LOCALE if environment.get(name)), "C")
    if locale.partition(".")[0] in ("C", "POSIX"):
        return ENGLISH
    for wanted in [*environment.get("LANGUAGE", "").split(":"), locale]:
        short = re.split(r"[_.@-]", wanted)[0].lower()
        if short in LANGUAGES:
            return short
    return ENGLISH


def _(message: str) -> str:
    """``message``, which is English, in the command line's language."""
    spoken = language()
    return message if spoken == ENGLISH else catalogue(spoken, DOMAIN).gettext(message)


def said(error_message: str) -> str:
    """The message of an error, in the command line's language and with its commands."""
    return as_commands(translated(error_message, language()))


def reported(text: str) -> str:
    """What the doctor or an event of a job says, in the command line's language."""
    return translated(text, language(), REPORTS)


def named(name: str) -> str:
    """A state, a kind, a unit or a field of the API in the command line's language."""
    return called(name, language())


def padded(text: str, columns: int) -> str:
    """``text`` with spaces behind it; a Chinese character takes two columns of a terminal."""
    return text + " " * max(0, columns - cell_len(text))
