"""What must not grow while a stack serves: memory, threads, descriptors, keys."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
import redis

from tests.stack import Stack

PARTS = {
    "web": ("web.server",),
    "generator": ("web.cli worker generate",),
    "engine": ("engine_process",),
    "trainer": ("web.cli worker train",),
    "reconciler": ("web.cli worker reconcile",),
    "redis": ("redis-server",),
}


@dataclass(frozen=True)
class Vitals:
    """One look at a part of the stack; of several processes the largest."""

    anonymous_mb: float
    threads: int
    descriptors: int


def look(stack: Stack) -> dict[str, Vitals]:
    """Every part of the stack now."""
    found = {}
    for name, words in PARTS.items():
        seen = [_vitals(process) for process in stack.processes(*words)]
        if seen:
            found[name] = max(seen, key=lambda each: each.anonymous_mb)
    return found


def _vitals(process: psutil.Process) -> Vitals:
    status = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    kilobytes = next(int(line.split()[1]) for line in status if line.startswith("RssAnon"))
    return Vitals(kilobytes / 1024, process.num_threads(), process.num_fds())


def open_redis(stack: Stack) -> redis.Redis:
    """The stack's own Redis, by what its configuration says."""
    (config,) = stack.home.rglob("redis.conf")
    settings = dict(
        line.split(maxsplit=1) for line in config.read_text().splitlines() if " " in line
    )
    return redis.Redis(
        "127.0.0.1",
        int(settings["port"]),
        password=settings["requirepass"],
        decode_responses=True,
    )


def engine_is_idle(stack: Stack) -> bool:
    """Whether the engine computes nothing: it has used no time for a moment."""
    (engine,) = stack.processes(*PARTS["engine"])
    before = sum(engine.cpu_times()[:2])
    time.sleep(0.3)
    return bool(sum(engine.cpu_times()[:2]) - before <= 0.02)


def soon(true: Callable[[], bool], seconds: float = 20) -> bool:
    """Whether it is true within so many seconds."""
    deadline = time.monotonic() + seconds
    while not (found := true()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return found
