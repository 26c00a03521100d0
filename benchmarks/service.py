"""How quickly the service answers: submit to running, status polls idle and under a training.

    python -m benchmarks.service [CORPUS] [--jobs 100] [--polls 1000] [--completions 100]

A whole stack with default settings is started in a temporary home. Polls while a training holds
all cores are measured against polls while nothing runs, in turns, in one run; so are completions
of 16 tokens by a 1×128 model. Memory is RssAnon of the web worker process. With CORPUS,
`lstm-small` is then trained on it for 60 s through the API, and its loss on the whole validation
part is told. The last line is a JSON object.
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
IDLE_SECONDS = 2  # the process of the job before is gone by then


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path, nargs="?")
    parser.add_argument("--jobs", type=int, default=100)
    parser.add_argument("--polls", type=int, default=1000)
    parser.add_argument("--completions", type=int, default=100)
    arguments = parser.parse_args()
    default_times = dict.fromkeys(QUICK, None)
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack(Path(folder) / "home")
        for name in default_times:
            del stack.environment[name]
        with stack:
            figures = measure(stack, arguments.jobs, arguments.polls, arguments.completions)
            if arguments.corpus is not None:
                figures |= train_a_minute(stack, arguments.corpus)
    for name, value in figures.items():
        print(f"{name:45} {value}")
    print(json.dumps(figures))


def measure(stack: Stack, jobs: int, polls: int, completions: int) -> dict[str, float]:
    client = stack.client()
    file = client.files.create(file=("text.txt", io.BytesIO(TEXT)), purpose="fine-tune").id
    figures = percentiles("submit to running, idle, ms", start_times(stack, client, file, jobs))

    done = client.fine_tuning.jobs.list(limit=1).data[0]
    quick, model = done.id, str(done.fine_tuned_model)
    write = partial(client.completions.create, model=model, prompt="Some", max_tokens=16)
    write()
    with stack.http() as http:
        idle: list[float] = []
        busy: list[float] = []
        written_idle: list[float] = []
        written_busy: list[float] = []
        for _ in range(ROUNDS):
            idle += timed(polls // ROUNDS, partial(poll, http, quick))
            written_idle += timed(completions // ROUNDS, write)
            training = submit(client, file, max_steps=1_000_000, hidden_size=512)
            wait_for_steps(http, training)
            busy += timed(polls // ROUNDS, partial(poll, http, training))
            written_busy += timed(completions // ROUNDS, write)
            client.fine_tuning.jobs.cancel(training)
            wait_for(client, training, "cancelled")
    figures |= percentiles("status poll, idle, ms", idle)
    figures |= percentiles("status poll, training on all cores, ms", busy)
    figures |= percentiles("completion of 16 tokens, idle, ms", written_idle)
    figures |= percentiles("completion of 16 tokens, training on all cores, ms", written_busy)
    figures["web worker process, RssAnon, MB"] = web_memory(stack)
    return figures


def train_a_minute(stack: Stack, corpus: Path) -> dict[str, float]:
    """`lstm-small` for 60 s on a text, characters, through the API."""
    client = stack.client()
    file = client.files.create(file=corpus, purpose="fine-tune").id
    wanted = {"max_seconds": 60, "tokenizer": "char", "seed": 1}
    job = client.fine_tuning.jobs.create(
        model="lstm-small", training_file=file, extra_body={"hyperparameters": wanted}
    ).id
    wait_for(client, job, seconds=300)
    last: dict[str, float] = {}
    for event in client.fine_tuning.jobs.list_events(job, limit=100):
        data = event.data if isinstance(event.data, dict) else {}
        if "full_valid_loss" in data:
            last = data
    return {
        "lstm-small, 60 s through the API, validation loss": round(last["full_valid_loss"], 4),
        "lstm-small, 60 s through the API, steps": last["step"],
    }


def submit(client: openai.OpenAI, file: str, **hyperparameters: int) -> str:
    return client.fine_tuning.jobs.create(
        model="lstm-tiny", training_file=file, extra_body={"hyperparameters": hyperparameters}
    ).id


def start_times(stack: Stack, client: openai.OpenAI, file: str, jobs: int) -> list[float]:
    """Milliseconds from the request to the row's start, by the clock of the database."""
    times = []
    for _ in range(jobs):
        time.sleep(IDLE_SECONDS)
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


def timed(count: int, call: Callable[[], object]) -> list[float]:
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
