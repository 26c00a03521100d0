"""The sampling options through the official client: one text wherever it is made."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest
import torch

from tests.acceptance.conftest import VERSES, train
from tests.random_models import run, texts
from tests.stack import Stack, wait_for_batch
from textgen.bundles.bundle import Bundle, load_bundle
from textgen.engine.engine import Engine, Request
from textgen.evaluation.memorisation import CorpusIndex
from textgen.options import SamplingOptions

PROMPT = "The king "
OPTIONS: list[dict[str, Any]] = [
    {},
    {"temperature": [0.3, 1.4], "top_k": 9, "ignore_eos": True},
    {"min_p": 0.05, "typical_p": 0.9, "presence_penalty": 0.5, "repetition_penalty": 1.2},
    {"no_repeat_ngram_size": 4, "logit_bias": {"7": -3.5}, "frequency_penalty": 0.3},
    {"bad_words": ["sings", "king"], "stop": ["zq"], "min_tokens": 20},
    {"allowed_words": ["the sea ", "a moon "], "top_p": 0.9},
]
SCORED = {"logprobs": 2, "echo": True, "n": 2, "best_of": 3}


@pytest.fixture(scope="module")
def bundle(stack: Stack, client: openai.OpenAI, model: str) -> Bundle:
    """The model as the library reads it, from where the stack keeps it."""
    job = next(each for each in client.fine_tuning.jobs.list() if each.fine_tuned_model == model)
    paths = list(Path(stack.home).rglob(f"*{job.id}*/**/model.safetensors"))
    return load_bundle(paths[0])


def library(bundle: Bundle, options: dict[str, Any], prompt: str = PROMPT) -> str:
    engine = Engine(bundle)
    ids = engine.tokenizer.encode(prompt)
    chosen = SamplingOptions(max_tokens=60, **options)
    engine.submit(Request("only", ids, chosen, seed=31))
    for number in range(30):
        engine.submit(Request(str(number), ids, SamplingOptions(max_tokens=99), seed=number))
    return texts(run(engine))["only"]


def body(model: str, **options: Any) -> dict[str, Any]:
    return {"model": model, "prompt": PROMPT, "max_tokens": 60, "seed": 31, **options}


def create(client: openai.OpenAI, model: str, **options: Any) -> Any:
    named = {"model": model, "prompt": PROMPT, "max_tokens": 60, "seed": 31}
    return client.completions.create(**named, extra_body=options)


def test_the_next_engine_writes_the_same(stack: Stack, client: openai.OpenAI, model: str) -> None:
    patient = client.with_options(max_retries=8)
    before = [create(patient, model, **each).choices[0].text for each in OPTIONS]

    (engine,) = stack.processes("worker.generation.engine_process")
    engine.kill()
    engine.wait()

    assert [create(patient, model, **each).choices[0].text for each in OPTIONS] == before
    (after,) = stack.processes("worker.generation.engine_process")
    assert after.pid != engine.pid


def test_a_request_a_stream_a_batch_and_the_library_write_the_same(
    client: openai.OpenAI, model: str, bundle: Bundle
) -> None:
    call = {"method": "POST", "url": "/v1/completions"}
    lines = [
        {"custom_id": str(number), **call, "body": body(model, **each)}
        for number, each in enumerate([*OPTIONS, SCORED])
    ]
    content = "\n".join(map(json.dumps, lines)).encode()
    file = client.files.create(file=("b.jsonl", io.BytesIO(content)), purpose="batch")
    batch = client.batches.create(
        input_file_id=file.id, endpoint="/v1/completions", completion_window="24h"
    )
    whole = [create(client, model, **each).choices[0].text for each in OPTIONS]
    streamed = [
        "".join(
            chunk.choices[0].text
            for chunk in client.completions.create(
                model=model, prompt=PROMPT, max_tokens=60, seed=31, stream=True, extra_body=each
            )
        )
        for each in OPTIONS
    ]
    here = [library(bundle, each) for each in OPTIONS]
    assert streamed == whole
    assert here == whole
    batch = wait_for_batch(client, batch.id)
    output = client.files.content(str(batch.output_file_id)).text.splitlines()
    rows = [json.loads(line)["response"]["body"] for line in output]
    assert [row["choices"][0]["text"] for row in rows[:-1]] == whole
    scored = create(client, model, **SCORED)
    assert rows[-1]["choices"] == [each.model_dump() for each in scored.choices]
    assert len(set(whole)) == len(OPTIONS)
    assert not any(word in whole[4] for word in ("sings", "king"))


def test_an_evaluation_harness_gets_the_models_log_likelihoods(
    client: openai.OpenAI, model: str, bundle: Bundle
) -> None:
    """The request that lm-evaluation-harness's local-completions sends, read as it reads it."""
    tokenizer = bundle.tokenizer
    pairs = [("The king speaks to", " the sea."), ("A fool", " looks upon the moon."), ("x", "zz")]
    encoded = [(tokenizer.encode(a).tolist(), tokenizer.encode(b).tolist()) for a, b in pairs]
    answer = client.completions.create(
        model=model,
        prompt=[context + continuation for context, continuation in encoded],
        temperature=0,
        max_tokens=1,
        logprobs=1,
        seed=1234,
        echo=True,
    )
    for choice, (context, continuation) in zip(answer.choices, encoded, strict=True):
        told = choice.logprobs
        assert told is not None and told.token_logprobs is not None
        assert told.top_logprobs is not None
        values = told.token_logprobs[len(context) : -1]
        tops = told.top_logprobs[len(context) : -1]
        start = [tokenizer.end_id] if bundle.header.documents else []
        with torch.no_grad():
            logits, _ = bundle.model(torch.tensor([start + context + continuation]))
        chances = logits[0].double().log_softmax(-1).numpy()
        first = len(start) + len(context)
        rows = chances[first - 1 : first - 1 + len(continuation)]
        wanted = rows[np.arange(len(continuation)), continuation]
        assert values == pytest.approx(wanted.tolist(), abs=1e-5)
        greedy = all(value == max(top.values()) for value, top in zip(values, tops, strict=True))
        assert greedy == (rows.argmax(1) == continuation).all()


