"""How quickly the service answers: submit to running, status polls idle and under a training.

    python benchmarks/service.py [--jobs 100] [--polls 1000]

A whole stack with default settings is started in a temporary home. Polls while a training holds
all cores are measured against polls while nothing runs, in turns, in one run. Memory is RssAnon
of the web worker process. The last line is a JSON object.
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import httpx
import openai

from tests.stack import QUICK, Stack, wait_for

TEXT = b"Some lines of text to train on, again and again.\n" * 2000
ROUNDS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=100)
    parser.add_argument("--polls", type=int, default=1000)
    arguments = parser.parse_args()
    default_times = dict.fromkeys(QUICK, None)
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack(Path(folder) / "home")
        for name in default_times:
            del stack.environment[name]
        with stack:
            figures = measure(stack, arguments.jobs, arguments.polls)
    for name, value in figures.items():
        print(f"{name:45} {value}")
    print(json.dumps(figures))


def measure(stack: Stack, jobs: int, polls: int) -> dict[str, float]:
    client = stack.client()
    file = client.files.create(file=("text.txt", io.BytesIO(TEXT)), purpose="fine-tune").id
    figures = percentiles("submit to running, idle, ms", start_times(stack, client, file, jobs))

    quick = client.fine_tuning.jobs.list(limit=1).data[0].id
    with stack.http() as http:
        idle: list[float] = []
        busy: list[float] = []
        for _ in range(ROUNDS):
            idle += timed(polls // ROUNDS, partial(poll, http, quick))
            training = submit(client, file, max_steps=1_000_000, hidden_size=512)
            wait_for_steps(http, training)
            busy += timed(polls // ROUNDS, partial(poll, http, training))
            client.fine_tuning.jobs.cancel(training)
            wait_for(client, training, "cancelled")
    figures |= percentiles("status poll, idle, ms", idle)
    figures |= percentiles("status poll, training on all cores, ms", busy)
    figures["web worker process, RssAnon, MB"] = web_memory(stack)
    return figures


def submit(client: openai.OpenAI, file: str, **hyperparameters: int) -> str:
    return client.fine_tuning.jobs.create(
        model="lstm-tiny", training_file=file, extra_body={"hyperparameters": hyperparameters}
    ).id


def start_times(stack: Stack, client: openai.OpenAI, file: str, jobs: int) -> list[float]:
    """Milliseconds from the request to the row's start, by the clock of the database."""
    times = []
    for _ in range(jobs):
        began = time.time()
        job = submit(client, file, max_steps=1)
        wait_for(client, job)
        with stack.http() as http:
            times.append((http.get(f"/v1/jobs/{job}").json()["started_at"] - began) * 1000)
    return times


def wait_for_steps(http: httpx.Client, job: str) -> None:
    while not http.get(f"/v1/jobs/{job}").json()["progress"].get("step"):
        time.sleep(0.2)


def poll(http: httpx.Client, job: str) -> None:
    answer = http.get(f"/v1/fine_tuning/jobs/{job}")
    assert answer.status_code == 200


def timed(count: int, call: Callable[[], None]) -> list[float]:
    times = []
    for _ in range(count):
        began = time.perf_counter()
        call()
        times.append((time.perf_counter() - began) * 1000)
        time.sleep(0.01)
    return times


def percentiles(name: str, times: list[float]) -> dict[str, float]:
    ordered = sorted(times)
    return {
        f"{name}, p50": round(statistics.median(ordered), 2),
        f"{name}, p99": round(ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))], 2),
    }


def web_memory(stack: Stack) -> float:
    """RssAnon of the largest web process."""
    largest = 0
    for process in stack.processes("web.server"):
        status = Path(f"/proc/{process.pid}/status").read_text().splitlines()
        line = next(line for line in status if line.startswith("RssAnon"))
        largest = max(largest, int(line.split()[1]))
    return round(largest / 1024, 1)


if __name__ == "__main__":
    main()
