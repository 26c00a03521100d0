"""A mixed load and faults for as long as one likes: `make soak SECONDS_LONG=1800`.

Interactive requests, plain and streamed, streams that are given up, batches and trainings go on
side by side, while every part of the stack is killed in turn, by kill -9, once in each quarter of
the time. Accepted jobs are held to the ledger of the fault tests; answers may fail while a part is
away, and at no other time. Memory, threads, descriptors and Redis keys are looked at meanwhile:
after the first quarter of a process's life, in which caches and pools fill, none may grow. A
summary is printed as JSON.
"""

from __future__ import annotations

import json
import os
import statistics
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.acceptance.conftest import VERSES
from tests.chaos.rig import Rig
from tests.soak.faults import Faults
from tests.soak.load import BATCH_LINES, Load
from tests.vitals import (
    Vitals,
    connections_are_held,
    engine_is_idle,
    look,
    open_redis,
    soon,
)

SECONDS = float(os.environ.get("TEXTGEN_SOAK_SECONDS", "60"))
LOOK_SECONDS = 2.0
LONG_LIFE = 60  # looks at a process before one can tell whether it grows
CACHE_BYTES = 16 * 2**20  # for a few of the models that the trainings make: they have to leave

Look = tuple[dict[str, Vitals], int | None]  # and the keys in Redis, where it is there


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_nothing_is_lost_and_nothing_grows(tmp_path: Path) -> None:
    text = tmp_path / "verses.txt"
    text.write_text(VERSES * 4)
    rig = Rig(tmp_path / "rig", text, seed=0, TEXTGEN_MODEL_CACHE_BYTES=str(CACHE_BYTES))
    try:
        rig.start()
        rig.batch(BATCH_LINES)  # in peace, to compare with
        assert rig.ledger.settle().clean
        faults = Faults(rig, SECONDS)
        load = Load(rig, faults)
        looks = watch(rig, load, faults)
        rests = soon(lambda: engine_is_idle(rig.stack))
        answered = soon(lambda: connections_are_held(rig.stack))
        with open_redis(rig.stack) as connection:
            endless = [key for key in connection.scan_iter("textgen:*") if connection.ttl(key) < 0]
    except BaseException:
        print(rig.stack.log_text()[-8000:])
        raise
    finally:
        rig.close()
    summary = summarize(load, faults, looks)
    print(json.dumps(summary))
    assert load.unexcused() + faults.faults == []
    assert min(load.done[kind] for kind in ("plain", "streamed", "aborted", "batches")) > 0
    assert rests
    assert answered
    assert endless == []
    for part, grown in summary["growth"].items():
        assert grown["anonymous_mb"] <= 10 + 0.1 * grown["anonymous_mb_before"], part
        assert grown["threads"] <= 4, part
        # Those of Redis are its clients' pools, of which each life of a client has another.
        assert part == "redis" or grown["descriptors"] <= 8, part
    assert summary["redis_keys_growth"] <= 10


def watch(rig: Rig, load: Load, faults: Faults) -> list[Look]:
    """Let both go on for their time, or until too much has gone wrong, and look at the parts."""
    looks: list[Look] = []
    load.start()
    faults.start()
    until = time.monotonic() + SECONDS
    while time.monotonic() < until and len(load.unexcused(time.perf_counter() - 10)) < 20:
        before = time.perf_counter()
        time.sleep(LOOK_SECONDS)
        faults.note_standstill(before - 2 * LOOK_SECONDS)
        looks.append((look(rig.stack), _keys(rig)))
    faults.stop()
    load.stop()
    return looks


def _keys(rig: Rig) -> int | None:
    try:
        with open_redis(rig.stack) as connection:
            return int(connection.dbsize())
    except redis.RedisError:
        return None


def growth(values: list[float]) -> tuple[float, float]:
    """The second quarter's median, by when pools are full, and how much more the last one's is."""
    quarter = max(len(values) // 4, 1)
    before = statistics.median(values[quarter : 2 * quarter] or values)
    return before, statistics.median(values[-quarter:]) - before


def summarize(load: Load, faults: Faults, looks: list[Look]) -> dict[str, Any]:
    """Growth is that of the life of a process which grew most, since all but one die on the way."""
    grown: dict[str, dict[str, float]] = {}
    for part in {name for vitals, _ in looks for name in vitals}:
        lives: dict[int, list[Vitals]] = defaultdict(list)
        for vitals, _ in looks:
            if part in vitals:
                lives[vitals[part].pid].append(vitals[part])
        counted = [life for life in lives.values() if len(life) >= LONG_LIFE]
        if not counted:
            continue
        grown[part] = {"lives": len(counted)}
        for what in ("anonymous_mb", "threads", "descriptors"):
            found = [growth([getattr(each, what) for each in life]) for life in counted]
            before, by = max(found, key=lambda each: each[1])
            grown[part] |= {what: round(by, 1), f"{what}_before": round(before, 1)}
    keys, keys_growth = growth([count for _, count in looks if count is not None])
    ordered = sorted(load.first_texts)
    return {
        "seconds": SECONDS,
        "done": dict(load.done),
        "wrong": (load.unexcused() + faults.faults)[:20],
        "failed during faults": len(load.failures),
        "standstills": faults.standstills,
        "seconds until it answers again": {
            name: [round(each, 1) for each in seconds]
            for name, seconds in faults.recoveries.items()
        },
        "first_text_ms_p50": round(1000 * ordered[len(ordered) // 2], 1),
        "first_text_ms_p99": round(1000 * ordered[int(len(ordered) * 0.99)], 1),
        "growth": grown,
        "redis_keys": keys,
        "redis_keys_growth": keys_growth,
    }
