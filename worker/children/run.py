"""One claimed job that a child works on, from the parent's side: order, watch, make safe, publish.

The child computes; this side holds the lease and is the only one that writes. What the child
reports becomes rows, each fenced by the job's token. What is to last is stored as artifacts first
and then published by one commit. A kind of work is a subclass that says what the child is told,
what it makes on the way, and what it publishes at the end.
"""

from __future__ import annotations

import logging
import queue
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar

from worker import logs, tracing
from worker.backend import Backend
from worker.children.process import MADE_SAFE, ChildProcess, Order
from worker.children.scratch import Scratch
from worker.children.sources import SourceFile
from worker.errors import CorruptArtifact, DiskFull, LeaseLost
from worker.jobs.rows import Job, Level
from worker.jobs.states import PAUSABLE
from worker.processes.cores import available_cores
from worker.processes.lease import Lease

LOG = logging.getLogger(__name__)

PROGRESS_SECONDS = 1.0
ACKNOWLEDGEMENT = {"acknowledge": True}


class ChildRun(ABC):
    """The life of one claimed job in its worker. `run` returns when the job is let go."""

    module: ClassVar[str]  # what the child runs
    work: ClassVar[str]  # in messages: the training, the training process
    main_file: ClassVar[str]  # the parameter that is blamed when a file cannot be read

    def __init__(self, backend: Backend, job: Job, draining: Callable[[], bool]) -> None:
        self._backend = backend
        self._jobs = backend.jobs
        self._settings = backend.settings
        self._job = job
        self._draining = draining
        self._lease = Lease(backend.jobs, job, backend.settings, self._kill_child)
        self._child: ChildProcess | None = None
        # What an earlier process was doing, in words, is over.
        kept_progress = {name: told for name, told in job.progress.items() if name != "doing"}
        self._progress: dict[str, Any] = kept_progress
        self._progress_written = 0.0
        self._heard = time.monotonic()  # the last sign of progress from the child
        self._stop_sent = 0.0
        self._hung = False  # whether we have killed the child because nothing came of it
        self._over = False  # the job has ended: nothing in the folder is needed any more
        self._began = time.monotonic()
        self._files = ExitStack()  # holds those that the child reads
        kept = job.progress.get("compute_seconds", 0.0)
        self._seconds_before = float(kept) if job.kind in PAUSABLE else 0.0

    # ---- what a kind of work is ----

    @abstractmethod
    def _order(self) -> Order:
        """All that the child needs; it may write into ``_folder``."""

    @abstractmethod
    def _publish(self, closing: Mapping[str, Any]) -> None:
        """Store what the finished child has made, and end the job with it."""

    def _make_safe(self, kind: str, data: dict[str, Any]) -> bool:  # noqa: ARG002
        """Store what an event of `MADE_SAFE` brings; False: it is not worth an event of the job."""
        return True

    # ---- its life ----

    def run(self) -> None:
        """Work until the job has ended, is paused or goes back to the queue."""
        try:
            with self._lease:
                self._run()
        except LeaseLost as lost:
            LOG.warning("%s: let go: %s", self._job.id, lost.message)

    def _run(self) -> None:
        try:
            scratch = Scratch(self._settings.work_folder, self._job.id, self._job.token)
        except OSError as error:
            self._retry(f"There is no folder to work in: {error}")
            return
        self._folder = scratch.folder
        try:
            with self._files:
                self._run_child(scratch)
        finally:
            if self._over:
                scratch.remove()
            scratch.close()

    def _run_child(self, scratch: Scratch) -> None:
        try:
            order = self._lease.write(self._order).model_copy(
                update={"log_format": self._settings.log_format, "about": dict(logs.about())}
            )
        except (CorruptArtifact, FileNotFoundError) as error:
            message = f"A file that the {self.work} needs cannot be read: {error}"
            self._fail({"code": "file_unreadable", "message": message, "param": self.main_file})
            return
        except OSError as error:
            self._retry(f"A file that the {self.work} needs could not be fetched: {error}")
            return
        try:
            with ChildProcess(order, self.module, [scratch.fileno()]) as child:
                LOG.info("%s: %s in process %d", self._job.id, self.work, child.pid)
                self._child = child
                self._watch(child)
        except (OSError, DiskFull) as error:
            self._retry(f"What the {self.work} has made could not be stored: {error}")

    def _local(self, reference: Mapping[str, str]) -> Path:
        """A file in storage, which stays on this machine until the child has ended."""
        held = self._backend.store.held(reference["artifact"], reference["file"])
        return self._files.enter_context(held)

    def _source(self, file: Mapping[str, str]) -> SourceFile:
        return SourceFile(path=self._local(file), name=file["filename"])

    def _threads(self) -> int:
        return self._settings.threads if self._settings.threads else available_cores()

    # ---- watching the child ----

    def _watch(self, child: ChildProcess) -> None:
        while True:
            self._lease.keep()
            self._ask_to_stop(child)
            try:
                message = child.receive(self._lease.look_seconds)
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
                child.send(ACKNOWLEDGEMENT)

    def _ask_to_stop(self, child: ChildProcess) -> None:
        """Cancel, pause and drain want what can be kept and an end; a deaf child is killed."""
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
        message = f"No progress for {silent:.0f} s: the {self.work} process is replaced."
        self._event("hung", message, "warn")
        self._heard = time.monotonic()
        self._hung = True
        return True

    def _handle(self, event: dict[str, Any]) -> bool:
        """Make one event safe; True when the child waits for that."""
        kind, data = event["type"], event["data"]
        if kind == "progress":
            self._note_progress(data)
            return False
        if kind not in MADE_SAFE or self._make_safe(kind, data):
            self._event(kind, event["message"], event["level"], data)
        return kind in MADE_SAFE

    def _note_progress(self, data: Mapping[str, Any]) -> None:
        self._progress.update(data)
        now = time.monotonic()
        if now - self._progress_written >= PROGRESS_SECONDS:
            self._progress_written = now
            self._write_progress()

    def _count_seconds(self) -> None:
        """Note how long the work has taken that is worth keeping."""
        seconds = self._seconds_before + time.monotonic() - self._began
        self._progress["compute_seconds"] = round(seconds, 3)

    def _write_progress(self) -> None:
        self._lease.try_write(lambda: self._jobs.set_progress(self._job, self._progress))

    def _event(
        self, kind: str, message: str, level: Level = "info", data: dict[str, Any] | None = None
    ) -> None:
        tracing.note(kind)
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
            self._publish(message)
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
        how = "no sign of progress" if self._hung else child.exit_description()
        LOG.warning("%s: the %s process ended with %s", self._job.id, self.work, how)
        if self._stop_sent:
            self._stopped()
            return
        reason = f"The {self.work} process ended with {how}"
        if self._lease.silent:  # we have killed it ourselves, while the database was away
            self._lease.write(lambda: self._jobs.requeue(self._job, "the database was away"))
            return
        self._lease.write(lambda: self._jobs.requeue(self._job, reason, counts_as="loss"))

    def _kill_child(self) -> None:
        """Called by a thread of the lease, which has been silent for too long."""
        if self._child is not None:
            self._child.kill()

    def _retry(self, reason: str) -> None:
        delay = self._settings.retry_base_seconds * 2**self._job.attempts
        self._lease.write(
            lambda: self._jobs.requeue(self._job, reason, delay=delay, counts_as="attempt")
        )

    def _fail(self, error: dict[str, Any]) -> None:
        self._lease.write(lambda: self._jobs.fail(self._job, error))
        self._clean_up()

    def _clean_up(self) -> None:
        """After the job's end: drop what only its work needed."""
        self._over = True
