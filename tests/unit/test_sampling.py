from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from textgen.corpus.copy_index import CopyIndex, build
from textgen.engine.sampling import RowSampler, draw_by_inverse
from textgen.engine.vocabulary import Vocabulary
from textgen.options import SamplingOptions

DRAWS = 10_000
END = 7
LOGITS = torch.tensor([1.5, -0.5, float("-inf"), 0.0, 2.0, 0.25, -3.0, 1.0])


PIECES = ["a", "b", "ab", "ba", "c", "我", "a我", ""]
CORPUS = "abcab我abcaba我"


def sampler_for(rows: int, columns: int) -> RowSampler:
    return RowSampler(rows, Vocabulary([b""] * columns, end=min(END, columns - 1)))


def may_come(token: int, options: SamplingOptions, prompt: list[int], text: list[int]) -> bool:
    """The options that forbid a token, each as its page has it."""
    before = "".join(PIECES[each] for each in text)
    after = before + PIECES[token]
    size = options.no_repeat_ngram_size
    whole = [*prompt, *text, token]
    ngrams = [whole[at : at + size] for at in range(len(whole) - size)]
    longest = options.reject_if_copied_over
    ends = token in (END, *options.stop_token_ids)
    return not (
        (options.allowed_token_ids is not None and token not in options.allowed_token_ids)
        or (ends and len(text) < options.min_tokens)
        or (size > 0 and whole[-size:] in ngrams)
        or any(after.count(word) > before.count(word) for word in options.bad_words)
        or not is_made_of(after, options.allowed_words, whole=token == END)
        or (longest is not None and has_copy(after, longest))
    )


def is_made_of(text: str, words: tuple[str, ...] | None, *, whole: bool) -> bool:
    if words is None or text == "":
        return True
    return any(
        (not whole and word.startswith(text))
        or (text.startswith(word) and is_made_of(text[len(word) :], words, whole=whole))
        for word in words
    )


def has_copy(text: str, longest: int) -> bool:
    parts = [text[at : at + longest + 1] for at in range(len(text) - longest)]
    return any(part in CORPUS for part in parts)


def exact(
    logits: torch.Tensor,
    options: SamplingOptions,
    prompt: Sequence[int] = (),
    text: Sequence[int] = (),
) -> np.ndarray:
    """The chances of the token behind ``text`` as docs/sampling.md defines them, one by one."""
    values = logits.double().tolist()
    for token in range(len(values)):
        if not may_come(token, options, list(prompt), list(text)):
            values[token] = -math.inf
        values[token] += options.logit_bias.get(token, 0)
        if token in (*prompt, *text):
            if values[token] > 0:
                values[token] /= options.repetition_penalty
            else:
                values[token] *= options.repetition_penalty
        values[token] -= options.frequency_penalty * list(text).count(token)
        values[token] -= options.presence_penalty * (token in text)
    temperatures = options.temperatures
    heat = temperatures[len(text) % len(temperatures)]
    if heat == 0:
        chances = [float(token == values.index(max(values))) for token in range(len(values))]
        return np.array(chances)
    chances = shares([value / heat for value in values])
    chances = kept(chances, [each >= options.min_p * max(chances) for each in chances])
    order = sorted(range(len(chances)), key=lambda token: -chances[token])
    if options.top_k > 0:
        chances = kept(chances, [token in order[: options.top_k] for token in range(len(chances))])
    chances = with_mass(chances, order, options.top_p)
    entropy = sum(-each * math.log(each) for each in chances if each)
    distance = [abs(-math.log(each) - entropy) if each else math.inf for each in chances]
    order = sorted(range(len(chances)), key=distance.__getitem__)
    return np.array(with_mass(chances, order, options.typical_p))


def shares(values: list[float]) -> list[float]:
    weights = [math.exp(value - max(values)) for value in values]
    return [weight / sum(weights) for weight in weights]


def kept(chances: list[float], which: list[bool]) -> list[float]:
    left = [each * keep for each, keep in zip(chances, which, strict=True)]
    return [each / sum(left) for each in left]