def test_log_probabilities_are_the_same_streamed_or_not(client: openai.OpenAI, model: str) -> None:
    options: dict[str, Any] = {
        "model": model, "prompt": PROMPT, "max_tokens": 20, "seed": 3, "logprobs": 2, "echo": True,
    }  # fmt: skip
    whole = client.completions.create(**options).choices[0].logprobs
    chunks = [
        chunk.choices[0].logprobs for chunk in client.completions.create(**options, stream=True)
    ]
    assert whole is not None and whole.tokens is not None
    for name in ("tokens", "token_logprobs", "top_logprobs", "text_offset"):
        joined = [each for chunk in chunks for each in getattr(chunk, name)]
        assert joined == getattr(whole, name), name
    assert len(whole.tokens) == len(PROMPT) + 20


def test_the_best_of_several_are_those_that_the_model_finds_likeliest(
    client: openai.OpenAI, model: str
) -> None:
    options: dict[str, Any] = {"model": model, "prompt": PROMPT, "max_tokens": 15, "seed": 5}
    written = client.completions.create(**options, n=6, logprobs=0)
    best = client.completions.create(**options, n=2, best_of=6)

    def mean(choice: Any) -> float:
        return float(np.mean(choice.logprobs.token_logprobs))

    order = sorted(written.choices, key=mean, reverse=True)
    assert [choice.text for choice in best.choices] == [choice.text for choice in order[:2]]
    assert best.usage == written.usage


def test_a_model_with_an_index_does_not_repeat_its_text(client: openai.OpenAI) -> None:
    parrot = train(client, "verses.txt", VERSES * 4, max_steps=150, copy_index=16)
    index = CorpusIndex([VERSES * 4])

    def longest(**options: Any) -> int:
        answer = client.completions.create(
            model=parrot, prompt="The ", max_tokens=80, temperature=0.5, seed=1, n=5,
            extra_body=options,
        )  # fmt: skip
        return max(index.longest_overlap(each.text).characters for each in answer.choices)

    assert client.models.retrieve(parrot).model_extra["copy_index"] == 16
    assert longest() > 30
    assert longest(reject_if_copied_over=20) <= 20


def test_what_a_model_cannot_do_is_said_by_the_option(client: openai.OpenAI, model: str) -> None:
    for options, code in (
        ({"reject_if_copied_over": 30}, "no_copy_index"),
        ({"allowed_token_ids": [5000]}, "invalid_value"),
    ):
        with pytest.raises(openai.BadRequestError) as caught:
            create(client, model, **options)
        assert caught.value.code == code
        assert caught.value.param == next(iter(options))
