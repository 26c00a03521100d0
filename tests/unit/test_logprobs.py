"""Log-probabilities against the model's own forward pass."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from tests.random_models import run, texts
from textgen.bundles.bundle import Bundle
from textgen.engine.engine import Delta, Engine, Request
from textgen.engine.logprobs import TokenLogprob
from textgen.engine.vocabulary import Vocabulary
from textgen.options import SamplingOptions
from textgen.tokenizers import BpeTokenizer, ByteTokenizer, CharTokenizer, Tokenizer

BundleMaker = Callable[..., Bundle]
WILD = {"temperature": 1.7, "top_k": 9, "top_p": 0.9, "presence_penalty": 1, "logit_bias": {4: -9}}
TOKENIZERS = pytest.mark.parametrize(
    "tokenizer",
    [None, ByteTokenizer(), BpeTokenizer([(97, 98), (257, 99), (0xE6, 0x88)])],
    ids=["char", "byte", "bpe"],
)


def ask(
    engine: Engine, prompt: str, name: str = "only", seed: int = 0, **options: object
) -> Request:
    names = ("echo", "logprobs", "ranked", "choice", "blocked")
    own = {key: options.pop(key) for key in names if key in options}
    ids = engine.tokenizer.encode(prompt)
    return Request(name, ids, SamplingOptions(**options), seed=seed, **own)


def answer(bundle: Bundle, prompt: str, **options: object) -> tuple[str, list[TokenLogprob], Delta]:
    engine = Engine(bundle, slots=4)
    engine.submit(ask(engine, prompt, **options))
    deltas = run(engine)
    entries = [entry for delta in deltas for entry in delta.logprobs]
    return texts(deltas)["only"], entries, deltas[-1]


def forward(bundle: Bundle, ids: list[int]) -> np.ndarray:
    """The log-probabilities (T, V) of what follows each of ``ids``."""
    with torch.no_grad():
        logits, _ = bundle.model(torch.tensor([ids]))
    return logits[0].double().log_softmax(-1).numpy()


def start_of(bundle: Bundle) -> list[int]:
    return [bundle.tokenizer.end_id] if bundle.header.documents else []


@TOKENIZERS
@pytest.mark.parametrize("documents", [True, False])
def test_they_are_the_models_own_whatever_the_options(
    make_bundle: BundleMaker, tokenizer: Tokenizer | None, documents: bool
) -> None:
    bundle = make_bundle(2, 48, tokenizer=tokenizer, documents=documents, spread=4)
    prompt = "abc 我们 abc"
    _, entries, last = answer(
        bundle, prompt, logprobs=3, echo=True, ranked=True, max_tokens=30, **WILD
    )
    ids = bundle.tokenizer.encode(prompt).tolist()
    assert [entry.token for entry in entries[: len(ids)]] == ids
    drawn = entries[len(ids) :]
    before = start_of(bundle)
    chances = forward(bundle, before + [entry.token for entry in entries])
    assert (entries[0].logprob, entries[0].top) == (None, None)
    for place, entry in enumerate(entries[1:], start=1):
        row = chances[len(before) + place - 1]
        assert entry.logprob == pytest.approx(row[entry.token], abs=1e-5)
        assert entry.top is not None and entry.logprob is not None
        assert 3 <= len(entry.top) <= 4
        assert entry.top[entry.text] == entry.logprob
        likeliest = sorted(entry.top.values(), reverse=True)[:3]
        assert likeliest == pytest.approx(np.sort(row)[::-1][:3].tolist(), abs=1e-5)
        assert list(entry.top.values())[:3] == likeliest
    mean = np.mean([entry.logprob for entry in drawn])
    assert last.mean_logprob == pytest.approx(mean, abs=1e-9)


@TOKENIZERS
def test_a_prompt_is_scored_without_writing(
    make_bundle: BundleMaker, tokenizer: Tokenizer | None
) -> None:
    bundle = make_bundle(2, 48, tokenizer=tokenizer, documents=True)
    prompt = "abc 我们 " * 20
    text, entries, last = answer(bundle, prompt, logprobs=1, echo=True, max_tokens=0)
    ids = bundle.tokenizer.encode(prompt).tolist()
    chances = forward(bundle, [bundle.tokenizer.end_id, *ids])
    total = sum(chances[place, token] for place, token in enumerate(ids[1:], start=1))
    assert text == bundle.tokenizer.decode(ids)
    assert [entry.token for entry in entries] == ids
    assert sum(entry.logprob for entry in entries[1:]) == pytest.approx(total, abs=1e-4)
    assert (last.finish_reason, last.prompt_tokens) == ("length", len(ids))
    assert sum(delta.tokens for delta in [last]) == 0


@pytest.mark.parametrize(
    ("prompt", "documents"), [("", True), ("a", False), ("a", True), ("", False)]
)
def test_the_shortest_prompts_are_scored_too(
    make_bundle: BundleMaker, prompt: str, documents: bool
) -> None:
    bundle = make_bundle(documents=documents)
    text, entries, last = answer(bundle, prompt, logprobs=0, echo=True, max_tokens=0)
    assert (text, [entry.logprob for entry in entries]) == (prompt, [None] * len(prompt))
    assert last.finish_reason == "length"
    engine = Engine(bundle, slots=2)
    engine.submit(ask(engine, prompt, logprobs=0, echo=True, max_tokens=0))
    run(engine)
    assert engine.free_slots == 2


@TOKENIZERS
def test_offsets_say_where_tokens_begin(
    make_bundle: BundleMaker, tokenizer: Tokenizer | None
) -> None:
    bundle = make_bundle(tokenizer=tokenizer)
    prompt = "我ab是abc"
    text, entries, _ = answer(bundle, prompt, logprobs=0, echo=True, max_tokens=20, seed=3)
    assert text.startswith(prompt)
    known = entries[: len(bundle.tokenizer.encode(prompt))]
    for entry in known:
        if not entry.text.startswith("bytes:"):
            assert text[entry.offset : entry.offset + len(entry.text)] == entry.text
    offsets = [entry.offset for entry in entries]
    assert offsets == sorted(offsets)
    if isinstance(tokenizer, ByteTokenizer):
        assert offsets[:9] == [0, 0, 0, 1, 2, 3, 3, 3, 4]
        assert entries[0].text == "bytes:\\xe6"


def test_the_tokens_of_a_blocked_word_are_not_told(make_bundle: BundleMaker) -> None:
    bundle = make_bundle()
    text, told, _ = answer(bundle, "ab", max_tokens=12, logprobs=0)
    word = text[5:8]
    at = text.index(word)

    cut, left, last = answer(bundle, "ab", max_tokens=12, logprobs=0, blocked=(word,))

    assert cut == text[:at]
    assert left == told[:at]
    assert last.finish_reason == "stop"


def test_what_they_cost_the_text_is_nothing(make_bundle: BundleMaker) -> None:
    bundle = make_bundle(2, 64, tokenizer=ByteTokenizer())
    for seed in range(8):
        options = {"max_tokens": 40, "seed": seed, "no_repeat_ngram_size": 3}
        plain, _, _ = answer(bundle, "ab 我", echo=True, **options)
        scored, entries, _ = answer(bundle, "ab 我", echo=True, logprobs=2, **options)
        assert scored == plain
        assert len(entries) == 6 + 40


def test_they_are_the_same_in_a_crowd(make_bundle: BundleMaker) -> None:
    bundle = make_bundle(2, 64, documents=True)
    prompts = ["abc" * index for index in range(30)]

    def told(deltas: list[Delta]) -> dict[str, list[TokenLogprob]]:
        found: dict[str, list[TokenLogprob]] = {}
        for delta in deltas:
            found.setdefault(delta.id, []).extend(delta.logprobs)
        return found

    alone = {}
    for index, prompt in enumerate(prompts):
        engine = Engine(bundle, slots=1)
        engine.submit(ask(engine, prompt, str(index), echo=index % 2 == 0, logprobs=index % 6))
        alone |= told(run(engine))
    engine = Engine(bundle, slots=16)
    for index, prompt in enumerate(prompts):
        engine.submit(ask(engine, prompt, str(index), echo=index % 2 == 0, logprobs=index % 6))
    for index in range(20):
        engine.submit(ask(engine, "x", f"other {index}", max_tokens=99))
    together = told(run(engine))
    assert {name: together[name] for name in alone} == alone


def test_tokens_without_text_are_told_too(make_bundle: BundleMaker) -> None:
    bundle = make_bundle(seed=4, documents=True)
    with torch.no_grad():
        bundle.model.output.bias[bundle.tokenizer.end_id] = 8
    text, entries, last = answer(bundle, "abc", logprobs=1, max_tokens=50)
    assert last.finish_reason == "stop"
    assert [entry.text for entry in entries] == [*text, "<|end|>"]
    _, entries, last = answer(bundle, "abc", logprobs=1, max_tokens=1, echo=True)
    assert len(entries) == 4  # an evaluation harness leaves out the last: the drawn one


@TOKENIZERS
def test_tokens_are_named_as_their_tokenizer_shows_them(tokenizer: Tokenizer | None) -> None:
    tokenizer = CharTokenizer("ab我\n") if tokenizer is None else tokenizer
    shown = [tokenizer.token_text(token) for token in range(tokenizer.vocab_size)]
    names = list(Vocabulary.of(tokenizer).names)
    assert names[tokenizer.end_id] == "<|end|>"
    names[tokenizer.end_id] = ""
    assert names == shown
