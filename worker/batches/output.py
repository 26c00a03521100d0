"""The end of a batch: the shards' results put together, in order, and published by one commit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy.engine import Connection

from worker.backend import Backend
from worker.batches.shard import ERROR_FILE, OUTPUT_FILE
from worker.jobs.rows import Job
from worker.jobs.shards import Counts, ShardRow
from worker.processes.lease import Lease
from worker.processes.results import Result, store_joined


@dataclass
class RequestCounts:
    """Lines of a batch, by what became of them."""

    total: int
    completed: int = 0
    failed: int = 0

    def add(self, part: Counts) -> None:
        """Count a shard's lines."""
        self.completed += part.completed
        self.failed += part.failed

    def copy(self) -> RequestCounts:
        """Another one with the same figures."""
        return replace(self)

    def as_dict(self) -> dict[str, int]:
        """As clients see it."""
        return {"total": self.total, "completed": self.completed, "failed": self.failed}


def publish_output(
    backend: Backend, lease: Lease, job: Job, total: int, *, cancelled: bool = False
) -> None:
    """End the batch with an output and an error file; one without lines is left out.

    A cancelled batch keeps what its finished shards have. The files and the end of the job are
    one commit; the shards are deleted after it.
    """
    shards = lease.write(lambda: backend.jobs.shards_done(job))
    counts = RequestCounts(total)
    for shard in shards:
        counts.add(shard)
    lease.write(lambda: backend.jobs.set_phase(job, "finalizing"))
    files = {
        "output_file_id": _joined(backend, lease, job, shards, OUTPUT_FILE, counts.completed),
        "error_file_id": _joined(backend, lease, job, shards, ERROR_FILE, counts.failed),
    }
    result: dict[str, Any] = {
        **{name: None if file is None else file.id for name, file in files.items()},
        "request_counts": counts.as_dict(),
        "usage": {
            "prompt_tokens": sum(shard.prompt_tokens for shard in shards),
            "completion_tokens": sum(shard.completion_tokens for shard in shards),
        },
    }

    def publish(connection: Connection) -> None:
        now = backend.database.now(connection)
        for file in files.values():
            if file is not None:
                file.publish(connection, job.tenant, now)

    if cancelled:
        lease.write(lambda: backend.jobs.cancelled(job, result, publish))
    else:
        lease.write(lambda: backend.jobs.succeed(job, result, publish))
    for shard in shards:
        backend.store.delete(shard.artifact)


def _joined(
    backend: Backend, lease: Lease, job: Job, shards: Sequence[ShardRow], file: str, lines: int
) -> Result | None:
    """The shards' parts behind each other; None without lines."""
    if not lines:
        return None
    expires_in = job.spec.get("output_expires_seconds")
    name = f"{job.id}_{file}"
    return store_joined(backend, lease, shards, file, name, "batch_output", expires_in=expires_in)
