"""How the engine's cost grows: with its slots, and with the length of a prompt to 1 M characters.

    .venv/bin/python -m benchmarks.engine_growth

2×512, 65 symbols. Tokens a second with all slots busy, the time of one prompt to its first token,
and what the process holds in memory beside its files (RssAnon). The last line is a JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.engine import VOCABULARY, engine_rate, make_bundle
from textgen.bundles.bundle import Bundle
from textgen.engine.engine import Engine, Request
from textgen.options import SamplingOptions

THREADS = torch.get_num_threads()  # of the kernel; torch has one beside it, as in a worker


def held_mebibytes() -> float:
    """RssAnon of this process."""
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("RssAnon"))
    return int(line.split()[1]) / 1024


def by_slots(bundle: Bundle, slots: int, repeats: int) -> dict[str, float]:
    """Tokens a second with as many requests as slots, and the memory that the engine added."""
    before = held_mebibytes()
    engine = Engine(bundle, slots=slots, interactive_reserve=0, queue=slots, threads=THREADS)
    engine_rate(engine, slots, 8)
    tokens = max(8, 20_000 // (slots + 20))
    rates = [engine_rate(engine, slots, tokens) for _ in range(repeats)]
    return {
        "slots": slots,
        "tokens/s": round(statistics.median(rates)),
        "min": round(min(rates)),
        "max": round(max(rates)),
        "MiB more": round(held_mebibytes() - before, 1),
    }


def by_prompt(bundle: Bundle, length: int, repeats: int) -> dict[str, float]:
    """Seconds to the first token of one prompt, and the most memory while it was read."""
    engine = Engine(bundle, slots=4, prefix_cache_bytes=0, threads=THREADS)
    generator = np.random.default_rng(0)
    times, most = [], 0.0
    before = held_mebibytes()
    for repeat in range(repeats):
        prompt = generator.integers(2, VOCABULARY, length).astype(np.uint16)
        started = time.perf_counter()
        engine.submit(Request(str(repeat), prompt, SamplingOptions(max_tokens=1), seed=0))
        steps = 0
        while engine.busy:
            engine.step()
            steps += 1
            if steps % 256 == 0:
                most = max(most, held_mebibytes() - before)
        times.append(time.perf_counter() - started)
    return {
        "prompt": length,
        "seconds": round(statistics.median(times), 4),
        "tokens/s": round(length / statistics.median(times)),
        "MiB more": round(max(most, held_mebibytes() - before), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--slots", default="1,8,32,128,512,2048")
    parser.add_argument("--prompts", default="1000,10000,100000,1000000")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    bundle = make_bundle(2, 512, 128)
    found = [by_slots(bundle, int(each), arguments.repeats) for each in arguments.slots.split(",")]
    for each in arguments.prompts.split(","):
        length = int(each)
        found.append(by_prompt(bundle, length, 1 if length > 100_000 else arguments.repeats))
    for row in found:
        print(" · ".join(f"{name} {value:,}" for name, value in row.items()))
    print(json.dumps({"threads": THREADS, "rows": found}))


if __name__ == "__main__":
    main()