def with_mass(chances: list[float], order: list[int], wanted: float) -> list[float]:
    """Only the first tokens of ``order`` that have the mass together."""
    found, mass = set(), 0.0
    for token in order:
        if mass < wanted:
            found.add(token)
            mass += chances[token]
    return kept(chances, [token in found for token in range(len(chances))])


def draw_many(
    options: SamplingOptions, prompt: Sequence[int] = (), text: Sequence[int] = ()
) -> np.ndarray:
    """The token behind ``text`` of DRAWS choices, by their number."""
    rows = 500
    counts = np.zeros(len(LOGITS))
    longest = options.reject_if_copied_over
    window = 4 if longest is None else longest + 1
    vocabulary = Vocabulary([piece.encode() for piece in PIECES], END)
    copies = CopyIndex(window, [build([CORPUS], window, 1000)])
    sampler = RowSampler(rows, vocabulary, copies=copies)
    for first in range(0, DRAWS, rows):
        for row in range(rows):
            sampler.set(row, options, 0, first + row, np.array(prompt, np.int64))
        for token in text:
            certain = torch.full((rows, len(LOGITS)), -1e4)
            certain[:, token] = 1e4
            assert set(sampler.draw(certain).tolist()) == {token}
        counts += np.bincount(sampler.draw(LOGITS.repeat(rows, 1)).numpy(), minlength=len(LOGITS))
    return counts


@pytest.mark.parametrize(
    ("values", "prompt", "text"),
    [
        ({}, [], []),
        ({"temperature": 0.5}, [], []),
        ({"temperature": 2.0}, [], []),
        ({"temperature": [0.5, 1.5]}, [], []),
        ({"temperature": [0.5, 1.5]}, [], [1]),
        ({"temperature": [0, 1.5]}, [], [3, 4]),
        ({"top_k": 3}, [], []),
        ({"top_k": 1}, [], []),
        ({"top_k": 1000}, [], []),
        ({"top_k": -1}, [], []),
        ({"top_p": 0.6}, [], []),
        ({"top_p": 0.01}, [], []),
        ({"top_p": 0.999}, [], []),
        ({"temperature": 1.3, "top_k": 5, "top_p": 0.8}, [], []),
        ({"min_p": 0.3}, [], []),
        ({"min_p": 1.0}, [], []),
        ({"min_p": 0.1, "top_p": 0.8, "temperature": 1.6}, [], []),
        ({"typical_p": 0.5}, [], []),
        ({"typical_p": 0.2, "temperature": 0.7}, [], []),
        ({"typical_p": 0.9, "top_k": 5}, [], []),
        ({"logit_bias": {0: 2, 4: -100, 2: 100}}, [], []),
        ({"allowed_token_ids": [0, 3, 5], "logit_bias": {3: 1.5, 4: 9}}, [], []),
        ({"frequency_penalty": 0.8}, [4], [4, 4, 0]),
        ({"frequency_penalty": -0.8}, [], [1]),
        ({"presence_penalty": 1.5}, [4], [0, 0, 7]),
        ({"repetition_penalty": 2.0}, [4, 6], [0, 1]),
        ({"repetition_penalty": 0.7, "presence_penalty": -1}, [4, 6], [0, 1]),
        ({"no_repeat_ngram_size": 1}, [4], [0]),
        ({"no_repeat_ngram_size": 2}, [4, 0, 7], [4]),
        ({"no_repeat_ngram_size": 3}, [4, 0, 7, 4], [0, 5, 4, 0]),
        ({"no_repeat_ngram_size": 4}, [4], [0]),
        ({"min_tokens": 2, "stop_token_ids": [4], "max_tokens": 9}, [], [0]),
        ({"min_tokens": 2, "stop_token_ids": [4], "max_tokens": 9}, [], [0, 5]),
        ({"bad_words": ["ab", "c我"]}, [], []),
        ({"bad_words": ["ab", "c我"]}, [0], [0]),
        ({"bad_words": ["ab", "c我"]}, [], [1, 4]),
        ({"allowed_words": ["ab", "aba我"]}, [], []),
        ({"allowed_words": ["ab", "aba我"]}, [], [0]),
        ({"allowed_words": ["ab", "aba我"]}, [], [2]),
        ({"allowed_words": ["ab", "aba我"], "temperature": 0.6}, [], [0, 1, 0]),
        ({"reject_if_copied_over": 1}, [], [0]),
        ({"reject_if_copied_over": 2}, [], [2]),
        ({"reject_if_copied_over": 3, "top_k": 2}, [4], [2, 4]),
        (
            {"temperature": 1.2, "logit_bias": {1: 2}, "presence_penalty": 0.5, "top_k": 6}
            | {"min_p": 0.05, "top_p": 0.95, "typical_p": 0.9, "repetition_penalty": 1.2},
            [0],
            [4, 3],
        ),
    ],
    ids=str,
)
def test_tokens_come_as_often_as_their_probabilities_say(
    values: dict[str, Any], prompt: list[int], text: list[int]
) -> None:
    options = SamplingOptions(**values)
    wanted = exact(LOGITS, options, prompt, text) * DRAWS
    counts = draw_many(options, prompt, text)
    possible = wanted > 0
    assert counts[~possible].sum() == 0
    chi_square = ((counts - wanted)[possible] ** 2 / wanted[possible]).sum()
    # At most 6 degrees of freedom; beyond 28 once in 10,000 times.
    assert chi_square < 28


