"""What must not grow while a stack serves: memory, threads, descriptors, keys."""

from __future__ import annotations

import contextlib
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

    pid: int
    anonymous_mb: float
    threads: int
    descriptors: int


def look(stack: Stack) -> dict[str, Vitals]:
    """Every part of the stack that lives now."""
    assert stack.process is not None
    processes = {name: stack.processes(*words) for name, words in PARTS.items()}
    processes["supervisor"] = [psutil.Process(stack.process.pid)]
    found = {}
    for name, members in processes.items():
        seen = [vitals for each in members if (vitals := _vitals(each)) is not None]
        if seen:
            found[name] = max(seen, key=lambda each: each.anonymous_mb)
    return found


def _vitals(process: psutil.Process) -> Vitals | None:
    """None where it has just ended."""
    try:
        status = Path(f"/proc/{process.pid}/status").read_text().splitlines()
        kilobytes = [int(line.split()[1]) for line in status if line.startswith("RssAnon")]
        return Vitals(process.pid, kilobytes[0] / 1024, process.num_threads(), process.num_fds())
    except (OSError, psutil.Error, IndexError):
        return None


def open_redis(stack: Stack) -> redis.Redis:
    """The stack's own Redis, by what its configuration says."""
    config = stack.home / "redis" / "redis.conf"
    settings = dict(
        line.split(maxsplit=1) for line in config.read_text().splitlines() if " " in line
    )
    return redis.Redis(
        "127.0.0.1",
        int(settings["port"]),
        password=settings["requirepass"],
        decode_responses=True,
    )


def connections_are_held(stack: Stack) -> bool:
    """Whether every connection that Redis has open is held by a process of the stack, or by us."""
    held = 0
    with open_redis(stack) as connection:
        open_there = int(connection.info("clients")["connected_clients"])
        port = connection.connection_pool.connection_kwargs["port"]
        assert stack.process is not None
        supervisor = psutil.Process(stack.process.pid)
        for process in (psutil.Process(), supervisor, *supervisor.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                held += sum(
                    each.status == psutil.CONN_ESTABLISHED and each.raddr.port == port
                    for each in process.net_connections("tcp")
                    if each.raddr
                )
    return open_there <= held


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
