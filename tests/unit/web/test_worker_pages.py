"""Workers and queues as a page: who is there, what each does, what waits and why."""

from __future__ import annotations

import re

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.unit.web.conftest import caller, publish
from tests.unit.web.in_process import InProcessEngines
from web.services import Services
from worker.generation.engine_states import EngineState, LoadedModel
from worker.jobs.rows import Job
from worker.processes.presence import Presence
from worker.storage.models import NewModel
from worker.tenants.options import TenantOptions

TRAINER, WRITER = "host-abc-train-1", "host-abc-generate-1"


@pytest.fixture
def engines(services: Services) -> InProcessEngines:
    assert isinstance(services.engines, InProcessEngines)
    return services.engines


@pytest.fixture
def workers(services: Services) -> None:
    """One that trains two at once, and one that writes."""
    presence = Presence(services.database, services.settings)
    presence.register(TRAINER, "1", "train", {"training": 2})
    presence.register(WRITER, "2", "generate", {"batch": 4})


def browser_of(app: Flask, services: Services, tenant: str) -> FlaskClient:
    client = app.test_client()
    key = caller(app, services, tenant, "read", "admin").key
    client.post("/signin", data={"key": key})
    return client


@pytest.fixture
def browser(app: Flask, services: Services) -> FlaskClient:
    return browser_of(app, services, "acme")


@pytest.fixture
def operator(app: Flask, services: Services) -> FlaskClient:
    return browser_of(app, services, "default")


def submit(services: Services, tenant: str, name: str) -> Job:
    spec = {"model": "lstm-tiny", "files": [{"id": "f", "filename": name}]}
    return services.jobs.submit(tenant, "training", spec, uses_files=[])


def row(page: str, start: str) -> str:
    """The text of the table's row that begins with this, without tags."""
    plain = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.replace("</tr>", "\n")))
    found = re.search(rf"{start}.*?(?= Batches | Texts asked | Workers |$)", plain)
    assert found is not None, plain
    return found[0]


def test_who_works_on_what(
    browser: FlaskClient, operator: FlaskClient, services: Services, workers: None
) -> None:
    own, other = submit(services, "acme", "hamlet.txt"), submit(services, "globex", "secret.txt")
    for _ in range(2):
        job = services.jobs.claim("training", TRAINER, "1")
        assert job is not None
        services.jobs.set_progress(job, {"step": 25, "total_steps": 100})

    page = browser.get("/workers").text
    assert "hamlet.txt" in page and f"/jobs/{own.id}" in page and 'value="0.25"' in page
    assert "a job of another project" in page and "2 of 2 places taken" in page
    assert "secret.txt" not in page and other.id not in page and TRAINER not in page

    page = operator.get("/workers").text
    assert "hamlet.txt" in page and "secret.txt" in page and "globex" in page
    assert TRAINER in page and WRITER in page


def test_what_waits_and_why(
    browser: FlaskClient, operator: FlaskClient, services: Services, workers: None
) -> None:
    services.tenants.update("acme", TenantOptions.parse({"limits": {"running_jobs": 1}}))
    for number in range(3):
        submit(services, "acme", f"{number}.txt")
    submit(services, "globex", "theirs.txt")
    assert services.jobs.claim("training", TRAINER, "1") is not None

    own = row(browser.get("/workers").text, "Trainings, scorings")
    assert re.search(r"evaluations 2 1 0 2 for \d+ s 2 until fewer jobs", own), own
    everybody = row(operator.get("/workers").text, "Trainings, scorings")
    assert " 3 1 0 2 " in everybody and "1 for their turn 2 until fewer" in everybody


def test_without_workers(browser: FlaskClient, services: Services) -> None:
    submit(services, "acme", "hamlet.txt")

    page = browser.get("/workers").text

    assert "no training runs" in page and "no batch runs" in page
    assert "1 for a worker: none of this kind is there" in page
    assert "Nobody is there to work" in page


def test_a_worker_that_is_silent(operator: FlaskClient, services: Services, workers: None) -> None:
    submit(services, "acme", "hamlet.txt")
    assert services.jobs.claim("training", "gone-train-7", "9") is not None

    page = operator.get("/workers").text

    assert "gone-train-7" in page and "silent" in page and "hamlet.txt" in page


def test_engines(
    browser: FlaskClient,
    operator: FlaskClient,
    services: Services,
    engines: InProcessEngines,
    workers: None,
) -> None:
    new = NewModel(id="ft:bard", owned_by="acme", artifact="art/1", file="m", base="b", header={})
    publish(services, new)
    loaded = (LoadedModel("art/1", 5_000_000), LoadedModel("art/gone", 1_000_000))
    engines.told[f"{WRITER}.2"] = EngineState(loaded, 7, 3, 128, 2**31)
    engines.waiting = 11

    page = operator.get("/workers").text
    assert "7 texts run, 3 wait" in page and "ft:bard" in page and "6.0 MB of 2.1 GB" in page
    assert "Texts asked for one by one 11 7" in row(page, "Texts asked")
    page = browser.get("/workers").text
    assert "7 texts run, 3 wait" in page and "ft:bard" not in page


def test_redis_is_away(
    browser: FlaskClient, services: Services, engines: InProcessEngines, workers: None
) -> None:
    engines.away = True

    page = browser.get("/workers").text

    assert "Redis does not answer" in page and "not known" in page
    assert "Texts asked for one by one – – –" in row(page, "Texts asked")
