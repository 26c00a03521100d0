"""The form of a new training: empty, filled in like another job, and sent."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import unescape
from typing import get_args

import pytest
from flask.testing import FlaskClient

from tests.unit.web.conftest import OWN, Caller
from textgen.reading_options import CorpusFormat
from web.pages.lists import ROWS
from web.services import Services

Upload = Callable[..., str]


def filled(page: str) -> list[tuple[str, str]]:
    """Names and values of the form's fields, as a browser would send them."""
    form = page[page.index('id="training"') :]
    form = form[: form.index("</form>")]
    found = []
    for tag in re.findall(r"<input[^>]*>", form):
        name, value = (re.search(rf'\s{each}="([^"]*)"', tag) for each in ("name", "value"))
        if name is not None:
            found.append((name[1], unescape(value[1] if value else "")))
    for name, inner in re.findall(r'<select[^>]* name="([^"]+)"[^>]*>(.*?)</select>', form, re.S):
        chosen = re.search(r'<option value="([^"]*)"[^>]* selected', inner)
        first = re.search(r'<option value="([^"]*)"', inner)
        value = chosen or first
        assert value is not None
        found.append((name, value[1]))
    return found


def send(browser: FlaskClient, fields: list[tuple[str, str]]) -> str:
    data: dict[str, list[str]] = {}
    for name, value in fields:
        data.setdefault(name, []).append(value)
    answer = browser.post("/trainings/new", data=data, headers=OWN)
    assert answer.status_code == 303, answer.text
    return answer.headers["Location"].rpartition("/")[2]


def test_a_training_like_another_one(
    browser: FlaskClient, call: Caller, upload: Upload, services: Services
) -> None:
    body = {
        "model": "lstm-small",
        "training_file": upload(name="a.txt"),
        "training_files": [upload(name="b.txt"), upload(name="c.txt")],
        "validation_file": upload(name="held.txt"),
        "suffix": "v1",
        "alias": "bard",
        "seed": 7,
        "hyperparameters": {
            "max_steps": 50, "objectives": {"causal": 1, "infill": 0.5}, "shuffle": False,
            "embedding_dropout": 0.1, "mask_personal_data": True, "format": "lines",
        },
    }  # fmt: skip
    first = call("POST", "/v1/fine_tuning/jobs", json=body).get_json()["id"]

    page = browser.get(f"/trainings/new?like={first}").text
    again = send(browser, filled(page))

    specs = [services.jobs.get("acme", job_id).spec for job_id in (first, again)]
    assert specs[0] == specs[1]
    changed = [
        (name, "80" if name == "hyperparameters.max_steps" else value)
        for name, value in filled(page)
    ]
    spec = services.jobs.get("acme", send(browser, changed)).spec
    assert spec["hyperparameters"] == {**specs[0]["hyperparameters"], "max_steps": 80}


@pytest.mark.parametrize("format", get_args(CorpusFormat))
def test_the_form_keeps_every_choice_of_a_training(
    browser: FlaskClient,
    call: Caller,
    upload: Upload,
    services: Services,
    format: str,  # noqa: A002
) -> None:
    body = {
        "model": "lstm-small",
        "validation_file": upload(name="held.txt"),
        "training_file": upload(name="a.txt"),
        "hyperparameters": {"format": format, "deduplicate": "off", "mask_personal_data": False},
    }
    for count in range(ROWS):
        upload(name=f"newer-{count}.txt")
    first = call("POST", "/v1/fine_tuning/jobs", json=body).get_json()["id"]

    page = browser.get(f"/trainings/new?like={first}").text
    again = send(browser, filled(page))
    refused = browser.post(
        "/trainings/new", data=dict(filled(page)) | {"hyperparameters.layers": "99"}, headers=OWN
    )

    specs = [services.jobs.get("acme", job_id).spec for job_id in (first, again)]
    assert specs[0] == specs[1]
    for shown in (page, refused.text):
        assert dict(filled(shown))["validation_file"] == body["validation_file"]
        assert dict(filled(shown))["hyperparameters.format"] == format
        assert ">held.txt</option>" in shown


def test_only_trainings_are_repeated_so(browser: FlaskClient, services: Services) -> None:
    batch = services.jobs.submit("acme", "batch", {})
    assert browser.get(f"/trainings/new?like={batch.id}").status_code == 404
    assert browser.get("/trainings/new?like=ftjob-none").status_code == 404


def test_going_on_from_a_model(
    browser: FlaskClient, upload: Upload, model: str, services: Services
) -> None:
    file_id = upload()
    page = browser.get(f"/trainings/new?model={model}&file={file_id}&seconds=20").text
    job = services.jobs.get("acme", send(browser, filled(page)))

    assert job.spec["model"] == model
    assert job.spec["hyperparameters"] == {"max_seconds": 20.0}


@pytest.mark.parametrize(
    ("fields", "second", "param"),
    [
        ({"a": "x", "a.b": "y"}, "a.b", "a"),
        ({"a.b": "y", "a": "x"}, "a", "a"),
        ({"a.b": "x", "a.b.c.d": "y"}, "a.b.c.d", "a.b"),
        ({"a": "x", "a[]": "y"}, "a[]", "a"),
        ({"a[]": "y", "a": "x"}, "a", "a"),
        ({"a[]": "x", "a.b": "y"}, "a.b", "a"),
        ({"a.b": "x", "a[]": "y"}, "a[]", "a"),
        ({"a": "x", "a.b[]": "y"}, "a.b[]", "a"),
    ],
)
def test_a_field_that_is_given_in_two_ways_is_named(
    browser: FlaskClient, fields: dict[str, str], second: str, param: str
) -> None:
    answer = browser.post("/trainings/new", data=fields, headers=OWN)

    assert answer.status_code == 400
    told = f"'{second}' is '{fields[second]}', but '{param}' is given in another way, too."
    assert told in unescape(answer.text)
    chinese = {**OWN, "Accept-Language": "zh"}
    told = f"'{second}' 是 '{fields[second]}'，但 '{param}' 还以另一种方式给出。"
    answer = browser.post("/trainings/new", data=fields, headers=chinese)
    assert told in unescape(answer.text)


def test_of_a_field_that_comes_twice_the_last_holds(
    browser: FlaskClient, upload: Upload, services: Services
) -> None:
    fields = filled(browser.get(f"/trainings/new?file={upload()}").text)
    twice = [*fields, ("suffix", "first"), ("suffix", "second")]

    assert services.jobs.get("acme", send(browser, twice)).spec["suffix"] == "second"


def test_options_that_are_wrong_stay_in_the_form(browser: FlaskClient, upload: Upload) -> None:
    upload()
    fields = dict(filled(browser.get("/trainings/new").text))
    fields |= {
        "hyperparameters.objectives.infill": "2",
        "hyperparameters.privacy.epsilon": "3",
        "hyperparameters.layers": "99",
        "hyperparameters.shuffle": "false",
    }
    refused = browser.post("/trainings/new", data=fields, headers=OWN)

    assert refused.status_code == 400
    assert 'id="hyperparameters.layers-problem"' in refused.text
    sent = dict(filled(refused.text))
    assert {name: sent[name] for name in fields if fields[name]} == {
        name: value for name, value in fields.items() if value
    }
