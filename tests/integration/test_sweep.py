from __future__ import annotations

import pytest

from tests.integration.conftest import run
from worker.backend import Backend
from worker.processes.sweep import Sweep
from worker.storage.models import NewModel, add_model


def store(backend: Backend, name: str) -> str:
    with backend.store.create(name) as staging:
        with staging.open("content") as stream:
            stream.write(b"text")
        staging.commit()
    return name


@pytest.fixture
def sweep(backend: Backend) -> Sweep:
    return Sweep(backend, young_seconds=-1)  # whatever is there is old enough


def test_only_what_nothing_points_to_goes(backend: Backend, sweep: Sweep) -> None:
    jobs = backend.jobs
    for _ in range(2):
        jobs.submit("default", "training", {})
    finished, live = run(jobs), run(jobs)
    kept = {
        store(backend, f"jobs/{finished.id}/1/step-10"),
        store(backend, f"jobs/{finished.id}/1/model"),
        store(backend, f"jobs/{live.id}/1/step-10"),  # its row may be about to point to it
        store(backend, "files/known"),
        store(backend, "elsewhere/1"),
    }
    orphans = {
        store(backend, f"jobs/{finished.id}/1/step-9"),
        store(backend, "jobs/ftjob-none/1/step-1"),
        store(backend, "files/unknown"),
    }
    jobs.save_checkpoint(finished, artifact=f"jobs/{finished.id}/1/step-10", step=10, metrics={})
    new = NewModel("ft:a", "default", f"jobs/{finished.id}/1/model", "content")
    jobs.succeed(finished, {}, lambda connection: add_model(connection, "default", new, 1.0))
    backend.files.create(
        "default", filename="a", purpose="batch", artifact="files/known", file="content"
    )
    assert set(backend.store.list()) == kept | orphans

    sweep.run()

    assert set(backend.store.list()) == kept


def test_young_ones_stay(backend: Backend) -> None:
    store(backend, "files/just-uploaded")

    Sweep(backend).run()

    assert list(backend.store.list()) == ["files/just-uploaded"]


def test_expired_files_go(backend: Backend, sweep: Sweep) -> None:
    store(backend, "files/1")
    backend.files.create(
        "default",
        filename="a",
        purpose="batch",
        artifact="files/1",
        file="content",
        expires_in=-1,
    )

    sweep.run()

    assert backend.files.list("default").items == []
    assert list(backend.store.list()) == []
