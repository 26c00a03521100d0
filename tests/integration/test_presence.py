from __future__ import annotations

import io
import time
from dataclasses import replace

import pytest
import sqlalchemy as sa

from tests.integration.conftest import fill_disk, run
from worker.backend import Backend
from worker.processes.identity import Identity
from worker.processes.presence import Presence, announce
from worker.storage.tables import workers


@pytest.fixture
def presence(backend: Backend) -> Presence:
    return Presence(backend.database, backend.settings)


def silence(backend: Backend, name: str, seconds: float) -> None:
    with backend.database.write() as connection:
        connection.execute(
            sa.update(workers)
            .where(workers.c.name == name)
            .values(seen_at=backend.database.now(connection) - seconds)
        )


def test_who_is_there(presence: Presence) -> None:
    presence.register("w2", "a", "generate", {"batch": 4})
    presence.register("w1", "a", "train", {"training": 1})

    assert [(each.name, each.role, each.queue, each.slots) for each in presence.live()] == [
        ("w1", "train", "training", 1),
        ("w2", "generate", "batch", 4),
    ]


def test_a_restart_takes_the_place_of_the_former_life(presence: Presence) -> None:
    presence.register("w1", "a", "train", {"training": 1, "batch": 1})
    presence.register("w1", "b", "train", {"training": 3})

    assert [(each.incarnation, each.slots) for each in presence.live()] == [("b", 3)]
    assert not presence.heartbeat("w1", "a")
    assert presence.heartbeat("w1", "b")
    presence.leave("w1", "a")
    assert len(presence.live()) == 1


def test_idle_slots(backend: Backend, presence: Presence) -> None:
    presence.register("w1", "a", "train", {"training": 2})
    presence.register("w2", "a", "train", {"training": 1})
    for _ in range(2):
        backend.jobs.submit("default", "training", {})
    assert presence.idle_slots("training") == 3

    run(backend.jobs)
    run(backend.jobs)

    assert presence.idle_slots("training") == 1
    assert presence.idle_slots("batch") == 0


def test_a_silent_worker_counts_as_gone(backend: Backend, presence: Presence) -> None:
    presence.register("w1", "a", "train", {"training": 2})
    silence(backend, "w1", backend.settings.lease_seconds + 1)

    assert presence.live() == [] and presence.idle_slots("training") == 0
    assert presence.forget_silent() == 0

    silence(backend, "w1", 10 * backend.settings.lease_seconds + 1)
    assert presence.forget_silent() == 1


def test_announcing(backend: Backend, presence: Presence) -> None:
    backend.jobs.submit("default", "training", {})
    dead = run(backend.jobs, "host-train-1", "before")
    fast = replace(
        backend, settings=backend.settings.model_copy(update={"heartbeat_seconds": 0.05})
    )
    identity = Identity("host-train-1", "now", io.BytesIO())

    with announce(fast, identity, "train", {"training": 1}):
        assert backend.jobs.get("default", dead.id).state == "queued"
        assert [each.name for each in presence.live()] == ["host-train-1"]
        silence(backend, "host-train-1", 1000)
        _wait_until_seen(presence)
        presence.leave("host-train-1", "now")  # as if somebody had swept it away
        _wait_until_seen(presence)
    assert presence.live() == []


def test_a_heartbeat_outlives_whatever_goes_wrong(
    backend: Backend, presence: Presence, monkeypatch: pytest.MonkeyPatch
) -> None:
    heartbeat = Presence.heartbeat
    beats: list[int] = []

    def beat(self: Presence, name: str, incarnation: str) -> bool:
        beats.append(1)
        if len(beats) == 1:
            fill_disk(backend.database)
        if len(beats) == 2:
            raise RuntimeError("nobody foresaw this")
        return heartbeat(self, name, incarnation)

    monkeypatch.setattr(Presence, "heartbeat", beat)
    fast = replace(
        backend, settings=backend.settings.model_copy(update={"heartbeat_seconds": 0.05})
    )
    with announce(fast, Identity("w1", "now", io.BytesIO()), "train", {"training": 1}):
        silence(backend, "w1", 1000)
        _wait_until_seen(presence)
    assert len(beats) > 2


def _wait_until_seen(presence: Presence) -> None:
    deadline = time.monotonic() + 60
    while not presence.live():
        assert time.monotonic() < deadline
        time.sleep(0.02)
