"""Completions under load: the engine alone, then through HTTP with 1 to 128 clients.

    python -m benchmarks.serving [--clients 1,8,32,128] [--seconds 10] [--rounds 1]
                                 [--prompts 1,64] [--shape 2x512]

A whole stack with default settings, a 2×512 model of 65 symbols that was trained for one step,
prompts of ``--prompts`` random characters, no two of which begin alike, and texts of 64 to 448
tokens. Each number of clients sends plain and streamed requests, in turns with the next; told is
the median of the rounds, with the least and the most. Then streamed ones arrive by chance (Poisson)
at half of the largest streamed rate, and one and eight clients stream while a training runs. The
engine alone is measured before and after, in a process of its own, with half of the cores as
torch's threads and with all of them. Client, web, worker, engine and Redis share the machine's
cores: how many cores each of them kept busy is told. The last line is JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tests.load_client import Call, arrivals, closed_loop, make_body
from tests.stack import QUICK, Stack, wait_for
from tests.vitals import PARTS, look
from worker.processes.cores import available_cores

ALPHABET = "".join(chr(48 + index) for index in range(62)) + " \n."
LENGTHS = (64, 448)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--clients", default="1,8,32,128")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--shape", default="2x512")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--prompts", default="1,64", help="characters, the fewest and the most")
    parser.add_argument("--skip-engine", action="store_true")
    arguments = parser.parse_args()
    layers, hidden = map(int, arguments.shape.split("x"))
    figures: dict[str, Any] = {"shape": arguments.shape, "cores": available_cores()}
    if not arguments.skip_engine:
        figures["engine alone"] = [engine_alone(arguments.shape)]
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack(Path(folder) / "home")
        for name in QUICK:
            del stack.environment[name]
        with stack:
            few, many = map(int, arguments.prompts.split(","))
            load = Load(random_model(stack, layers, hidden), (few, many), random.Random(1))
            clients = [int(each) for each in arguments.clients.split(",")]
            figures |= asyncio.run(
                measure(stack, load, clients, arguments.seconds, arguments.rounds)
            )
    if not arguments.skip_engine:
        figures["engine alone"].append(engine_alone(arguments.shape))
    print(json.dumps(figures))


def random_model(stack: Stack, layers: int, hidden: int) -> str:
    """A model that has learnt next to nothing; the lengths of its texts are those asked for."""
    source = random.Random(0)
    text = "".join(source.choices(ALPHABET, k=50_000))
    client = stack.client()
    file = client.files.create(file=("text.txt", io.BytesIO(text.encode())), purpose="fine-tune")
    wanted = {"max_steps": 1, "layers": layers, "hidden_size": hidden, "tokenizer": "char"}
    job = client.fine_tuning.jobs.create(
        model="lstm-base", training_file=file.id, extra_body={"hyperparameters": wanted}
    )
    return str(wait_for(client, job.id).fine_tuned_model)


@dataclass(frozen=True)
class Load:
    """Requests to a model, each with a prompt and a length of its own."""

    model: str
    prompts: tuple[int, int]  # characters
    source: random.Random

    def bodies(self, *, stream: bool) -> Callable[[], dict[str, Any]]:
        """The next request, each time that it is called."""

        def body() -> dict[str, Any]:
            source = self.source
            return make_body(
                self.model,
                source.randint(*LENGTHS),
                prompt="".join(source.choices(ALPHABET, k=source.randint(*self.prompts))),
                stream=stream,
                seed=source.getrandbits(30),
            )

        return body


async def measure(
    stack: Stack, load: Load, clients: list[int], seconds: float, rounds: int
) -> dict[str, Any]:
    """All the loads, one after the other, ``rounds`` times."""
    figures: dict[str, Any] = {}
    seen: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for number in range(rounds):
        for count in clients:
            for stream in (False, True):
                name = f"{count} clients, {'streamed' if stream else 'plain'}"
                with cpu_shares(stack) as shares:
                    calls = await closed_loop(
                        stack.port, stack.key, count, seconds, load.bodies(stream=stream)
                    )
                seen[name].append(summary(calls, stream=stream) | {"cpu": shares})
                print(f"{name}, round {number + 1:<8} {json.dumps(seen[name][-1])}", flush=True)
    for name, each in seen.items():
        figures[name] = over_rounds(each)
        print(f"{name:34} {json.dumps(figures[name])}", flush=True)
    fastest = max(figures[name]["tokens_per_second"][0] for name in seen if "streamed" in name)
    figures["half load"] = await half_load(stack, load, fastest / 2, seconds)
    print(f"{'Poisson at half load':34} {json.dumps(figures['half load'])}", flush=True)
    figures |= await beside_a_training(stack, load, seconds)
    figures["memory"] = memory(stack)
    print(f"{'RssAnon, MB':34} {json.dumps(figures['memory'])}", flush=True)
    return figures


async def half_load(
    stack: Stack, load: Load, tokens_per_second: float, seconds: float
) -> dict[str, Any]:
    """Streamed requests that arrive by chance, so many that they ask for this rate."""
    rate = tokens_per_second / statistics.mean(LENGTHS)
    pauses = [load.source.expovariate(rate) for _ in range(max(1, int(rate * seconds)))]
    with cpu_shares(stack) as shares:
        calls = await arrivals(stack.port, stack.key, pauses, load.bodies(stream=True))
    return summary(calls, stream=True) | {"requests_per_second": round(rate, 1), "cpu": shares}


async def beside_a_training(stack: Stack, load: Load, seconds: float) -> dict[str, Any]:
    """One client's streams while a training keeps every core busy."""
    client = stack.client()
    text = io.BytesIO("".join(load.source.choices(ALPHABET, k=50_000)).encode())
    file = client.files.create(file=("text.txt", text), purpose="fine-tune").id
    wanted = {"max_steps": 1_000_000, "hidden_size": 512}
    job = client.fine_tuning.jobs.create(
        model="lstm-tiny", training_file=file, extra_body={"hyperparameters": wanted}
    ).id
    with stack.http() as http:
        while not http.get(f"/v1/jobs/{job}").json()["progress"].get("step"):
            time.sleep(0.2)

    found = {}
    for count in (1, 8):
        name = f"{count} clients beside a training"
        with cpu_shares(stack) as shares:
            calls = await closed_loop(
                stack.port, stack.key, count, seconds, load.bodies(stream=True)
            )
        found[name] = summary(calls, stream=True) | {"cpu": shares}
        print(f"{name:34} {json.dumps(found[name])}", flush=True)
    client.fine_tuning.jobs.cancel(job)
    wait_for(client, job, "cancelled")
    client.close()
    return found


