"""Requests and the engine process that answers them, while it is killed."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
import pytest

from tests.random_models import BundleMaker
from textgen.bundles.bundle import save_bundle
from textgen.options import SamplingOptions
from worker.contracts import BundleReference, GenerateRequest
from worker.generation.engine_link import EngineLink, Update


class Ends:
    """Counts how each request ended."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()
        self.errors: dict[str, str] = {}
        self.changed = threading.Condition()

    def take(self, updates: Sequence[Update]) -> None:
        with self.changed:
            for update in updates:
                if update.last:
                    self.seen[update.id] += 1
                if update.error is not None:
                    self.errors[update.id] = update.error["code"]
            self.changed.notify_all()


@pytest.fixture
def link() -> Iterator[EngineLink]:
    link = EngineLink(device="cpu", slots=4, cache_bytes=10**9, threads=1)
    yield link
    link.close()


@pytest.fixture
def model(tmp_path: Path, make_bundle: BundleMaker) -> Path:
    bundle = make_bundle()
    path = tmp_path / "model.safetensors"
    save_bundle(path, bundle.header, bundle.model.state_dict())
    return path


def request(name: str) -> GenerateRequest:
    return GenerateRequest(
        id=name,
        bundle=BundleReference(artifact="a", file="f"),
        prompts=("ab",),
        options=SamplingOptions(max_tokens=2),
        seed=1,
    )


def test_each_request_ends_once_while_engines_die(link: EngineLink, model: Path) -> None:
    """Also one that went to the next engine before the death of the last was told."""
    ends = Ends()
    sent = 0
    for _ in range(3):
        link.start()
        assert link.pid is not None
        engine = psutil.Process(link.pid)
        threading.Timer(0.2, engine.kill).start()
        while link.pid == engine.pid:
            link.submit(request(f"r{sent}"), model, ends, interactive=False)
            sent += 1

    with ends.changed:
        assert ends.changed.wait_for(lambda: len(ends.seen) == sent, timeout=60)
    assert set(ends.seen.values()) == {1}
    assert set(ends.errors.values()) <= {"worker_lost", "engine_full"}
    lost = [name for name, code in ends.errors.items() if code == "worker_lost"]
    assert lost
    # What is lost may be sent again by its name at once.
    ends.seen.clear()
    ends.errors.clear()
    for name in lost[:100]:
        link.submit(request(name), model, ends, interactive=False)
    with ends.changed:
        assert ends.changed.wait_for(lambda: len(ends.seen) == len(lost[:100]), timeout=60)
    assert not ends.errors
