"""Shards of a batch or a scoring: some consecutive lines, one artifact and one row when done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import func, select, update

from worker.jobs.moves import JobTable
from worker.jobs.rows import Job
from worker.jobs.tables import batch_shards
from worker.storage.database import insert_into

ROWS_AT_ONCE = 500  # so that no transaction holds SQLite for long


@dataclass(frozen=True, slots=True)
class ShardRow:
    """A finished shard."""

    index: int
    token: int  # of the claim that finished it
    artifact: str
    lines: int
    completed: int
    failed: int
    prompt_tokens: int
    completion_tokens: int
    characters_in: int
    characters_out: int
    compute_seconds: float  # of the engine; a scoring counts its process instead


class Counts(Protocol):
    """What became of a shard's lines."""

    @property
    def completed(self) -> int: ...  # noqa: D102
    @property
    def failed(self) -> int: ...  # noqa: D102
    @property
    def prompt_tokens(self) -> int: ...  # noqa: D102
    @property
    def completion_tokens(self) -> int: ...  # noqa: D102
    @property
    def characters_in(self) -> int: ...  # noqa: D102
    @property
    def characters_out(self) -> int: ...  # noqa: D102
    @property
    def compute_seconds(self) -> float: ...  # noqa: D102


class JobShards(JobTable):
    """The shards of batches and scorings. Every write is fenced by the claim's token."""

    def plan_shards(self, job: Job, plan: Mapping[str, Any], sizes: Sequence[int]) -> None:
        """Make a row for each shard (``sizes``: its lines), then keep the plan.

        The plan comes last: with a plan in the job's row, all shards are there. Safe to repeat.
        Raises LeaseLost.
        """
        rows = [
            {
                "job_id": job.id,
                "shard_index": index,
                "tenant": job.tenant,
                "state": "planned",
                "token": job.token,
                "lines": lines,
                "completed": 0,
                "failed": 0,
                "prompt_tokens": 0,
                "completion_tokens": 0,
            }
            for index, lines in enumerate(sizes)
        ]
        for start in range(0, len(rows), ROWS_AT_ONCE):
            with self._database.write() as connection:
                self._held(connection, job)
                connection.execute(
                    insert_into(connection, batch_shards).on_conflict_do_nothing(),
                    rows[start : start + ROWS_AT_ONCE],
                )
        with self._database.write() as connection:
            self._change(connection, job, plan=dict(plan))

    def finish_shard(self, job: Job, index: int, artifact: str, counts: Counts) -> bool:
        """Publish a shard's artifact. False when it was done before; that result stands.

        A finished shard is a step forward: it forgives the losses so far. Raises LeaseLost.
        """
        with self._database.write() as connection:
            self._change(connection, job, losses=0)
            done = connection.execute(
                update(batch_shards)
                .where(
                    batch_shards.c.job_id == job.id,
                    batch_shards.c.tenant == job.tenant,
                    batch_shards.c.shard_index == index,
                    batch_shards.c.state == "planned",
                )
                .values(
                    state="done",
                    token=job.token,
                    artifact=artifact,
                    completed=counts.completed,
                    failed=counts.failed,
                    prompt_tokens=counts.prompt_tokens,
                    completion_tokens=counts.completion_tokens,
                    characters_in=counts.characters_in,
                    characters_out=counts.characters_out,
                    compute_seconds=counts.compute_seconds,
                )
            )
            return done.rowcount == 1

    def shards_done(self, job: Job) -> list[ShardRow]:
        """The finished shards, in order."""
        columns = [
            batch_shards.c.shard_index,
            *(batch_shards.c[name] for name in ShardRow.__dataclass_fields__ if name != "index"),
        ]
        with self._database.read() as connection:
            rows = connection.execute(
                select(*columns)
                .where(
                    batch_shards.c.job_id == job.id,
                    batch_shards.c.tenant == job.tenant,
                    batch_shards.c.state == "done",
                )
                .order_by(batch_shards.c.shard_index)
            ).all()
        return [ShardRow(*row) for row in rows]

    def shard_counts(self, job: Job) -> dict[str, int]:
        """Lines in all, completed and failed so far."""
        counted = batch_shards.c
        with self._database.read() as connection:
            row = connection.execute(
                select(
                    func.coalesce(func.sum(counted.lines), 0),
                    func.coalesce(func.sum(counted.completed), 0),
                    func.coalesce(func.sum(counted.failed), 0),
                ).where(counted.job_id == job.id, counted.tenant == job.tenant)
            ).one()
        return {"total": int(row[0]), "completed": int(row[1]), "failed": int(row[2])}
