"""Copies of remote files are bounded on each machine, and what is in use stays."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.stack import ROOT
from worker.storage.artifacts import ArtifactStore

SIZE = 10_000
HOUR = 3600.0


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Storage that several processes see, and that has no paths of this machine for us."""
    return f"local://{tmp_path / 'bucket'}"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "copies"


@pytest.fixture
def store(url: str, cache: Path) -> ArtifactStore:
    """It may hold three of the files."""
    return ArtifactStore(url, cache, cache_bytes=3 * SIZE)


def publish(store: ArtifactStore, count: int) -> list[str]:
    names = [f"jobs/{number}/1/model" for number in range(count)]
    for number, name in enumerate(names):
        with store.create(name) as staging:
            with staging.open("model") as stream:
                stream.write(bytes([number]) * SIZE)
            staging.commit()
    return names


def copies(cache: Path) -> set[int]:
    """Which files have a copy, by what is in them. To look is not to use."""
    found = set()
    for path in cache.glob("??/*"):
        before = path.stat()
        content = path.read_bytes()
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert path.name == hashlib.sha256(content).hexdigest()
        found.add(content[0])
    return found


def pass_time(cache: Path, seconds: float) -> None:
    """As if everybody had asked so much earlier."""
    for path in cache.glob("??/*"):
        status = path.stat()
        os.utime(path, (status.st_atime - seconds, status.st_mtime))


def test_who_was_asked_for_longest_ago_leaves(store: ArtifactStore, cache: Path) -> None:
    names = publish(store, 6)
    for name in names[:3]:
        store.local_path(name, "model")
        pass_time(cache, HOUR)
    store.local_path(names[0], "model")
    pass_time(cache, HOUR)

    for name, left in ((names[3], {0, 2, 3}), (names[4], {0, 3, 4}), (names[1], {1, 3, 4})):
        assert store.local_path(name, "model").stat().st_size == SIZE
        assert copies(cache) == left
        pass_time(cache, HOUR)


def test_one_that_has_left_is_fetched_again(store: ArtifactStore, cache: Path) -> None:
    names = publish(store, 5)
    first = store.local_path(names[0], "model")
    for name in names[1:]:
        pass_time(cache, HOUR)
        store.local_path(name, "model")
    assert not first.exists()

    assert store.local_path(names[0], "model") == first
    assert first.read_bytes() == bytes([0]) * SIZE


def test_what_was_asked_for_a_moment_ago_stays(store: ArtifactStore, cache: Path) -> None:
    """Who was given its path may be about to open it."""
    names = publish(store, 5)

    paths = [store.local_path(name, "model") for name in names]

    assert all(path.exists() for path in paths)
    pass_time(cache, HOUR)
    store.local_path(names[0], "model")  # now it was used a moment ago
    store.tidy_copies()
    assert 0 in copies(cache) and len(copies(cache)) == 3


def test_what_is_held_stays_and_leaves_its_turn_to_others(
    store: ArtifactStore, cache: Path
) -> None:
    names = publish(store, 6)
    with store.held(names[0], "model") as path, store.held(names[1], "model"):
        for name in names[2:]:
            pass_time(cache, HOUR)
            store.local_path(name, "model")
            assert {0, 1} <= copies(cache) and len(copies(cache)) <= 3
        assert path.read_bytes() == bytes([0]) * SIZE
    pass_time(cache, HOUR)

    store.local_path(names[2], "model")
    store.local_path(names[3], "model")

    assert {2, 3} <= copies(cache) and len(copies(cache)) == 3


def test_more_than_the_bound_where_all_are_held(store: ArtifactStore, cache: Path) -> None:
    names = publish(store, 5)
    with (
        store.held(names[0], "model"),
        store.held(names[1], "model"),
        store.held(names[2], "model"),
        store.held(names[3], "model"),
    ):
        pass_time(cache, HOUR)
        store.local_path(names[4], "model")
        assert copies(cache) == {0, 1, 2, 3, 4}
    pass_time(cache, HOUR)

    store.tidy_copies()

    assert len(copies(cache)) == 3


