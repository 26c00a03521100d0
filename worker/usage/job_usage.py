"""What a job has used, told by its row and its shards alone.

Only what was made safe counts: the steps behind a training's progress, the finished shards of a
batch. So work that a killed worker had to do again counts once. The usage of a finished job is
written in the transaction of its end, under the job's id.

Our failures are free. Who cancels pays for the work done, and so does who set a deadline that has
passed, since both may have kept what was made.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.engine import Connection, Row

from worker.jobs.states import Kind
from worker.jobs.tables import batch_shards, job_events
from worker.storage.database import insert_into
from worker.usage.quantities import Quantities, UsageKind
from worker.usage.tables import usage

KIND_OF: Mapping[Kind, UsageKind] = {
    "training": "trainings",
    "batch": "batches",
    "scoring": "scorings",
    "evaluation": "evaluations",
    "examination": "examinations",
}


COUNTED: Mapping[str, str] = {
    "requests": "completed",
    "characters_in": "characters_in",
    "characters_out": "characters_out",
    "tokens_in": "prompt_tokens",
    "tokens_out": "completion_tokens",
}


def job_usage(connection: Connection, row: Row[Any]) -> Quantities:
    """What a job has used so far."""
    if row.kind == "training":
        return _training(connection, row)
    progress = row.progress
    seconds = float(progress.get("compute_seconds", 0.0))
    if row.kind in ("evaluation", "examination"):
        return Quantities(requests=1, compute_seconds=seconds)
    return _shards(connection, row.id, seconds)


def record_job(connection: Connection, row: Row[Any], now: float) -> None:
    """Write down what a job that has just ended used, in the transaction of its end."""
    used = job_usage(connection, row)
    paid = row.state in ("succeeded", "cancelled") or row.phase == "expired"
    values = {name: getattr(used, name) for name in Quantities.__dataclass_fields__}
    connection.execute(
        insert_into(connection, usage)
        .values(
            id=row.id,
            tenant=row.tenant,
            kind=KIND_OF[row.kind],
            model=_model(row),
            api_key=row.api_key,
            job_id=row.id,
            outcome=row.state,
            billable=paid,
            at=now,
            **values,
        )
        .on_conflict_do_nothing()
    )


def _model(row: Row[Any]) -> str | None:
    """The model that was used, for a training the one that it started from."""
    model = row.spec.get("model")
    return model if isinstance(model, str) else None


def _training(connection: Connection, row: Row[Any]) -> Quantities:
    """Characters are those of the corpus that the steps have read, epoch by epoch."""
    progress, plan = row.progress, {} if row.plan is None else row.plan
    tokens = int(progress.get("step", 0)) * int(plan.get("tokens_per_step", 0))
    corpus = connection.execute(
        select(job_events.c.data)
        .where(job_events.c.job_id == row.id, job_events.c.type == "corpus")
        .order_by(job_events.c.id.desc())
        .limit(1)
    ).scalar_one_or_none()
    characters = 0
    if corpus and corpus.get("tokens"):
        characters = round(tokens * corpus["characters"] / corpus["tokens"])
    return Quantities(
        requests=1,
        characters_in=characters,
        tokens_in=tokens,
        compute_seconds=float(progress.get("seconds", 0.0)),
    )


def _shards(connection: Connection, job_id: str, seconds: float) -> Quantities:
    done = batch_shards.c
    counted = [*(done[name] for name in COUNTED.values()), done.compute_seconds]
    sums = connection.execute(
        select(*(func.coalesce(func.sum(column), 0) for column in counted)).where(
            done.job_id == job_id, done.state == "done"
        )
    ).one()
    *amounts, engine_seconds = sums
    found = dict(zip(COUNTED, map(int, amounts), strict=True))
    return Quantities(**found, compute_seconds=seconds + float(engine_seconds))
