"""The web application on a real SQLite file and real artifacts; only the broker is in-process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import copy
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from flask import Config, Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.unit.web.in_process import (
    InProcessCompletions,
    InProcessEngines,
    InProcessPublished,
    InProcessStates,
    InProcessWakeups,
)
from web.app import create_app
from web.metrics import Metrics
from web.services import Services
from worker.jobs.jobs import Jobs
from worker.settings import Settings
from worker.storage.artifacts import ArtifactStore
from worker.storage.database import Database
from worker.storage.files import Files
from worker.storage.keys import Keys
from worker.storage.models import Models, NewModel, add_model


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, max_upload_bytes=400_000, disk_floor_bytes=0, web_threads=8)


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with all tables; copied for each test, since migrating takes a while."""
    path = tmp_path_factory.mktemp("database") / "empty.db"
    database = Database(f"sqlite:///{path}")
    database.migrate()
    database.dispose()
    return path


def make_services(settings: Settings) -> Services:
    database = Database(settings.effective_database_url)
    store = ArtifactStore(settings.effective_storage_url)
    return Services(
        settings=settings,
        database=database,
        store=store,
        files=Files(database, store),
        jobs=Jobs(database, settings),
        models=Models(database),
        keys=Keys(database),
        wakeups=InProcessWakeups(),
        completions=InProcessCompletions(),
        states=InProcessStates(),
        engines=InProcessEngines(),
        published=InProcessPublished(),
    )


@pytest.fixture
def services(settings: Settings, migrated: Path) -> Iterator[Services]:
    (settings.home / "textgen.db").write_bytes(migrated.read_bytes())
    services = make_services(settings)
    yield services
    services.stopping.set()
    services.database.dispose()


@pytest.fixture(scope="session")
def routes(migrated: Path) -> Flask:
    """An application to copy: to compile all routes takes longer than most tests."""
    return create_app(make_services(Settings(home=migrated.parent)))


@pytest.fixture
def app(routes: Flask, services: Services) -> Flask:
    """As create_app makes it for these services."""
    app = copy(routes)
    app.config = Config(routes.root_path, routes.config)
    app.config["MAX_CONTENT_LENGTH"] = services.settings.max_body_bytes
    app.view_functions = dict(routes.view_functions)
    app.extensions = {**routes.extensions, "textgen": services, "textgen-metrics": Metrics()}
    return app


OWN = {"Origin": "http://localhost"}  # what a browser says of a form of our own pages
ENDLESS = "/live"  # a stream that goes on until its reader leaves


class Caller:
    """Calls the API with one key."""

    def __init__(self, client: FlaskClient, key: str) -> None:
        self.client = client
        self.key = key

    def __call__(self, method: str, path: str, **options: Any) -> TestResponse:
        headers = {"Authorization": f"Bearer {self.key}", **options.pop("headers", {})}
        # Buffered: the answer is read and closed, as a server does.
        endless = path.partition("?")[0] == ENDLESS
        options = {"buffered": not endless, **options}
        answer = self.client.open(path, method=method, headers=headers, **options)
        if endless:
            answer.close()
        return answer


def caller(app: Flask, services: Services, tenant: str, *scopes: str) -> Caller:
    _, key = services.keys.create(tenant, "test", scopes)
    return Caller(app.test_client(), key)


@pytest.fixture
def call(app: Flask, services: Services) -> Caller:
    return caller(app, services, "acme", "read", "generate", "train", "admin")


@pytest.fixture
def browser(app: Flask, call: Caller) -> FlaskClient:
    """A browser that has signed in."""
    client = app.test_client()
    client.post("/signin", data={"key": call.key})
    return client


@pytest.fixture
def stranger(app: Flask, services: Services) -> Caller:
    """Another tenant, with every scope."""
    return caller(app, services, "globex", "read", "generate", "train", "admin")


@pytest.fixture
def upload(call: Caller) -> Callable[..., str]:
    """Upload a text; returns the file's id."""

    def send(
        content: bytes = b"to be or not to be\n",
        purpose: str = "fine-tune",
        name: str = "corpus.txt",
    ) -> str:
        form = {"purpose": purpose, "file": (BytesIO(content), name)}
        answer = call("POST", "/v1/files", data=form)
        assert answer.status_code == 200, answer.text
        return str(answer.get_json()["id"])

    return send


@pytest.fixture
def worker(services: Services) -> InProcessCompletions:
    """What takes the generation worker's place."""
    assert isinstance(services.completions, InProcessCompletions)
    return services.completions


def publish(services: Services, new: NewModel) -> str:
    """Give the tenant acme a model; its id."""
    with services.database.write() as connection:
        add_model(connection, "acme", new, services.database.now(connection))
    return new.id


@pytest.fixture
def model(services: Services) -> str:
    """A trained model of the tenant acme, as a worker publishes one."""
    with services.store.create("jobs/ftjob-1/1/model") as staging:
        with staging.open("model.safetensors") as file:
            file.write(b"the weights")
        staging.commit()
    new = NewModel(
        id="ft:lstm-tiny:acme::0123456789",
        owned_by="acme",
        artifact="jobs/ftjob-1/1/model",
        file="model.safetensors",
        base="lstm-tiny",
        header={
            "metrics": {"valid_loss": 1.5, "bits_per_character": 2.16},
            "generation_defaults": {"max_tokens": 400, "temperature": 0.7, "stop": []},
        },
    )
    return publish(services, new)
