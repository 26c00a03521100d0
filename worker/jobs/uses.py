"""Which files and models a job needs: they are there when it is submitted, and stay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from sqlalchemy import ColumnElement, Table, exists, insert, select
from sqlalchemy.engine import Connection

from worker.errors import NotFound
from worker.jobs.states import LIVE
from worker.jobs.tables import in_state, job_uses, jobs
from worker.storage.tables import files, models

What = Literal["file", "model"]
_TABLES: dict[What, Table] = {"file": files, "model": models}


def record_uses(
    connection: Connection, tenant: str, job_id: str, what: What, ids: Sequence[str]
) -> None:
    """Note that a job needs these; raises NotFound when one is not there any more."""
    wanted = sorted(set(ids))
    if not wanted:
        return
    table = _TABLES[what]
    found = set(
        connection.execute(
            select(table.c.id)
            .where(table.c.tenant == tenant, table.c.id.in_(wanted))
            .order_by(table.c.id)
            .with_for_update(read=True)  # whoever deletes one waits for us
        ).scalars()
    )
    missing = [identifier for identifier in wanted if identifier not in found]
    if missing:
        raise NotFound(f"There is no {what} {missing[0][:100]!r}.", code=f"{what}_not_found")
    connection.execute(
        insert(job_uses),
        [
            {"job_id": job_id, "what": what, "used_id": identifier, "tenant": tenant}
            for identifier in wanted
        ],
    )


def uses_of(connection: Connection, tenant: str, job_id: str, what: What) -> list[str]:
    """What a job needs."""
    return list(
        connection.execute(
            select(job_uses.c.used_id)
            .where(
                job_uses.c.tenant == tenant,
                job_uses.c.job_id == job_id,
                job_uses.c.what == what,
            )
            .order_by(job_uses.c.used_id)
        ).scalars()
    )


def live_user(connection: Connection, tenant: str, what: What, identifier: str) -> str | None:
    """The id of a job that is not finished and needs this, or None."""
    return user_of(connection, tenant, what, identifier, in_state(*sorted(LIVE)))


def has_live_user(what: What) -> ColumnElement[bool]:
    """The same of each row of a query for files or models."""
    table = _TABLES[what]
    return exists().where(
        job_uses.c.tenant == table.c.tenant,
        job_uses.c.what == what,
        job_uses.c.used_id == table.c.id,
        jobs.c.id == job_uses.c.job_id,
        in_state(*sorted(LIVE)),
    )


def user_of(
    connection: Connection, tenant: str, what: What, identifier: str, such: ColumnElement[bool]
) -> str | None:
    """The id of such a job that needs this, or None."""
    return connection.execute(
        select(jobs.c.id)
        .join(job_uses, job_uses.c.job_id == jobs.c.id)
        .where(
            job_uses.c.tenant == tenant,
            job_uses.c.what == what,
            job_uses.c.used_id == identifier,
            such,
        )
        .limit(1)
    ).scalar_one_or_none()
