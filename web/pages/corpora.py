"""/corpora: the texts to train on."""

from __future__ import annotations

from typing import Any

from flask import Response

from textgen.errors import TextgenError
from web import uploads
from web.auth import tenant
from web.pages.lists import ROWS, ListQuery, pager
from web.pages.page import Pages, go, render, render_error
from web.pages.words import upload_words
from web.services import current
from web.training_specs import PURPOSE

corpora = Pages("corpora", __name__)


@corpora.page("GET /corpora", "Corpora, for people", "read", query=ListQuery)
def index(query: ListQuery) -> Response:
    """The newest first."""
    return render("corpora.html", **_list(query))


@corpora.page("POST /corpora", "Upload a corpus, by a form", "train")
def upload() -> Response:
    """As POST /v1/files: on to the form that trains on it."""
    try:
        row = uploads.receive(current(), tenant())
    except TextgenError as error:
        return render_error("corpora.html", error, **_list(ListQuery()))
    return go("training_form.show", file=row.id)


def _list(query: ListQuery) -> dict[str, Any]:
    found = current().files.search(
        tenant(), query.q, purpose=PURPOSE, after=query.after, limit=ROWS
    )
    return {
        "query": query,
        "found": found,
        "rows": found.items,
        "pager": pager(query, found.following, found.following is not None),
        "words": upload_words(),
    }
