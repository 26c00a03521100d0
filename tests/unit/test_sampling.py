from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from textgen.engine.sampling import RowSampler, draw_by_inverse
from textgen.options import SamplingOptions

DRAWS = 40_000
LOGITS = torch.tensor([1.5, -0.5, float("-inf"), 0.0, 2.0, 0.25, -3.0, 1.0])


def exact(logits: torch.Tensor, options: SamplingOptions) -> np.ndarray:
    """The probabilities as their definition has them, one token after the other."""
    values = logits.double().numpy() / options.temperature
    chances = np.exp(values - values.max())
    order = sorted(range(len(chances)), key=lambda token: -chances[token])
    kept = order[: options.top_k] if options.top_k > 0 else order
    total = sum(chances[token] for token in kept)
    nucleus, mass = [], 0.0
    for token in kept:
        if mass >= options.top_p * total:
            break
        nucleus.append(token)
        mass += chances[token]
    wanted = np.zeros(len(chances))
    wanted[nucleus] = chances[nucleus] / mass
    return wanted


def draw_many(logits: torch.Tensor, options: SamplingOptions, *, seed: int = 0) -> np.ndarray:
    """The first token of DRAWS choices, by their number."""
    rows = 500
    counts = np.zeros(logits.shape[-1])
    sampler = RowSampler(rows)
    for first in range(0, DRAWS, rows):
        for row in range(rows):
            sampler.set(row, options, seed, first + row)
        drawn = sampler.draw(logits.expand(rows, -1).clone())
        counts += np.bincount(drawn.numpy(), minlength=len(counts))
    return counts


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"temperature": 0.5},
        {"temperature": 2.0},
        {"top_k": 3},
        {"top_k": 1},
        {"top_k": 1000},
        {"top_p": 0.6},
        {"top_p": 0.01},
        {"top_p": 0.999},
        {"temperature": 1.3, "top_k": 5, "top_p": 0.8},
    ],
    ids=str,
)
def test_tokens_come_as_often_as_their_probabilities_say(values: dict[str, float]) -> None:
    options = SamplingOptions(**values)
    wanted = exact(LOGITS, options) * DRAWS
    counts = draw_many(LOGITS, options)
    possible = wanted > 0
    assert counts[~possible].sum() == 0
    chi_square = ((counts - wanted)[possible] ** 2 / wanted[possible]).sum()
    # At most 6 degrees of freedom; beyond 28 once in 10,000 times.
    assert chi_square < 28


def test_following_positions_are_drawn_independently() -> None:
    sampler = RowSampler(1)
    sampler.set(0, SamplingOptions(), 5, 0)
    logits = torch.zeros(1, 4)
    drawn = np.array([int(sampler.draw(logits.clone())[0]) for _ in range(20_000)])
    pairs = np.bincount(drawn[:-1] * 4 + drawn[1:], minlength=16)
    wanted = len(drawn) / 16
    assert ((pairs - wanted) ** 2 / wanted).sum() < 45  # 15 degrees of freedom, 1 in 10,000


@pytest.mark.parametrize("columns", [32, 96, 2048])
def test_a_row_draws_the_same_alone_and_among_others(columns: int) -> None:
    generator = np.random.default_rng(columns)
    everyone = [
        SamplingOptions(
            temperature=float(generator.choice([0, 0.3, 1, 1.7])),
            top_k=int(generator.choice([0, 1, 7, 5000])),
            top_p=float(generator.choice([1, 0.9, 0.2])),
        )
        for _ in range(200)
    ]
    logits = torch.randn(200, columns, generator=torch.Generator().manual_seed(1)) * 3
    alone = []
    for row, options in enumerate(everyone):
        sampler = RowSampler(1)
        sampler.set(0, options, row, row % 3)
        alone.append([int(sampler.draw(logits[row : row + 1].clone())) for _ in range(3)])
    for count in [*range(1, 20), 63, 64, 65, 127, 128, 129, 200]:
        sampler = RowSampler(200)
        for row in range(count):
            sampler.set(row, everyone[row], row, row % 3)
        together = [sampler.draw(logits[:count].clone()).tolist() for _ in range(3)]
        assert [list(row) for row in zip(*together, strict=True)] == alone[:count], count


def test_a_moved_row_goes_on_as_it_would_have() -> None:
    logits = torch.randn(1, 64, generator=torch.Generator().manual_seed(0))
    options = SamplingOptions(temperature=1.2, top_k=20, top_p=0.9)
    still, moved = RowSampler(8), RowSampler(8)
    still.set(0, options, 3, 1)
    moved.set(0, SamplingOptions(temperature=0), 0, 0)
    moved.set(1, options, 3, 1)
    first = int(still.draw(logits.clone())), int(moved.draw(logits.repeat(2, 1))[1])
    moved.move(1, 0)
    rest = [(int(still.draw(logits.clone())), int(moved.draw(logits.clone()))) for _ in range(50)]
    assert all(left == right for left, right in [first, *rest])


@pytest.mark.parametrize("temperature", [0, 1e-9, 1e-6])
def test_temperature_zero_takes_the_likeliest_and_of_equals_the_first(temperature: float) -> None:
    sampler = RowSampler(3)
    for row in range(3):
        sampler.set(row, SamplingOptions(temperature=temperature), row, 0)
    logits = torch.zeros(3, 32)
    logits[1, 5] = logits[1, 9] = 0.5
    logits[2, 31] = 1e-6
    assert sampler.draw(logits).tolist() == [0, 5, 31]


def test_greedy_and_drawn_rows_share_a_batch() -> None:
    sampler = RowSampler(2)
    sampler.set(0, SamplingOptions(temperature=0), 0, 0)
    sampler.set(1, SamplingOptions(), 0, 0)
    drawn = [sampler.draw(LOGITS.repeat(2, 1)).tolist() for _ in range(100)]
    assert {row[0] for row in drawn} == {4}
    assert len({row[1] for row in drawn}) > 3


def test_top_p_looks_beyond_the_head_of_a_large_vocabulary_where_it_must() -> None:
    logits = torch.zeros(2, 4096)
    logits[1] = torch.arange(4096) * -0.1
    sampler = RowSampler(2)
    drawn = []
    for choice in range(400):
        for row in range(2):
            sampler.set(row, SamplingOptions(top_p=0.95), 0, choice)
        drawn.append(sampler.draw(logits.clone()).tolist())
    even, steep = zip(*drawn, strict=True)
    assert max(even) > 3500
    assert max(steep) <= 30  # 1 - exp(-0.1 · 30) = 0.95


@given(
    weights=st.lists(st.sampled_from([0.0, 1e-30, 0.1, 0.5, 1.0]), min_size=1, max_size=40).filter(
        lambda weights: sum(weights) > 0
    ),
    number=st.integers(0, 2**48 - 1) | st.just(2**48 - 1) | st.just(0),
)
def test_the_inverse_never_gives_what_has_no_chance(weights: list[float], number: int) -> None:
    probabilities = torch.tensor([weights])
    chosen = int(
        draw_by_inverse(probabilities, torch.tensor([number / 2**48], dtype=torch.float64))
    )
    assert weights[chosen] > 0
    assert sum(weights[:chosen]) <= number / 2**48 * sum(weights) * (1 + 1e-6) + 1e-12
