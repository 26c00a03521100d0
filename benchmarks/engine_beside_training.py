"""One stream's pace while a training keeps every core busy, by the engine's number of threads.

    .venv/bin/python -m benchmarks.engine_beside_training

A training loop (2×512, as many threads as cores) runs in a process of its own, as a worker starts
one. The engine, in this process, writes one text of a 2×512 model; seconds between its tokens by
turns for each kernel and number of threads, and how many steps the training did meanwhile. The
last line is a JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.engine import make_bundle
from textgen.bundles.bundle import Bundle
from textgen.engine.engine import Engine, Request
from textgen.engine.kernels.kernel import KernelName
from textgen.options import SamplingOptions

TRAINING = """
import sys, time, torch
from pathlib import Path
torch.set_num_threads(int(sys.argv[2]))
torch.manual_seed(0)
model = torch.nn.LSTM(128, 512, 2, batch_first=True)
inputs = torch.randn(64, 64, 128)
optimizer = torch.optim.AdamW(model.parameters())
steps = 0
while True:
    optimizer.zero_grad()
    model(inputs)[0].square().mean().backward()
    optimizer.step()
    steps += 1
    Path(sys.argv[1]).write_text(str(steps))
"""


def gaps(bundle: Bundle, kernel: KernelName, threads: int, seconds: float) -> list[float]:
    """Seconds from each token to the next."""
    torch.set_num_threads(threads)
    engine = Engine(bundle, slots=4, kernel=kernel)
    prompt = np.array([5])
    engine.submit(Request("x", prompt, SamplingOptions(max_tokens=1_000_000), seed=0))
    for _ in range(20):
        engine.step()
    times = [time.perf_counter()]
    while times[-1] - times[0] < seconds:
        engine.step()
        times.append(time.perf_counter())
    return np.diff(times).tolist()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--repeats", type=int, default=2)
    arguments = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    bundle = make_bundle(2, 512, 128)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        counter = Path(folder) / "steps"
        counter.write_text("0")
        environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}
        for busy in (False, True):
            training = None
            if busy:
                training = subprocess.Popen(
                    [sys.executable, "-c", TRAINING, str(counter), str(cores)], env=environment
                )
                while int(counter.read_text() or 0) < 3:
                    time.sleep(0.2)
            try:
                for _ in range(arguments.repeats):
                    for kernel in ("native", "torch"):
                        for threads in sorted({1, cores}):
                            rows.append(row(bundle, kernel, threads, arguments.seconds, counter))
                            rows[-1]["training"] = busy
            finally:
                if training is not None:
                    training.kill()
                    training.wait()
    for each in rows:
        print(" · ".join(f"{name} {value}" for name, value in each.items()))
    print(json.dumps(rows))


def row(
    bundle: Bundle, kernel: KernelName, threads: int, seconds: float, counter: Path
) -> dict[str, object]:
    before, started = int(counter.read_text() or 0), time.perf_counter()
    found = np.array(gaps(bundle, kernel, threads, seconds)) * 1000
    steps = int(counter.read_text() or before) - before
    return {
        "kernel": kernel,
        "threads": threads,
        "tokens/s": round(1000 / found.mean()),
        "p50 ms": round(float(np.median(found)), 3),
        "p99 ms": round(float(np.percentile(found, 99)), 3),
        "most ms": round(float(found.max()), 1),
        "training steps/s": round(steps / (time.perf_counter() - started), 2),
    }


if __name__ == "__main__":
    main()