def test_what_nobody_has_used_for_a_day_leaves(store: ArtifactStore, cache: Path) -> None:
    """So what was deleted in storage is not kept here for ever."""
    names = publish(store, 2)
    for name in names:
        store.local_path(name, "model")
    with store.held(names[1], "model"):
        pass_time(cache, 25 * HOUR)

        store.tidy_copies()

        assert copies(cache) == {1}


def test_a_damaged_copy_is_fetched_anew(store: ArtifactStore, url: str, cache: Path) -> None:
    (name,) = publish(store, 1)
    path = store.local_path(name, "model")
    for other in (store, ArtifactStore(url, cache, cache_bytes=3 * SIZE)):
        path.write_bytes(b"x" * SIZE)

        assert other.local_path(name, "model").read_bytes() == bytes([0]) * SIZE


def test_what_died_while_it_was_fetched_goes(store: ArtifactStore, cache: Path) -> None:
    names = publish(store, 2)
    store.local_path(names[0], "model")
    part = cache / "aa" / "tmp123.part"
    part.parent.mkdir(exist_ok=True)
    part.write_bytes(b"x")
    pass_time(cache, 25 * HOUR)

    store.tidy_copies()

    assert not part.exists() and list(cache.glob("??/*")) == []


HOLDER = """
import sys, time
from pathlib import Path
from worker.storage.artifacts import ArtifactStore

store = ArtifactStore(sys.argv[1], Path(sys.argv[2]), cache_bytes=int(sys.argv[3]))
with store.held(sys.argv[4], "model"):
    print("held", flush=True)
    time.sleep(600)
"""


def test_another_processs_hold_counts_until_it_dies(
    store: ArtifactStore, url: str, cache: Path
) -> None:
    names = publish(store, 6)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, url, str(cache), str(3 * SIZE), names[0]],
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
    for name in names[1:5]:
        pass_time(cache, HOUR)
        store.local_path(name, "model")
    assert 0 in copies(cache) and len(copies(cache)) == 3

    holder.send_signal(signal.SIGKILL)
    holder.wait()
    holder.stdout.close()
    pass_time(cache, HOUR)
    store.local_path(names[5], "model")

    assert 0 not in copies(cache) and len(copies(cache)) == 3


READER = """
import random, sys
from contextlib import ExitStack
from pathlib import Path
from worker.storage import file_cache
from worker.storage.artifacts import ArtifactStore

# Only what is held stays, so that copies leave as often as can be, also before they are held.
file_cache.FRESH_SECONDS = file_cache.NOTED_SECONDS = 0.0
store = ArtifactStore(sys.argv[1], Path(sys.argv[2]), cache_bytes=int(sys.argv[3]))
chance = random.Random(int(sys.argv[4]))
for _ in range(150):
    number = chance.randrange(6)
    with ExitStack() as stack:
        try:
            path = stack.enter_context(store.held(f"jobs/{number}/1/model", "model"))
        except FileNotFoundError:
            continue
        assert path.read_bytes() == bytes([number]) * 10_000
print("done")
"""


def test_many_processes_that_use_and_drop_the_same(
    store: ArtifactStore, url: str, cache: Path
) -> None:
    publish(store, 6)
    readers = [
        subprocess.Popen(
            [sys.executable, "-c", READER, url, str(cache), str(2 * SIZE), str(number)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=ROOT,
        )
        for number in range(3)
    ]

    told = [reader.communicate(timeout=120) for reader in readers]

    assert [out for out, _ in told] == [b"done\n"] * 3, told
    assert not list(cache.glob("??/*.part"))


def test_threads_that_want_the_same(store: ArtifactStore, cache: Path) -> None:
    (name,) = publish(store, 1)
    found: list[bytes] = []

    def read() -> None:
        with store.held(name, "model") as path:
            found.append(path.read_bytes())

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == [bytes([0]) * SIZE] * 8
    assert len(list(cache.glob("??/*"))) == 1


def test_asking_often_writes_seldom(store: ArtifactStore) -> None:
    """The time is noted once a minute, whatever comes."""
    (name,) = publish(store, 1)
    path = store.local_path(name, "model")
    noted = path.stat().st_ctime_ns
    time.sleep(0.01)

    for _ in range(5):
        assert store.local_path(name, "model") == path

    assert path.stat().st_ctime_ns == noted
