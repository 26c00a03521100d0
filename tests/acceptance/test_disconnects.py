"""Clients that hang up: their work stops, and nothing of them stays."""

from __future__ import annotations

import asyncio
import os
import random

import openai
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.load_client import Caller, make_body
from tests.stack import Stack
from tests.vitals import engine_is_idle, look, open_redis, soon

WITHOUT_END = 1_000_000  # tokens: hours of work for this model, were it not stopped
AT_ONCE = 16
PLAIN = 5  # every so manieth request is no stream
POOLS = 260  # threads of the web process, and more than its connections


async def hang_up(stack: Stack, model: str, count: int, seed: int) -> None:
    """So many streams, and plain requests among them, each left at a moment of its own."""
    source = random.Random(seed)
    left = iter(range(count + count // (PLAIN - 1)))

    async def one() -> None:
        for number in left:
            caller = Caller(stack.port, stack.key)
            body = make_body(model, WITHOUT_END, stream=bool(number % PLAIN), seed=number)
            await caller.abandon(
                body, after_events=source.randint(0, 4), seconds=source.uniform(0.001, 0.3)
            )

    await asyncio.gather(*(one() for _ in range(AT_ONCE)))


@pytest.mark.parametrize("stream", [True, False])
def test_the_engine_rests_when_the_only_client_has_gone(
    stack: Stack, model: str, stream: bool
) -> None:
    caller = Caller(stack.port, stack.key)
    body = make_body(model, WITHOUT_END, stream=stream, seed=1)

    asyncio.run(caller.abandon(body, after_events=10_000, seconds=1.0))

    assert soon(lambda: engine_is_idle(stack))


@pytest.mark.parametrize(
    "count",
    [
        100,
        pytest.param(
            int(os.environ.get("TEXTGEN_ABORTED_STREAMS", "10000")),
            marks=[pytest.mark.slow, pytest.mark.timeout(3600)],
        ),
    ],
)
def test_aborted_requests_leave_nothing(
    stack: Stack, client: openai.OpenAI, model: str, count: int
) -> None:
    """No slot, no thread or descriptor each, no key, no file, and no memory to speak of."""
    asyncio.run(hang_up(stack, model, 60, seed=0))  # all threads and connections are there now
    assert soon(lambda: engine_is_idle(stack))
    connection = open_redis(stack)
    before, files = look(stack), count_files(stack)

    asyncio.run(hang_up(stack, model, count, seed=1))

    assert soon(lambda: engine_is_idle(stack))
    assert soon(lambda: texts_in_engine(stack) == 0)
    after = look(stack)
    # Pools of threads and connections may fill, up to their bounds; a leak is one a request.
    spare = min(count // 4, POOLS)
    for part in ("web", "generator", "engine"):
        threads = after[part].threads - before[part].threads
        assert threads <= spare, part
        assert after[part].descriptors <= before[part].descriptors + spare, part
        memory = before[part].anonymous_mb * 1.1 + 10 + max(0, threads) / 5
        assert after[part].anonymous_mb <= memory, part
    assert count_files(stack) <= files + 2
    kept = [key for key in connection.scan_iter("textgen:*") if connection.ttl(key) < 0]
    assert kept == []  # what there is expires
    assert client.completions.create(model=model, prompt="The ", max_tokens=5).choices[0].text
    waiting = sum(connection.xlen(key) for key in connection.scan_iter("textgen:answers:*"))
    assert waiting <= 1000
    connection.close()


def texts_in_engine(stack: Stack) -> float:
    """That hold a slot or wait for one, as the engine tells each second."""
    with stack.http() as http:
        told = http.get("/metrics").text
    return sum(
        float(sample.value)
        for family in text_string_to_metric_families(told)
        for sample in family.samples
        if sample.name in ("vllm:num_requests_running", "vllm:num_requests_waiting")
    )


def count_files(stack: Stack) -> int:
    return sum(1 for path in stack.home.rglob("*") if path.is_file())
