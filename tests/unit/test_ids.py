from __future__ import annotations

import threading
import time

import pytest

from worker.storage.ids import ALPHABET, new_id, ordinal


def test_an_id_is_its_prefix_and_26_plain_characters() -> None:
    identifier = new_id("ftjob-")

    assert identifier.startswith("ftjob-") and len(identifier) == 6 + 26
    assert set(ordinal(identifier)) <= set(ALPHABET)


def test_ids_sort_by_the_time_they_were_made() -> None:
    ids = [new_id("a") for _ in range(5000)]

    assert ids == sorted(ids)
    assert len(set(ids)) == len(ids)


def test_ids_of_all_prefixes_have_one_order() -> None:
    ordinals = [ordinal(new_id(prefix)) for prefix in ("z-", "a_", "file-", "batch_")]

    assert ordinals == sorted(ordinals)


def test_threads_never_make_the_same_id() -> None:
    made: list[list[str]] = [[] for _ in range(4)]

    def make(ids: list[str]) -> None:
        ids += [new_id("x") for _ in range(2000)]

    threads = [threading.Thread(target=make, args=(ids,)) for ids in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len({each for ids in made for each in ids}) == 8000
    assert all(ids == sorted(ids) for ids in made)


def test_order_survives_a_clock_that_steps_back(monkeypatch: pytest.MonkeyPatch) -> None:
    first = new_id("x")
    now = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: now - 3_600_000_000_000)

    assert new_id("x") > first


def test_the_time_is_in_the_id(monkeypatch: pytest.MonkeyPatch) -> None:
    year_2100 = 4_102_444_800_000
    monkeypatch.setattr(time, "time_ns", lambda: year_2100 * 1_000_000)

    number = 0
    for character in ordinal(new_id("x")):
        number = number << 5 | ALPHABET.index(character)

    assert number >> 80 == year_2100
