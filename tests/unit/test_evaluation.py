import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from tests.random_models import BundleMaker, drawn_from
from textgen.corpus.encode import encode_corpus
from textgen.corpus.sources import Source
from textgen.errors import InvalidCorpus
from textgen.evaluation import measures
from textgen.evaluation.measures import evaluate, tune_temperature
from textgen.evaluation.token_scores import score_tokens
from textgen.evaluation.validation import beginning
from textgen.model import TextGenerator
from textgen.options import Hyperparameters
from textgen.tokenizers.char import CharTokenizer


def tokens(count: int, vocab_size: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, vocab_size, count).astype(np.uint16)


def one_by_one(model: TextGenerator, ids: np.ndarray) -> tuple[float, float]:
    """Loss and accuracy from a plain loop over single tokens."""
    hidden, loss, right = None, 0.0, 0
    with torch.no_grad():
        for here, following in zip(ids[:-1].tolist(), ids[1:].tolist(), strict=True):
            logits, hidden = model(torch.tensor([[here]]), hidden)
            chances = torch.log_softmax(logits[0, 0].double(), 0)
            loss -= chances[following].item()
            right += int(chances.argmax().item() == following)
    return loss / (len(ids) - 1), right / (len(ids) - 1)


@pytest.mark.parametrize("count", [2, 3, 200, 1500])
def test_it_is_the_mean_over_every_token_with_the_state_carried(
    make_bundle: BundleMaker, count: int
) -> None:
    model = make_bundle(2, spread=4.0).model
    ids = tokens(count, model.vocab_size)
    loss, accuracy = one_by_one(model, ids)
    found = evaluate(model, ids, streams=1)
    assert found.loss == pytest.approx(loss, abs=1e-5)
    assert found.accuracy == pytest.approx(accuracy)
    assert found.tokens == count - 1


@pytest.mark.parametrize("count", [257, 1500, 20_011])
def test_many_streams_give_nearly_the_loss_of_one(make_bundle: BundleMaker, count: int) -> None:
    model = make_bundle(spread=4.0).model
    ids = tokens(count, model.vocab_size)
    alone, together = evaluate(model, ids, streams=1), evaluate(model, ids)
    assert together.loss == pytest.approx(alone.loss, abs=1e-5)
    assert together.accuracy == pytest.approx(alone.accuracy, abs=2 / count)
    assert together.tokens == alone.tokens


def test_bits_per_character_share_the_loss_among_characters(make_bundle: BundleMaker) -> None:
    model = make_bundle().model
    found = evaluate(model, tokens(500, model.vocab_size), characters_per_token=4.0)
    assert found.bits_per_character == pytest.approx(found.loss / math.log(2) / 4)
    assert found.perplexity == pytest.approx(math.exp(found.loss))


def test_it_changes_neither_the_model_nor_the_generators(make_bundle: BundleMaker) -> None:
    model = make_bundle().model.train()
    before, state = {k: v.clone() for k, v in model.state_dict().items()}, torch.get_rng_state()
    evaluate(model, tokens(300, model.vocab_size))
    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())
    model.eval()


def test_one_token_is_nothing_to_predict(make_bundle: BundleMaker) -> None:
    with pytest.raises(InvalidCorpus, match="at least 2"):
        evaluate(make_bundle().model, np.zeros(1, np.uint16))


def test_overconfident_models_get_a_higher_temperature(make_bundle: BundleMaker) -> None:
    honest = make_bundle(spread=1.0).model
    ids = tokens(2000, honest.vocab_size)
    assert tune_temperature(make_bundle(spread=30.0).model, ids) > 1.2
    text = drawn_from(make_bundle(spread=6.0).model, 3000)
    assert tune_temperature(make_bundle(spread=6.0).model, text) == pytest.approx(0.8, abs=0.09)


