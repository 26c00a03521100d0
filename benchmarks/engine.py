"""Generation: the engine against a plain nn.LSTM loop, side by side in one run.

    .venv/bin/python -m benchmarks.engine [--batches 1,8,32,128] [--repeats 5]

Everything takes turns (A B C A B C …) on one random model: the loop as it comes, the loop with
oneDNN off, the engine with as many requests. The roof is this machine's 2048³ matrix product
divided by the multiplications that a token needs. The last line is a JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from textgen.bundles.bundle import Bundle, BundleHeader, count_parameters
from textgen.engine.engine import Engine, Request
from textgen.model import TextGenerator
from textgen.options import ModelOptions, SamplingOptions
from textgen.tokenizers import CharTokenizer

VOCABULARY = 65
SECONDS_EACH = 1.0  # roughly, of every timed stretch


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
        engine.submit(Request(str(index), np.array([2 + index % 60]), options, seed=index))
    drawn = 0
    while engine.busy:
        drawn += sum(delta.tokens for delta in engine.step())
    return drawn / (time.perf_counter() - started)


def roof_flops() -> float:
    """Operations a second of a 2048³ product of float32 matrices."""
    left, right = torch.randn(2048, 2048), torch.randn(2048, 2048)
    started = time.perf_counter()
    for _ in range(5):
        left @ right
    return 5 * 2 * 2048**3 / (time.perf_counter() - started)


def without_onednn(model: TextGenerator, batch: int, steps: int) -> float:
    """The plain loop on torch's own kernels."""
    with torch.backends.mkldnn.flags(enabled=False):
        return plain_rate(model, batch, steps)


def measure(
    bundle: Bundle, batches: list[int], repeats: int
) -> tuple[dict[str, list[float]], list[float]]:
    """Rates by name, and the roof in operations a second, of every repeat."""
    engine = Engine(bundle, slots=max(batches), interactive_reserve=0, queue=10_000)
    model = bundle.model
    runs: dict[str, Callable[[int], float]] = {}
    for batch in batches:
        runs[f"plain B={batch}"] = lambda steps, b=batch: plain_rate(model, b, steps)
        runs[f"plain, oneDNN off B={batch}"] = lambda steps, b=batch: without_onednn(
            model, b, steps
        )
        runs[f"engine B={batch}"] = lambda steps, b=batch: engine_rate(engine, b, steps)
    largest = max(batches)
    runs[f"engine, mixed lengths B={largest}"] = lambda steps: engine_rate(
        engine, largest, max(steps, 8), mixed=True
    )
    steps = {name: _steps_for(name, run) for name, run in runs.items()}
    rates: dict[str, list[float]] = {name: [] for name in runs}
    roofs = []
    for _ in range(repeats):
        roofs.append(roof_flops())
        for name, run in runs.items():
            rates[name].append(run(steps[name]))
    return rates, roofs


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


def report(bundle: Bundle, threads: int, rates: dict[str, list[float]], roofs: list[float]) -> None:
    """Medians and ranges for people, then the same as one line of JSON."""
    roof = statistics.median(roofs) / flops_per_token(bundle)
    shape = bundle.header.model
    print(f"{shape.layers}×{shape.hidden_size}, V={VOCABULARY}, {threads} threads, tokens/s")
    result: dict[str, object] = {
        "shape": f"{shape.layers}x{shape.hidden_size}",
        "threads": threads,
        "roof_tokens_per_second": round(roof),
    }
    for name, values in rates.items():
        median = statistics.median(values)
        print(f"{name:32} {median:9,.0f}  ({min(values):,.0f} … {max(values):,.0f})")
        result[name] = {
            "median": round(median),
            "min": round(min(values)),
            "max": round(max(values)),
        }
    for name, values in rates.items():
        if name.startswith("engine"):
            result[f"{name} of roof"] = round(statistics.median(values) / roof, 3)
            plain = rates["plain B=" + name.partition("B=")[2]]
            ratio = statistics.median(values) / statistics.median(plain)
            result[f"{name} over plain"] = round(ratio, 2)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