def test_following_positions_are_drawn_independently() -> None:
    sampler = sampler_for(1, 4)
    sampler.set(0, SamplingOptions(), 5, 0)
    logits = torch.zeros(1, 4)
    drawn = np.array([int(sampler.draw(logits.clone())[0]) for _ in range(20_000)])
    pairs = np.bincount(drawn[:-1] * 4 + drawn[1:], minlength=16)
    wanted = len(drawn) / 16
    assert ((pairs - wanted) ** 2 / wanted).sum() < 45  # 15 degrees of freedom, 1 in 10,000


def mixed_options(generator: np.random.Generator, columns: int) -> SamplingOptions:
    """Any options together, most of them left alone."""

    def some(*values: Any) -> Any:
        return values[int(generator.integers(len(values)))]

    ids = generator.integers(columns, size=8).tolist()
    return SamplingOptions(
        temperature=some(0, 0.3, 1, 1, 1.7, (0.2, 1.5)),
        top_k=some(0, 0, 1, 7, 5000),
        top_p=some(1, 1, 0.9, 0.2),
        min_p=some(0, 0, 0.1),
        typical_p=some(1, 1, 0.6),
        repetition_penalty=some(1, 1, 1.5),
        frequency_penalty=some(0, 0, -1.1),
        presence_penalty=some(0, 0, 0.7),
        logit_bias=some({}, {}, dict.fromkeys(ids, 3.3)),
        allowed_token_ids=some(None, None, None, tuple(ids)),
        no_repeat_ngram_size=some(0, 0, 1, 2),
        min_tokens=some(0, 0, 2),
    )


@pytest.mark.parametrize("columns", [32, 96, 2048])
def test_a_row_draws_the_same_alone_and_among_others(columns: int) -> None:
    generator = np.random.default_rng(columns)
    everyone = [mixed_options(generator, columns) for _ in range(200)]
    logits = torch.randn(200, columns, generator=torch.Generator().manual_seed(1)) * 3
    alone = []
    for row, options in enumerate(everyone):
        sampler = sampler_for(1, columns)
        sampler.set(0, options, row, row % 3)
        alone.append([int(sampler.draw(logits[row : row + 1].clone())) for _ in range(3)])
    for count in [*range(1, 20), 63, 64, 65, 127, 128, 129, 200]:
        sampler = sampler_for(200, columns)
        for row in range(count):
            sampler.set(row, everyone[row], row, row % 3)
        together = [sampler.draw(logits[:count].clone()).tolist() for _ in range(3)]
        assert [list(row) for row in zip(*together, strict=True)] == alone[:count], count


