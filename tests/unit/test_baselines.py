from __future__ import annotations

import math
from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from textgen.errors import InvalidCorpus, InvalidInput, InvalidOption
from textgen.evaluation.baselines import CharacterModel, KneserNey, Ppm

UNKNOWN = "?"
TRAINING = st.lists(st.text("abc我", max_size=60), min_size=1, max_size=3).filter("".join)
HELD_OUT = st.text("abc我xy", max_size=30)
ORDERS = st.integers(1, 5)


def alphabet_of(texts: list[str]) -> list[str]:
    return [*sorted(set("".join(texts))), UNKNOWN]


def counts_of(texts: list[str], order: int) -> dict[int, Counter[str]]:
    """By length: raw for the longest n-grams there are, else of the symbols that stood before."""
    order = min(order, max(map(len, texts)))
    counts: dict[int, Counter[str]] = {order: Counter()}
    for text in texts:
        counts[order].update(text[i : i + order] for i in range(len(text) - order + 1))
    for n in range(1, order):
        longer = {t[i : i + n + 1] for t in texts for i in range(len(t) - n)}
        counts[n] = Counter(gram[1:] for gram in longer)
        counts[n].update(text[:n] for text in texts if len(text) >= n)
    return counts


def kneser_ney(texts: list[str], order: int, context: str, symbol: str) -> float:
    """The chance by the formulas, gram by gram."""
    counts, alphabet = counts_of(texts, order), alphabet_of(texts)
    chance = 1 / len(alphabet)
    for n in range(1, len(counts) + 1):
        if len(context) < n - 1:
            break
        history = context[len(context) - n + 1 :]
        after = {s: counts[n][history + s] for s in alphabet if counts[n][history + s]}
        if not after:
            break
        of = Counter(counts[n].values())
        discounts = {1: 0.5, 2: 0.5, 3: 0.5}
        for c in (1, 2, 3):
            if of[1] and of[c]:
                found = c - (c + 1) * of[1] / (of[1] + 2 * of[2]) * of[c + 1] / of[c]
                discounts[c] = found if 0 < found <= c else 0.5
        total = sum(after.values())
        left = sum(discounts[min(c, 3)] for c in after.values())
        count = after.get(symbol, 0)
        own = count - discounts[min(count, 3)] if count else 0
        chance = own / total + left / total * chance
    return chance


def ppm(texts: list[str], order: int, context: str, symbol: str) -> float:
    """The chance from counts that grow symbol by symbol, with update exclusion."""
    seen: dict[str, Counter[str]] = defaultdict(Counter)
    for text in texts:
        for place, each in enumerate(text):
            for length in range(min(order, place), -1, -1):
                history = text[place - length : place]
                seen[history][each] += 1
                if seen[history][each] > 1:
                    break  # it was known here: shorter contexts learn nothing
    alphabet, excluded, escaped = alphabet_of(texts), set(), 1.0
    for length in range(min(order, len(context)), -1, -1):
        after = seen.get(context[len(context) - length :], Counter())
        allowed = {s: c for s, c in after.items() if s not in excluded}
        total = sum(allowed.values())
        if symbol in allowed:
            return escaped * (allowed[symbol] - 0.5) / total
        if total:
            escaped *= len(allowed) / (2 * total)
        excluded |= set(after)
    return escaped / (len(alphabet) - len(excluded))


@given(TRAINING, HELD_OUT, ORDERS)
def test_kneser_ney_follows_its_formulas(texts: list[str], held_out: str, order: int) -> None:
    model = KneserNey.learn(texts, order=order)
    known = set("".join(texts))
    read = "".join(c if c in known else UNKNOWN for c in held_out)
    wanted = [-math.log(kneser_ney(texts, order, read[:i], s)) for i, s in enumerate(read)]
    assert model.nats(held_out).tolist() == pytest.approx(wanted, abs=1e-9)


@given(TRAINING, HELD_OUT, st.integers(0, 5))
def test_ppm_arrives_at_what_counting_symbol_by_symbol_does(
    texts: list[str], held_out: str, order: int
) -> None:
    model = Ppm.learn(texts, order=order)
    known = set("".join(texts))
    read = "".join(c if c in known else UNKNOWN for c in held_out)
    wanted = [-math.log(ppm(texts, order, read[:i], s)) for i, s in enumerate(read)]
    assert model.nats(held_out).tolist() == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize("kind", [KneserNey, Ppm])
