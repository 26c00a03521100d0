"""What is said to people in other languages than English: gettext's catalogues, as their sources.

A domain is a catalogue: ``messages`` is of the pages, ``commands`` of the command line, ``errors``
of the messages of errors (see `web/translation.py`); docs/decisions/languages.md tells the others.
"""

from __future__ import annotations

import gettext
from collections.abc import Mapping
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from babel.messages.catalog import Catalog

LANGUAGES: Mapping[str, str] = {"en": "English", "zh": "中文"}
ENGLISH = "en"  # what stands in the code
FOLDER = Path(__file__).parent / "translations"


@cache
def catalogue(language: str, domain: str) -> gettext.NullTranslations:
    """The messages of a language; for English, and for unknown ones, those of the code.

    A file in the form that ``gettext`` reads would be a thing to build, and is made here instead.
    """
    if not _path(language, domain).exists():
        return gettext.NullTranslations()
    from babel.messages.mofile import write_mo  # slow to load, and English needs none of it

    compiled = BytesIO()
    write_mo(compiled, _source(language, domain))
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)


@cache
def entries(language: str, domain: str) -> Mapping[str, str]:
    """Each message of a catalogue without plurals, with what it is in the language."""
    if not _path(language, domain).exists():
        return {}
    return {
        str(message.id): str(message.string) for message in _source(language, domain) if message.id
    }


def _path(language: str, domain: str) -> Path:
    return FOLDER / language / "LC_MESSAGES" / f"{domain}.po"


def _source(language: str, domain: str) -> Catalog:
    from babel.messages.pofile import read_po

    with _path(language, domain).open("rb") as source:
        return read_po(source, locale=language)
