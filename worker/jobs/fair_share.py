"""Whose turn it is: start-time fair queueing over tenants, kept in the rows themselves.

Every job gets a number, its share, when it is submitted; the smallest is claimed first. A
tenant's next job gets the tenant's last share + 1, but never less than the share of the job that
was claimed last. So of a tenant that submits 1,000 jobs each costs it one turn, and another
tenant's single job goes right after the one being claimed. A tenant of weight 2 pays half a turn
for each job, so it gets two while others get one. Priorities are compared first and have a clock
each.

P. Goyal, H. M. Vin, H. Cheng, "Start-time fair queueing", 1996; each job counts as length 1.
"""

from __future__ import annotations

from sqlalchemy import case, select
from sqlalchemy.engine import Connection

from worker.jobs.tables import fair_clocks, fair_tenants
from worker.storage.database import insert_into
from worker.tenants.tables import tenants


def next_share(connection: Connection, queue: str, priority: int, tenant: str) -> float:
    """The share of a job that is submitted now; the tenant's next one comes after it."""
    clock = connection.execute(
        select(fair_clocks.c.share).where(
            fair_clocks.c.queue == queue, fair_clocks.c.priority == priority
        )
    ).scalar_one_or_none()
    now = 0.0 if clock is None else clock
    weight = connection.execute(
        select(tenants.c.weight).where(tenants.c.id == tenant)
    ).scalar_one_or_none()
    turn = 1.0 if weight is None else 1.0 / weight
    own = fair_tenants.c.next_share
    statement = (
        insert_into(connection, fair_tenants)
        .values(queue=queue, priority=priority, tenant=tenant, next_share=now + turn)
        .on_conflict_do_update(
            index_elements=["queue", "priority", "tenant"],
            set_={"next_share": case((own > now, own), else_=now) + turn},
        )
        .returning(own - turn)
    )
    return float(connection.execute(statement).scalar_one())


def advance(connection: Connection, queue: str, priority: int, share: float) -> None:
    """Note that a job with this share was claimed: the clock never goes back."""
    statement = insert_into(connection, fair_clocks).values(
        queue=queue, priority=priority, share=share
    )
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["queue", "priority"],
            set_={"share": share},
            where=fair_clocks.c.share < share,
        )
    )
