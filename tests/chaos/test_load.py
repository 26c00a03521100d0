"""Large batches, floods and broken streams: rows 26, 27 and 28 of the matrix."""

from __future__ import annotations

import json
import statistics
import threading
import time
from collections.abc import Iterator

import httpx
import openai
import psutil
import pytest

from tests.chaos.conftest import NewRig, Recorder
from tests.chaos.proxy import Proxy
from tests.chaos.rig import Rig

pytestmark = pytest.mark.slow
FEW = 40
PLENTY = 1000  # a queue that is full


@pytest.fixture(scope="module")
def rig(new_rig: NewRig) -> Iterator[Rig]:
    with new_rig("load", max_queued_jobs=60) as made:
        yield made


@pytest.mark.parametrize("lines", [6000, pytest.param(100_000, marks=pytest.mark.chaos)])
def test_a_large_batch_whose_worker_is_killed_again_and_again(
    rig: Rig, record: Recorder, lines: int
) -> None:
    """Row 26: the same lines in the same order as a run in peace."""
    patience = max(600, lines // 5)  # seconds
    in_peace = rig.batch(lines, patience=patience)
    rig.ledger.settle(patience)
    job_id = rig.batch(lines)
    kills = 0
    while not rig.ledger.row(job_id).finished_at:
        done = rig.lines_done(job_id)
        rig.until_lines(job_id, min(lines, done + lines // 20), patience)
        for process in rig.stack.processes("web.cli", "worker", "generate"):
            process.kill()
        kills += 1
        time.sleep(2)
        assert kills < 100
    times = round(_seconds(rig, job_id) / _seconds(rig, in_peace), 1)
    fault = f"a batch of {lines:,} lines, its worker killed again and again"
    record.end(rig, "26", fault, kills=kills, times_as_long=times)


def _seconds(rig: Rig, job_id: str) -> float:
    """From the first claim of a job to its end."""
    row = rig.ledger.row(job_id)
    return float(row.finished_at - row.started_at)


def test_a_flood(rig: Rig, record: Recorder) -> None:
    """Row 27: what is too much is refused, with the time to wait; completions are answered."""
    rig.batch(FEW)
    rig.ledger.settle()
    web = rig.main_process("web.server")
    before = _memory(web)
    refused = 0
    latencies = []
    impatient = rig.stack.client(max_retries=0)
    for number in range(PLENTY):
        try:
            rig.batch(FEW, client=impatient)
        except openai.RateLimitError as error:
            assert int(error.response.headers["Retry-After"]) >= 1
            refused += 1
        if number % 20 == 0:
            began = time.monotonic()
            rig.client.completions.create(model=rig.model, prompt="The ", max_tokens=8)
            latencies.append(time.monotonic() - began)
    grown = _memory(web) - before
    rig.ledger.wait(300)
    assert refused
    record.end(
        rig, "27", f"{PLENTY:,} batches into a queue of 60", refused=refused,
        completion_p99=round(statistics.quantiles(latencies, n=100)[98], 2),
        grown_mebibytes=round(grown / 2**20, 1),
    )  # fmt: skip


def _memory(process: psutil.Process) -> int:
    family = [process, *process.children(recursive=True)]
    return sum(int(member.memory_info().rss) for member in family)


def test_a_stream_of_events_that_is_cut(rig: Rig, record: Recorder) -> None:
    """Row 28: with Last-Event-ID there is no gap and no repeat."""
    with Proxy(rig.stack.port) as proxy:
        job_id = rig.train(max_steps=1500)
        over = threading.Event()
        cutter = threading.Thread(target=_cut_again_and_again, args=(proxy, over))
        cutter.start()
        try:
            seen, connections = _follow(rig, proxy.port, job_id)
        finally:
            over.set()
            cutter.join()
    assert [number for number, _ in seen] == list(range(1, len(seen) + 1))
    assert [kind for _, kind in seen] == [event.type for event in rig.ledger.events(job_id)]
    assert connections > 3
    record.end(rig, "28", "a stream of events cut again and again", connections=connections)


def _cut_again_and_again(proxy: Proxy, over: threading.Event) -> None:
    while not over.wait(0.7):
        proxy.mode = "refuse"
        over.wait(0.05)
        proxy.mode = "pass"


def _follow(rig: Rig, port: int, job_id: str) -> tuple[list[tuple[int, str]], int]:
    """Numbers and types of all events, and how many connections that took."""
    seen: list[tuple[int, str]] = []
    connections = 0
    url = f"http://127.0.0.1:{port}/v1/jobs/{job_id}/events?stream=true"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        connections += 1
        headers = {
            "Authorization": f"Bearer {rig.stack.key}",
            "Accept": "text/event-stream",
            "Last-Event-ID": str(len(seen)),
        }
        try:
            with httpx.stream("GET", url, headers=headers, timeout=20) as answer:
                assert answer.status_code == 200
                for line in answer.iter_lines():
                    if line == "event: end":
                        return seen, connections
                    if line.startswith("data: {") and '"id"' in line:
                        event = json.loads(line.removeprefix("data: "))
                        seen.append((event["id"], event["type"]))
        except httpx.TransportError:
            continue
    raise AssertionError("the stream did not come to its end")
