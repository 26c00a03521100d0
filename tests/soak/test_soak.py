"""A mixed load for as long as one likes: `make soak SECONDS_LONG=1800`.

Interactive requests, plain and streamed, streams that are given up, batches and trainings go on
side by side. Meanwhile memory, threads, descriptors and Redis keys of every part are looked at;
after a first quarter, in which caches fill, none may grow. A summary is printed as JSON.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import random
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.load_client import Call, Caller, make_body
from tests.stack import Stack, completion_lines, wait_for, wait_for_batch
from tests.vitals import Vitals, engine_is_idle, look, open_redis, soon

SECONDS = float(os.environ.get("TEXTGEN_SOAK_SECONDS", "60"))
LOOK_SECONDS = 2.0
TEXT = b"Some lines of text to train on, again and again.\n" * 400
CALLERS = 4  # of each kind
BATCH_LINES = 300


class Load:
    """Everything that goes on, until it is told to stop; whatever goes wrong is kept."""

    def __init__(self, stack: Stack, model: str, file: str) -> None:
        self.stack = stack
        self.model = model
        self.file = file
        self.done: Counter[str] = Counter()
        self.faults: list[str] = []
        self.first_texts: list[float] = []
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._guarded, args=(what,), daemon=True)
            for what in (self._calls, self._batches, self._trainings)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(120)
            assert not thread.is_alive()

    def _guarded(self, what: Callable[[], None]) -> None:
        try:
            what()
        except Exception as error:  # told at the end; the other loads go on
            self.faults.append(f"{what.__name__}: {error!r}")

    def _calls(self) -> None:
        asyncio.run(self._all_calls())

    async def _all_calls(self) -> None:
        kinds = (self._plain, self._streamed, self._aborted)
        await asyncio.gather(*(kind(i) for kind in kinds for i in range(CALLERS)))

    async def _plain(self, seed: int) -> None:
        await self._complete("plain", seed, stream=False)

    async def _streamed(self, seed: int) -> None:
        await self._complete("streamed", seed, stream=True)

    async def _complete(self, name: str, seed: int, *, stream: bool) -> None:
        source = random.Random(f"{name} {seed}")
        caller = Caller(self.stack.port, self.stack.key)
        while not self._stop.is_set():
            tokens = source.randint(10, 400)
            body = make_body(self.model, tokens, stream=stream, seed=source.getrandbits(20))
            self._note(name, await caller.complete(body), tokens)
            await asyncio.sleep(source.expovariate(10))
        caller.close()

    def _note(self, name: str, call: Call, tokens: int) -> None:
        if call.status != 200 or call.error or call.tokens != tokens:
            self.faults.append(f"{name}: {call.status} {call.error} {call.tokens} of {tokens}")
        elif name == "streamed":
            self.first_texts.append(call.first_text)
        self.done[name] += 1

    async def _aborted(self, seed: int) -> None:
        source = random.Random(f"aborted {seed}")
        while not self._stop.is_set():
            caller = Caller(self.stack.port, self.stack.key)
            body = make_body(self.model, 1_000_000, stream=source.random() < 0.5, seed=1)
            await caller.abandon(
                body, after_events=source.randint(1, 5), seconds=source.uniform(0.01, 0.5)
            )
            self.done["aborted"] += 1

    def _batches(self) -> None:
        with self.stack.client() as client:
            while not self._stop.is_set():
                content = io.BytesIO(completion_lines(self.model, BATCH_LINES, max_tokens=20))
                file = client.files.create(file=("lines.jsonl", content), purpose="batch")
                batch = client.batches.create(
                    input_file_id=file.id,
                    endpoint="/v1/completions",
                    completion_window="24h",
                )
                batch = wait_for_batch(client, batch.id)
                if batch.request_counts.completed != BATCH_LINES:
                    self.faults.append(f"batch: {batch.status} {batch.request_counts}")
                for each in (file.id, batch.output_file_id):
                    client.files.delete(each)
                self.done["batches"] += 1

    def _trainings(self) -> None:
        with self.stack.client() as client:
            while not self._stop.is_set():
                model = train(client, self.file, 30)
                client.completions.create(model=model, prompt="Some", max_tokens=5)
                client.models.delete(model)  # so every one of them is loaded and has to leave
                self.done["trainings"] += 1


def train(client: openai.OpenAI, file: str, steps: int) -> str:
    job = client.fine_tuning.jobs.create(
        model="lstm-tiny",
        training_file=file,
        extra_body={"hyperparameters": {"max_steps": steps}},
    )
    return str(wait_for(client, job.id).fine_tuned_model)


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_nothing_grows_under_a_mixed_load(tmp_path: Path) -> None:
    # Memory for a few of the models that the trainings make, so that they have to leave.
    with Stack(tmp_path / "home", TEXTGEN_MODEL_CACHE_BYTES=str(64 * 2**20)) as stack:
        client = stack.client()
        file = client.files.create(file=("text.txt", TEXT), purpose="fine-tune").id
        load = Load(stack, train(client, file, 60), file)
        connection = open_redis(stack)
        looks: list[tuple[dict[str, Vitals], int]] = []
        load.start()
        until = time.monotonic() + SECONDS
        while time.monotonic() < until and len(load.faults) < 20:
            time.sleep(LOOK_SECONDS)
            looks.append((look(stack), connection.dbsize()))
        load.stop()
        rests = soon(lambda: engine_is_idle(stack))
        endless = [key for key in connection.scan_iter("textgen:*") if connection.ttl(key) < 0]
        connection.close()
        client.close()
    summary = summarize(load, looks)
    print(json.dumps(summary))
    assert load.faults == []
    assert min(load.done[kind] for kind in ("plain", "streamed", "aborted", "batches")) > 0
    assert rests
    assert endless == []
    for part, growth in summary["growth"].items():
        assert growth["anonymous_mb"] <= 10 + 0.1 * growth["of_mb"], part
        assert growth["threads"] <= 4, part
        assert growth["descriptors"] <= 8, part
    assert summary["redis_keys_growth"] <= 10


def summarize(load: Load, looks: list[tuple[dict[str, Vitals], int]]) -> dict[str, Any]:
    """Growth is the last quarter's median less the second quarter's."""
    quarter = len(looks) // 4
    early, late = looks[quarter : 2 * quarter], looks[-quarter:]

    def median(chosen: list[tuple[dict[str, Vitals], int]], part: str, what: str) -> float:
        return statistics.median(getattr(each[part], what) for each, _ in chosen if part in each)

    growth = {}
    for part in looks[-1][0]:
        growth[part] = {
            what: round(median(late, part, what) - median(early, part, what), 1)
            for what in ("anonymous_mb", "threads", "descriptors")
        }
        growth[part]["of_mb"] = round(median(early, part, "anonymous_mb"), 1)
    keys = [statistics.median(count for _, count in part) for part in (early, late)]
    ordered = sorted(load.first_texts)
    return {
        "seconds": SECONDS,
        "done": dict(load.done),
        "faults": load.faults[:20],
        "first_text_ms_p50": round(1000 * ordered[len(ordered) // 2], 1),
        "first_text_ms_p99": round(1000 * ordered[int(len(ordered) * 0.99)], 1),
        "growth": growth,
        "redis_keys": keys[0],
        "redis_keys_growth": keys[1] - keys[0],
    }
