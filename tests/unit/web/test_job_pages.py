"""Pages of jobs: lists that are searched and paged, one job, and what can be done with it."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from tests.unit.web.conftest import OWN, Caller
from web.services import Services
from worker.jobs.rows import Job
from worker.jobs.tables import job_events
from worker.storage import windows
from worker.tenants.tenants import Tenants

Upload = Callable[..., str]


@pytest.fixture
def train(call: Caller, upload: Upload) -> Callable[..., str]:
    def start(name: str = "corpus.txt", **more: object) -> str:
        body = {"model": "lstm-tiny", "training_file": upload(name=name), **more}
        return str(call("POST", "/v1/fine_tuning/jobs", json=body).get_json()["id"])

    return start


def shown(page: str) -> list[str]:
    """The jobs of a list, in its order."""
    return re.findall(r'data-job="([^"]+)"', page)


def test_a_list_goes_on_from_a_key(browser: FlaskClient, train: Callable[..., str]) -> None:
    ids = [train() for _ in range(30)]

    first = browser.get("/jobs").text
    link = re.search(r'href="([^"]+)" rel="next"', first)
    assert link is not None
    second = browser.get(link[1].replace("&amp;", "&")).text

    assert shown(first) + shown(second) == ids[::-1]
    assert 'rel="next"' not in second


def test_jobs_are_found_by_what_people_remember(
    browser: FlaskClient, train: Callable[..., str], services: Services
) -> None:
    named = train("Macbeth 100%.txt")
    tagged = train(metadata={"ticket": "AB-17"})
    aliased = train(alias="bard")
    services.jobs.request_cancel("acme", tagged)

    assert shown(browser.get("/jobs?q=macbeth").text) == [named]
    assert shown(browser.get("/jobs?q=0%25.t").text) == [named]
    assert shown(browser.get("/jobs?q=ab-17").text) == [tagged]
    assert shown(browser.get("/jobs?q=BARD").text) == [aliased]
    assert shown(browser.get(f"/jobs?q={named}").text) == [named]
    assert shown(browser.get("/jobs?state=cancelled&kind=training&q=").text) == [tagged]
    assert shown(browser.get("/jobs?state=queued&kind=batch").text) == []
    assert "Nothing found" in browser.get("/jobs?q=hamlet").text


def test_a_search_looks_at_so_many_jobs_and_says_so(
    browser: FlaskClient, train: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(windows, "WINDOW", 3)
    old = train("old.txt")
    for _ in range(4):
        train()

    page = browser.get("/jobs?q=old.txt").text
    assert shown(page) == [] and "Older ones are behind the link" in page
    link = re.search(r'href="([^"]+)" rel="next"', page)
    assert link is not None
    assert shown(browser.get(link[1].replace("&amp;", "&")).text) == [old]


def test_one_job(browser: FlaskClient, train: Callable[..., str], services: Services) -> None:
    job_id = train("corpus.txt", hyperparameters={"max_steps": 5})

    page = browser.get(f"/jobs/{job_id}").text

    assert "It waits for a worker" in page and "<code>textgen up</code> or" in page
    assert "max_steps" in page and "corpus.txt" in page
    assert f"/v1/jobs/{job_id}/events?stream=true&amp;progress=true" in page


def test_a_job_of_a_suspended_project_says_what_it_waits_for(
    browser: FlaskClient, train: Callable[..., str], services: Services
) -> None:
    job_id = train()
    assert browser.get(f"/jobs/{job_id}").status_code == 200
    Tenants(services.database).suspend("acme")  # by another process

    english = browser.get(f"/jobs/{job_id}").text
    chinese = browser.get(f"/jobs/{job_id}", headers={"Accept-Language": "zh"}).text

    assert "its project is suspended" in english and "can resume the project" in english
    assert "已被暂停" in chinese


def test_what_is_done_with_a_job(
    browser: FlaskClient, train: Callable[..., str], services: Services
) -> None:
    job_id = train()

    def state(job_id: str) -> Job:
        return services.jobs.get("acme", job_id)

    answer = browser.post(f"/jobs/{job_id}/cancel", headers=OWN)
    assert (answer.status_code, answer.headers["Location"]) == (303, f"/jobs/{job_id}")
    assert state(job_id).state == "cancelled"

    again = browser.post(f"/jobs/{job_id}/retry", headers=OWN).headers["Location"]
    assert state(again.rpartition("/")[2]).retry_of == job_id

    refused = browser.post(f"/jobs/{job_id}/pause", headers=OWN)
    assert refused.status_code == 409
    assert "text/html" in refused.headers["Content-Type"] and 'role="alert"' in refused.text


def test_other_sites_do_nothing(browser: FlaskClient, train: Callable[..., str]) -> None:
    job_id = train()

    for headers in ({}, {"Origin": "https://evil.example"}):
        assert browser.post(f"/jobs/{job_id}/cancel", headers=headers).status_code == 403


def test_what_is_not_there_is_a_page_too(browser: FlaskClient) -> None:
    answer = browser.get("/jobs/ftjob-nothing")

    assert answer.status_code == 404
    assert "There is no job" in answer.text and "<main" in answer.text


def test_a_list_is_followed(
    app: Flask, call: Caller, train: Callable[..., str], services: Services
) -> None:
    job_id = train()
    stream = call.client.get(
        f"/live?ids={job_id}&newest={services.jobs.newest('acme')}",
        headers={"Authorization": f"Bearer {call.key}"},
    ).iter_encoded()

    assert next(stream).startswith(b":")
    assert b'"state": "queued"' in next(stream)
    services.jobs.request_cancel("acme", job_id)
    train()

    told = next(stream) + next(stream)
    assert b'"state": "cancelled"' in told and b"event: new" in told


def test_a_job_whose_events_were_removed(
    browser: FlaskClient, train: Callable[..., str], call: Caller, services: Services
) -> None:
    job_id = train()
    call("POST", f"/v1/jobs/{job_id}/cancel")
    with services.database.write() as connection:
        connection.execute(sa.delete(job_events))

    page = browser.get(f"/jobs/{job_id}")

    assert page.status_code == 200
    assert "removed some time after" in page.text
