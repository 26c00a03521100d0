"""Tenants whose queued jobs may not start now: suspended, or at their bound of running jobs."""

from __future__ import annotations

from sqlalchemy import CompoundSelect, ScalarSelect, Select, func, select, union_all
from sqlalchemy.engine import Connection

from worker.jobs.rows import Hold, Queue
from worker.jobs.tables import in_state, jobs
from worker.tenants.tables import tenants


def held_back() -> CompoundSelect[tuple[str]]:
    """The ids of these tenants."""
    suspended = select(tenants.c.id).where(tenants.c.status == "suspended")
    busy = select(tenants.c.id).where(
        tenants.c.max_running_jobs.is_not(None), _running() >= tenants.c.max_running_jobs
    )
    return union_all(suspended, busy)


def hold_of(connection: Connection, tenant: str) -> Hold | None:
    """Why a tenant may start no job now; None where it may."""
    row = connection.execute(
        select(tenants.c.status, tenants.c.max_running_jobs).where(tenants.c.id == tenant)
    ).one_or_none()
    if row is None:
        return None
    if row.status == "suspended":
        return Hold(suspended=True)
    limit = row.max_running_jobs
    if limit is None or _running_now(connection, tenant) < limit:
        return None
    return Hold(suspended=False, running_limit=limit)


def next_job(connection: Connection, queue: Queue, now: float) -> str | None:
    """The id of the job whose turn it is, its row locked; None when no job may start.

    Two claimers on PostgreSQL may both see the last place of a tenant free: so the tenant's row
    is locked, and its jobs counted again, before the place is given.
    """
    passed_over: list[str] = []
    while True:
        row = connection.execute(_best(queue, now, passed_over)).first()
        if row is None:
            return None
        limit = connection.execute(
            select(tenants.c.max_running_jobs)
            .where(tenants.c.id == row.tenant, tenants.c.max_running_jobs.is_not(None))
            .with_for_update()
        ).scalar_one_or_none()
        if limit is None or _running_now(connection, row.tenant) < limit:
            return str(row.id)
        passed_over.append(row.tenant)


def _best(queue: Queue, now: float, passed_over: list[str]) -> Select[tuple[str, str]]:
    query = select(jobs.c.id, jobs.c.tenant).where(
        jobs.c.queue == queue,
        in_state("queued"),
        jobs.c.due_at <= now,
        jobs.c.tenant.not_in(held_back()),
    )
    if passed_over:
        query = query.where(jobs.c.tenant.not_in(passed_over))
    return (
        query.order_by(jobs.c.priority.desc(), jobs.c.share, jobs.c.ordinal)
        .limit(1)
        .with_for_update(skip_locked=True, of=jobs)
    )


def _running() -> ScalarSelect[int]:
    return (
        select(func.count())
        .where(jobs.c.tenant == tenants.c.id, in_state("running"))
        .correlate(tenants)
        .scalar_subquery()
    )


def _running_now(connection: Connection, tenant: str) -> int:
    return int(
        connection.execute(
            select(func.count()).where(jobs.c.tenant == tenant, in_state("running"))
        ).scalar_one()
    )
