"""One claimed batch: check the file, run it shard by shard, put the results together in order.

The lines of a few shards are with the engine at any time. A finished shard is one artifact and
one row, so a worker that dies costs the shards it had begun. Ids, seeds and dates of a line
follow from the job, so that a batch that was interrupted ends with the same bytes.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import BinaryIO

from worker.backend import Backend
from worker.batches.in_flight import LinesInFlight
from worker.batches.input import BatchPlan, InvalidBatch, plan_batch, read_shard
from worker.batches.output import RequestCounts, publish_output
from worker.batches.shard import Shard
from worker.errors import CorruptArtifact, DiskFull, LeaseLost, NotFound
from worker.generation.engine_link import EngineLink
from worker.generation.serving import RememberedModels
from worker.generation.text_policy import NO_POLICY, TextPolicy
from worker.jobs.rows import Job
from worker.processes.lease import Lease
from worker.tenants.tenants import Tenants

LOG = logging.getLogger(__name__)

SHARDS_AT_ONCE = 4  # enough that the engine's slots stay full while one shard is written
MOST_BYTES = 64 * 2**20  # of the input under way, above which no further shard is begun
MOST_ENGINE_LOSSES = 3  # engines lost without a finished shard between, before the job is let go
PROGRESS_SECONDS = 1.0


class BatchRun:
    """The life of one claimed batch in its worker. `run` returns when the job is let go."""

    def __init__(
        self, backend: Backend, link: EngineLink, job: Job, draining: Callable[[], bool]
    ) -> None:
        self._backend = backend
        self._jobs = backend.jobs
        self._job = job
        self._draining = draining
        self._lease = Lease(backend.jobs, job, backend.settings)
        self._lines = LinesInFlight(link, backend.store)
        self._engine_losses = 0
        self._counts = RequestCounts(0)
        self._progress_due = 0.0
        self._policy = NO_POLICY

    def run(self) -> None:
        """Work until the batch has ended or goes back to the queue."""
        try:
            with self._lease:
                self._work()
        except LeaseLost as lost:
            LOG.warning("%s: let go: %s", self._job.id, lost.message)

    def _text_policy(self) -> TextPolicy:
        """What the batch's owner wants of its texts."""
        try:
            owner = Tenants(self._backend.database).get(self._job.tenant)
        except NotFound:  # deleted a moment ago; the next write will tell
            return NO_POLICY
        return TextPolicy(owner.label, owner.blocked_words)

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
            self._lines.cancel()

    def _run(self) -> None:
        self._policy = self._text_policy()
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
        settings = self._backend.settings
        while (
            len(begun) < SHARDS_AT_ONCE
            and sum(plan.shard_bytes(index) for index in begun) < MOST_BYTES
            and (index := next(waiting, None)) is not None
        ):
            with self._input(plan.offsets[index]) as stream:
                endpoint = self._job.spec["endpoint"]
                lines = read_shard(stream, plan, index, endpoint, settings.max_body_bytes)
                shard = begun[index] = Shard(index, self._job, list(lines), self._policy)
            models = RememberedModels(self._backend.models)
            prepared = self._lease.write(partial(shard.prepare, models, settings))
            self._lines.add(shard, prepared)

    def _hear(self) -> None:
        """Take in what the engine brought, waiting for it until the lease wants attention."""
        if not self._lines.hear(self._lease.look_seconds):
            return
        self._engine_losses += 1
        if self._engine_losses > MOST_ENGINE_LOSSES:
            reason = f"The generation engine died {self._engine_losses} times on these lines"
            self._lease.write(lambda: self._jobs.requeue(self._job, reason, counts_as="loss"))
            raise LeaseLost(reason)

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
