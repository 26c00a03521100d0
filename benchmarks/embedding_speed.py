"""Texts to vectors: the engine beside a plain batched forward pass, side by side in one run.

    .venv/bin/python -m benchmarks.embedding_speed [--texts 256] [--repeats 5]

Both take the mean of all layers' h over texts of 50 to 400 tokens. The plain pass sorts the texts
by length and gives nn.LSTM padded batches of 32, which is what one would write first (of one layer,
so that it sees all states). Then the same texts go through a whole stack over HTTP, in requests of
32 from four clients. Figures are tokens a second, median, least and most of the repeats. The last
line is a JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import torch

from benchmarks.engine import VOCABULARY, make_bundle
from benchmarks.serving import ALPHABET, random_model
from tests.stack import QUICK, Stack
from textgen.bundles.bundle import Bundle
from textgen.engine.engine import Engine, Request
from textgen.options import SamplingOptions

BATCH = 32  # texts of a padded batch, and of a request
CLIENTS = 4
SHAPES = ((1, 128, 32), (1, 256, 64), (1, 512, 128))
Ids = np.ndarray


def by_engine(engine: Engine, texts: Sequence[Ids]) -> dict[str, Ids]:
    options = SamplingOptions(max_tokens=0)
    for number, ids in enumerate(texts):
        engine.submit(Request(str(number), ids, options, 0, task="embed"))
    found = {}
    while engine.busy:
        found |= {delta.id: delta.vector for delta in engine.step()}
    return found


@torch.inference_mode()
def by_forward_pass(bundle: Bundle, texts: Sequence[Ids]) -> dict[str, Ids]:
    model, found = bundle.model, {}
    order = sorted(range(len(texts)), key=lambda number: len(texts[number]))
    for begin in range(0, len(order), BATCH):
        group = order[begin : begin + BATCH]
        lengths = torch.tensor([len(texts[number]) for number in group])
        ids = torch.zeros(len(group), int(lengths.max()), dtype=torch.int64)
        for row, number in enumerate(group):
            ids[row, : len(texts[number])] = torch.from_numpy(texts[number])
        states, _ = model.lstm(model.embedding(ids))
        inside = torch.arange(ids.shape[1])[None] < lengths[:, None]
        means = (states * inside[..., None]).sum(1)
        scaled = torch.nn.functional.normalize(means, dim=1).numpy()
        found |= {str(number): scaled[row] for row, number in enumerate(group)}
    return found


def over_http(http: httpx.Client, model: str, texts: Sequence[Ids]) -> None:
    """Embed the texts, four requests of ``BATCH`` at a time."""

    def ask(begin: int) -> None:
        group = ["".join(ALPHABET[token - 2] for token in ids) for ids in texts[begin:][:BATCH]]
        body = {"model": model, "input": group, "encoding_format": "base64"}
        answer = http.post("/v1/embeddings", json=body)
        assert answer.status_code == 200, answer.text
        assert answer.json()["usage"]["prompt_tokens"] == sum(map(len, group))

    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(ask, range(0, len(texts), BATCH)))


def rates_of(
    ways: dict[str, Callable[[], object]], tokens: int, repeats: int
) -> dict[str, list[int]]:
    """Tokens a second of each way, in turns: the median, the least and the most."""
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            started = time.perf_counter()
            way()
            rates[name].append(tokens / (time.perf_counter() - started))
    return {
        name: [round(each) for each in (statistics.median(found), min(found), max(found))]
        for name, found in rates.items()
    }


def in_this_process(texts: Sequence[Ids], repeats: int) -> list[dict[str, Any]]:
    results = []
    for layers, hidden, embedding in SHAPES:
        bundle = make_bundle(layers, hidden, embedding)
        engine = Engine(bundle, queue=len(texts))
        made = by_engine(engine, texts), by_forward_pass(bundle, texts)
        for name, vector in made[0].items():
            assert np.allclose(vector, made[1][name], atol=1e-4), name
        ways: dict[str, Callable[[], object]] = {
            "engine": partial(by_engine, engine, texts),
            "forward pass": partial(by_forward_pass, bundle, texts),
        }
        shown = rates_of(ways, sum(map(len, texts)), repeats)
        print(f"{layers}×{hidden}: {shown}", flush=True)
        results.append({"layers": layers, "hidden": hidden, "tokens_per_second": shown})
    return results


def through_a_stack(texts: Sequence[Ids], repeats: int) -> list[dict[str, Any]]:
    results = []
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack(Path(folder) / "home")
        for name in QUICK:
            del stack.environment[name]
        with stack, stack.http() as http:
            for layers, hidden, _ in SHAPES:
                ask = partial(over_http, http, random_model(stack, layers, hidden), texts)
                ask()  # loads the model
                shown = rates_of({"over HTTP": ask}, sum(map(len, texts)), repeats)
                print(f"{layers}×{hidden}: {shown}", flush=True)
                results.append({"layers": layers, "hidden": hidden, "tokens_per_second": shown})
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--texts", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    draw = np.random.default_rng(0)
    lengths = draw.integers(50, 401, arguments.texts)
    texts = [draw.integers(2, VOCABULARY, length) for length in lengths]
    results = in_this_process(texts, arguments.repeats)
    served = through_a_stack(texts, arguments.repeats)
    print(json.dumps({**vars(arguments), "results": results, "over HTTP": served}))


if __name__ == "__main__":
    main()
