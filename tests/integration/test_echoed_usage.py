"""What is echoed is no output, whatever characters the prompt's ids stand for."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from tests.random_models import BundleMaker
from textgen.engine.engine import Engine
from textgen.options import SamplingOptions
from textgen.tokenizers import TOKENIZERS
from worker.contracts import BundleReference, GenerateRequest, Owner, decode_deltas, encode
from worker.generation.engine_link import Update
from worker.generation.engine_requests import engine_requests
from worker.generation.gathering import Gathering
from worker.storage.database import Database
from worker.usage.interactive import InteractiveMeter
from worker.usage.tables import usage


@pytest.fixture
def engine(make_bundle: BundleMaker) -> Engine:
    learner = TOKENIZERS["bpe"].learner(300)
    learner.add("the words of these words " * 50)
    return Engine(make_bundle(tokenizer=learner.finish()), slots=4, queue=1000)


def ask(prompt: str | tuple[int, ...], **fields: Any) -> GenerateRequest:
    return GenerateRequest(
        id="cmpl-1",
        owner=Owner(tenant="acme", api_key="k", model="m"),
        bundle=BundleReference(artifact="a", file="f"),
        prompts=(prompt,),
        seed=1,
        **{"echo": True, "options": SamplingOptions(max_tokens=9), **fields},
    )


def use(
    database: Database, engine: Engine, request: GenerateRequest, steps: int = 10**6
) -> tuple[sa.Row[Any], str]:
    """What was written down of so many steps of the engine, and the text of all choices."""
    meter, gathering = InteractiveMeter(database), Gathering(lambda _: ())
    pieces = engine_requests(request, engine.tokenizer, interactive=True)
    for piece in pieces:
        engine.submit(replace(piece, gathered=False))
    gathering.begin(request)
    meter.begin(request)
    text = ""
    while engine.busy and steps:
        steps -= 1
        for delta in engine.step():
            text += delta.text
            gathering.add(delta)
        for name, deltas, used, _ in gathering.due(time.monotonic(), at_rest=not engine.busy):
            travelled = decode_deltas(json.loads(encode(deltas)))
            meter.take([Update(name, travelled, usage=used)])
    meter.forget(request.id)
    for piece in pieces:
        engine.cancel(piece.id)
    meter.flush()
    with database.read() as connection:
        return connection.execute(sa.select(usage)).one(), text


@pytest.mark.parametrize("logprobs", [None, 0])
@pytest.mark.parametrize("kind", ["text", "long ids", "special ids"])
@pytest.mark.parametrize("tokens", [0, 9])
def test_is_not_counted(
    database: Database, engine: Engine, kind: str, logprobs: int | None, tokens: int
) -> None:
    tokenizer = engine.tokenizer
    ids = {
        "text": tokenizer.encode("the words"),
        "long ids": [tokenizer.vocab_size - 1] * 50,
        "special ids": [tokenizer.end_id] * 50,
    }[kind]
    prompt = "the words" if kind == "text" else tuple(map(int, ids))
    options = SamplingOptions(max_tokens=tokens)
    request = ask(prompt, n=3, options=options, logprobs=logprobs)

    row, text = use(database, engine, request)

    assert row.characters_out == len(text) - 3 * len(tokenizer.decode(ids))
    assert (row.tokens_in, row.tokens_out) == (len(ids), 3 * tokens)


def test_a_client_that_leaves_at_once_owes_no_less_than_nothing(
    database: Database, engine: Engine
) -> None:
    row, text = use(database, engine, ask("the words " * 100, n=100), steps=1)

    assert text.startswith("the words")
    assert row.characters_in == 1000
    assert row.characters_out >= 0
    assert row.tokens_in == len(engine.tokenizer.encode("the words " * 100))
