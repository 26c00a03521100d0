"""One claimed training, from the parent's side: order, watch, make safe, publish.

The child trains; this side holds the lease and is the only one that writes. What the child
reports becomes rows, each fenced by the job's token. Checkpoints and the finished model are
stored as artifacts first and then published by one commit.
"""

from __future__ import annotations

import logging
import queue
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from textgen.bundles.header import read_header
from worker.backend import Backend
from worker.errors import CorruptArtifact, DiskFull, LeaseLost
from worker.jobs.rows import Job, Level
from worker.processes.cores import available_cores
from worker.processes.lease import Lease
from worker.training.child_process import ChildProcess, SourceFile, TrainingOrder
from worker.training.result import new_model, publish_model

LOG = logging.getLogger(__name__)

PROGRESS_SECONDS = 1.0
CHECKPOINT_FILE = "checkpoint.safetensors"
MADE_SAFE = {"acknowledge": True}


class TrainingRun:
    """The life of one claimed training in its worker. `run` returns when the job is let go."""

    def __init__(self, backend: Backend, job: Job, draining: Callable[[], bool]) -> None:
        self._backend = backend
        self._jobs = backend.jobs
        self._settings = backend.settings
        self._job = job
        self._draining = draining
        self._lease = Lease(backend.jobs, job, backend.settings)
        self._folder = backend.settings.work_folder / job.id
        self._progress: dict[str, Any] = dict(job.progress)
        self._progress_written = 0.0
        self._heard = time.monotonic()  # the last sign of progress from the child
        self._stop_sent = 0.0

    def run(self) -> None:
        """Train until the job has ended, is paused or goes back to the queue."""
        try:
            order = self._order()
            with ChildProcess(order) as child:
                LOG.info("%s: training in process %d", self._job.id, child.pid)
                self._watch(child)
        except LeaseLost as lost:
            LOG.warning("%s: let go: %s", self._job.id, lost.message)
        except (CorruptArtifact, FileNotFoundError) as error:
            message = f"A file that the training needs cannot be read: {error}"
            self._fail({"code": "file_unreadable", "message": message, "param": "training_file"})

    # ---- the order ----

    def _order(self) -> TrainingOrder:
        spec = self._job.spec
        self._folder.mkdir(parents=True, exist_ok=True)
        hyperparameters = {"seed": spec["seed"], **spec["hyperparameters"]}
        base = spec.get("base_artifact")
        return TrainingOrder(
            sources=tuple(map(self._source, spec["files"])),
            validation_sources=self._held_out("validation_file"),
            test_sources=self._held_out("test_file"),
            preset=spec["preset"],
            hyperparameters=hyperparameters,
            folder=self._folder,
            base=self._local(base) if base else None,
            plan=self._job.plan,
            resume=self._resume_point(),
            device=self._settings.device,
            threads=self._settings.threads if self._settings.threads else available_cores(),
            checkpoint_seconds=(
                self._settings.checkpoint_min_seconds,
                self._settings.checkpoint_max_seconds,
            ),
        )

    def _held_out(self, field: str) -> tuple[SourceFile, ...]:
        """The file in ``field`` of the job, where one was given."""
        file = self._job.spec.get(field)
        return (self._source(file),) if file else ()

    def _source(self, file: dict[str, str]) -> SourceFile:
        return SourceFile(path=self._local(file), name=file["filename"])

    def _local(self, reference: dict[str, str]) -> Path:
        return self._backend.store.local_path(reference["artifact"], reference["file"])

    def _resume_point(self) -> Path | None:
        """The newest checkpoint that is whole; damaged ones are said and passed over."""
        for pointer in self._job.checkpoint_history:
            try:
                return self._backend.store.local_path(pointer["artifact"], CHECKPOINT_FILE)
            except (CorruptArtifact, FileNotFoundError) as error:
                self._event(
                    "checkpoint_damaged",
                    f"The checkpoint of step {pointer['step']} is damaged and not used: {error}",
                    "warn",
                )
        return None

    # ---- watching the child ----

    def _watch(self, child: ChildProcess) -> None:
        while True:
            self._lease.keep()
            self._ask_to_stop(child)
            try:
                message = child.receive(min(0.5, self._lease.seconds_until_due()))
            except queue.Empty:
                if self._is_hung():
                    child.kill()
                continue
            if message is None:
                self._lost(child)
                return
            self._heard = time.monotonic()
            if message["kind"] != "event":
                self._ended(message)
                return
            if self._handle(message["event"]):
                child.send(MADE_SAFE)

    def _ask_to_stop(self, child: ChildProcess) -> None:
        """Cancel, pause and drain want a checkpoint and an end; a deaf child is killed."""
        signals = self._lease.signals
        if not (signals.cancel or signals.pause or self._draining()):
            return
        now = time.monotonic()
        if not self._stop_sent:
            self._stop_sent = now
            child.send({"stop": True})
        elif now - self._stop_sent > self._settings.cancel_grace_seconds:
            child.kill()

    def _is_hung(self) -> bool:
        silent = time.monotonic() - self._heard
        if silent < self._settings.hang_seconds:
            return False
        self._event(
            "hung", f"No progress for {silent:.0f} s: the training process is replaced.", "warn"
        )
        self._heard = time.monotonic()
        return True

    def _handle(self, event: dict[str, Any]) -> bool:
        """Make one event safe; True when the child waits for that."""
        kind, data = event["type"], event["data"]
        if kind == "progress":
            self._note_progress(data)
            return False
        if kind == "plan":
            self._lease.write(lambda: self._jobs.save_plan(self._job, data["plan"]))
        elif kind == "checkpoint":
            self._store_checkpoint(Path(data.pop("path")), data["step"], data["metrics"])
        self._event(kind, event["message"], event["level"], data)
        return kind in ("plan", "checkpoint")

    def _note_progress(self, data: dict[str, Any]) -> None:
        self._progress.update(data)
        now = time.monotonic()
        if now - self._progress_written >= PROGRESS_SECONDS:
            self._progress_written = now
            self._write_progress()

    def _write_progress(self) -> None:
        self._lease.try_write(lambda: self._jobs.set_progress(self._job, self._progress))

    def _store_checkpoint(self, path: Path, step: int, metrics: dict[str, Any]) -> None:
        """Publish a checkpoint; when storage has no room, the one before stays in force."""
        name = f"jobs/{self._job.id}/{self._job.token}/step-{step}"
        try:
            with self._backend.store.create(name) as staging:
                staging.add(path, CHECKPOINT_FILE)
                staging.commit()
        except FileExistsError:
            return  # stopped and asked again at the same step
        except (OSError, DiskFull) as error:
            message = f"The checkpoint of step {step} could not be stored: {error}"
            self._event("checkpoint_failed", message, "warn")
            return
        model = new_model(self._job, read_header(path), name, CHECKPOINT_FILE, step)
        dropped = self._lease.write(
            lambda: self._jobs.save_checkpoint(
                self._job,
                artifact=name,
                file=CHECKPOINT_FILE,
                step=step,
                metrics=metrics,
                publish_model=model if step > 0 else None,
            )
        )
        for artifact in dropped:
            self._backend.store.delete(artifact)

    def _event(
        self, kind: str, message: str, level: Level = "info", data: dict[str, Any] | None = None
    ) -> None:
        self._lease.try_write(
            lambda: self._jobs.add_event(
                self._job,
                type=kind,
                message=message,
                level=level,
                data={} if data is None else data,
            )
        )

    # ---- how it ends ----

    def _ended(self, message: dict[str, Any]) -> None:
        if message["kind"] == "finished":
            self._write_progress()
            try:
                publish_model(self._backend, self._lease, self._job, Path(message["bundle"]))
            except (OSError, DiskFull) as error:
                self._retry(f"The finished model could not be stored: {error}")
                return
            self._clean_up()
        elif message["kind"] == "stopped":
            self._stopped()
        elif message["transient"] and self._job.attempts < self._settings.max_attempts:
            self._retry(message["error"]["message"])
        else:
            self._fail(message["error"])

    def _stopped(self) -> None:
        self._write_progress()
        signals = self._lease.signals
        if signals.cancel:
            self._lease.write(lambda: self._jobs.cancelled(self._job))
            self._clean_up()
        elif signals.pause:
            self._lease.write(lambda: self._jobs.paused(self._job))
        else:
            self._lease.write(lambda: self._jobs.requeue(self._job, "drain"))

    def _lost(self, child: ChildProcess) -> None:
        """The child died without a last word."""
        how = child.exit_description()
        LOG.warning("%s: the training process ended with %s", self._job.id, how)
        if self._stop_sent:
            self._stopped()
            return
        reason = f"The training process ended with {how}"
        self._lease.write(lambda: self._jobs.requeue(self._job, reason, counts_as="loss"))

    def _retry(self, reason: str) -> None:
        delay = self._settings.retry_base_seconds * 2**self._job.attempts
        self._lease.write(
            lambda: self._jobs.requeue(self._job, reason, delay=delay, counts_as="attempt")
        )

    def _fail(self, error: dict[str, Any]) -> None:
        self._lease.write(lambda: self._jobs.fail(self._job, error))
        self._clean_up()

    def _clean_up(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
