"""What a model file says of its tokenizer is refused, or makes one that keeps its promises."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.fuzz.damage import damaged_json
from tests.fuzz.test_readers import FUZZ
from textgen.errors import InvalidBundle
from textgen.tokenizers import TOKENIZERS, Tokenizer, load_tokenizer, with_marks

TEXT = "to be or not to be, that is the question: 學而時習之 不亦說乎 é e\u0301\n" * 20
ODD = "to be\0 🙂 \u0301\u0301 \ufffd 學學 \U0010ffff x" + "z" * 70
KINDS = sorted(TOKENIZERS)


@cache
def learnt(name: str, dressed: bool) -> dict[str, Any]:
    """What a model file says of a tokenizer that is right, plain or with marks and a form."""
    learner = TOKENIZERS[name].learner(None if name in ("char", "byte") else 320)  # type: ignore[index]
    learner.add(TEXT)
    tokenizer = learner.finish()
    if dressed:
        tokenizer = with_marks(tokenizer, ["user", "assistant"])
    return {**tokenizer.to_dict(), **({"normalization": "nfc"} if dressed else {})}


@FUZZ
@given(data=st.data(), name=st.sampled_from(KINDS), dressed=st.booleans())
def test_a_tokenizer(data: st.DataObject, name: str, dressed: bool) -> None:
    check(data.draw(damaged_json(learnt(name, dressed))))


@FUZZ
@given(
    pieces=st.lists(st.text(min_size=1, max_size=4), max_size=6, unique=True),
    scores=st.lists(st.floats(-1e7, 1), max_size=6),
    merges=st.lists(st.lists(st.integers(-1, 262), min_size=2, max_size=2), max_size=6),
)
@example(pieces=["a", "\r\n"], scores=[-1.0, -2.0], merges=[[97, 98], [257, 257]])
def test_one_that_somebody_has_made_up(
    pieces: list[str], scores: list[float], merges: list[list[int]]
) -> None:
    check({"name": "word", "pieces": pieces})
    check({"name": "char", "characters": "".join(pieces)})
    check({"name": "unigram", "pieces": pieces, "scores": (scores + [-1.0] * 6)[: len(pieces)]})
    check({"name": "bpe", "merges": merges})


@pytest.mark.parametrize(
    "odd",
    [
        {"name": "byte", "normalization": ["nfc"]},
        {"name": "byte", "normalization": {"nfc": 1}},
        {"name": "byte", "marks": ["\ud800"]},
        {"name": "char", "characters": "aa"},
        {"name": "char", "characters": ""},
        {"name": "unigram", "pieces": [], "scores": []},
        {"name": "bpe", "merges": [[97, 10**30]]},
        {"name": ["byte"]},
    ],
    ids=str,
)
def test_what_was_once_thought_of(odd: dict[str, Any]) -> None:
    check(odd)


def check(values: Any) -> None:
    """It is refused, or everything that `Tokenizer` promises holds."""
    try:
        tokenizer = load_tokenizer(values)
    except InvalidBundle:
        return
    again = load_tokenizer(json.loads(json.dumps(tokenizer.to_dict())))
    assert again.to_dict() == tokenizer.to_dict()
    assert 0 <= tokenizer.end_id < tokenizer.vocab_size
    assert len(set(tokenizer.special_ids.values())) == len(tokenizer.special_ids)
    for text in (TEXT[:90], ODD, ""):
        ids = tokenizer.encode(text)
        assert ids.size == 0 or int(ids.max()) < tokenizer.vocab_size
        assert ids.tolist() == again.encode(text).tolist()
        decoded = tokenizer.decode(ids)
        if tokenizer.unknown_id is None and tokenizer.normalization == "none":
            assert decoded == text
        assert streamed(tokenizer, ids.tolist()) == decoded
        assert len(tokenizer.encode_documents([text, text])) == 2 * (len(ids) + 1)
    for token in range(min(tokenizer.vocab_size, 400)):
        assert isinstance(tokenizer.token_text(token), str)
        assert isinstance(tokenizer.token_bytes(token), bytes)
        tokenizer.token_name(token).encode()  # it is shown to people


def streamed(tokenizer: Tokenizer, ids: list[int]) -> str:
    decoder = tokenizer.decoder()
    return "".join([*(decoder.push(token) for token in ids), decoder.finish()])
