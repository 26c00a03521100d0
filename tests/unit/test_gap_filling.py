"""The engine, asked for what stands between a prompt and a suffix."""

from __future__ import annotations

import pytest
import torch

from tests.random_models import BundleMaker, run, texts
from textgen.bundles.bundle import Bundle
from textgen.engine.engine import Engine, Request
from textgen.errors import InvalidOption
from textgen.objectives import marks_of
from textgen.options import SamplingOptions
from textgen.tokenizers import CharTokenizer, with_marks

TOKENIZER = with_marks(CharTokenizer("abcdef"), marks_of(["infill"]))


@pytest.fixture
def gap_filler(make_bundle: BundleMaker) -> Bundle:
    """A model of one text that says it has learnt to fill gaps."""
    bundle = make_bundle(tokenizer=TOKENIZER, spread=3)
    header = bundle.header.model_copy(update={"objectives": ("causal", "infill")})
    return Bundle(header, bundle.tokenizer, bundle.model)


def plain(name: str, prompt: str, **options: object) -> Request:
    return Request(name, TOKENIZER.encode(prompt), SamplingOptions.parse(options), 0)


def gap(name: str, prompt: str, suffix: str, **options: object) -> Request:
    return Request(
        name, TOKENIZER.encode(prompt), SamplingOptions.parse(options), 0,
        suffix=TOKENIZER.encode(suffix),
    )  # fmt: skip


def test_a_gap_is_filled_as_the_objective_teaches(gap_filler: Bundle) -> None:
    ids = TOKENIZER.special_ids
    context = [
        ids["end"], ids["infill"], *TOKENIZER.encode("ef").tolist(), ids["gap0"],
        *TOKENIZER.encode("ab").tolist(), ids["answer"],
    ]  # fmt: skip
    banned = [value for name, value in ids.items() if name != "end"]
    expected = ""
    with torch.no_grad():
        for _ in range(12):
            logits = gap_filler.model(torch.tensor([context]))[0][0, -1]
            logits[banned] = -torch.inf
            context.append(int(logits.argmax()))
            if context[-1] == ids["end"]:
                break
            expected += TOKENIZER.decode(context[-1:])
    engine = Engine(gap_filler, slots=4)
    engine.submit(gap("one", "ab", "ef", temperature=0, max_tokens=12))
    engine.submit(plain("other", "ab", temperature=0, max_tokens=12))
    deltas = run(engine)
    assert texts(deltas)["one"] == expected
    assert texts(deltas)["other"] != expected
    assert deltas[-1].prompt_tokens in (2, 4)


def test_only_gaps_have_an_end_where_the_model_learnt_from_one_text(gap_filler: Bundle) -> None:
    with torch.no_grad():
        gap_filler.model.output.bias[TOKENIZER.end_id] = 50
    engine = Engine(gap_filler, slots=4)
    engine.submit(plain("text", "ab", max_tokens=5))
    engine.submit(gap("gap", "ab", "ef", max_tokens=5))
    last = {delta.id: delta for delta in run(engine) if delta.finish_reason is not None}
    assert (last["gap"].finish_reason, last["gap"].text) == ("stop", "")
    assert last["text"].finish_reason == "length"


def test_a_model_that_has_not_learnt_gaps_refuses_a_suffix(make_bundle: BundleMaker) -> None:
    engine = Engine(make_bundle(tokenizer=TOKENIZER), slots=4)
    with pytest.raises(InvalidOption, match=r"'suffix'.*infill") as caught:
        engine.submit(gap("one", "ab", "ef"))
    assert caught.value.code == "suffix_not_learnt"
    assert not engine.busy
