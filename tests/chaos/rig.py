"""A stack to be hurt, the small jobs that run in it, and what they must end with."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import openai
import psutil
import sqlalchemy as sa
import torch

from tests.chaos.ledger import Ledger
from tests.chaos.undisturbed import Undisturbed
from tests.stack import PATIENCE, ROOT, Stack, completion_lines
from textgen.bundles.bundle import load_bundle
from worker.errors import DatabaseUnavailable
from worker.storage.artifacts import ArtifactStore
from worker.storage.database import Database
from worker.storage.tables import models
from worker.training.result import MODEL_FILE

TRAINING = {"max_steps": 400, "batch_size": 8, "sequence_length": 32, "hidden_size": 64}
BATCH_LINES = 700
STILL_SECONDS = 1.0


class StandstillWatch:
    """Knows when this machine, or we, stood still: what was timed then says nothing."""

    def __init__(self) -> None:
        self._still = False
        self._over = threading.Event()
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        last = time.monotonic()
        while not self._over.wait(0.1):
            now = time.monotonic()
            self._still = self._still or now - last > STILL_SECONDS
            last = now

    def stop(self) -> None:
        self._over.set()

    def take(self) -> bool:
        """Whether there was a standstill since the last look."""
        still, self._still = self._still, False
        return still


class Rig:
    """A stack with a ledger and a trained model; ``start`` starts it, ``close`` kills it."""

    def __init__(
        self, folder: Path, text: Path, seed: int, database_url: str = "", **environment: str
    ) -> None:
        folder.mkdir(exist_ok=True)
        self.home = folder / "home"
        if database_url:
            environment["TEXTGEN_DATABASE_URL"] = database_url
        else:
            database_url = f"sqlite:///{self.home / 'textgen.db'}"
        self.random = random.Random(seed)
        self.stack = Stack(self.home, **environment)
        self.store = ArtifactStore(
            environment.get("TEXTGEN_STORAGE_URL", str(self.home / "artifacts"))
        )
        self.database = Database(database_url)
        self.ledger = Ledger(self.database, self.store)
        self.text = text
        self.undisturbed = Undisturbed(text, folder / "undisturbed")
        self.still = StandstillWatch()
        self._model: str | None = None
        self._expected: dict[int, list[str]] = {}  # number of lines → what a batch writes
        self._files: dict[int, str] = {}  # number of lines → its input file

    def start(self) -> None:
        self.stack.start()
        self.client = self.stack.client(max_retries=8)
        self.training_file = self.client.files.create(file=self.text, purpose="fine-tune").id

    def close(self) -> None:
        self.still.stop()
        self.stack.kill()
        self.database.dispose()

    # ---- jobs ----

    def train(self, *, ends: tuple[str, ...] = ("succeeded",), **hyperparameters: Any) -> str:
        job = self.client.fine_tuning.jobs.create(
            model="lstm-tiny",
            training_file=self.training_file,
            seed=5,
            extra_body={"hyperparameters": {**TRAINING, **hyperparameters}},
        )
        self.ledger.note(job.id, ends=ends, right=self._weights_are_right)
        return job.id

    @property
    def model(self) -> str:
        """A model to generate with, made when it is first asked for."""
        if self._model is None:
            job_id = self.train()
            self.ledger.wait()
            self._model = str(self.ledger.row(job_id).result["fine_tuned_model"])
        return self._model

    def batch(
        self, lines: int = BATCH_LINES, *, ends: tuple[str, ...] = ("succeeded",),
        client: openai.OpenAI | None = None, patience: float = PATIENCE, **options: Any,
    ) -> str:  # fmt: skip
        if lines not in self._expected:
            self._expected[lines] = []
            first = self.batch(lines)
            self.ledger.wait(patience)
            self._expected[lines] = self.texts(self.ledger.row(first))
        client = self.client if client is None else client
        file_id = self.batch_file(lines)
        batch = client.batches.create(
            input_file_id=file_id,
            endpoint="/v1/completions",
            completion_window="24h",
            **options,
        )
        expected = self._expected[lines]
        self.ledger.note(
            batch.id, ends=ends, right=lambda row: not expected or self.texts(row) == expected
        )
        return batch.id

    def batch_file(self, lines: int) -> str:
        if lines not in self._files:
            content = completion_lines(self.model, lines, max_tokens=50)
            made = self.client.files.create(file=("batch.jsonl", content), purpose="batch")
            self._files[lines] = made.id
        return self._files[lines]

    def texts(self, row: Any) -> list[str]:
        """What a batch has written, each line with the id that it was asked under."""
        with self.store.open(f"files/{row.result['output_file_id']}", "content") as stream:
            values = [json.loads(line) for line in stream]
        return [
            f"{value['custom_id']} {value['response']['body']['choices'][0]['text']}"
            for value in values
        ]

    def _weights_are_right(self, row: Any) -> bool:
        """Of the published model: one that a claim stored before its death is an orphan."""
        published = models.c.id == row.result["fine_tuned_model"]
        with self.database.read() as connection:
            name = connection.execute(sa.select(models.c.artifact).where(published)).scalar_one()
        path = self.store.local_path(name, MODEL_FILE)
        bundle = load_bundle(path)
        assert bundle.header.plan is not None
        expected, found = self.undisturbed.weights(bundle.header.plan), bundle.model.state_dict()
        return found.keys() == expected.keys() and all(
            torch.equal(found[name], expected[name]) for name in found
        )

    # ---- waiting ----

    def until(self, met: Callable[[], object], seconds: float = PATIENCE) -> None:
        deadline = time.monotonic() + seconds
        while not met():
            assert time.monotonic() < deadline, f"not within {seconds} s"
            time.sleep(0.02)

    def until_child(self) -> None:
        self.until(lambda: self.stack.processes("worker.training.child"))

    def until_checkpoint(self, job_id: str) -> None:
        self.until(lambda: (self.ledger.row(job_id).checkpoint or {}).get("step", 0) > 0)

    def step_of(self, job_id: str) -> int:
        """The last that a training has told of."""
        told = [each.data["step"] for each in self.ledger.events(job_id) if each.type == "metrics"]
        return max([*told, self.ledger.row(job_id).progress.get("step") or 0])

    def lines_done(self, job_id: str) -> int:
        counts = self.ledger.row(job_id).progress.get("request_counts", {})
        return int(counts.get("completed", 0))

    def until_lines(self, job_id: str, count: int, seconds: float = PATIENCE) -> None:
        """Until a batch has as many lines, or has ended."""
        self.until(
            lambda: self.lines_done(job_id) >= count or self.ledger.row(job_id).finished_at,
            seconds,
        )

    def healthy(self) -> bool:
        with self.stack.http() as http:
            try:
                return http.get("/readyz").status_code == 200
            except httpx.HTTPError:
                return False

    # ---- processes ----

    @contextmanager
    def worker(self, role: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
        """One more worker beside the stack's own, on a Redis that is not the stack's."""
        with self.stack.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "web.cli", "worker", role],
                cwd=ROOT, env={**self.stack.environment, **environment}, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        try:
            yield process
        finally:
            family = [psutil.Process(process.pid)]
            family += family[0].children(recursive=True)
            for member in family:
                with suppress(psutil.NoSuchProcess):
                    member.kill()
            process.wait()

    def main_process(self, *words: str) -> psutil.Process:
        """The one whose own command line has the words, not one of its children."""
        found = self.stack.processes(*words)
        inner = {child.pid for each in found for child in each.children(recursive=True)}
        (process,) = (each for each in found if each.pid not in inner)
        return process

    @contextmanager
    def standing_still(self, process: psutil.Process) -> Iterator[None]:
        """SIGSTOP until the block's end, at a moment when it has no transaction open.

        One that stands still inside of one keeps everybody from writing to SQLite.
        """

        def stopped() -> bool:
            process.suspend()
            try:
                with self.database.write():
                    return True
            except DatabaseUnavailable:
                process.resume()
                return False

        self.until(stopped)
        try:
            yield
        finally:
            with suppress(psutil.NoSuchProcess):
                process.resume()
