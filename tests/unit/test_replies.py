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
from textgen.tokenizers import CharTokenizer, with_marks

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
