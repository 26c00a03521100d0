"""A whole running stack for tests: `textgen up` in a home of its own, real processes throughout."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx
import openai
import psutil

ROOT = Path(__file__).parent.parent
READY_SECONDS = 90
STOP_SECONDS = 100
PATIENCE = 400  # seconds: trainings have a low priority, and other tests run beside them

# A twentieth of the times that people wait for, so that a lost worker is noticed in seconds.
QUICK = {
    "TEXTGEN_LEASE_SECONDS": "3",
    "TEXTGEN_HEARTBEAT_SECONDS": "0.5",
    "TEXTGEN_SILENCE_SECONDS": "2",
    "TEXTGEN_CONTROL_SECONDS": "0.2",
    "TEXTGEN_RECONCILE_SECONDS": "0.2",
    "TEXTGEN_RETRY_BASE_SECONDS": "0.1",
    "TEXTGEN_CHECKPOINT_MIN_SECONDS": "0.5",
    "TEXTGEN_CHECKPOINT_MAX_SECONDS": "5",
    "TEXTGEN_CANCEL_GRACE_SECONDS": "3",
    "TEXTGEN_GOOD_RUN_SECONDS": "1.5",
}


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def kill_family(process: subprocess.Popen[Any]) -> None:
    """kill -9 of a process and all that descend from it, whatever their sessions."""
    try:
        parent = psutil.Process(process.pid)
        parent.suspend()  # or it would start others in the place of those that die first
        family = [*parent.children(recursive=True), parent]
    except psutil.NoSuchProcess:
        return
    for member in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
    psutil.wait_procs(family, timeout=10)
    process.wait()


class Stack:
    """`textgen up` as a subprocess; start, stop, kill, and clients for it."""

    def __init__(self, home: Path, **environment: str) -> None:
        self.home = home
        self.port = free_port()
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("TEXTGEN_")},
            **QUICK,
            "PORT": str(self.port),
            "TEXTGEN_HOME": str(home),
            **environment,
        }
        self.process: subprocess.Popen[Any] | None = None
        self.log = home.parent / f"{home.name}.log"

    def __enter__(self) -> Stack:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: object, __: TracebackType | None
    ) -> None:
        self.stop()
        if kind is not None:
            print(self.log_text()[-8000:])

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def key(self) -> str:
        return (self.home / "credentials").read_text().strip()

    def start(self) -> None:
        """Start and wait until the service says that it is ready."""
        with self.log.open("ab") as log:
            self.process = self.begin(stdout=log, stderr=log)
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"the stack ended by itself:\n{self.log_text()[-4000:]}")
            try:
                if httpx.get(f"{self.base_url}/readyz", timeout=2).status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            time.sleep(0.1)
        raise RuntimeError(f"not ready after {READY_SECONDS} s:\n{self.log_text()[-4000:]}")

    def begin(self, **streams: Any) -> subprocess.Popen[Any]:
        """`textgen up`, started and no more: whoever asks for it waits for it and ends it."""
        return subprocess.Popen(
            [sys.executable, "-m", "web.cli", "up"],
            cwd=ROOT,
            env=self.environment,
            start_new_session=True,
            **streams,
        )

    def stop(self) -> int:
        """SIGTERM, then wait for the drain; returns the exit status."""
        process = self.process
        if process is None:
            return 0
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            return process.wait(STOP_SECONDS)
        finally:
            self.kill()
            self.process = None

    def kill(self) -> None:
        """kill -9 of everything at once: the supervisor and all that it started."""
        if self.process is None:
            return
        kill_family(self.process)

    def processes(self, *words: str) -> list[psutil.Process]:
        """Processes of this stack whose command line has all the words."""
        if self.process is None:
            return []
        found = []
        for child in psutil.Process(self.process.pid).children(recursive=True):
            try:
                line = " ".join(child.cmdline())
            except psutil.Error:
                continue
            if all(word in line for word in words):
                found.append(child)
        return found

    def client(self, *, strict: bool = False, **options: Any) -> openai.OpenAI:
        """The official client, pointed here."""
        return openai.OpenAI(
            base_url=f"{self.base_url}/v1",
            api_key=self.key,
            _strict_response_validation=strict,
            **options,
        )

    def http(self) -> httpx.Client:
        """A bare HTTP client with the key."""
        return httpx.Client(
            base_url=self.base_url, headers={"Authorization": f"Bearer {self.key}"}, timeout=30
        )

    def cli(
        self, *arguments: str, timeout: float = 120, given: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run the command line against this stack, with ``given`` on its standard input."""
        return subprocess.run(
            [sys.executable, "-m", "web.cli", *arguments],
            cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=timeout,
            check=False, input=given,
        )  # fmt: skip

    def log_text(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""


def wait_for(client: openai.OpenAI, job_id: str, *states: str, seconds: float = PATIENCE) -> Any:
    """Poll a fine-tuning job until it is in one of the states; fail early on another end."""
    wanted = states if states else ("succeeded",)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        job = client.fine_tuning.jobs.retrieve(job_id)
        if job.status in wanted:
            return job
        if job.status in ("succeeded", "failed", "cancelled"):
            raise AssertionError(f"job ended as {job.status}: {job.error}")
        time.sleep(0.1)
    raise AssertionError(f"job {job_id} is still {job.status} after {seconds} s")


def wait_for_batch(client: openai.OpenAI, batch_id: str, *, seconds: float = PATIENCE) -> Any:
    """Poll a batch until it has ended, whatever the end."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        batch = client.batches.retrieve(batch_id)
        if batch.status in ("completed", "failed", "cancelled", "expired"):
            return batch
        time.sleep(0.1)
    raise AssertionError(f"batch {batch_id} is still {batch.status} after {seconds} s")


def ended(http: httpx.Client, path: str, *, seconds: float = PATIENCE) -> dict[str, Any]:
    """Ask for a job of any kind by its own path until it has ended, whatever the end."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found: dict[str, Any] = http.get(path).json()
        if found["status"] in ("succeeded", "failed", "cancelled"):
            return found
        time.sleep(0.05)
    raise AssertionError(f"{path} is still {found['status']} after {seconds} s")


def completion_lines(model: str, count: int, **body: Any) -> bytes:
    """A batch input file of ``count`` completion requests with seeds of their own."""
    lines = []
    for number in range(count):
        value = {"model": model, "prompt": "The ", "max_tokens": 8, "seed": number, **body}
        row = {
            "custom_id": f"line-{number}",
            "method": "POST",
            "url": "/v1/completions",
            "body": value,
        }
        lines.append(json.dumps(row))
    return "\n".join(lines).encode()
