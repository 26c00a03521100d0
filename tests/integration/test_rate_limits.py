"""Rate limits on a real Redis: counted together, and what happens when it goes away."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from web.rate_limits import LEAVE_ALONE_SECONDS, ProjectSlots, RateLimits
from worker.errors import QueueFull, RateLimited
from worker.settings import Settings
from worker.stack.embedded_redis import HOST, EmbeddedRedis, prepare_redis
from worker.stack.process_output import Log
from worker.stack.supervisor import Program, Supervisor


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    found = prepare_redis(tmp_path / "redis")
    with Supervisor(tmp_path / "children.json", Log(io.StringIO(), ["redis"])) as supervisor:
        supervisor.start(Program("redis", found.command, {}))
        deadline = time.monotonic() + 60
        while not found.answers():
            assert time.monotonic() < deadline
            supervisor.turn(0.02)
        yield found


def url(server: EmbeddedRedis) -> str:
    return Settings().with_broker(HOST, server.port, server.password).broker_url


def test_all_processes_count_together(server: EmbeddedRedis) -> None:
    several = [RateLimits(url(server)) for _ in range(3)]
    admitted: list[int] = []
    lock = threading.Lock()

    def send(limits: RateLimits) -> None:
        for _ in range(10):
            try:
                window = limits.request("acme", 12)
            except RateLimited as error:
                assert error.retry_after >= 1
                assert error.headers["x-ratelimit-remaining-requests"] == "0"
            else:
                with lock:
                    admitted.append(window.remaining)

    threads = [threading.Thread(target=send, args=(limits,)) for limits in several]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(admitted) == 12
    assert several[0].request("globex", 12).remaining == 11
    with redis.Redis(HOST, server.port, password=server.password) as connection:
        names = connection.keys("*")
        assert names and all(0 < connection.ttl(name) <= 121 for name in names)


def test_characters_are_counted_by_their_number(server: EmbeddedRedis) -> None:
    limits = RateLimits(url(server))

    limits.characters("acme", 1000, 900)

    with pytest.raises(RateLimited):
        limits.characters("acme", 1000, 200)
    limits.characters("acme", 1000, 50)


def test_without_redis_each_process_counts_by_itself() -> None:
    limits = RateLimits("redis://127.0.0.1:1/0")
    began = time.monotonic()
    for _ in range(3):
        limits.request("acme", 3)

    with pytest.raises(RateLimited):
        limits.request("acme", 3)
    # Redis was asked once, and then left alone.
    assert time.monotonic() - began < LEAVE_ALONE_SECONDS


def test_a_project_has_so_many_answers_open() -> None:
    slots = ProjectSlots()
    first, second = slots.take("acme", 2), slots.take("acme", 2)

    with pytest.raises(QueueFull):
        slots.take("acme", 2)
    first()
    first()  # twice does no harm
    third = slots.take("acme", 2)
    with pytest.raises(QueueFull):
        slots.take("acme", 2)
    slots.take("globex", 1)
    for free in (second, third):
        free()
    assert slots.take("acme", 1) is not None
