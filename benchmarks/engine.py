"""Generation: the engine against a plain nn.LSTM loop, side by side in one run.

    .venv/bin/python -m benchmarks.engine [--batches 1,8,32,128] [--repeats 5]

Everything takes turns (A B C A B C …) on one random model: the loop as it comes, the loop with
oneDNN off, the engine with as many requests, by its native kernel, by torch, and with int8 weights.
The roofs are this machine's 2048³ matrix products, by torch.matmul and by oneDNN, divided by the
multiplications that a token needs. As in a worker, the native kernel has all threads and torch
one beside it; the plain loop and the torch kernel have all. The last line is a JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

from textgen.bundles.bundle import Bundle, BundleHeader, count_parameters
from textgen.engine.engine import BURST_SECONDS, Engine, Request
from textgen.engine.kernels.int8_loss import METRIC
from textgen.engine.kernels.library import load
from textgen.model import TextGenerator
from textgen.options import ModelOptions, SamplingOptions
from textgen.tokenizers import CharTokenizer

VOCABULARY = 65
SECONDS_EACH = 0.5  # roughly, of every timed stretch


def make_bundle(layers: int, hidden: int, embedding: int) -> Bundle:
    """A model of random weights over 65 symbols."""
    torch.manual_seed(0)
    options = ModelOptions(layers=layers, hidden_size=hidden, embedding_size=embedding)
    model = TextGenerator.from_options(VOCABULARY, options).eval()
    tokenizer = CharTokenizer("".join(chr(48 + index) for index in range(VOCABULARY - 2)))
    header = BundleHeader(
        model=options,
        tokenizer=tokenizer.to_dict(),
        vocab_size=VOCABULARY,
        parameters=count_parameters(model),
    )
    return Bundle(header, tokenizer, model)


def plain_rate(model: TextGenerator, batch: int, steps: int) -> float:
    """Tokens a second of the loop that anyone would write first."""
    tokens = torch.randint(2, VOCABULARY, (batch, 1))
    state = None
    with torch.inference_mode():
        started = time.perf_counter()
        for _ in range(steps):
            logits, state = model(tokens, state)
            tokens = torch.multinomial(logits[:, -1].softmax(-1), 1)
        return batch * steps / (time.perf_counter() - started)


def engine_rate(engine: Engine, batch: int, tokens: int, *, mixed: bool = False) -> float:
    """Tokens a second from the first request's submission to the last one's end."""
    generator = np.random.default_rng(0)
    lengths = generator.integers(tokens // 4, tokens, batch * 4) if mixed else [tokens] * batch
    started = time.perf_counter()
    for index, length in enumerate(lengths):
        options = SamplingOptions(max_tokens=int(length))
        prompt = np.array([2 + index % 60])
        engine.submit(Request(str(index), prompt, options, seed=index, gathered=True))
    drawn = 0
    while engine.busy:
        drawn += sum(delta.tokens for delta in engine.step(BURST_SECONDS))
    return drawn / (time.perf_counter() - started)


def roof_flops() -> dict[str, float]:
    """Operations a second of a 2048³ product of float32 matrices, by library."""
    left, right = torch.randn(2048, 2048), torch.randn(2048, 2048)
    packed = torch.ops.mkldnn._reorder_linear_weight(right, 2048)
    products: dict[str, Callable[[], object]] = {
        "matmul": lambda: left @ right,
        "oneDNN": lambda: torch.ops.mkldnn._linear_pointwise(left, packed, None, "none", [], ""),
    }
    found = {}
    for name, product in products.items():
        product()
        started = time.perf_counter()
        for _ in range(3):
            product()
        found[name] = 3 * 2 * 2048**3 / (time.perf_counter() - started)
    return found


def without_onednn(model: TextGenerator, batch: int, steps: int) -> float:
    """The plain loop on torch's own kernels."""
    with torch.backends.mkldnn.flags(enabled=False):
        return plain_rate(model, batch, steps)


def make_engines(bundle: Bundle, slots: int) -> dict[str, Engine]:
    """One for each kernel that is here; int8 is made to fit, its loss is not the subject."""
    header = bundle.header.model_copy(update={"metrics": {METRIC: 0.0}})
    bundle = Bundle(header, bundle.tokenizer, bundle.model)
    common: dict[str, Any] = {"slots": slots, "interactive_reserve": 0, "queue": 10_000}
    common["threads"] = torch.get_num_threads()
    engines = {"torch": Engine(bundle, kernel="torch", **common)}
    if load() is not None:
        engines["native"] = Engine(bundle, kernel="native", **common)
        engines["int8"] = Engine(bundle, weights="int8", **common)
    return engines


