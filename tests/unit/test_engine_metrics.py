"""What the engine measures of itself, and how it comes out in Prometheus' text."""

from __future__ import annotations

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.random_models import BundleMaker
from textgen.engine.engine import Engine, Request
from textgen.engine.figures import EngineFigures, Tally
from textgen.engine.requests import Delta
from textgen.options import SamplingOptions
from worker.contracts import BundleReference, GenerateRequest
from worker.generation.engine_host import EngineHost
from worker.generation.engine_metrics import EngineMetrics
from worker.generation.gathering import Gathering
from worker.metrics.exposition import from_text, merged, to_text


def request(name: str, tokens: int, *, top_k: int = 0) -> Request:
    options = SamplingOptions(max_tokens=tokens, ignore_eos=True, top_k=top_k)
    return Request(name, np.array([1, 2], dtype=np.int64), options, seed=1, gathered=True)


def test_a_tally_counts_up_to_its_bounds() -> None:
    tally = Tally((1.0, 10.0))
    for value, times in ((0.5, 2), (1.0, 1), (3.0, 4), (11.0, 1)):
        tally.add(value, times)

    assert tally.counts == [3, 4, 1]
    assert tally.sum == 2 * 0.5 + 1.0 + 4 * 3.0 + 11.0


@pytest.mark.parametrize("top_k", [0, 3], ids=["by the kernel", "by torch"])
def test_every_token_but_a_texts_first_has_its_time(make_bundle: BundleMaker, top_k: int) -> None:
    engine = Engine(make_bundle(), slots=2)
    for name, tokens in (("a", 40), ("b", 40), ("c", 20)):
        engine.submit(request(name, tokens, top_k=top_k))

    drawn = 0
    while engine.busy:
        drawn += sum(delta.tokens for delta in engine.step(0.001))

    figures = engine.figures
    assert drawn == 100
    assert sum(figures.token_seconds.counts) == drawn - 3
    assert sum(figures.queue_seconds.counts) == 3
    # Two texts share 40 steps, then one is alone for 20.
    assert figures.batch_texts.sum == drawn
    assert figures.batch_texts.counts[:2] == [20, 40]


def test_steps_of_texts_that_were_taken_out_before_they_wrote() -> None:
    figures = EngineFigures()
    figures.drew(texts=1, new=1, steps=1, seconds=0.1)

    assert sum(figures.token_seconds.counts) == 0


def generate(name: str, n: int = 1) -> GenerateRequest:
    return GenerateRequest(
        id=name,
        bundle=BundleReference(artifact="a", file="f"),
        prompts=("x",),
        n=n,
        options=SamplingOptions(),
        seed=1,
    )


def values(text: str) -> dict[str, float]:
    """By name and labels, what is not a bucket."""
    return {
        sample.name + "".join(f" {key}={value}" for key, value in sample.labels.items()): (
            sample.value
        )
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.name.endswith(("_bucket", "_created"))
    }


def test_texts_are_counted_as_they_begin_and_end() -> None:
    metrics = EngineMetrics()
    gathering = Gathering(metrics=metrics)
    gathering.begin(generate("r", n=2))
    gathering.begin(generate("stopped", n=3))
    gathering.begin(generate("refused"))
    gathering.add(Delta("r/0", "ab", 2, None, 7))
    gathering.add(Delta("r/0", "c", 1, "stop", 7))
    gathering.add(Delta("r/1", "", 0, None, 7))  # an echoed prompt is no token
    gathering.add(Delta("r/1", "d", 1, "length", 7))
    gathering.forget("stopped")
    gathering.drop("refused", "engine_full")
    metrics.refused("engine_full")

    found = values(to_text([metrics.registry]))

    assert found["vllm:generation_tokens_total"] == 4
    assert found["vllm:prompt_tokens_total"] == 7  # a prompt counts once
    assert found["vllm:request_success_total finished_reason=stop"] == 1
    assert found["vllm:request_success_total finished_reason=length"] == 1
    assert found["vllm:request_success_total finished_reason=abort"] == 3
    assert found["vllm:time_to_first_token_seconds_count queue=interactive"] == 2
    assert found["vllm:e2e_request_latency_seconds_count queue=interactive"] == 2
    assert found["textgen_engine_errors_total code=engine_full"] == 1


def test_what_the_engines_know_is_told_too() -> None:
    host = EngineHost(device="cpu", slots=4, cache_bytes=10**9)
    host.figures.drew(texts=3, new=1, steps=2, seconds=0.01)
    metrics = EngineMetrics()
    metrics.watch(host)
    host.figures.waited(0.02, interactive=False)

    text = to_text([metrics.registry])

    assert values(text)["vllm:num_requests_running"] == 0
    assert values(text)["vllm:request_queue_time_seconds_count queue=batch"] == 1
    assert values(text)["vllm:request_queue_time_seconds_count queue=interactive"] == 0
    assert values(text)["vllm:inter_token_latency_seconds_count"] == 5
    assert 'vllm:inter_token_latency_seconds_bucket{le="0.005"} 5.0' in text
    assert 'vllm:inter_token_latency_seconds_bucket{le="0.0025"} 0.0' in text
    assert 'textgen_engine_batch_size_bucket{le="4.0"} 2.0' in text


def test_figures_of_several_workers_become_one_family() -> None:
    metrics = EngineMetrics()
    metrics.tokens(5)
    text = to_text([metrics.registry])

    families = merged([*from_text(text, {"worker": "w1"}), *from_text(text, {"worker": "w2"})])

    (tokens,) = [each for each in families if each.name == "vllm:generation_tokens"]
    assert [(each.labels, each.value) for each in tokens.samples] == [
        ({"worker": "w1"}, 5.0),
        ({"worker": "w2"}, 5.0),
    ]
    assert not [each for each in families if each.name.endswith("_created")]
