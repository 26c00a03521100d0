"""How soon the slot of a client that hangs up is another's.

    python -m benchmarks.hang_up [--times 100] [--shape 2x512]

A whole stack whose engine has one slot. A client streams a text without end, another one waits
behind it; then the first one hangs up. Told is when the second one's first text is there: after
the hang-up, and, in turns with that, after its own request where the slot was free. The difference
is what web, Redis, worker and engine need to notice. The last line is JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.serving import percentiles, random_model
from tests.load_client import Caller, make_body
from tests.stack import QUICK, Stack

WITHOUT_END = 1_000_000
SETTLED_SECONDS = 0.2  # by when the second request waits in the engine's queue


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--times", type=int, default=100)
    parser.add_argument("--shape", default="2x512")
    arguments = parser.parse_args()
    layers, hidden = map(int, arguments.shape.split("x"))
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack(Path(folder) / "home", TEXTGEN_SLOTS="1")
        for name in QUICK:
            del stack.environment[name]
        with stack:
            model = random_model(stack, layers, hidden)
            figures = asyncio.run(measure(stack, model, arguments.times))
    print(json.dumps({"shape": arguments.shape, "times": arguments.times} | figures))


async def measure(stack: Stack, model: str, times: int) -> dict[str, Any]:
    """Both ways, in turns."""
    free, freed = [], []
    for number in range(times + 1):
        alone = await second(stack, model, number)
        taken = await behind(stack, model, number)
        if number:  # the first one loads the model
            free.append(alone)
            freed.append(taken)
    figures = percentiles("free_slot_ms", free) | percentiles("hung_up_ms", freed)
    print(json.dumps(figures), flush=True)
    return figures


async def behind(stack: Stack, model: str, number: int) -> float:
    """Seconds from the hang-up of a client in the slot to the text of the one behind it."""
    first = Caller(stack.port, stack.key)
    body = make_body(model, WITHOUT_END, stream=True, seed=number)
    streaming = asyncio.create_task(first.complete(body))
    await asyncio.sleep(SETTLED_SECONDS + random.random() / 20)
    waiting = asyncio.create_task(second(stack, model, number))
    await asyncio.sleep(SETTLED_SECONDS)
    assert not waiting.done(), "there is more than one slot"
    began = time.perf_counter()
    first.close()
    await waiting
    passed = time.perf_counter() - began
    await streaming
    return passed


async def second(stack: Stack, model: str, number: int) -> float:
    """Seconds that a text of one token takes."""
    caller = Caller(stack.port, stack.key)
    call = await caller.complete(make_body(model, 1, stream=False, seed=number))
    caller.close()
    assert call.status == 200 and not call.error, call
    return call.ended - call.began


if __name__ == "__main__":
    main()
