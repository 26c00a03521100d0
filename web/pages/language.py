"""The language of a page: the reader's choice, else what the browser asks for, else English."""

from __future__ import annotations

from flask import Flask, g, has_request_context, request

from web.catalogues import ENGLISH, catalogue
from web.catalogues import LANGUAGES as LANGUAGES
from web.names import called
from web.translation import REPORTS, translated, translated_event, translated_template
from worker.jobs.rows import JobEvent

COOKIE = "textgen_language"
DOMAIN = "messages"


def install(app: Flask) -> None:
    """Let templates say ``_("…")``, ``ngettext(one, many, number)`` and ``message | said``."""
    app.jinja_env.add_extension("jinja2.ext.i18n")
    app.jinja_env.install_gettext_callables(  # type: ignore[attr-defined]  # of the extension
        _, ngettext, newstyle=True
    )
    app.jinja_env.filters["said"] = said
    app.jinja_env.filters["named"] = named
    app.jinja_env.filters["said_template"] = said_template
    app.jinja_env.filters["reported"] = reported
    app.jinja_env.filters["event_message"] = event_message


def language() -> str:
    """The language of the current request, a key of ``LANGUAGES``; English outside of one."""
    if not has_request_context():
        return ENGLISH
    if "language" not in g:
        chosen = request.cookies.get(COOKIE)
        if chosen not in LANGUAGES:
            chosen = request.accept_languages.best_match(LANGUAGES, default=ENGLISH)
        g.language = chosen
    found: str = g.language
    return found


def _(message: str) -> str:
    """``message``, which is English, in the reader's language."""
    return catalogue(language(), DOMAIN).gettext(message)


def ngettext(one: str, many: str, number: int) -> str:
    """As ``_``, in the form that goes with a number."""
    return catalogue(language(), DOMAIN).ngettext(one, many, number)


def said(error_message: str) -> str:
    """The message of an error, which is English, in the reader's language."""
    return translated(error_message, language())


def named(name: str) -> str:
    """A unit, a measure or a field of the API in the reader's language."""
    return called(name, language())


def said_template(template: str) -> str:
    """A message of the reference of errors, its gaps shown as there, in the reader's language."""
    return translated_template(template, language())


def reported(sentence: str) -> str:
    """What the doctor says of a text, in the reader's language."""
    return translated(sentence, language(), REPORTS)


def event_message(event: JobEvent) -> str:
    """What an event of a job says, in the reader's language."""
    return translated_event(event.message, event.level, language())