def measure(
    bundle: Bundle, batches: list[int], repeats: int
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Rates by name, and the roofs in operations a second, of every repeat."""
    engines = make_engines(bundle, max(batches))
    model = bundle.model
    runs: dict[str, Callable[[int], float]] = {}
    for batch in batches:
        runs[f"plain B={batch}"] = partial(plain_rate, model, batch)
        runs[f"plain, oneDNN off B={batch}"] = partial(without_onednn, model, batch)
        for name, engine in engines.items():
            runs[f"{name} B={batch}"] = partial(_as_in_a_worker(name, engine_rate), engine, batch)
    largest = max(batches)
    for name, engine in engines.items():
        rate = _as_in_a_worker(name, mixed_rate)
        runs[f"{name}, mixed lengths B={largest}"] = partial(rate, engine, largest)
    steps = {name: _steps_for(name, run) for name, run in runs.items()}
    rates: dict[str, list[float]] = {name: [] for name in runs}
    roofs: dict[str, list[float]] = {}
    for _ in range(repeats):
        for name, roof in roof_flops().items():
            roofs.setdefault(name, []).append(roof)
        for name, run in runs.items():
            rates[name].append(run(steps[name]))
    return rates, roofs


def _as_in_a_worker(
    name: str, rate: Callable[[Engine, int, int], float]
) -> Callable[[Engine, int, int], float]:
    """``rate`` with one torch thread, where the kernel is not torch's."""

    def run(engine: Engine, batch: int, tokens: int) -> float:
        before = torch.get_num_threads()
        torch.set_num_threads(before if name == "torch" else 1)
        try:
            return rate(engine, batch, tokens)
        finally:
            torch.set_num_threads(before)

    return run


def mixed_rate(engine: Engine, batch: int, tokens: int) -> float:
    """As ``engine_rate`` for four times as many requests of a quarter to all of ``tokens``."""
    return engine_rate(engine, batch, max(tokens, 8), mixed=True)


def _steps_for(name: str, run: Callable[[int], float]) -> int:
    batch = int(name.partition("B=")[2])
    run(8)  # warm
    return max(8, int(run(16) * SECONDS_EACH / batch))


def flops_per_token(bundle: Bundle) -> int:
    """Multiplications and additions of the folded model: nothing for the first layer's input."""
    shape = bundle.header.model
    hidden = shape.hidden_size
    products = (2 * shape.layers - 1) * hidden * 4 * hidden + hidden * bundle.header.vocab_size
    return 2 * products


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--batches", default="1,8,32,128")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--shape", default="2x512x128", help="layers x hidden x embedding")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    bundle = make_bundle(*map(int, arguments.shape.split("x")))
    batches = [int(batch) for batch in arguments.batches.split(",")]
    rates, roofs = measure(bundle, batches, arguments.repeats)
    report(bundle, arguments.threads, rates, roofs)


def report(
    bundle: Bundle, threads: int, rates: dict[str, list[float]], roofs: dict[str, list[float]]
) -> None:
    """Medians and ranges for people, then the same as one line of JSON."""
    middle = {name: statistics.median(values) for name, values in rates.items()}
    tokens = {
        name: statistics.median(values) / flops_per_token(bundle) for name, values in roofs.items()
    }
    shape = f"{bundle.header.model.layers}×{bundle.header.model.hidden_size}"
    print(f"{shape}, V={VOCABULARY}, {threads} threads, tokens/s")
    result: dict[str, object] = {"shape": shape, "threads": threads}
    result |= {f"roof by {name}": round(roof) for name, roof in tokens.items()}
    for name, values in rates.items():
        batch = name.partition("B=")[2]
        ratios = {"plain": middle[name] / middle[f"plain B={batch}"]}
        ratios["oneDNN off"] = middle[name] / middle[f"plain, oneDNN off B={batch}"]
        if name.startswith("int8"):
            ratios["native"] = middle[name] / middle[name.replace("int8", "native")]
        if "mixed" in name:
            ratios["static"] = middle[name] / middle[name.replace(", mixed lengths", "")]
        ratios |= {f"roof by {each}": middle[name] / roof for each, roof in tokens.items()}
        told = " · ".join(f"{ratio:.2f} of {each}" for each, ratio in ratios.items())
        print(f"{name:30} {middle[name]:9,.0f} ({min(values):,.0f} … {max(values):,.0f})  {told}")
        result[name] = {
            "median": round(middle[name]),
            "min": round(min(values)),
            "max": round(max(values)),
            **{f"of {each}": round(ratio, 3) for each, ratio in ratios.items()},
        }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
