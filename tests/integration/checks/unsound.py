"""What the tests of the check put into a service, and how they read what it found."""

from __future__ import annotations

from typing import Any

import redis
import sqlalchemy as sa

from tests.integration.conftest import store
from worker.backend import Backend
from worker.contracts import BundleReference
from worker.jobs.tables import jobs as job_table
from worker.operations.check import Checked
from worker.storage.models import NewModel, add_model
from worker.storage.tables import aliases, models

OWNER = "default"
BUNDLE = BundleReference(artifact="jobs/1/1/model", file="model.safetensors")


def file(backend: Backend, file_id: str) -> str:
    store(backend, f"files/{file_id}")
    backend.files.create(
        OWNER,
        filename="a",
        purpose="batch",
        artifact=f"files/{file_id}",
        file="content",
        id=file_id,
    )
    return file_id


def model(backend: Backend, model_id: str) -> str:
    artifact = store(backend, f"jobs/{model_id}/1/model")
    with backend.database.write() as connection:
        add_model(connection, OWNER, NewModel(model_id, OWNER, artifact, "content"), 1.0)
    return model_id


def kinds(findings: Any) -> list[tuple[str, str]]:
    return sorted((finding.what, finding.id) for finding in findings)


def remove(backend: Backend, *names: str) -> None:
    for name in names:
        backend.store.delete(name)


def mended(done: Checked) -> list[tuple[str, str]]:
    assert done.left == []
    assert kinds(done.found) == kinds(done.mended)
    return kinds(done.mended)


def everything(backend: Backend, broker: redis.Redis) -> tuple[Any, ...]:
    with backend.database.read() as connection:
        tables = [connection.execute(sa.select(table)).all() for table in (models, aliases)]
        states = connection.execute(sa.select(job_table.c.state, job_table.c.token)).all()
    found = sorted(file.id for file in backend.files.list(OWNER).items)
    return sorted(backend.store.list()), tables, states, found, set(broker.keys())
