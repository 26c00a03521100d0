"""Requests and the engine process that answers them, while it is killed."""

from __future__ import annotations

import contextlib
import queue
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.random_models import BundleMaker
from textgen.bundles.bundle import save_bundle
from textgen.options import SamplingOptions
from worker.contracts import BundleReference, GenerateRequest
from worker.generation.engine_link import EngineLink, Update


class Ends:
    """How requests ended; those that died with an engine are to be sent again."""

    def __init__(self) -> None:
        self.well: Counter[str] = Counter()
        self.errors: list[str] = []
        self.lost: queue.SimpleQueue[str] = queue.SimpleQueue()

    def take(self, updates: Sequence[Update]) -> None:
        for update in updates:
            if update.error is None:
                self.well[update.id] += update.last
            elif update.error["code"] == "worker_lost":
                self.lost.put(update.id)
            else:
                self.errors.append(update.error["message"])


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


def request(name: str, **fields: Any) -> GenerateRequest:
    return GenerateRequest(
        id=name,
        bundle=BundleReference(artifact="a", file="f"),
        prompts=("ab",),
        seed=1,
        **{"options": SamplingOptions(max_tokens=2), **fields},
    )


def wait(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("interactive", [True, False])
def test_a_request_that_cannot_be_read_is_refused_alone(
    link: EngineLink, model: Path, *, interactive: bool
) -> None:
    """Those of others go on, in the same engine."""
    ends, refused = Ends(), Ends()
    link.start()
    first = link.pid
    stops = tuple("abcde")  # more than there may be
    wrong = SamplingOptions().model_copy(update={"stop": stops})

    link.submit(request("before", blocked=stops), model, ends, interactive=interactive)
    link.submit(request("wrong", options=wrong), model, refused, interactive=interactive)
    link.submit(request("after"), model, ends, interactive=interactive)

    wait(lambda: ends.well.total() == 2 and bool(refused.errors))
    assert "'options.stop'" in refused.errors[0]
    assert link.pid == first


def test_each_request_ends_once_while_engines_die(link: EngineLink, model: Path) -> None:
    """Also one that went to the next engine before the death of the last was told."""
    ends = Ends()
    sent = 0

    def send_again() -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                link.submit(request(ends.lost.get(timeout=0.02)), model, ends, interactive=False)

    for _ in range(100):
        link.start()
        assert link.pid is not None
        engine = psutil.Process(link.pid)
        engine.kill()
        for _ in range(20):
            link.submit(request(f"r{sent}"), model, ends, interactive=False)
            sent += 1
        send_again()

    deadline = time.monotonic() + 60
    while len(ends.well) + len(ends.errors) < sent and time.monotonic() < deadline:
        send_again()
    assert not ends.errors
    assert len(ends.well) == sent
