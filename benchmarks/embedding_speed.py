"""Texts to vectors: the engine beside a plain batched forward pass, side by side in one run.

    .venv/bin/python -m benchmarks.embedding_speed [--texts 256] [--repeats 5]

Both take the mean of all layers' h over texts of 50 to 400 tokens. The plain pass sorts the texts
by length and gives nn.LSTM padded batches of 32, which is what one would write first (of one layer,
so that it sees all states). Figures are tokens a second, median, least and most of the repeats. The
last line is a JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Sequence

import numpy as np
import torch

from benchmarks.engine import VOCABULARY, make_bundle
from textgen.bundles.bundle import Bundle
from textgen.engine.engine import Engine, Request
from textgen.options import SamplingOptions

BATCH = 32
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
    results = []
    for layers, hidden, embedding in SHAPES:
        bundle = make_bundle(layers, hidden, embedding)
        engine = Engine(bundle, queue=arguments.texts)
        ways = {
            "engine": lambda engine=engine: by_engine(engine, texts),
            "forward pass": lambda bundle=bundle: by_forward_pass(bundle, texts),
        }
        made = [way() for way in ways.values()]
        for name, vector in made[0].items():
            assert np.allclose(vector, made[1][name], atol=1e-4), name
        rates: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(arguments.repeats):
            for name, way in ways.items():
                started = time.perf_counter()
                way()
                rates[name].append(float(lengths.sum()) / (time.perf_counter() - started))
        shown = {
            name: [round(each) for each in (statistics.median(found), min(found), max(found))]
            for name, found in rates.items()
        }
        print(f"{layers}×{hidden}: {shown}", flush=True)
        results.append({"layers": layers, "hidden": hidden, "tokens_per_second": shown})
    print(json.dumps({**vars(arguments), "results": results}))


if __name__ == "__main__":
    main()
