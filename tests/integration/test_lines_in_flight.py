"""Lines of a batch between their shard and the engine."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from tests.random_models import BundleMaker
from textgen.bundles.bundle import load_bundle, save_bundle
from textgen.engine.engine import Engine
from textgen.options import SamplingOptions
from worker.batches import in_flight
from worker.batches.in_flight import MOST_CHOICES, LinesInFlight
from worker.batches.input import BatchLine
from worker.batches.shard import ERROR_FILE, LineRequest, Shard
from worker.contracts import BundleReference, ChoiceDelta, GenerateRequest, Usage
from worker.generation.completion_answer import CompletionAnswer
from worker.generation.engine_link import EngineLink, Update
from worker.generation.held_bytes import held_bytes
from worker.jobs.jobs import Jobs
from worker.jobs.rows import Job
from worker.settings import Settings
from worker.storage.artifacts import ArtifactStore
from worker.storage.database import Database

SLOTS = 8


@pytest.fixture
def batch_job(tmp_path: Path) -> Job:
    """A batch that waits."""
    database = Database(f"sqlite:///{tmp_path / 'textgen.db'}")
    database.migrate()
    jobs = Jobs(database, Settings(home=tmp_path))
    job = jobs.submit("default", "batch", {"endpoint": "/v1/completions"})
    database.dispose()
    return job


@pytest.fixture
def store(tmp_path: Path, make_bundle: BundleMaker) -> ArtifactStore:
    """With the models `one` and `two`."""
    store = ArtifactStore(str(tmp_path / "artifacts"))
    for name, seed in (("one", 1), ("two", 2)):
        bundle = make_bundle(seed=seed)
        path = tmp_path / f"{name}.safetensors"
        save_bundle(path, bundle.header, bundle.model.state_dict())
        with store.create(name) as staging:
            with staging.open("model.safetensors") as file:
                file.write(path.read_bytes())
            staging.commit()
    return store


@pytest.fixture
def link(store: ArtifactStore) -> Iterator[EngineLink]:
    """With memory for one model."""
    path = store.local_path("one", "model.safetensors")
    size = held_bytes(Engine(load_bundle(path), slots=SLOTS))
    link = EngineLink(device="cpu", slots=SLOTS, cache_bytes=int(1.5 * size), threads=1)
    yield link
    link.close()


@dataclass
class Heard:
    """Another user of the engine."""

    updates: list[Update] = field(default_factory=list)

    def take(self, updates: Sequence[Update]) -> None:
        self.updates += updates


def line(job: Job, number: int, model: str, **request: int) -> LineRequest:
    n = request.pop("n", 1)
    return LineRequest(
        BatchLine(number, f"line-{number}", {}),
        model,
        GenerateRequest(
            id=f"r{number}",
            bundle=BundleReference(artifact=model, file="model.safetensors"),
            prompts=("ab",),
            n=n,
            options=SamplingOptions(max_tokens=request.pop("max_tokens", 3)),
            seed=number,
            tenant=job.tenant,
        ),
        CompletionAnswer(prompts=1, written=n, n=n),
    )


def finish(flight: LinesInFlight, shard: Shard) -> int:
    """Until every line has its result; how often an engine died."""
    deadline = time.monotonic() + 60
    deaths = 0
    while not shard.complete:
        deaths += flight.hear(0.1)
        assert time.monotonic() < deadline
    return deaths


def test_lines_wait_where_the_engine_has_no_room(
    link: EngineLink, store: ArtifactStore, batch_job: Job
) -> None:
    """Another model works and fills the memory; the lines are sent again until it has ended."""
    other = Heard()
    long = line(batch_job, 99, "two", n=SLOTS, max_tokens=1_000_000).request
    link.submit(long, store.local_path("two", "model.safetensors"), other, interactive=True)
    while not other.updates:
        time.sleep(0.01)
    shard = Shard(0, batch_job, [BatchLine(number, f"l{number}", {}) for number in range(4)])
    flight = LinesInFlight(link, store)

    flight.add(shard, [line(batch_job, number, "one") for number in range(4)])
    for _ in range(5):
        flight.hear(0.1)
    assert shard.counts().completed == 0
    assert shard.counts().failed == 0
    link.cancel(long.id)

    finish(flight, shard)
    assert shard.counts().completed == 4


def test_lines_begin_again_when_their_engine_dies(
    link: EngineLink, store: ArtifactStore, batch_job: Job
) -> None:
    shard = Shard(0, batch_job, [BatchLine(number, f"l{number}", {}) for number in range(20)])
    flight = LinesInFlight(link, store)
    link.start()
    flight.add(shard, [line(batch_job, number, "one", max_tokens=500) for number in range(20)])
    assert link._engine is not None
    link._engine.process.kill()

    assert finish(flight, shard) >= 1
    assert shard.counts().completed == 20
    assert shard.counts().completion_tokens == 20 * 500


@dataclass
class FaultyLink:
    """Takes the place of an engine's link: its model cannot be loaded so many times."""

    faults: int
    code: str = "model_not_loaded"
    sent: int = 0

    def submit(self, request: GenerateRequest, _: Path, sink: LinesInFlight, **__: bool) -> None:
        self.sent += 1
        if self.sent <= self.faults:
            fault = {"code": self.code, "message": "No memory.", "param": "model"}
            sink.take([Update(request.id, error=fault)])
        else:
            delta = ChoiceDelta(0, "text", 1, "stop")
            sink.take([Update(request.id, (delta,), usage=Usage(1, 1))])


