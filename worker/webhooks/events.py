"""Events of jobs, in OpenAI's words, written to the outbox by the commit that ends the job."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.engine import Connection, Row

from worker.storage.ids import new_id
from worker.webhooks.tables import webhook_deliveries, webhook_endpoints

# By kind and phase of a job that has ended. OpenAI has no event of a scoring.
TYPE_OF: Mapping[tuple[str, str], str] = {
    ("training", "succeeded"): "fine_tuning.job.succeeded",
    ("training", "failed"): "fine_tuning.job.failed",
    ("training", "expired"): "fine_tuning.job.failed",
    ("training", "cancelled"): "fine_tuning.job.cancelled",
    ("batch", "succeeded"): "batch.completed",
    ("batch", "failed"): "batch.failed",
    ("batch", "expired"): "batch.expired",
    ("batch", "cancelled"): "batch.cancelled",
    ("evaluation", "succeeded"): "eval.run.succeeded",
    ("evaluation", "failed"): "eval.run.failed",
    ("evaluation", "expired"): "eval.run.failed",
    ("evaluation", "cancelled"): "eval.run.canceled",
}
EVENT_TYPES = tuple(dict.fromkeys(TYPE_OF.values()))


def publish_end(connection: Connection, row: Row[Any], now: float) -> None:
    """Put the end of a job into the outbox of every endpoint that wants it."""
    event_type = TYPE_OF.get((row.kind, row.phase))
    if event_type is None:
        return
    endpoints = connection.execute(
        select(webhook_endpoints.c.id, webhook_endpoints.c.event_types).where(
            webhook_endpoints.c.tenant == row.tenant
        )
    ).all()
    wanted = [found.id for found in endpoints if event_type in found.event_types]
    if not wanted:
        return
    event_id = new_id("evt_")
    body = event_body(event_id, event_type, row.id, now)
    for endpoint_id in wanted:
        add_delivery(connection, row.tenant, endpoint_id, event_id, event_type, body, now)


def event_body(event_id: str, event_type: str, subject: str, now: float) -> str:
    """What is signed and sent."""
    event = {
        "id": event_id,
        "object": "event",
        "type": event_type,
        "created_at": int(now),
        "data": {"id": subject},
    }
    return json.dumps(event, separators=(",", ":"))


def add_delivery(
    connection: Connection,
    tenant: str,
    endpoint_id: str,
    event_id: str,
    event_type: str,
    body: str,
    now: float,
) -> None:
    """One row of the outbox, within a transaction."""
    connection.execute(
        insert(webhook_deliveries).values(
            id=new_id("whd_"),
            tenant=tenant,
            endpoint_id=endpoint_id,
            event_id=event_id,
            event_type=event_type,
            body=body,
            state="pending",
            attempts=0,
            due_at=now,
            held_until=0.0,
            created_at=now,
        )
    )
