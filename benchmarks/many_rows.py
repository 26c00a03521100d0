"""A great many rows, made by the database itself; for `benchmarks.dashboard`."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from worker.storage.database import Database
from worker.storage.ids import ALPHABET

TENANT = "default"
DAYS = 90
BUCKETS = 1000  # moments over which the rows are spread
AT_ONCE = 25  # of them in one transaction
NEEDLE = "novel-777"  # in the name of one job's file in each bucket, where buckets are full
# Of ten jobs one failed and one was cancelled; every fifth is a batch. TAIL is k in 16 digits.
JOBS = """
INSERT INTO jobs (id, tenant, ordinal, kind, queue, state, phase, phase_times, spec, metadata,
    progress, result, token, attempts, losses, priority, share, created_at, due_at, started_at,
    finished_at, checkpoint_history, event_count)
SELECT CASE WHEN k % 5 = 0 THEN 'batch_' ELSE 'ftjob-' END || head || TAIL, :tenant, head || TAIL,
    CASE WHEN k % 5 = 0 THEN 'batch' ELSE 'training' END,
    CASE WHEN k % 5 = 0 THEN 'batch' ELSE 'training' END,
    CASE k % 10 WHEN 0 THEN 'failed' WHEN 1 THEN 'cancelled' ELSE 'succeeded' END,
    CASE k % 10 WHEN 0 THEN 'failed' WHEN 1 THEN 'cancelled' ELSE 'succeeded' END, '{}'::json,
    ('{"model": "lstm-small", "files": [{"id": "file-' || head || TAIL || '", "filename": "novel-'
        || k || '.txt"}], "hyperparameters": {"max_seconds": 300}}')::json,
    '{}'::jsonb, '{"step": 1000, "total_steps": 1000, "train_loss": 1.25}'::json,
    '{"fine_tuned_model": "ft:lstm-small:default::none"}'::json,
    1, 0, 0, 0, 0, at, 0, at, at + 60, '[]'::json, 0
FROM buckets CROSS JOIN series
"""
USAGE = """
INSERT INTO usage (id, tenant, kind, model, api_key, job_id, outcome, billable, at, requests,
    characters_in, characters_out, tokens_in, tokens_out, compute_seconds, byte_hours)
SELECT 'use-' || head || TAIL, :tenant, CASE WHEN k % 5 = 0 THEN 'batches' ELSE 'completions' END,
    'ft:lstm-small:default::model-' || (k % 7), 'key-' || (k % 5), NULL, 'succeeded', TRUE,
    at + k % 3600, 1, 100, 400, 100, 400, 0.5, 0
FROM buckets CROSS JOIN series
"""
FILES = """
INSERT INTO files (id, tenant, filename, purpose, status, bytes, sha256, artifact, file, created_at)
SELECT 'file-' || head || TAIL, :tenant, 'novel-' || k || '.txt',
    CASE WHEN k % 5 = 0 THEN 'batch' ELSE 'fine-tune' END, 'processed', 100000, '', 'none', 'none',
    at
FROM buckets CROSS JOIN series
"""
KEYS = """
INSERT INTO api_keys (id, tenant, name, secret_sha256, scopes, created_at)
SELECT head || TAIL, :tenant, 'program ' || k, :digest, '["read"]'::json, at
FROM buckets CROSS JOIN series
"""


def fill(database: Database, rows: int) -> None:
    """So many jobs, usage rows, files and keys of one project, the newest of them now.

    Goes on where it was broken off.
    """
    each = max(1, rows // BUCKETS)
    now = time.time()
    moments = [now - DAYS * 86_400 * (BUCKETS - b) / BUCKETS for b in range(1, BUCKETS + 1)]
    with database.read() as connection:
        made = connection.execute(sa.text("SELECT count(*) FROM jobs")).scalar_one() // each
    for first in range(made, BUCKETS, AT_ONCE):
        with database.write() as connection:
            some = moments[first : first + AT_ONCE]
            _fill(connection, each, some)
    if not database.is_sqlite:  # where a server does so by itself after a while
        with database.write() as connection:
            _without_limit(connection)
            connection.execute(sa.text("ANALYZE"))


def _fill(connection: Connection, each: int, moments: Sequence[float]) -> None:
    _without_limit(connection)
    for table in ("buckets", "series"):
        connection.execute(sa.text(f"DROP TABLE IF EXISTS {table}"))
    connection.execute(sa.text("CREATE TEMPORARY TABLE buckets (at FLOAT, head TEXT)"))
    connection.execute(
        sa.text("INSERT INTO buckets VALUES (:at, :head)"),
        [{"at": at, "head": _head(at)} for at in moments],
    )
    connection.execute(sa.text("CREATE TEMPORARY TABLE series (k INTEGER)"))
    connection.execute(sa.text("INSERT INTO series VALUES (:k)"), [{"k": k} for k in range(each)])
    for statement in (JOBS, USAGE, FILES, KEYS):
        values: dict[str, Any] = {"tenant": TENANT}
        if statement is KEYS:
            values["digest"] = bytes(32)
        connection.execute(sa.text(_in(connection, statement)), values)


def _without_limit(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text("SET LOCAL statement_timeout = 0"))
        connection.execute(sa.text("SET LOCAL synchronous_commit = off"))


def _in(connection: Connection, statement: str) -> str:
    """Zero-padded numbers and JSON, as this database writes them."""
    if connection.dialect.name == "sqlite":
        return re.sub("::jsonb?", "", statement).replace("TAIL", "printf('%016d', k)")
    return statement.replace("TAIL", "lpad(k::text, 16, '0')")


def _head(at: float) -> str:
    """The part of an id that says when it was made."""
    number = int(at * 1000) << 80
    return "".join(ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))[:10]
