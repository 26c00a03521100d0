from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.random_models import ALPHABET, BundleMaker
from textgen.bundles.bundle import Bundle
from textgen.errors import InvalidInput, InvalidOption
from textgen.evaluation import scoring
from textgen.evaluation.scoring import RowScore, score_rows, worst_rows
from textgen.tokenizers import BpeTokenizer, ByteTokenizer, CharTokenizer, with_marks


def one_by_one(bundle: Bundle, text: str) -> list[float]:
    """Nats of each token from a plain loop over single tokens."""
    tokenizer, hidden, nats = bundle.tokenizer, None, []
    here = tokenizer.end_id if bundle.header.documents else int(tokenizer.encode("\n")[0])
    with torch.no_grad():
        for following in tokenizer.encode(text).tolist():
            logits, hidden = bundle.model(torch.tensor([[here]]), hidden)
            nats.append(-torch.log_softmax(logits[0, 0].double(), 0)[following].item())
            here = following
    return nats


@pytest.mark.parametrize("documents", [False, True])
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(rows=st.lists(st.text(ALPHABET + "?é", max_size=12), max_size=9))
def test_rows_of_any_lengths_cost_what_each_costs_alone(
    make_bundle: BundleMaker, documents: bool, rows: list[str]
) -> None:
    bundle = make_bundle(2, spread=4.0, documents=documents)
    scores = list(score_rows(bundle, rows))
    assert [(score.index, score.text) for score in scores] == list(enumerate(rows))
    for score in scores:
        nats = one_by_one(bundle, score.text)
        assert score.tokens == score.characters == len(score.text)
        assert score.nats_per_token * score.tokens == pytest.approx(score.nats)
        assert score.nats == pytest.approx(sum(nats), abs=1e-5 * max(len(nats), 1))
        if nats:
            assert score.most_surprising is not None
            assert nats[score.most_surprising] == pytest.approx(max(nats), abs=1e-5)
        else:
            assert (score.most_surprising, score.nats_per_character) == (None, 0.0)


def test_rows_longer_than_a_forward_pass_and_more_than_a_batch(
    make_bundle: BundleMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "_CHUNK", 7)
    monkeypatch.setattr(scoring, "_ROWS", 3)
    monkeypatch.setattr(scoring, "_WINDOW_ROWS", 5)
    bundle = make_bundle(spread=4.0)
    rows = ["abc. " * count for count in (1, 9, 0, 3, 6, 2, 7, 8)]
    scores = list(score_rows(bundle, rows))
    assert [score.text for score in scores] == rows
    for score in scores:
        nats = one_by_one(bundle, score.text)
        assert score.nats == pytest.approx(sum(nats), abs=1e-5 * max(len(nats), 1))


def test_the_position_is_one_of_characters_whatever_the_tokens_are(
    make_bundle: BundleMaker,
) -> None:
    bundle = make_bundle(tokenizer=ByteTokenizer(), spread=20.0)
    text = "我是a程b序员éx"
    (score,) = score_rows(bundle, [text])
    nats = one_by_one(bundle, text)
    lengths = [len(character.encode()) for character in text]
    ends = list(itertools.accumulate(lengths))
    place = next(i for i, end in enumerate(ends) if nats.index(max(nats)) < end)
    assert score.most_surprising == place
    assert (score.tokens, score.characters) == (sum(lengths), len(text))
    assert score.nats_per_character == pytest.approx(sum(nats) / len(text), abs=1e-5)


def test_pieces_of_several_characters_are_counted_as_characters(make_bundle: BundleMaker) -> None:
    learner = BpeTokenizer.learner(300)
    learner.add("the cat sat on the mat. " * 50)
    bundle = make_bundle(tokenizer=learner.finish(), spread=20.0)
    (score,) = score_rows(bundle, ["the mat sat on the cat."])
    assert score.tokens < score.characters == 23
    nats = one_by_one(bundle, score.text)
    place = nats.index(max(nats))
    ids = bundle.tokenizer.encode(score.text)
    assert score.most_surprising == len(bundle.tokenizer.decode(ids[:place]))


def test_it_reads_no_further_than_it_must(
    make_bundle: BundleMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "_WINDOW_ROWS", 4)
    endless = itertools.repeat("abc")
    scores = score_rows(make_bundle(), endless)
    assert [score.index for score in itertools.islice(scores, 10)] == list(range(10))


def test_a_model_that_answers_is_asked_for_the_row(make_bundle: BundleMaker) -> None:
    """It reads an end and the mark of an answer before each row."""
    tokenizer = with_marks(CharTokenizer(ALPHABET), ["answer"])
    made = make_bundle(2, spread=4.0, tokenizer=tokenizer, documents=True)
    header = made.header.model_copy(update={"rows": "prompts"})
    bundle = Bundle(header, tokenizer, made.model)
    rows = ["abc", "", "b" * 300, "ca"]
    lead = [tokenizer.end_id, tokenizer.special_ids["answer"]]
    for score in score_rows(bundle, rows):
        ids = torch.tensor([[*lead, *tokenizer.encode(score.text).tolist()]])
        with torch.no_grad():
            chances = bundle.model(ids[:, :-1])[0].double().log_softmax(-1)[0, 1:]
        expected = -chances.gather(1, ids[0, 2:, None]).sum().item()
        assert score.nats == pytest.approx(expected, abs=1e-5 * max(len(score.text), 1))


def test_half_a_surrogate_pair_is_refused(make_bundle: BundleMaker) -> None:
    with pytest.raises(InvalidInput, match="surrogate"):
        list(score_rows(make_bundle(), ["a", "b\ud800"]))


def test_the_worst_rows_come_worst_first() -> None:
    rows = [RowScore(i, "ab", nats, 2, 2, 0) for i, nats in enumerate([3.0, 9.0, 1.0, 9.0, 5.0])]
    assert [score.index for score in worst_rows(iter(rows), 3)] == [1, 3, 4]
    assert len(worst_rows(iter(rows), 10)) == 5
    with pytest.raises(InvalidOption, match="'count' is 0"):
        worst_rows(rows, 0)


def test_each_forward_pass_is_a_sign_of_life_and_a_place_to_stop(make_bundle: BundleMaker) -> None:
    steps = 0

    def on_step() -> None:
        nonlocal steps
        steps += 1
        if steps == 3:
            raise KeyboardInterrupt

    bundle = make_bundle()
    assert len(list(score_rows(bundle, ["abc", "ab"], on_step=on_step))) == 2
    assert steps == 1
    with pytest.raises(KeyboardInterrupt):  # the second of two: a row longer than one pass
        list(score_rows(bundle, ["abc " * 1000], on_step=on_step))
