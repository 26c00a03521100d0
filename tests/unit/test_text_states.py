"""Texts that go on from a state are those that would go on from the whole text."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.random_models import ALPHABET, BundleMaker, run, texts
from textgen.engine.engine import Delta, Engine, Request
from textgen.engine.text_state import TextState
from textgen.errors import InvalidOption
from textgen.options import SamplingOptions
from textgen.tokenizers import TOKENIZERS, ByteTokenizer, CharTokenizer, Tokenizer

EASY = settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
PROMPTS = st.text(ALPHABET, max_size=70)
OWN = ("start", "alternatives", "seed", "blocked")  # of a request, beside the sampling options


def pieces() -> Tokenizer:
    learner = TOKENIZERS["bpe"].learner(300)
    learner.add("a b c abc, cab. 我是一名程序员\n" * 50)
    return learner.finish()


def readable(make_bundle: BundleMaker, tokenizer: Tokenizer) -> Engine:
    """An engine whose texts are mostly whole characters, and end from time to time."""
    bundle = make_bundle(2, 64, tokenizer=tokenizer, documents=True, seed=4)
    with torch.no_grad():
        bias = bundle.model.output.bias
        bias[tokenizer.encode("abc ,.\n")] += 5
        bias[256:] += 5  # pieces of several bytes
        bias[tokenizer.end_id] = 3.5
    return Engine(bundle, slots=4)


@pytest.fixture(scope="module", params=["char", "byte", "pieces"])
def engine(request: pytest.FixtureRequest, make_bundle: BundleMaker) -> Engine:
    tokenizers = {"char": CharTokenizer(ALPHABET), "byte": ByteTokenizer(), "pieces": pieces()}
    return readable(make_bundle, tokenizers[request.param])


@pytest.fixture(scope="module", params=["char", "byte"])
def plain(request: pytest.FixtureRequest, make_bundle: BundleMaker) -> Engine:
    """An engine whose tokenizer cuts a text in one way only."""
    tokenizers = {"char": CharTokenizer(ALPHABET), "byte": ByteTokenizer()}
    return readable(make_bundle, tokenizers[request.param])


def ask(engine: Engine, prompt: str | list[int], **given: object) -> tuple[str, Delta]:
    """One request that returns its state: its text and its last delta."""
    own = {name: given.pop(name) for name in OWN if name in given}
    own["task"] = "choose" if "alternatives" in own else "write"
    ids = engine.tokenizer.encode(prompt) if isinstance(prompt, str) else np.array(prompt, int)
    options = SamplingOptions(**given)
    engine.submit(Request("r", ids, options, return_state=True, **{"seed": 5, **own}))
    deltas = run(engine)
    assert [delta.state is not None for delta in deltas] == [False] * (len(deltas) - 1) + [True]
    return texts(deltas)["r"], deltas[-1]


def same(first: TextState, second: TextState) -> bool:
    numbers = first.values.tobytes() == second.values.tobytes()
    return numbers and [getattr(first, name) for name in OTHERS] == [
        getattr(second, name) for name in OTHERS
    ]


OTHERS = ("token", "tokens", "pending", "rest")


@given(PROMPTS, st.integers(0, 60), st.integers(0, 99), PROMPTS)
@EASY
def test_the_state_at_the_end_of_a_text_is_that_of_reading_it(
    plain: Engine, prompt: str, max_tokens: int, seed: int, further: str
) -> None:
    """Whether the text ended by itself, by a stop string, or by the number of its tokens."""
    stop = random.Random(seed).choice([(), ("ab", "c ."), ("\n", ", ,")])
    text, last = ask(plain, prompt, max_tokens=max_tokens, seed=seed, stop=stop)
    if "\ufffd" in text:
        return
    _, whole = ask(plain, prompt + text, max_tokens=0)
    assert same(last.state, whole.state)
    options = {"seed": seed, "max_tokens": 20}
    continued, _ = ask(plain, further, start=last.state, **options)
    assert continued == ask(plain, prompt + text + further, **options)[0]


@given(PROMPTS, st.integers(1, 40), st.integers(0, 40), st.sampled_from(["", "ab", "我c"]))
@EASY
def test_a_text_in_two_parts_is_the_text_in_one(
    engine: Engine, prompt: str, first: int, second: int, further: str
) -> None:
    whole, end = ask(engine, prompt, max_tokens=first + second, temperature=0)
    text, last = ask(engine, prompt, max_tokens=first, temperature=0)
    if last.finish_reason == "length":
        rest, last = ask(engine, "", start=last.state, max_tokens=second, temperature=0)
        text += rest
    if "\ufffd" not in text:
        assert text == whole
    assert same(last.state, end.state)
    branches = [ask(engine, further, start=last.state, max_tokens=9, seed=7) for _ in range(2)]
    assert branches[0][0] == branches[1][0]  # the same id twice
    assert same(branches[0][1].state, branches[1][1].state)


@pytest.mark.parametrize("blocked", [False, True])
def test_a_stop_string_leaves_no_trace_in_the_state(engine: Engine, *, blocked: bool) -> None:
    """Nor does a blocked word, against the states of the same text cut at every token.

    Either may begin within one.
    """
    for seed in range(12):
        cuts = [ask(engine, "ab", max_tokens=count, seed=seed) for count in range(40)]
        whole = cuts[-1][0]
        if "\ufffd" in whole or len(whole) < 12:
            continue
        at = random.Random(seed).randrange(len(whole) - 3)
        ends = whole[at : at + 3]
        given = {"blocked": (ends,)} if blocked else {"stop": ends}
        text, last = ask(engine, "ab", max_tokens=39, seed=seed, **given)
        assert whole.startswith(text)
        assert len(text) <= at
        best = max((cut for cut in cuts if len(cut[0]) <= len(text)), key=lambda cut: len(cut[0]))
        first = next(cut for cut in cuts if cut[0] == best[0])
        assert last.state.values.tobytes() == first[1].state.values.tobytes()
        assert (last.state.token, last.state.tokens) == (
            first[1].state.token,
            first[1].state.tokens,
        )
        assert first[0] + last.state.rest == text


def test_a_character_that_is_cut_becomes_whole(make_bundle: BundleMaker) -> None:
    bundle = make_bundle(tokenizer=ByteTokenizer())
    bytes_ = list("我".encode())
    with torch.no_grad():
        bundle.model.output.bias[bytes_[2]] = 50
    engine = Engine(bundle, slots=2)
    _, last = ask(engine, bytes_[:1], max_tokens=0)
    assert last.state.pending == (bytes_[0],)
    _, last = ask(engine, bytes_[1:2], start=last.state, max_tokens=0)
    assert last.state.pending == tuple(bytes_[:2])
    text, last = ask(engine, "", start=last.state, max_tokens=1)
    assert (text, last.state.pending) == ("我", ())


@given(st.integers(0, 10**6), st.sampled_from([1, 2, 5]), st.sampled_from([0, 10**4, 10**8]))
@EASY
def test_any_order_of_submit_step_cancel_and_continue(
    make_bundle: BundleMaker, seed: int, slots: int, cache: int
) -> None:
    """Against each text alone, from its beginning, in an engine that keeps nothing."""
    bundle = make_bundle(2, 64)
    alone = Engine(bundle, slots=1, prefix_cache_bytes=0)
    engine = Engine(bundle, slots=slots, interactive_reserve=0, prefix_cache_bytes=cache)
    chance = random.Random(seed)
    common = "".join(chance.choices("abc ,.", k=90))
    before: dict[str, str] = {}  # all that was read, by request
    seeds: dict[str, int] = {}
    ended: dict[str, Delta] = {}
    written: dict[str, str] = {}
    for number in range(20):
        name, prompt = str(number), chance.choice([common, common[:40], "", "abc"])
        start = chance.choice([*ended, None]) if ended else None
        text = prompt if start is None else before[start] + written[start] + prompt
        if text:
            before[name], seeds[name] = text, chance.randrange(9)
            options = SamplingOptions(max_tokens=chance.randrange(12), stop=("b", " ,"))
            engine.submit(
                Request(
                    name,
                    engine.tokenizer.encode(prompt),
                    options,
                    seeds[name],
                    start=None if start is None else ended[start].state,
                    return_state=True,
                )
            )
        if chance.random() < 0.2 and before:
            gone = chance.choice(list(before))
            engine.cancel(gone)
        for _ in range(chance.randrange(6)):
            _take(engine, ended, written)
    while engine.busy:
        _take(engine, ended, written)
    assert engine.free_slots == slots
    for name, delta in ended.items():
        ids = alone.tokenizer.encode(before[name])
        options = SamplingOptions(max_tokens=40, stop=("b", " ,"))
        alone.submit(Request("r", ids, options, seeds[name]))
        whole = texts(run(alone))["r"]
        assert whole.startswith(written[name])
        assert whole == written[name] or delta.finish_reason == "length"
        _, read = ask(alone, before[name] + written[name], max_tokens=0)
        assert same(read.state, delta.state)


def _take(engine: Engine, ended: dict[str, Delta], written: dict[str, str]) -> None:
    for delta in engine.step():
        written[delta.id] = written.get(delta.id, "") + delta.text
        if delta.finish_reason is not None:
            ended[delta.id] = delta


@pytest.fixture
def stopped(make_bundle: BundleMaker) -> tuple[Engine, Request, str]:
    """A request whose text ends after 5 characters by a stop string of 7, 12 steps after it began.

    The state after those 5 is not at hand then.
    """
    engine = Engine(make_bundle(), slots=2)
    whole, _ = ask(engine, "a", max_tokens=30)
    options = SamplingOptions(max_tokens=30, stop=(whole[5:12],))
    ids = engine.tokenizer.encode("a")
    return engine, Request("r", ids, options, seed=5, return_state=True), whole[:5]


@pytest.mark.parametrize("steps", [0, 1, 11, 12])
def test_a_request_with_a_state_can_be_cancelled_at_any_time(
    stopped: tuple[Engine, Request, str], steps: int
) -> None:
    engine, request, _ = stopped
    engine.submit(request)
    deltas = [delta for _ in range(steps) for delta in engine.step()]
    assert not any(delta.finish_reason for delta in deltas)
    engine.cancel("r")
    assert (engine.free_slots, engine.busy) == (2, False)
    engine.submit(request)  # nothing of it is left
    assert run(engine)[-1].finish_reason == "stop"


def test_reading_a_state_again_holds_up_nobody(stopped: tuple[Engine, Request, str]) -> None:
    engine, request, text = stopped
    other = engine.tokenizer.encode("b")
    engine.submit(Request("other", other, SamplingOptions(max_tokens=50), seed=1))
    engine.submit(request)
    steps = [engine.step() for _ in range(13)]
    assert all(sum(delta.id == "other" for delta in step) == 1 for step in steps)
    (last,) = [delta for delta in steps[-1] if delta.id == "r"]
    assert (last.text, last.finish_reason) == ("", "stop")
    run(engine)
    _, read = ask(engine, "a" + text, max_tokens=0)
    assert same(last.state, read.state)


def test_alternatives_are_what_the_model_says(make_bundle: BundleMaker) -> None:
    bundle = make_bundle(2, 48, spread=8)
    engine = Engine(bundle, slots=2)
    _, last = ask(engine, "hello, 我", alternatives=5)
    with torch.no_grad():
        ids = bundle.tokenizer.encode("hello, 我").astype(np.int64)
        logits, _ = bundle.model(torch.from_numpy(ids)[None])
    logits[..., list(bundle.tokenizer.generation_banned(documents=False))] = float("-inf")
    expected = logits[0, -1].double().softmax(0).sort(descending=True)
    assert [each.token for each in last.alternatives] == expected.indices[:5].tolist()
    assert [each.probability for each in last.alternatives] == pytest.approx(
        expected.values[:5].tolist(), rel=1e-4
    )
    assert last.prompt_tokens == 8
    greedy, _ = ask(engine, "", start=last.state, max_tokens=1, temperature=0)
    assert greedy == bundle.tokenizer.token_text(last.alternatives[0].token)


def test_picking_alternatives_one_by_one_is_the_greedy_text(engine: Engine) -> None:
    """Each pick goes on from the state before it, in constant time."""
    whole, _ = ask(engine, "ab", max_tokens=30, temperature=0)
    _, last = ask(engine, "ab", alternatives=1)
    picked = []
    end = engine.tokenizer.end_id
    while len(picked) < 30 and last.alternatives[0].token != end:
        picked.append(last.alternatives[0].token)
        _, last = ask(engine, picked[-1:], start=last.state, alternatives=1)
    assert engine.tokenizer.decode(picked) == whole


def test_more_alternatives_than_tokens_are_all_tokens(make_bundle: BundleMaker) -> None:
    engine = Engine(make_bundle(), slots=2)
    _, last = ask(engine, "a", alternatives=1000)
    tokens = {each.token for each in last.alternatives}
    banned = set(engine.tokenizer.generation_banned(documents=False))
    assert tokens == set(range(engine.tokenizer.vocab_size)) - banned
    assert sum(each.probability for each in last.alternatives) == pytest.approx(1)


def test_a_state_of_another_shape_is_refused(make_bundle: BundleMaker) -> None:
    _, last = ask(Engine(make_bundle(), slots=1), "a", max_tokens=0)
    engine = Engine(make_bundle(2, 64), slots=1)
    with pytest.raises(InvalidOption) as caught:
        ask(engine, "a", start=last.state)
    assert (caught.value.code, caught.value.param) == ("state_of_another_model", "state_id")
    assert not engine.busy


def test_a_state_of_other_numerics_is_refused(make_bundle: BundleMaker) -> None:
    bundle = make_bundle()
    engine = Engine(bundle, slots=1)
    _, last = ask(engine, "a", max_tokens=0)
    travelled = TextState.unpack(last.state.pack())
    assert same(travelled, last.state)
    assert ask(engine, "b", start=travelled)[0] == ask(engine, "ab")[0]
    elsewhere = replace(travelled, numerics="another machine")
    with pytest.raises(InvalidOption, match="Send the text instead") as caught:
        ask(engine, "b", start=elsewhere)
    assert (caught.value.code, caught.value.param) == ("state_of_other_numerics", "state_id")
    assert not engine.busy
