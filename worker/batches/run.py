"""One claimed batch: check the file, run it shard by shard, put the results together in order.

The lines of a few shards are with the engine at any time. A finished shard is one artifact and
one row, so a worker that dies costs the shards it had begun. Ids, seeds and dates of a line
follow from the job, so that a batch that was interrupted ends with the same bytes.
"""

from __future__ import annotations

import logging
import queue
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import BinaryIO

from worker.backend import Backend
from worker.batches.input import BatchPlan, InvalidBatch, plan_batch, read_shard
from worker.batches.output import RequestCounts, publish_output
from worker.batches.shard import LineRequest, Shard
from worker.errors import CorruptArtifact, DiskFull, LeaseLost
from worker.generation.engine_link import LOST, EngineLink, Update
from worker.jobs import Job
from worker.processes.lease import Lease

LOG = logging.getLogger(__name__)

SHARDS_AT_ONCE = 2  # enough that the engine's slots stay full while one shard is written
MOST_ENGINE_LOSSES = 3  # engines lost without a finished shard between, before the job is let go
PROGRESS_SECONDS = 1.0


class BatchRun:
    """The life of one claimed batch in its worker. `run` returns when the job is let go."""

    def __init__(
        self, backend: Backend, link: EngineLink, job: Job, draining: Callable[[], bool]
    ) -> None:
        self._backend = backend
        self._jobs = backend.jobs
        self._link = link
        self._job = job
        self._draining = draining
        self._lease = Lease(backend.jobs, job, backend.settings)
        self._updates: queue.SimpleQueue[Sequence[Update]] = queue.SimpleQueue()
        self._open: dict[str, tuple[Shard, LineRequest]] = {}  # request id → its line
        self._engine_losses = 0
        self._counts = RequestCounts(0)
        self._progress_due = 0.0

    def take(self, updates: Sequence[Update]) -> None:
        """Called by the engine's reader thread."""
        self._updates.put(updates)

    def run(self) -> None:
        """Work until the batch has ended or goes back to the queue."""
        try:
            with self._lease:
                self._work()
        except LeaseLost as lost:
            LOG.warning("%s: let go: %s", self._job.id, lost.message)

    def _work(self) -> None:
        try:
            self._run()
        except InvalidBatch as invalid:
            error = {**invalid.as_dict(), "errors": invalid.errors}
            self._lease.write(lambda: self._jobs.fail(self._job, error))
        except (CorruptArtifact, FileNotFoundError) as error:
            message = f"A file that the batch needs cannot be read: {error}"
            fault = {"code": "file_unreadable", "message": message, "param": "input_file_id"}
            self._lease.write(lambda: self._jobs.fail(self._job, fault))
        except (OSError, DiskFull) as error:
            self._retry(f"The results could not be stored: {error}")
        finally:
            for request_id in self._open:
                self._link.cancel(request_id)

    def _run(self) -> None:
        plan = self._plan()
        found = self._lease.write(lambda: self._jobs.shards_done(self._job))
        done = {shard.index: shard for shard in found}
        self._counts = RequestCounts(plan.lines)
        for row in done.values():
            self._counts.add(row)
        waiting = iter([index for index in range(len(plan.offsets)) if index not in done])
        begun: dict[int, Shard] = {}
        self._fill(begun, waiting, plan)
        while begun:
            self._lease.keep()
            signals = self._lease.signals
            if signals.cancel:
                publish_output(self._backend, self._lease, self._job, plan.lines, cancelled=True)
                return
            if signals.pause or self._draining():
                self._let_go(paused=signals.pause)
                return
            self._hear()
            self._tell_progress(begun.values())
            for index in [index for index, shard in begun.items() if shard.complete]:
                self._store(begun.pop(index))
            self._fill(begun, waiting, plan)
        publish_output(self._backend, self._lease, self._job, plan.lines)

    # ---- the input ----

    def _plan(self) -> BatchPlan:
        """How the batch is cut; made once, then kept in the job's row."""
        if self._job.plan is not None:
            return BatchPlan.from_dict(self._job.plan)
        settings = self._backend.settings
        with self._input() as stream:
            plan = plan_batch(
                stream,
                self._job.spec["endpoint"],
                max_lines=settings.max_batch_lines,
                max_bytes=settings.max_body_bytes,
            )
        self._lease.keep()
        self._lease.write(lambda: self._jobs.plan_shards(self._job, plan.as_dict(), plan.sizes()))
        return plan

    @contextmanager
    def _input(self, offset: int = 0) -> Iterator[BinaryIO]:
        file = self._job.spec["input_file"]
        with self._backend.store.open(file["artifact"], file["file"], offset) as stream:
            yield stream

    # ---- the work ----

    def _fill(self, begun: dict[int, Shard], waiting: Iterator[int], plan: BatchPlan) -> None:
        """Begin shards until enough are under way."""
        while len(begun) < SHARDS_AT_ONCE and (index := next(waiting, None)) is not None:
            settings = self._backend.settings
            with self._input(plan.offsets[index]) as stream:
                lines = list(
                    read_shard(
                        stream, plan, index, self._job.spec["endpoint"], settings.max_body_bytes
                    )
                )
            shard = begun[index] = Shard(index, self._job, lines)
            for request in self._prepared(shard):
                self._submit(shard, request)

    def _prepared(self, shard: Shard) -> list[LineRequest]:
        return self._lease.write(
            lambda: shard.prepare(self._backend.models, self._backend.settings)
        )

    def _submit(self, shard: Shard, line: LineRequest) -> None:
        path = self._backend.store.local_path(
            line.request.bundle.artifact, line.request.bundle.file
        )
        self._open[line.request.id] = (shard, line)
        self._link.submit(line.request, path, self, interactive=False)

    def _hear(self) -> None:
        """Take in what the engine brought, waiting for it until the lease wants attention."""
        try:
            updates = list(self._updates.get(timeout=self._lease.look_seconds))
        except queue.Empty:
            return
        while not self._updates.empty():
            updates += self._updates.get()
        lost = [update.id for update in updates if update.error is LOST]
        for update in updates:
            if update.id in self._open and update.error is not LOST:
                self._note(update)
        if lost:
            self._engine_lost(lost)

    def _note(self, update: Update) -> None:
        shard, line = self._open[update.id]
        shard.add(line, update)
        if update.last:
            del self._open[update.id]

    def _engine_lost(self, lost: list[str]) -> None:
        """The engine died: its lines begin again, from their start, with the same seeds."""
        self._engine_losses += 1
        if self._engine_losses > MOST_ENGINE_LOSSES:
            reason = f"The generation engine died {self._engine_losses} times on these lines"
            self._lease.write(lambda: self._jobs.requeue(self._job, reason, counts_as="loss"))
            raise LeaseLost(reason)
        for request_id in lost:
            if request_id in self._open:
                shard, line = self._open.pop(request_id)
                shard.restart(line)
                self._submit(shard, line)

    def _store(self, shard: Shard) -> None:
        """Make a finished shard safe: artifact first, then its row."""
        name = f"jobs/{self._job.id}/{self._job.token}/shard-{shard.index}"
        with self._backend.store.create(name) as staging:
            shard.write(staging)
            staging.commit()
        self._lease.write(
            lambda: self._jobs.finish_shard(self._job, shard.index, name, shard.counts())
        )
        self._counts.add(shard.counts())
        self._engine_losses = 0

    def _tell_progress(self, begun: Iterable[Shard]) -> None:
        """Say now and then how many lines are through."""
        now = time.monotonic()
        if now < self._progress_due:
            return
        self._progress_due = now + PROGRESS_SECONDS
        counts = self._counts.copy()
        for shard in begun:
            counts.add(shard.counts())
        progress = {"request_counts": counts.as_dict()}
        self._lease.try_write(lambda: self._jobs.set_progress(self._job, progress))

    # ---- how it ends without a result ----

    def _let_go(self, *, paused: bool) -> None:
        if paused:
            self._lease.write(lambda: self._jobs.paused(self._job))
        else:
            self._lease.write(lambda: self._jobs.requeue(self._job, "drain"))

    def _retry(self, reason: str) -> None:
        delay = self._backend.settings.retry_base_seconds * 2**self._job.attempts
        self._lease.write(
            lambda: self._jobs.requeue(self._job, reason, delay=delay, counts_as="attempt")
        )