def summary(calls: list[Call], *, stream: bool) -> dict[str, Any]:
    """What a load saw. The rate is from the first request to the last one's end, but for a tenth
    at each side, where fewer clients are busy."""
    good = [call for call in calls if call.status == 200 and not call.error]
    if not good:
        return {"requests": len(calls), "failed": len(calls), "tokens_per_second": 0.0}
    first, last = min(call.began for call in good), max(call.ended for call in good)
    margin = (last - first) / 10
    begin, end = first + margin, last - margin
    tokens = sum(call.tokens * _share_within(call, begin, end) for call in good)
    found: dict[str, Any] = {
        "requests": len(calls),
        "failed": len(calls) - len(good),
        "tokens_per_second": round(tokens / (end - begin)),
    }
    if stream:
        gaps = [
            later - earlier
            for call in good
            for earlier, later in zip(call.text_times, call.text_times[1:], strict=False)
        ]
        found |= percentiles("first_text_ms", [call.first_text for call in good])
        found |= percentiles("between_texts_ms", gaps)
    else:
        found |= percentiles("answer_ms", [call.ended - call.began for call in good])
    return found


def over_rounds(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Of each figure the median, the least and the most; requests are summed."""
    found: dict[str, Any] = {}
    for name in rounds[0]:
        values = [each[name] for each in rounds if name in each]
        if name == "cpu":
            found[name] = {part: statistics.median(v[part] for v in values) for part in values[0]}
        elif name in ("requests", "failed"):
            found[name] = sum(values)
        else:
            found[name] = [statistics.median(values), min(values), max(values)]
    return found


def _share_within(call: Call, begin: float, end: float) -> float:
    """How much of a call's time lies in the stretch."""
    overlap = min(call.ended, end) - max(call.began, begin)
    return max(0.0, overlap) / (call.ended - call.began)


def percentiles(name: str, seconds: list[float]) -> dict[str, float]:
    if not seconds:
        return {}
    ordered = sorted(seconds)
    return {
        f"{name}_p50": round(1000 * statistics.median(ordered), 1),
        f"{name}_p99": round(1000 * ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))], 1),
    }


@contextmanager
def cpu_shares(stack: Stack) -> Iterator[dict[str, float]]:
    """Cores that each part kept busy, on average, filled in at the end of the block."""
    watched = {name: stack.processes(*words) for name, words in PARTS.items()}
    watched["client"] = [psutil.Process()]

    def seconds() -> dict[str, float]:
        return {name: sum(map(_cpu, processes)) for name, processes in watched.items()}

    shares: dict[str, float] = {}
    before, began = seconds(), time.perf_counter()
    yield shares
    passed = time.perf_counter() - began
    shares |= {name: round((value - before[name]) / passed, 2) for name, value in seconds().items()}


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def memory(stack: Stack) -> dict[str, float]:
    """RssAnon of each part, in megabytes."""
    return {name: round(each.anonymous_mb, 1) for name, each in look(stack).items()}


def engine_alone(shape: str) -> float:
    """Tokens a second of an engine as a worker has it, with nothing around it, mixed lengths.

    128 slots; the kernel has all cores and torch half of them.
    """
    code = (
        "import sys, torch\n"
        "from benchmarks.engine import Engine, engine_rate, make_bundle\n"
        "cores, layers, hidden = map(int, sys.argv[1:])\n"
        "torch.set_num_threads(max(1, cores // 2))\n"
        "engine = Engine(make_bundle(layers, hidden, 128), slots=128, interactive_reserve=0, "
        "queue=10000, threads=cores)\n"
        "engine_rate(engine, 128, 32, mixed=True)\n"
        "print(engine_rate(engine, 128, 256, mixed=True))\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code, str(available_cores()), *shape.split("x")],
        capture_output=True,
        text=True,
        check=True,
    )
    found = float(answer.stdout)
    print(f"{'engine alone':34} {found:,.0f}", flush=True)
    return round(found)


if __name__ == "__main__":
    main()
