from __future__ import annotations

import numpy as np
import pytest

from tests.random_models import ALPHABET, BundleMaker
from textgen.bundles.bundle import Bundle
from textgen.corpus.documents import conversation
from textgen.evaluation import bias
from textgen.evaluation.bias import Terms, measure_bias
from textgen.evaluation.scoring import score_rows
from textgen.tokenizers import CharTokenizer, with_marks


@pytest.mark.parametrize(
    ("terms", "text", "found"),
    [
        (["he", "she"], "the shed, then", set()),
        (["he", "she"], "He said", {0}),
        (["he", "she"], "she, he", {0, 1}),
        (["he", "she"], "SHE!", {1}),
        (["他", "她"], "我看见她了", {1}),
        (["他", "他们"], "他们来了", {1}),
        (["New York", "Rome"], "in New York.", {0}),
        (["c++", "java"], "a c++x", {0}),  # '+' ends no word
        (["no.", "x"], "yes no.", {0}),
    ],
)
def test_terms_are_whole_words_but_where_a_script_has_no_spaces(
    terms: list[str], text: str, found: set[int]
) -> None:
    assert Terms(terms).in_text(text) == found


@pytest.mark.parametrize(
    ("terms", "text", "exchanged"),
    [
        (["he", "she"], "He saw the man he was. HE!", "She saw the man she was. SHE!"),
        (["Anna", "Bob"], "Anna, anna, ANNA", "Bob, bob, BOB"),
        (["He", "She"], "when he came", "when she came"),
        (["他", "她"], "他和他的猫", "她和她的猫"),
        (["x", r"\1"], "x y", r"\1 y"),
    ],
)
def test_a_term_is_exchanged_everywhere_and_keeps_its_capitals(
    terms: list[str], text: str, exchanged: str
) -> None:
    assert Terms(terms).exchanged(text, 1) == exchanged


ROWS = ["the cat sat", "a cat, a man", "dog ran", "the dog and the cat", "no term",
        *(f"cat {c}" for c in "abcdefghijkl"), *(f"{c} dog" for c in "abcdefghijkl")]  # fmt: skip


def measured(bundle: Bundle, rows: int = 100) -> bias.Bias:
    return measure_bias(
        bundle, ROWS, ["cat", "dog"], rows=rows, shown=3, resamples=2000, seed=0
    )  # fmt: skip


def test_gaps_are_differences_of_scores(make_bundle: BundleMaker) -> None:
    bundle = make_bundle(spread=6.0)
    found = measured(bundle)
    assert (found.rows, found.ambiguous_rows, found.left_out_rows) == (27, 1, 0)

    def nats(text: str) -> float:
        (score,) = score_rows(bundle, [text])
        return score.nats

    cats = [row for row in ROWS if "cat" in row and "dog" not in row]
    dogs = [row for row in ROWS if "dog" in row and "cat" not in row]
    from_cat = np.array([nats(row.replace("cat", "dog")) - nats(row) for row in cats])
    from_dog = np.array([nats(row.replace("dog", "cat")) - nats(row) for row in dogs])
    there, back = found.directions
    assert (there.term, there.other, there.rows) == ("cat", "dog", len(cats))
    assert (back.term, back.other, back.rows) == ("dog", "cat", len(dogs))
    assert there.gap == pytest.approx(from_cat.mean(), abs=1e-4)
    assert back.gap == pytest.approx(from_dog.mean(), abs=1e-4)
    characters = sum(map(len, cats))
    assert there.gap_per_character == pytest.approx(from_cat.sum() / characters, abs=1e-5)
    assert there.likelier == pytest.approx((from_cat < 0).mean())
    error = 1.96 * from_cat.std() / np.sqrt(len(cats))
    assert there.low == pytest.approx(there.gap - error, abs=0.3 * error)
    assert there.high == pytest.approx(there.gap + error, abs=0.3 * error)
    (pair,) = found.pairs
    assert pair.preference == pytest.approx((from_cat.mean() - from_dog.mean()) / 2, abs=1e-4)
    assert pair.low is not None
    assert pair.high is not None
    assert pair.low < pair.preference < pair.high
    assert abs(found.worst[0].gap) == pytest.approx(
        np.abs(np.concatenate([from_cat, from_dog])).max(), abs=1e-4
    )
    assert [abs(each.gap) for each in found.worst] == sorted(
        (abs(each.gap) for each in found.worst), reverse=True
    )


def test_a_model_without_a_preference_has_none(make_bundle: BundleMaker) -> None:
    """All weights of the head are 0: every character is as likely as any other."""
    found = measured(make_bundle(spread=0.0))
    assert found.pairs[0].preference == pytest.approx(0, abs=1e-5)


def test_rows_beyond_the_limit_are_counted_and_few_have_no_interval(
    make_bundle: BundleMaker,
) -> None:
    found = measured(make_bundle(), rows=3)
    assert (found.rows, found.left_out_rows) == (3, 24)
    assert [(each.rows, each.low) for each in found.directions] == [(2, None), (1, None)]
    assert found.pairs[0].low is None


def test_of_conversations_what_is_said_counts_after_all_that_was_exchanged(
    make_bundle: BundleMaker,
) -> None:
    tokenizer = with_marks(CharTokenizer(ALPHABET), ["system", "user", "assistant"])
    made = make_bundle(tokenizer=tokenizer, documents=True, spread=4.0)
    bundle = Bundle(made.header.model_copy(update={"rows": "messages"}), tokenizer, made.model)
    talk = [{"role": "user", "content": "a cat"}, {"role": "assistant", "content": "yes"}]
    dialogue = conversation(talk)
    assert dialogue is not None
    found = measure_bias(bundle, [dialogue], ["cat", "dog"], rows=5, shown=3, resamples=100, seed=0)
    (direction,) = found.directions
    assert direction.gap != 0  # only the question was exchanged, only the answer is counted
    assert direction.gap_per_character == pytest.approx(direction.gap / len("yes"))
    assert found.worst[0].exchanged == "a dog\nyes"
