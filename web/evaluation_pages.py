"""The page of an evaluation in another language: its own words, not those of models and texts.

A page is made where the evaluation runs, in English, and stored. As errors are, it is translated
from outside: each heading and sentence is found again among those that such pages have.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from html import unescape

from textgen.evaluation.markup import lines
from web.catalogues import ENGLISH
from web.translation import ERRORS, translated

DOMAIN = "evaluations"
SAME = ("F1", "PPM", "90 %", "95 %", "99 %")  # in every language
_SENTENCE = re.compile(r"(?<=<p>).*?(?=</p>)")  # made of figures alone: nothing is escaped there
_ENTRY = re.compile(r"(?<=<li>).*?(?=</li>)")
_HEADING = re.compile(r"(?<=<h[12]>).*?(?=</h[12]>)|(?<=<title>)[^<]*|(?<=aria-label=\")[^\"]*")
_HEADS = re.compile(r"<thead>.*?</thead>")
_ROWS = re.compile(r"<tbody>.*?</tbody>", re.DOTALL)
_HEAD = re.compile(r"(?<=<th scope=\"col\" align=\"left\">)[^<]+")
_FIRST = re.compile(r"(?<=<tr><td valign=\"top\">).*?(?=</td>)")


def page_in(language: str, page: str) -> str:
    """``page`` with its own words in a language of the catalogues; what is unknown stays."""
    if language == ENGLISH:
        return page
    said = partial(_said, language)
    page = page.replace('<html lang="en">', f'<html lang="{language}">', 1)
    page = _SENTENCE.sub(lambda found: translated(found[0], language, DOMAIN), page)
    page = _ENTRY.sub(lambda found: _entry(language, found[0]), page)
    page = _HEADING.sub(lambda found: said(found[0]) or found[0], page)
    page = _HEADS.sub(lambda found: _all_or_none(_HEAD, said, found[0]), page)
    return _ROWS.sub(lambda found: _all_or_none(_FIRST, said, found[0]), page)


def _said(language: str, markup: str) -> str | None:
    """A text of the page in the language; None where it is not one of the page's own."""
    text = unescape(markup.replace("<br>", "\n"))
    told = translated(text, language, DOMAIN)
    return None if told == text and text not in SAME else lines(told)


def _entry(language: str, markup: str) -> str:
    """A fact, or a part that was not measured, and why."""
    told = _said(language, markup)
    if told is not None:
        return told
    part, colon, reason = markup.partition(": ")
    said = _said(language, part)
    if not colon or said is None:
        return markup
    why = unescape(reason.replace("<br>", "\n"))
    return f"{said}：{lines(translated(why, language, ERRORS))}"


def _all_or_none(cells: re.Pattern[str], said: Callable[[str], str | None], table: str) -> str:
    """A table's heads, or the beginnings of its rows; unless some are a text's, such as classes."""
    if None in [said(cell) for cell in cells.findall(table)]:
        return table
    return cells.sub(lambda found: said(found[0]) or found[0], table)
