"""The figures of one engine process, by the names that vLLM gives to the same things.

What vLLM calls a request is here one text: a choice for a prompt. Times are those of the engine
process, from the arrival of a request in it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, Metric

from textgen.engine.figures import EngineFigures, Tally
from worker.contracts import BATCH, INTERACTIVE
from worker.generation.engine_states import EngineState

FIRST_TOKEN_SECONDS = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40,
    80, 160, 640, 2560,
)  # fmt: skip
LATENCY_SECONDS = (
    0.01, 0.03, 0.1, 0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480,
    960, 1920, 7680,
)  # fmt: skip


class Host(Protocol):
    """The engines of a process, as far as they are measured."""

    figures: EngineFigures

    @property
    def state(self) -> EngineState: ...  # noqa: D102


class EngineMetrics:
    """Counters of one engine process, which begin anew with it."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        registry = self.registry
        self._prompt_tokens = Counter(
            "vllm:prompt_tokens", "Tokens of prompts whose texts ended.", registry=registry
        )
        self._generation_tokens = Counter(
            "vllm:generation_tokens", "Tokens drawn.", registry=registry
        )
        self._success = Counter(
            "vllm:request_success", "Texts that ended.", ("finished_reason",), registry=registry
        )
        self._errors = Counter(
            "textgen_engine_errors",
            "Requests that the engine could not carry out.",
            ("code",),
            registry=registry,
        )
        self._first = Histogram(
            "vllm:time_to_first_token_seconds",
            "From the arrival of a request until a text's first token that shows.",
            ("queue",),
            buckets=FIRST_TOKEN_SECONDS,
            registry=registry,
        )
        self._whole = Histogram(
            "vllm:e2e_request_latency_seconds",
            "From the arrival of a request until the end of a text.",
            ("queue",),
            buckets=LATENCY_SECONDS,
            registry=registry,
        )

    def watch(self, host: Host) -> None:
        """Tell what these engines measure too."""
        self.registry.register(_HostCollector(host))

    def first_token(self, arrived: float, *, interactive: bool) -> None:
        """A text of a request that ``arrived`` then (monotonic) has its first token."""
        self._first.labels(_queue(interactive)).observe(time.monotonic() - arrived)

    def tokens(self, count: int) -> None:
        """So many tokens were drawn."""
        self._generation_tokens.inc(count)

    def ended(self, arrived: float, reason: str, prompt_tokens: int, *, interactive: bool) -> None:
        """A text came to its end; ``prompt_tokens`` are 0 where its prompt was counted before."""
        self._success.labels(reason).inc()
        self._whole.labels(_queue(interactive)).observe(time.monotonic() - arrived)
        self._prompt_tokens.inc(prompt_tokens)

    def stopped(self, texts: int) -> None:
        """So many texts will not be finished: nobody wants them any more."""
        self._success.labels("abort").inc(texts)

    def refused(self, code: str) -> None:
        """A request cannot be carried out."""
        self._errors.labels(code).inc()


class _HostCollector:
    """What the engines know of themselves, read when somebody asks."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def collect(self) -> Iterator[Metric]:
        """Called by the registry."""
        state, figures = self._host.state, self._host.figures
        yield _gauge("vllm:num_requests_running", "Texts that hold a slot.", state.running)
        yield _gauge(
            "vllm:num_requests_waiting",
            "Texts without a slot, or whose model is being loaded.",
            state.waiting,
        )
        yield _gauge("textgen_engine_models", "Models that are loaded.", len(state.models))
        yield _gauge(
            "textgen_engine_model_bytes",
            "Memory that the loaded models take, with slots and buffers.",
            sum(each.bytes for each in state.models),
        )
        yield _histogram(
            "vllm:request_queue_time_seconds",
            "From the arrival of a text at its engine until it had a slot.",
            {INTERACTIVE: figures.queue_seconds, BATCH: figures.batch_queue_seconds},
        )
        yield _histogram(
            "vllm:inter_token_latency_seconds",
            "From one token of a text to its next, as the engine draws them.",
            {"": figures.token_seconds},
        )
        yield _histogram(
            "textgen_engine_batch_size", "Texts that shared a step.", {"": figures.batch_texts}
        )


def _gauge(name: str, meaning: str, value: float) -> Metric:
    family = GaugeMetricFamily(name, meaning)
    family.add_metric([], value)
    return family


def _histogram(name: str, meaning: str, tallies: Mapping[str, Tally]) -> Metric:
    """Of tallies by their queue; one alone, under no name, has no label."""
    family = HistogramMetricFamily(name, meaning, labels=() if "" in tallies else ("queue",))
    for queue, tally in tallies.items():
        bounds = [*(repr(float(each)) for each in tally.bounds), "+Inf"]
        buckets = list(zip(bounds, map(float, accumulate(tally.counts)), strict=True))
        family.add_metric([queue] if queue else [], buckets, tally.sum)
    return family


def _queue(interactive: bool) -> str:
    return INTERACTIVE if interactive else BATCH
