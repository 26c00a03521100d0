"""Figures and versions: what a service is made of, whether its parts answer, how much there is."""

from __future__ import annotations

import os
import platform
import re
import sqlite3
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import redis
import sqlalchemy as sa

from worker.all_tables import METADATA
from worker.backend import Backend
from worker.contracts import BATCH, INTERACTIVE, TRAINING
from worker.errors import BrokerUnavailable
from worker.jobs.tables import in_state, jobs
from worker.migrations.revisions import current_revision, known_revisions
from worker.processes.presence import Presence
from worker.storage.tables import chores, uploads
from worker.webhooks.tables import webhook_deliveries

PACKAGES = (
    "textgen-backend", "torch", "numpy", "sqlalchemy", "psycopg", "alembic", "celery", "kombu",
    "redis", "flask", "gunicorn", "werkzeug", "pydantic", "pydantic-settings", "fsspec", "s3fs",
    "safetensors", "limits", "click",
)  # fmt: skip
_NUMBER = re.compile(r"\d+(?:\.\d+)*")


def versions(backend: Backend, broker: redis.Redis | None) -> dict[str, Any]:
    """Of programs and packages."""
    found: dict[str, Any] = {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "system": platform.system(),
        "release": _numbers(platform.release()),
        "machine": platform.machine(),
        "processors": os.cpu_count(),
        "byte_order": sys.byteorder,
        "sqlite": sqlite3.sqlite_version,
        "packages": {name: _version(name) for name in PACKAGES},
    }
    if not backend.database.is_sqlite:
        with backend.database.read() as connection:
            stated = connection.exec_driver_sql("SHOW server_version").scalar_one()
        found["postgresql"] = _numbers(str(stated))
    if broker is not None:
        try:
            info: Any = broker.info("server")
            found["redis"] = _numbers(str(info.get("redis_version", "")))
        except (redis.RedisError, OSError) as error:
            found["redis"] = type(error).__name__
    return found


def migrations(backend: Backend) -> dict[str, Any]:
    """The version of the tables, and those that this program knows."""
    with backend.database.read() as connection:
        found = current_revision(connection)
    known = known_revisions()
    return {"revision": found if found in known else "unknown", "newest": known[-1]}


def health(backend: Backend, broker: redis.Redis | None) -> dict[str, Any]:
    """Whether each part answers, and who is there to work."""

    def ping() -> None:
        if broker is None:
            raise BrokerUnavailable("there is none")
        broker.ping()

    parts: Mapping[str, Callable[[], object]] = {
        "database": backend.database.ping,
        "broker": ping,
        "storage": backend.store.free_bytes,
    }
    found: dict[str, Any] = {name: _works(look) for name, look in parts.items()}
    told: dict[str, Any] = {"parts": found}
    if found["storage"] == "ok":
        told["storage_free_bytes"] = backend.store.free_bytes()
    if found["database"] == "ok":
        told |= {"workers": _workers(backend), "chores": _chores(backend)}
    return told


def _workers(backend: Backend) -> list[dict[str, Any]]:
    """By role and queue; their names are those of machines, and left out."""
    with backend.database.read() as connection:
        now = backend.database.now(connection)
    return [
        {
            "role": row.role,
            "queue": row.queue,
            "slots": row.slots,
            "up_seconds": round(now - row.started_at),
            "silent_seconds": round(now - row.seen_at),
        }
        for row in Presence(backend.database, backend.settings).live()
    ]


def _chores(backend: Backend) -> list[dict[str, Any]]:
    with backend.database.read() as connection:
        now = backend.database.now(connection)
        rows = connection.execute(sa.select(chores).order_by(chores.c.name)).all()
    return [
        {"name": row.name, "due_in": round(row.due_at - now), "held": row.holder != ""}
        for row in rows
    ]


def queues(backend: Backend, broker: redis.Redis | None) -> dict[str, Any]:
    """What waits, and for how long."""
    with backend.database.read() as connection:
        now = backend.database.now(connection)
        oldest = connection.execute(
            sa.select(jobs.c.queue, sa.func.min(jobs.c.created_at))
            .where(in_state("queued"))
            .group_by(jobs.c.queue)
        ).all()
        late = connection.execute(
            sa.select(sa.func.count()).where(in_state("running"), jobs.c.lease_expires_at < now)
        ).scalar_one()
        deliveries = connection.execute(
            sa.select(sa.func.count(), sa.func.min(webhook_deliveries.c.created_at)).where(
                webhook_deliveries.c.state == "pending"
            )
        ).one()
        pending = connection.execute(
            sa.select(sa.func.count()).where(uploads.c.status == "pending")
        ).scalar_one()
    found: dict[str, Any] = {
        "jobs": [
            {"queue": queue, "state": state, "count": count}
            for queue, state, count in backend.jobs.counts()
        ],
        "oldest_queued_seconds": {queue: round(now - made) for queue, made in oldest},
        "running_with_expired_lease": int(late),
        "webhook_deliveries": {
            "pending": int(deliveries[0]),
            "oldest_seconds": None if deliveries[1] is None else round(now - deliveries[1]),
        },
        "uploads_pending": int(pending),
    }
    if broker is not None:
        try:
            found["messages"] = {name: broker.llen(name) for name in (TRAINING, BATCH, INTERACTIVE)}
            memory: Any = broker.info("memory")
            found["redis_bytes"] = memory.get("used_memory")
            found["redis_keys"] = broker.dbsize()
        except (redis.RedisError, OSError) as error:
            found["messages"] = type(error).__name__
    return found


def counts(backend: Backend) -> dict[str, Any]:
    """Rows by table, and ended jobs by kind and state."""
    with backend.database.snapshot() as connection:
        rows = {
            table.name: connection.execute(
                sa.select(sa.func.count()).select_from(table)
            ).scalar_one()
            for table in METADATA.sorted_tables
        }
        ended = connection.execute(
            sa.select(jobs.c.kind, jobs.c.state, sa.func.count()).group_by(
                jobs.c.kind, jobs.c.state
            )
        ).all()
    return {
        "rows": rows,
        "jobs": [{"kind": kind, "state": state, "count": count} for kind, state, count in ended],
    }


def _works(look: Callable[[], object]) -> str:
    try:
        look()
    except Exception as error:  # what it says may name hosts and users
        return type(error).__name__
    return "ok"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _numbers(text: str) -> str:
    """The number that a version begins with: what stands behind may be anybody's word."""
    found = _NUMBER.match(text)
    return "" if found is None else found[0]
