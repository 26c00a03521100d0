"""Two hundred open pages on one web process, and how soon a loss point is on the page.

    python -m benchmarks.live_pages [--streams 200] [--points 40]

A whole stack with default settings, without a training worker. A job is held by this script, which
writes loss points into the database as a worker does, at odd moments. Half of the streams follow
that job, half the list of jobs; beside them Chromium, where it is installed, shows the job's page,
and a point counts as there when its value stands in the legend of the chart. Memory is that of
the web process (RssAnon, RSS), before and with the streams. The last line is JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import re
import shutil
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
from selenium import webdriver
from selenium.webdriver.common.by import By

from tests.stack import QUICK, Stack
from worker.jobs.jobs import Jobs
from worker.jobs.rows import Job
from worker.settings import Settings
from worker.storage.database import Database

LIMIT_MB, LIMIT_SECONDS = 200, 1.0
PAUSES = (0.4, 1.2)  # seconds between two points
# Keeps when each text of the chart's legend was first there, in seconds since 1970.
WATCH = """
window.seen = {};
const legend = document.getElementById("loss-legend");
const look = () => {
  for (const [value] of legend.textContent.matchAll(/\\d+\\.\\d{3}/g)) {
    window.seen[value] ??= Date.now() / 1000;
  }
};
new MutationObserver(look).observe(legend, { childList: true, subtree: true, characterData: true });
look();
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--points", type=int, default=40)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack(Path(folder) / "home", TEXTGEN_TRAIN_WORKERS="0")
        for name in QUICK:
            del stack.environment[name]
        with stack:
            figures = measure(stack, arguments.streams, arguments.points)
    for name, value in figures.items():
        print(f"{name:52} {value}")
    print(json.dumps(figures))


def measure(stack: Stack, streams: int, points: int) -> dict[str, float]:
    settings = Settings(home=stack.home)
    database = Database(settings.effective_database_url)
    jobs = Jobs(database, settings)
    jobs.submit("default", "training", {"model": "lstm-tiny"}, uses_files=[])
    job = jobs.claim("training", "benchmark")
    assert job is not None
    web = web_process(stack)
    with stack.http() as http:
        http.get("/")  # what is loaded with the first page
        http.get(f"/jobs/{job.id}")
    figures = {f"web process before, {name}": value for name, value in memory(web).items()}
    with ExitStack() as opened:
        paths = [f"/v1/jobs/{job.id}/events?stream=true&progress=true", f"/live?ids={job.id}"]
        readers = [
            opened.enter_context(reader(stack, paths[number % 2])) for number in range(streams)
        ]
        browser = opened.enter_context(page_of(stack, job)) if shutil.which("chromium") else None
        for each in readers:
            each.recv(1)  # every answer has begun
        listener = Listener(readers[0])
        listener.start()
        began, worked = time.perf_counter(), seconds_of(web)
        written = write_points(jobs, job, points)
        time.sleep(2 * LIMIT_SECONDS)
        spent = (seconds_of(web) - worked) / (time.perf_counter() - began)
        figures |= {f"with {streams} streams, {name}": each for name, each in memory(web).items()}
        figures[f"with {streams} streams, cores of the web process"] = round(spent, 3)
        figures |= delays("on a stream", dict(listener.seen), written)
        if browser is not None:
            seen = {float(each): at for each, at in browser.execute_script("return seen").items()}
            figures |= delays("on the page", seen, written)
    database.dispose()
    return figures


def write_points(jobs: Jobs, job: Job, points: int) -> dict[float, float]:
    """Loss points with values of their own; when each was committed."""
    chance, written = random.Random(1), {}
    for number in range(1, points + 1):
        value = round(9 - number / 1000, 3)
        data = {"step": number, "train_loss": 1.0, "valid_loss": value}
        jobs.add_event(job, type="metrics", message=f"step {number}", data=data)
        written[value] = time.time()
        time.sleep(chance.uniform(*PAUSES))
    return written


class Listener(threading.Thread):
    """Reads a stream, and keeps when each value came."""

    def __init__(self, connection: socket.socket) -> None:
        super().__init__(daemon=True)
        self._connection = connection
        self.seen: dict[float, float] = {}

    def run(self) -> None:
        rest = ""
        with contextlib.suppress(OSError):  # it is closed when all is measured
            while data := self._connection.recv(65_536):
                *lines, rest = (rest + data.decode()).split("\n")
                for line in lines:
                    for value in re.findall(r'"valid_loss":([\d.]+)', line):
                        self.seen.setdefault(float(value), time.time())


def delays(where: str, seen: dict[float, float], written: dict[float, float]) -> dict[str, float]:
    missing = [value for value in written if value not in seen]
    found = sorted(max(0.0, seen[value] - at) for value, at in written.items() if value in seen)
    return {
        f"points written and not {where}": len(missing),
        f"point {where}, p50, s": round(statistics.median(found), 3),
        f"point {where}, most, s": round(found[-1], 3),
    }


@contextmanager
def reader(stack: Stack, path: str) -> Iterator[socket.socket]:
    """A connection that has asked for a stream."""
    with socket.create_connection(("127.0.0.1", stack.port), timeout=30) as connection:
        connection.sendall(
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {stack.key}\r\n"
            "Accept: text/event-stream\r\n\r\n".encode()
        )
        yield connection


@contextmanager
def page_of(stack: Stack, job: Job) -> Iterator[webdriver.Chrome]:
    """The job's page in Chromium, watched."""
    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    with tempfile.TemporaryDirectory() as profile:
        for name in ("headless", "no-sandbox", "disable-gpu", f"user-data-dir={profile}"):
            options.add_argument(f"--{name}")
        service = webdriver.ChromeService(shutil.which("chromedriver"))
        browser = webdriver.Chrome(options=options, service=service)
        try:
            browser.get(f"{stack.base_url}/jobs/{job.id}")
            field = browser.find_element(By.CSS_SELECTOR, "input[type=password]")
            field.send_keys(stack.key)
            field.submit()
            browser.find_element(By.ID, "loss-legend")
            browser.execute_script(WATCH)
            yield browser
        finally:
            browser.quit()


def web_process(stack: Stack) -> psutil.Process:
    """The one that serves, not its parent: the largest."""
    return max(stack.processes("web.server"), key=lambda each: each.memory_info().rss)


def memory(process: psutil.Process) -> dict[str, float]:
    status = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    own = next(line for line in status if line.startswith("RssAnon"))
    return {
        "RssAnon, MB": round(int(own.split()[1]) / 1024, 1),
        "RSS, MB": round(process.memory_info().rss / 2**20, 1),
    }


def seconds_of(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


if __name__ == "__main__":
    main()
