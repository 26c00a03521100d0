"""Prompts that were read before, and texts that go on from a state: time to the first token.

    .venv/bin/python -m benchmarks.states [--tokens 1000,10000,100000] [--repeats 5]

One engine, one request at a time, on a random model. In turns for each length: a prompt that was
never read, the same again, the same with another end, and the same text from its state. The last
line is a JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.engine import VOCABULARY, make_bundle
from textgen.engine.engine import Delta, Engine, Request
from textgen.engine.text_state import TextState
from textgen.options import SamplingOptions


def first_token(
    engine: Engine, prompt: npt.NDArray[np.int64], start: TextState | None = None
) -> tuple[float, Delta]:
    """Milliseconds from the submission to the first token, and its delta with the state."""
    options = SamplingOptions(max_tokens=1)
    request = Request("r", prompt, options, seed=1, start=start, return_state=True)
    began = time.perf_counter()
    engine.submit(request)
    while not (deltas := engine.step()):
        pass
    return 1000 * (time.perf_counter() - began), deltas[-1]


def measure(engine: Engine, tokens: int, repeats: int) -> dict[str, list[float]]:
    """Milliseconds of every repeat, by what was asked."""
    times: dict[str, list[float]] = {"first": [], "again": [], "another end": [], "from state": []}
    generator = np.random.default_rng(tokens)
    few = generator.integers(2, VOCABULARY, 10)
    for _ in range(repeats):
        prompt = generator.integers(2, VOCABULARY, tokens)
        milliseconds, last = first_token(engine, prompt)
        times["first"].append(milliseconds)
        times["again"].append(first_token(engine, prompt)[0])
        other = np.concatenate([prompt[: -tokens // 10], few])
        times["another end"].append(first_token(engine, other)[0])
        times["from state"].append(first_token(engine, few, last.state)[0])
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tokens", default="1000,10000,100000")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--shape", default="2x512x128", help="layers x hidden x embedding")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    engine = Engine(make_bundle(*map(int, arguments.shape.split("x"))), slots=2)
    measure(engine, 200, 1)  # warm
    result: dict[str, Any] = {"shape": arguments.shape, "threads": arguments.threads}
    print(f"{arguments.shape}, {arguments.threads} threads, ms to the first token, median (range)")
    for tokens in map(int, arguments.tokens.split(",")):
        for name, values in measure(engine, tokens, arguments.repeats).items():
            median = statistics.median(values)
            print(f"{tokens:8,} {name:12} {median:9.2f}  ({min(values):.2f} … {max(values):.2f})")
            result[f"{tokens} {name}"] = round(median, 3)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
