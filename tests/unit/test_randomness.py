from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from textgen.engine.randomness import stream_key, uniform

ROOT = Path(__file__).parents[2]


def numbers(seed: int, choice: int = 0, count: int = 4096) -> np.ndarray:
    positions = np.arange(count, dtype=np.uint64)
    return uniform(np.full(count, stream_key(seed, choice), np.uint64), positions)


def test_known_values_of_splitmix64() -> None:
    # The first outputs for the key 0, as published with the reference implementation.
    words = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    got = uniform(np.zeros(3, np.uint64), np.arange(3, dtype=np.uint64))
    assert got.tolist() == [(word >> 16) / 2**48 for word in words]


def test_another_process_draws_the_same() -> None:
    script = (
        "import numpy as np; from textgen.engine.randomness import *;"
        "print(uniform(np.array([stream_key(-5, 3)], np.uint64), np.array([77], np.uint64))[0])"
    )
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert float(run.stdout) == numbers(-5, 3)[77]


@pytest.mark.parametrize("seed", [0, 1, -1, 2**63 - 1, -(2**63)])
def test_numbers_are_even_over_the_unit_interval(seed: int) -> None:
    drawn = numbers(seed, count=65536)
    assert drawn.min() >= 0
    assert drawn.max() < 1
    counts = np.bincount((drawn * 64).astype(int), minlength=64)
    chi_square = ((counts - 1024) ** 2 / 1024).sum()
    assert chi_square < 120  # 63 degrees of freedom: exceeded once in 50,000 times


def test_streams_of_near_seeds_and_choices_are_unrelated() -> None:
    streams = [numbers(seed, choice) for seed in range(8) for choice in range(8)]
    streams += [[*numbers(7)[1:].tolist(), 0.5]]  # its own successor
    correlations = np.corrcoef(np.array(streams)) - np.eye(len(streams))
    assert np.abs(correlations).max() < 5 / np.sqrt(4096)


def test_seeds_and_choices_give_different_keys() -> None:
    keys = {stream_key(seed, choice) for seed in range(-50, 50) for choice in range(128)}
    assert len(keys) == 100 * 128


def test_a_product_stays_below_its_other_factor() -> None:
    largest = 1 - 2.0**-48
    totals = np.nextafter(np.array([1.0, 2.0, 0.75, 1e-300]), 0)
    assert (largest * totals < totals).all()
