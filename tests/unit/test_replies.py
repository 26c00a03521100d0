"""Conversations on their way into a model: exactly as they stood in its training."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.random_models import ALPHABET, BundleMaker, run, texts
from textgen.bundles.bundle import Bundle
from textgen.corpus.documents import Turn, conversation
from textgen.corpus.id_writer import encode_parts
from textgen.engine.context import conversation_ids
from textgen.engine.engine import Delta, Engine, Request
from textgen.errors import InvalidOption
from textgen.options import RowKind, SamplingOptions
from textgen.tokenizers import ByteTokenizer, CharTokenizer, with_marks

TOKENIZER = with_marks(CharTokenizer(ALPHABET), ("system", "user", "assistant"))
IDS = TOKENIZER.special_ids


def speaker(make_bundle: BundleMaker, rows: RowKind = "messages") -> Bundle:
    bundle = make_bundle(tokenizer=TOKENIZER, documents=True, spread=4)
    header = bundle.header.model_copy(update={"rows": rows})
    return Bundle(header, bundle.tokenizer, bundle.model)


def reply(engine: Engine, turns: list[Turn]) -> list[Delta]:
    ids = conversation_ids(TOKENIZER, turns)
    engine.submit(Request("r", ids, SamplingOptions(max_tokens=12), 5, task="reply"))
    return run(engine)


def test_a_conversation_is_read_as_it_was_learnt() -> None:
    messages = [
        {"role": "system", "content": "be kind"},
        {"role": "user", "content": "程序 a"},
        {"role": "assistant", "content": ""},
        {"role": "user", "content": "b"},
        {"role": "assistant", "content": "reply"},
    ]
    row = conversation(messages)
    assert row is not None
    learnt = np.concatenate([ids for ids, _, _ in encode_parts(row, TOKENIZER)]).tolist()
    asked = conversation_ids(TOKENIZER, row.turns[:-1]).tolist()
    assert learnt[: len(asked)] == asked
    assert TOKENIZER.decode(learnt[len(asked) :]) == "reply"


def test_a_text_cannot_forge_a_turn() -> None:
    told = "assistant user system \n end"
    asked = conversation_ids(TOKENIZER, [Turn(told, mark="user")])
    assert asked.tolist() == [
        IDS["user"], *TOKENIZER.encode(told).tolist(), IDS["end"], IDS["assistant"],
    ]  # fmt: skip


def test_one_user_turn_is_the_prompt_of_a_completion(make_bundle: BundleMaker) -> None:
    """A prompt of such a model is what the user says, so both ways give one text."""
    bundle = speaker(make_bundle)
    engine = Engine(bundle, slots=2)
    replied = texts(reply(engine, [Turn("abc", mark="user")]))["r"]
    engine.submit(Request("r", TOKENIZER.encode("abc"), SamplingOptions(max_tokens=12), 5))
    assert texts(run(engine))["r"] == replied


def test_ids_with_all_that_is_read_around_them_are_read_as_they_stand(
    make_bundle: BundleMaker,
) -> None:
    engine = Engine(speaker(make_bundle), slots=2)
    ids = conversation_ids(TOKENIZER, [Turn("abc", mark="user")])
    replied = texts(reply(engine, [Turn("abc", mark="user")]))["r"]
    whole = np.array([IDS["end"], *ids])
    engine.submit(Request("r", whole, SamplingOptions(max_tokens=12), 5))
    assert texts(run(engine))["r"] == replied
    engine.submit(Request("e", whole, SamplingOptions(max_tokens=0), 5, echo=True, logprobs=0))
    told = [each for delta in run(engine) for each in delta.logprobs]
    assert [each.token for each in told] == whole.tolist()
    assert [each.logprob is None for each in told] == [True] + [False] * len(ids)


def test_a_reply_ends_with_its_turn_and_no_mark_is_written(make_bundle: BundleMaker) -> None:
    bundle = speaker(make_bundle)
    with torch.no_grad():
        for mark in ("user", "assistant", "system"):
            bundle.model.output.bias[IDS[mark]] = 60.0
        bundle.model.output.bias[IDS["end"]] = 50.0
    deltas = reply(Engine(bundle, slots=2), [Turn("abc", mark="user")])
    assert [(each.text, each.tokens, each.finish_reason) for each in deltas] == [("", 1, "stop")]
    assert deltas[0].prompt_tokens == len("abc") + 3


def test_a_model_that_learnt_no_conversations_refuses(make_bundle: BundleMaker) -> None:
    engine = Engine(speaker(make_bundle, rows="text"), slots=2)
    with pytest.raises(InvalidOption, match="messages") as caught:
        reply(engine, [Turn("abc", mark="user")])
    assert caught.value.code == "not_a_chat_model"
    with pytest.raises(InvalidOption) as caught:
        conversation_ids(CharTokenizer(ALPHABET), [Turn("abc", mark="user")])
    assert caught.value.code == "not_a_chat_model"
    assert not engine.busy


SAID = [Turn("abc", mark="user"), Turn("程序", mark="system"), Turn("a.", mark="user")]


@pytest.mark.parametrize("options", [{}, {"stop": ("a", "b", "c")}, {"max_tokens": 3}])
def test_a_conversation_goes_on_from_the_state_of_a_reply(
    make_bundle: BundleMaker, options: dict[str, object]
) -> None:
    """As it would after all that was said and shown; whether the reply ended or was cut off."""
    engine = Engine(speaker(make_bundle), slots=2)

    def said(turns: list[Turn], **given: object) -> tuple[str, Delta]:
        wanted = SamplingOptions(**{"max_tokens": 40, **options})
        ids = conversation_ids(TOKENIZER, turns)
        engine.submit(Request("r", ids, wanted, 5, task="reply", return_state=True, **given))
        deltas = run(engine)
        return texts(deltas)["r"], deltas[-1]

    turns, state = [], None
    for turn in SAID:
        turns.append(turn)
        whole, last = said(turns)
        assert last.state is not None
        text, again = said([turn], start=state)
        assert text == whole
        assert again.state is not None
        assert again.state.values.tobytes() == last.state.values.tobytes()
        assert again.state.token == last.state.token
        assert again.state.tokens == last.state.tokens
        turns.append(Turn(text, mark="assistant"))
        state = again.state


def test_a_character_that_was_cut_does_not_begin_the_next_reply(make_bundle: BundleMaker) -> None:
    tokenizer = with_marks(ByteTokenizer(), ("system", "user", "assistant"))
    bundle = make_bundle(tokenizer=tokenizer, documents=True)
    bundle = Bundle(bundle.header.model_copy(update={"rows": "messages"}), tokenizer, bundle.model)
    with torch.no_grad():
        bundle.model.output.bias[:] = -90.0
        bundle.model.output.bias["我".encode()[0]] = 90.0
    engine = Engine(bundle, slots=1)
    ids = conversation_ids(tokenizer, [Turn("", mark="user")])
    state = None
    for _ in range(2):
        options = SamplingOptions(max_tokens=1)
        engine.submit(Request("r", ids, options, 5, task="reply", return_state=True, start=state))
        (delta,) = run(engine)
        assert delta.text == "\ufffd"
        state = delta.state
        assert state is not None
        assert len(state.pending) == 1
