"""/keys: who may call the service on behalf of the project."""

from __future__ import annotations

import time
from typing import Any

from flask import Response

from textgen.errors import TextgenError
from web import auth
from web.auth import tenant
from web.pages.forms import body_of_form
from web.pages.language import _
from web.pages.lists import ROWS, ListQuery, pager
from web.pages.overview import base_url
from web.pages.page import Pages, go, render, render_error
from web.schemas.projects import KeyBody, KeyChange, NewProjectKey, RotateBody
from web.services import current
from web.views import project_keys as api
from worker.storage.key_search import KeyState
from worker.storage.keys import Key

keys = Pages("keys", __name__)

STATES: tuple[KeyState, ...] = ("valid", "ended", "sessions")
USUAL = {"scopes": ["read", "generate", "train"]}
FIELDS = ("name", "scopes", "expires_in_seconds")
DAY = 86_400


class KeyListQuery(ListQuery):
    """A part of the keys."""

    state: KeyState = "valid"


@keys.page("GET /keys", "Keys, for people", "admin", query=KeyListQuery)
def index(query: KeyListQuery) -> Response:
    """The newest first."""
    found = current().keys.search(
        tenant(), query.q, state=query.state, after=query.after, limit=ROWS
    )
    return render(
        "keys.html",
        query=query,
        rows=found.items,
        found=found,
        states=STATES,
        pager=pager(query, found.following, found.following is not None),
        **_now(),
    )


@keys.page("GET /keys/new", "The form of a new key", "admin")
def new() -> Response:
    """With what programs need filled in."""
    return render("new_key.html", given=USUAL, **_choices())


@keys.page("POST /keys", "Make a key, by a form", "admin")
def create() -> Response:
    """As POST …/api_keys: its secret is on the page that answers, and nowhere else."""
    given = _given()
    try:
        made = api.create(tenant(), KeyBody.parse({"scopes": [], **given}))
    except TextgenError as error:
        return render_error("new_key.html", error, given=given, **_choices())
    return _made(made)


@keys.page("GET /keys/<key_id>", "A key, for people", "admin")
def show(key_id: str) -> Response:
    """Without its secret."""
    return render("key.html", **_one(key_id))


@keys.page("POST /keys/<key_id>", "Change a key, by a form", "admin")
def change(key_id: str) -> Response:
    """As POST …/api_keys/{id}."""
    page = _one(key_id)
    given = _given()
    try:
        api.change(tenant(), key_id, KeyChange.parse({"scopes": [], **given}))
    except TextgenError as error:
        return render_error("key.html", error, **{**page, "given": given})
    return go("keys.show", key_id=key_id)


@keys.page("POST /keys/<key_id>/rotate", "Replace a key, by a form", "admin")
def rotate(key_id: str) -> Response:
    """As POST …/api_keys/{id}/rotate: the new secret is on the page that answers."""
    page = _one(key_id)
    try:
        made = api.rotate(tenant(), key_id, RotateBody.parse(_given()))
    except TextgenError as error:
        return render_error("key.html", error, **page)
    return _made(made, page["key"])


@keys.page("POST /keys/<key_id>/revoke", "Revoke a key, by a form", "admin")
def revoke(key_id: str) -> Response:
    """As DELETE …/api_keys/{id}."""
    api.revoke(tenant(), key_id)
    return go("keys.index")


def _made(made: NewProjectKey, replaces: Key | None = None) -> Response:
    return render("key_made.html", made=made, replaces=replaces, base_url=base_url(current()))


def _one(key_id: str) -> dict[str, Any]:
    """A page about one key; raises NotFound."""
    found = current().keys.get(tenant(), key_id)
    return {
        "key": found,
        "given": {"scopes": list(found.scopes)},
        "lasts": lasts(found, time.time()),
        "own": found.id == auth.key().id,
        "graces": [
            (DAY, _("for a day")),
            (3600, _("for an hour")),
            (7 * DAY, _("for a week")),
            (0, _("not at all")),
        ],
        **_choices(),
        **_now(),
    }


def lasts(key: Key, now: float) -> bool:
    """Whether a key is of use."""
    return key.revoked_at is None and (key.expires_at is None or key.expires_at > now)


def _given() -> dict[str, Any]:
    """The form's fields, numbers as numbers."""
    given = body_of_form()
    for name in ("expires_in_seconds", "grace_seconds"):
        if str(given.get(name, "")).isdecimal():
            given[name] = int(given[name])
    return given


def _now() -> dict[str, Any]:
    return {"now": time.time()}


def _choices() -> dict[str, Any]:
    return {
        "fields": FIELDS,
        "scope_names": [
            ("read", _("look at files, models, jobs, usage")),
            ("generate", _("write texts, run batches")),
            ("train", _("upload, train, delete")),
            ("admin", _("everything, and keys and webhooks")),
        ],
        "lives": [
            (DAY, _("in a day")),
            (7 * DAY, _("in 7 days")),
            (30 * DAY, _("in 30 days")),
            (90 * DAY, _("in 90 days")),
            (365 * DAY, _("in a year")),
        ],
    }
