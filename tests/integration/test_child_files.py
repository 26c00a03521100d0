"""What a job's child reads stays on its machine until the child has ended."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import run
from worker.backend import Backend
from worker.errors import CorruptArtifact
from worker.examination.run import ExaminationRun
from worker.jobs.rows import Job
from worker.storage.artifacts import ArtifactStore

TEXT = "".join(f"the {number} of a long list of lines\n" for number in range(500))


@pytest.fixture
def remote(backend: Backend, tmp_path: Path) -> Backend:
    """With storage that is not of this machine, and no room for copies that nobody uses."""
    store = ArtifactStore(f"local://{tmp_path / 'bucket'}", tmp_path / "copies", cache_bytes=1)
    with store.create("files/a") as staging:
        with staging.open("content") as stream:
            stream.write(TEXT.encode())
        staging.commit()
    return replace(backend, store=store)


def examination(backend: Backend) -> Job:
    file = {"artifact": "files/a", "file": "content", "filename": "a.txt"}
    spec = {"input_file": file, "reading": {}, "seconds": 1.0}
    backend.jobs.submit("default", "examination", spec)
    return run(backend.jobs)


def test_until_the_job_has_ended(remote: Backend, tmp_path: Path) -> None:
    there: list[bool] = []

    def tidy() -> bool:
        (copy,) = (tmp_path / "copies").glob("??/*")
        os.utime(copy, (0, copy.stat().st_mtime))  # nobody has asked for it in years
        remote.store.tidy_copies()
        return copy.exists()

    class Watched(ExaminationRun):
        def _publish(self, closing: Mapping[str, Any]) -> None:
            there.append(tidy())
            super()._publish(closing)

    job = examination(remote)

    Watched(remote, job, lambda: False).run()

    assert remote.jobs.get("default", job.id).state == "succeeded"
    assert there == [True]
    assert not tidy()


@pytest.mark.parametrize(
    ("error", "state"),
    [(CorruptArtifact("damaged"), "failed"), (ConnectionResetError("away"), "queued")],
)
def test_what_cannot_be_fetched(
    remote: Backend, monkeypatch: pytest.MonkeyPatch, error: Exception, state: str
) -> None:
    """A fault that time may heal is tried again, like storage that is away for a moment."""
    job = examination(remote)

    def fetch(*_: object) -> None:
        raise error

    monkeypatch.setattr(remote.store, "local_path", fetch)

    ExaminationRun(remote, job, lambda: False).run()

    found = remote.jobs.get("default", job.id)
    assert (found.state, found.attempts) == (state, int(state == "queued"))
