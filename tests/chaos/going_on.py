"""When a batch that was hurt goes on: at the first line that cannot have been written before."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import psutil
import sqlalchemy as sa

from tests.chaos.rig import Rig
from worker.jobs.tables import batch_shards

TOLD_SECONDS = 1.5  # in which a worker, which does so each second, has told of all lines


@dataclass(frozen=True)
class Standing:
    """Where a batch is, as its row and its finished shards tell."""

    ended: bool
    claim: int
    lines: int  # that its worker has told of
    safe: int  # in shards that were finished by some claim, or one before it


def standing(rig: Rig, job_id: str, claim: int | None = None) -> Standing:
    """Where a batch is now; ``safe`` is what a claim after this one goes on from."""
    row = rig.ledger.row(job_id)
    done = batch_shards.c
    query = sa.select(sa.func.coalesce(sa.func.sum(done.lines), 0)).where(
        done.job_id == job_id,
        done.state == "done",
        done.token <= (row.token if claim is None else claim),
    )
    with rig.database.read() as connection:
        safe = int(connection.execute(query).scalar_one())
    lines = int(row.progress.get("request_counts", {}).get("completed", 0))
    return Standing(row.finished_at is not None, row.token, lines, safe)


def stand_still(
    rig: Rig, job_id: str, processes: Sequence[psutil.Process], *, told: bool
) -> Standing:
    """Stop processes that are about to be killed; where the batch is then.

    With ``told`` its worker goes on, and tells of what those processes had written.
    """
    for process in processes:
        process.suspend()
    time.sleep(TOLD_SECONDS if told else 0.1)
    return standing(rig, job_id)


def until_it_goes_on(rig: Rig, job_id: str, before: Standing) -> None:
    """Until a line is told of that was written after ``before``, or the batch has ended.

    A new claim goes on from the finished shards; until its worker tells of lines, the row has the
    count of the claim before.
    """

    def met() -> bool:
        now = standing(rig, job_id, before.claim)
        if now.ended or now.claim == before.claim:
            return now.ended or now.lines > before.lines
        return now.lines != before.lines and now.lines > now.safe

    rig.until(met)
