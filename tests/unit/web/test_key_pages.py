"""Keys by forms: made, looked at, changed, replaced, revoked, without a script."""

from __future__ import annotations

import re

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.unit.web.conftest import OWN, Caller, caller
from web.services import Services
from worker.storage import windows
from worker.storage.keys import Key


def shown(page: str) -> list[str]:
    """The keys of a list, in its order."""
    return re.findall(r'data-key="([^"]+)"', page)


def secret(page: str) -> str:
    """The secret that a page shows."""
    found = re.search(r'<code id="secret">(tg_[^<]+)</code>', page)
    assert found is not None, page
    return found[1]


def make(services: Services, name: str) -> Key:
    return services.keys.create("acme", name, ["read"])[0]


def test_a_key_is_made_and_shown_once(browser: FlaskClient, services: Services) -> None:
    form = {"name": "website", "scopes[]": ["read", "generate"], "expires_in_seconds": "86400"}
    made = browser.post("/keys", data=form, headers=OWN)

    assert made.status_code == 200 and made.headers["Cache-Control"] == "no-store"
    assert 'action="/language"' not in made.text  # would lead away from what is shown once
    key = services.keys.authenticate(secret(made.text))
    assert (key.name, list(key.scopes), key.tenant) == ("website", ["read", "generate"], "acme")
    assert key.expires_at is not None and key.expires_at - key.created_at == 86_400
    for path in ("/keys", f"/keys/{key.id}"):
        page = browser.get(path).text
        assert "website" in page and secret(made.text) not in page


def test_what_is_wrong_with_a_new_key(browser: FlaskClient, services: Services) -> None:
    before = len(services.keys.list("acme"))

    refused = browser.post("/keys", data={"name": "website"}, headers=OWN)

    assert refused.status_code == 400 and 'id="scopes-problem"' in refused.text
    assert 'value="website"' in refused.text
    assert len(services.keys.list("acme")) == before
    nameless = browser.post("/keys", data={"scopes[]": "read"}, headers=OWN)
    assert 'id="name-problem"' in nameless.text


def test_scopes_and_expiry_are_changed(browser: FlaskClient, services: Services) -> None:
    key = make(services, "website")
    form = {"scopes[]": ["read", "train"], "expires_in_seconds": ""}

    assert browser.post(f"/keys/{key.id}", data=form, headers=OWN).status_code == 303

    changed = services.keys.get("acme", key.id)
    assert (list(changed.scopes), changed.expires_at) == (["read", "train"], None)
    refused = browser.post(f"/keys/{key.id}", data={}, headers=OWN)
    assert refused.status_code == 400 and 'id="scopes-problem"' in refused.text


def test_a_key_is_replaced(browser: FlaskClient, services: Services) -> None:
    old, plaintext = services.keys.create("acme", "website", ["read"])

    made = browser.post(f"/keys/{old.id}/rotate", data={"grace_seconds": "3600"}, headers=OWN)

    new = services.keys.authenticate(secret(made.text))
    assert (new.name, list(new.scopes)) == ("website", ["read"]) and new.id != old.id
    ends = services.keys.authenticate(plaintext).expires_at
    assert ends is not None and ends - new.created_at == 3600


def test_a_key_is_revoked(browser: FlaskClient, services: Services) -> None:
    key = make(services, "website")

    answer = browser.post(f"/keys/{key.id}/revoke", headers=OWN)

    assert (answer.status_code, answer.headers["Location"]) == (303, "/keys")
    assert key.id not in shown(browser.get("/keys").text)
    assert shown(browser.get("/keys?state=ended").text) == [key.id]
    assert "Replace it" not in browser.get(f"/keys/{key.id}").text


def test_keys_are_found_and_go_on_from_a_key(browser: FlaskClient, services: Services) -> None:
    ids = [make(services, f"program {number}").id for number in range(30)]

    first = browser.get("/keys?q=PROGRAM").text
    link = re.search(r'href="([^"]+)" rel="next"', first)
    assert link is not None
    second = browser.get(link[1].replace("&amp;", "&")).text
    assert shown(first) + shown(second) == ids[::-1]
    assert shown(browser.get("/keys?q=m+17").text) == [ids[17]]
    assert shown(browser.get(f"/keys?q={ids[3]}").text) == [ids[3]]
    assert "Nothing found" in browser.get("/keys?q=%25").text


def test_a_search_looks_at_so_many_keys_and_says_so(
    browser: FlaskClient, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(windows, "WINDOW", 3)
    old = make(services, "old")
    for _ in range(4):
        make(services, "new")

    page = browser.get("/keys?q=old").text
    assert shown(page) == [] and "Older ones are behind the link" in page
    link = re.search(r'href="([^"]+)" rel="next"', page)
    assert link is not None
    assert shown(browser.get(link[1].replace("&amp;", "&")).text) == [old.id]


def test_browsers_that_are_signed_in(browser: FlaskClient, call: Caller) -> None:
    assert len(shown(browser.get("/keys").text)) == 1  # the key that has signed in
    [session] = shown(browser.get("/keys?state=sessions").text)
    assert "you are signed in" in browser.get(f"/keys/{session}").text

    browser.post(f"/keys/{session}/revoke", headers=OWN)
    assert browser.get("/keys").headers["Location"] == "/signin?next=/keys"


def test_keys_are_for_admins(app: Flask, services: Services, stranger: Caller) -> None:
    reader = caller(app, services, "acme", "read")
    key = make(services, "website")

    assert reader("GET", "/keys").status_code == 403
    assert 'href="/keys"' not in reader("GET", "/").text
    assert stranger("GET", f"/keys/{key.id}").status_code == 404
    assert stranger("POST", f"/keys/{key.id}/revoke").status_code == 404


def test_other_sites_make_and_revoke_nothing(browser: FlaskClient, services: Services) -> None:
    key = make(services, "website")
    for path in ("/keys", f"/keys/{key.id}", f"/keys/{key.id}/rotate", f"/keys/{key.id}/revoke"):
        assert browser.post(path, headers={"Origin": "https://evil.example"}).status_code == 403