def test_only_what_counts_is_measured(make_bundle: BundleMaker) -> None:
    model = make_bundle(spread=3.0).model
    ids = tokens(700, model.vocab_size)
    counted = (np.arange(700) % 5 == 0).astype(np.uint8)
    whole = torch.from_numpy(ids.astype(np.int64))
    with torch.no_grad():
        losses = functional.cross_entropy(
            model(whole[None, :-1])[0][0], whole[1:], reduction="none"
        )
    expected = losses[torch.from_numpy(counted[1:] == 1)]
    found = evaluate(model, ids, characters_per_token=2.0, streams=1, counted=counted)
    assert found.loss == pytest.approx(expected.mean().item(), rel=1e-5)
    assert (found.tokens, found.characters) == (len(expected), 2.0 * len(expected))


def test_a_text_in_which_nothing_counts_is_refused(make_bundle: BundleMaker) -> None:
    model = make_bundle().model
    counted = np.zeros(50, np.uint8)
    counted[0] = 1  # the first token is never predicted
    with pytest.raises(InvalidCorpus, match="one that counts"):
        evaluate(model, tokens(50, model.vocab_size), counted=counted)


def test_the_temperature_suits_what_counts(make_bundle: BundleMaker) -> None:
    """Text that the model drew, after as much noise: only the text counts."""
    model = make_bundle(spread=6.0).model
    text, noise = drawn_from(model, 3000), tokens(3000, model.vocab_size)
    both = np.concatenate([noise, text.astype(noise.dtype)])
    counted = np.repeat([0, 1], [len(noise), len(text)]).astype(np.uint8)
    assert tune_temperature(model, both, counted) == pytest.approx(0.8, abs=0.09)
    assert tune_temperature(model, both) > 1.2


MANY = "".join(map(chr, range(0x4E00, 0x4E00 + 5000)))


def most_memory() -> int:
    """Bytes that this process had at most since it was last forgotten."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_choosing_the_temperature_keeps_no_logits(
    make_bundle: BundleMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_bundle(tokenizer=CharTokenizer(MANY)).model
    monkeypatch.setattr(measures, "_LOGITS", 1 << 18)
    tune_temperature(model, tokens(600, 5000))
    Path("/proc/self/clear_refs").write_text("5")
    before = most_memory()
    tune_temperature(model, tokens(6000, 5000))  # their logits are 120 MB
    assert most_memory() - before < 60e6


def prompts(folder: Path, count: int, length: int) -> Source:
    rows = [{"prompt": "what? " * (length // 6), "completion": f"it is {n}"} for n in range(count)]
    path = folder / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return Source(path)


@pytest.mark.parametrize("fewest", [1, 20])
def test_a_beginning_is_short_however_late_the_first_token_that_counts(
    tmp_path: Path, fewest: int
) -> None:
    source = prompts(tmp_path, 300, 3000)
    corpus = encode_corpus([source], Hyperparameters(tokenizer="char"), tmp_path / "corpus")
    flags = corpus.counted("valid")
    assert flags is not None and not flags[:1000].any()
    ids, counted = beginning(corpus, "valid", 100, fewest)
    assert counted is not None and len(ids) == len(counted) <= (300 if fewest == 1 else 12_000)
    assert np.count_nonzero(counted[1:]) >= fewest
    first, own = int(np.flatnonzero(flags)[0]), int(np.flatnonzero(counted)[0])
    assert np.array_equal(ids, corpus.tokens("valid")[first - own :][: len(ids)])


def test_the_first_of_many_streams_begins_with_nothing_before_it(make_bundle: BundleMaker) -> None:
    """Also where a pass over all streams has a number of tokens that does not divide their lead."""
    model = make_bundle(tokenizer=CharTokenizer(MANY), spread=4.0).model
    ids = tokens(32 * 256 + 1, model.vocab_size)
    first = (np.arange(len(ids)) <= 8).astype(np.uint8)
    alone = score_tokens(model, ids[:9], first, streams=1)
    together = score_tokens(model, ids, first, streams=32)
    assert together.nats == pytest.approx(alone.nats, abs=1e-4)