@pytest.mark.parametrize(
    ("faults", "code", "sent", "completed"),
    [
        (2, "model_not_loaded", 6, 4),
        (10**9, "model_not_loaded", None, 0),
        (10**9, "model_too_large", 4, 0),
        (1, "model_too_large", 4, 3),
    ],
)
def test_lines_whose_fault_may_pass_are_run_again_a_few_times(
    store: ArtifactStore,
    batch_job: Job,
    monkeypatch: pytest.MonkeyPatch,
    faults: int,
    code: str,
    sent: int | None,
    completed: int,
) -> None:
    """Other faults of the service end them at once; none is said to be the line's own."""
    monkeypatch.setattr(in_flight, "PASSING_SECONDS", 0.0)
    shard = Shard(0, batch_job, [BatchLine(number, f"l{number}", {}) for number in range(4)])
    link = FaultyLink(faults, code)
    flight = LinesInFlight(cast(Any, link), store)

    flight.add(shard, [line(batch_job, number, "one") for number in range(4)])
    finish(flight, shard)

    assert (shard.counts().completed, shard.counts().failed) == (completed, 4 - completed)
    if sent is None:
        assert 4 + in_flight.MOST_TRIES <= link.sent <= 4 * (1 + in_flight.MOST_TRIES)
    else:
        assert link.sent == sent
    with store.create("shard") as staging:
        shard.write(staging)
        staging.commit()
    with store.open("shard", ERROR_FILE) as file:
        rows = [json.loads(row) for row in file.read().splitlines()]
    for row in rows:
        assert row["response"]["status_code"] == 503
        error = row["response"]["body"]["error"]
        assert (error["type"], error["code"]) == ("server_error", code)


def test_the_files_of_its_models_stay_while_a_batch_runs(
    link: EngineLink, store: ArtifactStore, batch_job: Job, tmp_path: Path
) -> None:
    """An engine that makes room for another model reads one again later."""
    copies = tmp_path / "copies"
    remote = ArtifactStore(f"local://{tmp_path / 'artifacts'}", copies, cache_bytes=1)
    shard = Shard(0, batch_job, [BatchLine(0, "l0", {})])
    flight = LinesInFlight(link, remote)

    flight.add(shard, [line(batch_job, 0, "one")])
    (copy,) = copies.glob("??/*")
    finish(flight, shard)
    os.utime(copy, (0, copy.stat().st_mtime))
    remote.tidy_copies()
    assert copy.exists()
    flight.cancel()

    remote.tidy_copies()
    assert not copy.exists()


def test_no_more_texts_are_with_the_engine_than_may_be(
    link: EngineLink, store: ArtifactStore, batch_job: Job
) -> None:
    """But one line that alone is larger goes through."""
    sizes = [MOST_CHOICES + 1, 1000, 1000, 1000]
    shard = Shard(0, batch_job, [BatchLine(number, f"l{number}", {}) for number in range(4)])
    flight = LinesInFlight(link, store)

    flight.add(
        shard, [line(batch_job, i, "one", max_tokens=1, n=size) for i, size in enumerate(sizes)]
    )

    assert link.open_requests == 1
    finish(flight, shard)
    assert shard.counts().completed == 4