@given(texts=TRAINING, context=HELD_OUT, order=ORDERS)
def test_chances_are_positive_and_sum_to_one(
    kind: type[KneserNey] | type[Ppm], texts: list[str], context: str, order: int
) -> None:
    chances = kind.learn(texts, order=order).distribution(context)
    assert len(chances) == len(alphabet_of(texts))
    assert chances.min() > 0
    assert chances.sum() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("kind", [KneserNey, Ppm])
def test_the_distribution_is_what_the_nats_come_from(kind: type[KneserNey] | type[Ppm]) -> None:
    model = kind.learn(["the cat sat on the mat. " * 3, "the dog sat."])
    text = "the xat sat on the dog. "
    alphabet = sorted(set("the cat sat on the mat. the dog sat."))
    for place, nats in enumerate(model.nats(text).tolist()):
        symbol = alphabet.index(text[place]) if text[place] in alphabet else len(alphabet)
        assert nats == pytest.approx(-math.log(model.distribution(text[:place])[symbol]))


def noisy(count: int, seed: int) -> str:
    words = ["the ", "cat ", "sat ", "on ", "a ", "mat. ", "dog "]
    return "".join(np.random.default_rng(seed).choice(words, count))


@pytest.mark.parametrize("kind", [KneserNey, Ppm])
def test_more_text_predicts_better_and_nearly_as_well_as_can_be(
    kind: type[KneserNey] | type[Ppm],
) -> None:
    held_out = noisy(2000, 1)
    best = 2000 * math.log(7) / len(held_out)  # each word is one of seven

    def cost(words: int, order: int) -> float:
        model: CharacterModel = kind.learn([noisy(words, 0)], order=order)
        return model.nats_per_character([held_out])

    assert best < cost(20_000, 5) < 1.03 * best
    assert cost(20_000, 5) < cost(2000, 5) < cost(50, 5)
    assert cost(2000, 4) < cost(2000, 2) < cost(2000, 1)


@pytest.mark.parametrize("kind", [KneserNey, Ppm])
def test_it_is_frozen_while_it_predicts(kind: type[KneserNey] | type[Ppm]) -> None:
    model = kind.learn(["abcabc"])
    before = model.nats("cabacb").tolist()
    model.nats_per_character(["zzzz", "cabacb" * 20])
    assert model.nats("cabacb").tolist() == before
    assert model.nats("").tolist() == []
    mean = model.nats_per_character(["cab", "", "acbz"])
    assert mean == pytest.approx((model.nats("cab").sum() + model.nats("acbz").sum()) / 7)


@pytest.mark.parametrize("kind", [KneserNey, Ppm])
def test_what_cannot_be_used_is_refused(kind: type[KneserNey] | type[Ppm]) -> None:
    with pytest.raises(InvalidCorpus, match="'texts' holds no character to learn from"):
        kind.learn(["", ""])
    with pytest.raises(InvalidCorpus, match="'texts' holds no character to predict"):
        kind.learn(["ab"]).nats_per_character([""])
    for order in (-1, 12):
        with pytest.raises(InvalidOption, match=f"'order' is {order}"):
            kind.learn(["ab"], order=order)
    with pytest.raises(InvalidInput, match="surrogate"):
        kind.learn(["a\ud800"])


@pytest.mark.parametrize("kind", [KneserNey, Ppm])
@given(texts=TRAINING, held_out=HELD_OUT, order=ORDERS)
def test_documents_are_read_between_boundaries(
    kind: type[KneserNey] | type[Ppm], texts: list[str], held_out: str, order: int
) -> None:
    """As one that learnt the boundary as a character of its own."""
    model = kind.learn(texts, order=order, documents=True)
    plain = kind.learn([f"\U0010ffff{text}\U0010ffff" for text in texts], order=order)
    wanted = plain.nats(f"\U0010ffff{held_out}\U0010ffff")[1:]

    assert model.nats(held_out).tolist() == pytest.approx(wanted.tolist(), abs=1e-12)
    assert model.nats_per_character([held_out], ends=True) == pytest.approx(wanted.mean())
    if held_out:
        assert model.nats_per_character([held_out]) == pytest.approx(wanted[:-1].mean())
    assert model.distribution(held_out).sum() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("kind", [KneserNey, Ppm])
def test_short_documents_are_known_by_their_beginnings_and_ends(
    kind: type[KneserNey] | type[Ppm],
) -> None:
    names = ["anna", "berta", "clara", "dora", "emma"]
    nats = kind.learn(names * 20, documents=True).nats("dora")
    assert nats[0] == pytest.approx(math.log(5), abs=0.1)  # one of five
    assert nats[-1] < 0.1  # after "dora" there is nothing
    assert kind.learn(names * 20).nats("dora")[0] > math.log(5) + 0.15  # the commonness of a "d"
