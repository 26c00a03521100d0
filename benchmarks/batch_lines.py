"""How a batch grows: lines a second and memory, from 1,000 lines to 100,000.

    python -m benchmarks.batch_lines [--lines 1000,10000,100000] [--tokens 0]

A whole stack with default settings and a small model. Lines that ask for no tokens never reach a
step of the model: what is measured is reading and checking lines, their way to the engine process
and back, the two result files and their commits. Time is from the batch's creation to its end, by
polling; memory is RssAnon of worker and engine when it has ended. The last line is JSON.
"""

from __future__ import annotations

import argparse
import io
import json
import tempfile
import time
from pathlib import Path

from benchmarks.serving import memory, random_model
from tests.stack import QUICK, Stack, completion_lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--lines", default="1000,10000,100000")
    parser.add_argument("--tokens", type=int, default=0)
    parser.add_argument("--shape", default="1x64")
    arguments = parser.parse_args()
    figures: dict[str, object] = {"tokens": arguments.tokens}
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack(Path(folder) / "home")
        for name in QUICK:
            del stack.environment[name]
        with stack:
            model = random_model(stack, *map(int, arguments.shape.split("x")))
            for lines in map(int, arguments.lines.split(",")):
                figures[f"{lines} lines"] = found = run(stack, model, lines, arguments.tokens)
                print(f"{lines:9,} lines  {json.dumps(found)}", flush=True)
    print(json.dumps(figures))


def run(stack: Stack, model: str, lines: int, tokens: int) -> dict[str, object]:
    client = stack.client()
    content = completion_lines(model, lines, max_tokens=tokens)
    file = client.files.create(file=("lines.jsonl", io.BytesIO(content)), purpose="batch")
    batch = client.batches.create(
        input_file_id=file.id, endpoint="/v1/completions", completion_window="24h"
    )
    began = time.perf_counter()
    while batch.status not in ("completed", "failed"):
        time.sleep(0.05)
        batch = client.batches.retrieve(batch.id)
    assert batch.status == "completed", batch.errors
    assert batch.request_counts is not None
    assert batch.request_counts.completed == lines, batch.request_counts
    now = time.perf_counter()
    held = memory(stack)
    return {
        "seconds": round(now - began, 2),
        "lines_per_second": round(lines / (now - began)),
        "worker_mb": held["generator"],
        "engine_mb": held["engine"],
    }


if __name__ == "__main__":
    main()
