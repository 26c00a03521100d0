"""Webhooks by forms: made, tried with a sample, looked at, changed, deleted."""

from __future__ import annotations

import re

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.unit.web.conftest import OWN, Caller, caller
from web.services import Services
from worker.webhooks.events import EVENT_TYPES

URL = "https://93.184.215.14/hook"


@pytest.fixture
def endpoint(services: Services) -> str:
    """The id of one that hears of everything."""
    return services.endpoints.create("acme", "ci", URL, EVENT_TYPES).id


def end_a_job(services: Services) -> None:
    job = services.jobs.submit("acme", "training", {}, uses_files=[])
    services.jobs.request_cancel("acme", job.id)


def test_one_is_made_and_its_secret_shown_once(browser: FlaskClient, services: Services) -> None:
    assert "No webhook yet" in browser.get("/webhooks").text
    form = {"name": "ci", "url": URL, "event_types[]": ["batch.completed", "batch.failed"]}

    made = browser.post("/webhooks", data=form, headers=OWN)

    [known] = services.endpoints.list("acme").items
    assert (known.name, known.url) == ("ci", URL)
    assert list(known.event_types) == ["batch.completed", "batch.failed"]
    assert made.status_code == 200 and known.secret in made.text
    assert 'action="/language"' not in made.text  # would lead away from what is shown once
    for path in ("/webhooks", f"/webhooks/{known.id}"):
        page = browser.get(path).text
        assert URL in page and known.secret not in page


def test_what_is_wrong_stands_beside_its_field(browser: FlaskClient, services: Services) -> None:
    form = {"name": "ci", "url": URL, "event_types[]": "batch.failed"}
    for name, value in (("url", "http://127.0.0.1/"), ("event_types[]", ""), ("name", "")):
        refused = browser.post("/webhooks", data={**form, name: value}, headers=OWN)
        assert refused.status_code in (400, 403), refused.text
        assert f'id="{name.removesuffix("[]")}-problem"' in refused.text
    assert services.endpoints.list("acme").items == []


def test_one_is_changed_and_deleted(
    browser: FlaskClient, services: Services, endpoint: str
) -> None:
    here = f"/webhooks/{endpoint}"
    form = {"name": "nightly", "url": URL, "event_types[]": "batch.failed"}
    assert browser.post(here, data=form, headers=OWN).status_code == 303
    known = services.endpoints.get("acme", endpoint)
    assert (known.name, list(known.event_types)) == ("nightly", ["batch.failed"])

    rotated = browser.post(f"{here}/secret", headers=OWN)
    new = services.endpoints.get("acme", endpoint)
    assert new.secret in rotated.text and new.old_secret == known.secret

    assert browser.post(f"{here}/delete", headers=OWN).headers["Location"] == "/webhooks"
    assert browser.get(here).status_code == 404


def test_the_log_of_deliveries(browser: FlaskClient, services: Services, endpoint: str) -> None:
    here = f"/webhooks/{endpoint}"
    assert "Nothing was sent yet" in browser.get(here).text
    for _ in range(27):
        end_a_job(services)

    first = browser.get(here).text
    link = re.search(r'href="([^"]+)" rel="next"', first)
    assert link is not None and "is sent in a moment" in first
    second = browser.get(link[1].replace("&amp;", "&")).text
    found = re.findall(r'data-delivery="([^"]+)"', first + second)
    known = services.endpoints.deliveries("acme", endpoint, limit=100).items
    assert found == [each.id for each in known]

    again = browser.post(f"{here}/deliveries/{found[0]}/retry", headers=OWN)
    assert again.headers["Location"] == here


def test_a_sample_that_cannot_be_sent_says_why(browser: FlaskClient, endpoint: str) -> None:
    odd = browser.post(f"/webhooks/{endpoint}/test", data={"event_type": "moon"}, headers=OWN)

    assert odd.status_code == 400 and 'role="alert"' in odd.text and "moon" in odd.text


def test_webhooks_are_for_admins(
    app: Flask, services: Services, stranger: Caller, endpoint: str
) -> None:
    reader = caller(app, services, "acme", "read")

    assert reader("GET", "/webhooks").status_code == 403
    for method, rest in (("GET", ""), ("POST", "/delete"), ("POST", "/secret"), ("POST", "/test")):
        assert stranger(method, f"/webhooks/{endpoint}{rest}").status_code == 404