def test_a_moved_row_goes_on_as_it_would_have() -> None:
    logits = torch.randn(1, 64, generator=torch.Generator().manual_seed(0))
    options = SamplingOptions(temperature=1.2, top_k=20, top_p=0.9)
    still, moved = sampler_for(8, 64), sampler_for(8, 64)
    still.set(0, options, 3, 1)
    moved.set(0, SamplingOptions(temperature=0), 0, 0)
    moved.set(1, options, 3, 1)
    first = int(still.draw(logits.clone())), int(moved.draw(logits.repeat(2, 1))[1])
    moved.move(1, 0)
    rest = [(int(still.draw(logits.clone())), int(moved.draw(logits.clone()))) for _ in range(50)]
    assert all(left == right for left, right in [first, *rest])


@pytest.mark.parametrize("temperature", [0, 1e-9, 1e-6])
def test_temperature_zero_takes_the_likeliest_and_of_equals_the_first(temperature: float) -> None:
    sampler = sampler_for(3, 32)
    for row in range(3):
        sampler.set(row, SamplingOptions(temperature=temperature), row, 0)
    logits = torch.zeros(3, 32)
    logits[1, 5] = logits[1, 9] = 0.5
    logits[2, 31] = 1e-6
    assert sampler.draw(logits).tolist() == [0, 5, 31]


def test_greedy_and_drawn_rows_share_a_batch() -> None:
    sampler = sampler_for(2, 8)
    sampler.set(0, SamplingOptions(temperature=0), 0, 0)
    sampler.set(1, SamplingOptions(), 0, 0)
    drawn = [sampler.draw(LOGITS.repeat(2, 1)).tolist() for _ in range(100)]
    assert {row[0] for row in drawn} == {4}
    assert len({row[1] for row in drawn}) > 3


def test_top_p_looks_beyond_the_head_of_a_large_vocabulary_where_it_must() -> None:
    logits = torch.zeros(2, 4096)
    logits[1] = torch.arange(4096) * -0.1
    sampler = sampler_for(2, 4096)
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


def test_where_the_options_leave_no_token_the_draw_says_so() -> None:
    sampler = sampler_for(3, 8)
    options = SamplingOptions(allowed_token_ids=(1, 3), no_repeat_ngram_size=1, top_p=0.9)
    sampler.set(0, options, 0, 0)
    sampler.set(1, SamplingOptions(typical_p=0.5), 0, 0)
    sampler.set(2, options.model_copy(update={"temperature": 0}), 0, 0)
    drawn = np.array([sampler.draw(torch.zeros(3, 8)).tolist() for _ in range(3)])
    assert sorted(drawn[:2, 0]) == [1, 3]
    assert drawn[:2, 2].tolist() == [1, 3]
    assert drawn[2, [0, 2]].tolist() == [-1, -1]
    assert (drawn[:, 1] >= 0).all()


def test_the_prompt_of_a_guarded_row_may_be_long() -> None:
    prompt = np.random.default_rng(0).integers(50, size=100_000)
    sampler = sampler_for(1, 64)
    sampler.set(0, SamplingOptions(no_repeat_ngram_size=2), 0, 0, prompt)
    after = set(prompt[1:][prompt[:-1] == prompt[-1]].tolist())
    assert len(after) == 50
    assert int(sampler.draw(torch.zeros(1, 64))[0]) >= 50


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_a_gpu_draws_what_a_cpu_draws() -> None:
    """But for chances that lie on an edge to the last bit."""
    generator = np.random.default_rng(0)
    everyone = [mixed_options(generator, 96) for _ in range(300)]
    logits = torch.randn(300, 96, generator=torch.Generator().manual_seed(1)) * 3
    drawn = []
    for device in ("cpu", "cuda"):
        sampler = RowSampler(300, Vocabulary([b""] * 96, END), device=device)
        for row, options in enumerate(everyone):
            sampler.set(row, options, row, 0)
        drawn.append([sampler.draw(logits.to(device, copy=True)).tolist() for _ in range(4)])
    assert (np.array(drawn[0]) == np.array(drawn[1])).mean() > 0.99
