"""Several models in one engine process: memory, rate, and how long a load holds others up.

    python -m benchmarks.model_loading [--models 8] [--shape 2x512] [--threads 1]

Eight requests without an end run on the first model. Then further models are loaded one by one,
each beside them; the longest pause between two steps is told, beside the longest before, and the
memory that each model holds. At last every model has eight requests: all texts together. The last
line is JSON.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.engine import make_bundle
from textgen.bundles.bundle import save_bundle
from textgen.options import SamplingOptions
from worker.contracts import BundleReference, GenerateRequest
from worker.generation.engine_host import EngineHost

REQUESTS = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", type=int, default=8)
    parser.add_argument("--shape", default="2x512")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    layers, hidden = map(int, arguments.shape.split("x"))
    host = EngineHost(device="cpu", slots=128, cache_bytes=2**34)
    with tempfile.TemporaryDirectory() as folder:
        bundle = make_bundle(layers, hidden, 128)
        paths = [str(Path(folder) / f"{number}.safetensors") for number in range(arguments.models)]
        for path in paths:
            save_bundle(Path(path), bundle.header, bundle.model.state_dict())
        submit(host, paths[0])
        while host.loading:
            host.settle()
            time.sleep(0.001)
        quiet, rate = steps(host, 1.0)
        figures = {
            "shape": arguments.shape,
            "longest_step_ms": round(1000 * quiet, 1),
            "tokens_per_second_one_model": round(rate),
        }
        pauses, loads = [], []
        for path in paths[1:]:
            began = time.perf_counter()
            submit(host, path)
            pauses.append(steps(host, None)[0])
            loads.append(time.perf_counter() - began)
            for number in range(REQUESTS):
                host.cancel(f"{path}-{number}")
        for path in paths[1:]:
            submit(host, path)
        _, rate = steps(host, 2.0)
        sizes = list(host.models.values())
        figures |= {
            "longest_step_while_loading_ms": round(1000 * max(pauses), 1),
            "load_seconds": round(max(loads), 2),
            "model_mb": round(sizes[0] / 1e6, 1),
            f"tokens_per_second_{arguments.models}_models": round(rate),
        }
    print(json.dumps(figures))


def submit(host: EngineHost, path: str) -> None:
    for number in range(REQUESTS):
        request = GenerateRequest(
            id=f"{path}-{number}",
            bundle=BundleReference(artifact="a", file="f"),
            prompts=("0",),
            options=SamplingOptions(max_tokens=1_000_000),
            seed=number,
        )
        host.submit(request, path, interactive=True)


def steps(host: EngineHost, seconds: float | None) -> tuple[float, float]:
    """Step for so long, or until nothing is loaded; the longest step, and tokens a second."""
    began = last = time.perf_counter()
    names = [f"{path}-{number}" for path in host.models for number in range(REQUESTS)]
    for name in names:
        host.tell(name)  # so that only what comes from now on is counted
    longest, tokens = 0.0, 0
    while host.loading if seconds is None else last - began < seconds:
        host.settle()
        tokens += sum(delta.tokens for delta in host.step())
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    tokens += sum(delta.tokens for name in names for delta in host.tell(name))
    return longest, tokens / max(last - began, 1e-9)


if __name__ == "__main__":
    main()
