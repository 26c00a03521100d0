"""Trainings beside each other: their curves, and where they differ."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html import unescape

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient

from tests.unit.web.conftest import Caller
from web.services import Services
from worker.jobs.tables import job_events


@pytest.fixture
def train(call: Caller, upload: Callable[..., str], services: Services) -> Callable[..., str]:
    """A training that runs and has measured (step, train loss, validation loss)."""
    file_id = upload()

    def start(points: list[tuple[int, float, float | None]], **hyperparameters: object) -> str:
        body = {
            "model": "lstm-tiny", "training_file": file_id, "seed": 1,
            "hyperparameters": hyperparameters,
        }  # fmt: skip
        call("POST", "/v1/fine_tuning/jobs", json=body)
        job = services.jobs.claim("training", "w")
        assert job is not None
        for step, loss, valid in points:
            data = {"step": step, "train_loss": loss, "valid_loss": valid}
            services.jobs.add_event(job, type="metrics", message="", level="info", data=data)
        return job.id

    return start


def curves(page: str) -> list[list[list[float | None]]]:
    found = re.search(r'data-curves="([^"]*)"', page)
    assert found is not None
    return [
        [[point[0], *point[2:]] for point in curve["points"]]
        for curve in json.loads(unescape(found[1]))
    ]


def test_two_trainings(browser: FlaskClient, train: Callable[..., str]) -> None:
    # The first went on from a checkpoint at step 10.
    first = train([(10, 3.0, 2.5), (20, 2.9, 2.4), (15, 2.0, None), (20, 1.5, 2.25)], layers=1)
    second = train([(10, 3.5, 1.75)], layers=2, max_steps=50)

    page = browser.get(f"/trainings/compare?ids[]={first}&ids[]={second}").text

    assert curves(page) == [[[10, 3.0, 2.5], [15, 2.0, None], [20, 1.5, 2.25]], [[10, 3.5, 1.75]]]
    different, _, same = page.partition("What they share")
    assert "<mark>50</mark>" in different and "<mark>2</mark>" in different
    assert "corpus.txt" in same and "<mark>" not in same
    assert "2.250" in page and "<strong>1.750</strong>" in page
    assert 'data-x="tokens"' in browser.get(f"/trainings/compare?ids={first}&x=tokens").text


def test_one_whose_events_were_removed_has_no_curve(
    browser: FlaskClient, call: Caller, train: Callable[..., str], services: Services
) -> None:
    gone = train([(10, 3.0, 2.5)], layers=1)
    call("POST", f"/v1/jobs/{gone}/cancel")
    with services.database.write() as connection:  # as the retention does
        connection.execute(sa.delete(job_events))
    there = train([(10, 3.5, 1.75)], layers=2)

    answer = browser.get(f"/trainings/compare?ids={gone},{there}")

    assert answer.status_code == 200
    assert curves(answer.text) == [[], [[10, 3.5, 1.75]]]


def test_nothing_chosen_too_many_and_what_is_no_training(
    browser: FlaskClient, services: Services
) -> None:
    assert "Nothing to compare yet" in browser.get("/trainings/compare").text
    assert browser.get("/trainings/compare?ids=a,b,c,d,e,f,g").status_code == 400
    assert browser.get("/trainings/compare?ids=ftjob-none").status_code == 404
    batch = services.jobs.submit("acme", "batch", {})
    assert browser.get(f"/trainings/compare?ids={batch.id}").status_code == 404
    theirs = services.jobs.submit("globex", "training", {})
    assert browser.get(f"/trainings/compare?ids={theirs.id}").status_code == 404


def test_they_are_chosen_on_the_list(browser: FlaskClient, train: Callable[..., str]) -> None:
    job_id = train([])

    page = browser.get("/jobs").text

    assert f'name="ids[]" value="{job_id}" form="compare"' in page
    assert 'action="/trainings/compare"' in page
