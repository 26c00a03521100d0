"""What it costs to admit a job to a project that has a budget and quotas and many jobs waiting.

    python -m benchmarks.admission [--jobs 10000] [--database URL]

Without a URL: a SQLite file in a temporary folder, and PostgreSQL where pgserver is installed. The
same admissions, rolled back each time, with the index that the sum of what is set aside is read
from, and without it. Each figure is the least of 30 calls. The last line is JSON.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from decimal import Decimal
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from worker.billing.admission import Admission
from worker.billing.budgets import Budgets
from worker.billing.prices import KindPrices, PriceList, Prices
from worker.jobs.tables import jobs
from worker.storage.database import Database
from worker.tenants.monthly_quotas import MonthlyQuotas
from worker.tenants.options import NewTenant
from worker.tenants.quotas import Quotas
from worker.tenants.tenants import Tenant, Tenants

CALLS, AT_ONCE = 30, 500
PROJECT = {
    "id": "acme",
    "name": "ACME",
    "monthly_budget": "1000000",
    "limits": {
        "queued_jobs": 1_000_000,
        "characters_per_month": 10**15,
        "tokens_per_month": 10**15,
        "compute_seconds_per_month": 10**12,
    },
}
SPEC = {"body": "x" * 1000}  # a row of ordinary size
ROW = {
    "tenant": "acme", "kind": "batch", "queue": "batch", "state": "queued", "phase": "validating",
    "phase_times": {}, "spec": SPEC, "metadata": {}, "progress": {}, "token": 0, "attempts": 0,
    "losses": 0, "priority": 0, "created_at": 1.0, "due_at": 0.0, "checkpoint_history": [],
    "event_count": 1, "reserved": 10_000, "reserved_characters": 1000, "reserved_tokens": 1000,
    "reserved_seconds": 1.5,
}  # fmt: skip
PRICES = Prices(
    [
        PriceList(
            currency="USD",
            valid_from=date(2020, 1, 1),
            batches=KindPrices(thousand_requests=Decimal(1)),
        )
    ]
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--database", metavar="URL", help="an empty one")
    given = parser.parse_args()
    figures = {}
    for url in [given.database] if given.database else urls():
        database = Database(url)
        database.migrate()
        name = database.url.partition(":")[0].partition("+")[0]
        figures[name] = found = measured(database, given.jobs)
        database.dispose()
        for what, value in found.items():
            print(f"{name:12}{what:20}{value:8.2f} ms")
    print(json.dumps({"jobs": given.jobs, "milliseconds": figures}))


def urls() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        yield f"sqlite:///{folder}/textgen.db"
        if importlib.util.find_spec("pgserver") is not None:
            import pgserver

            server = pgserver.get_server(Path(folder) / "postgresql", cleanup_mode="stop")
            yield server.get_uri().replace("postgresql:", "postgresql+psycopg:", 1)
            server.cleanup()


def measured(database: Database, count: int) -> dict[str, float]:
    owner = Tenants(database).create(NewTenant.parse(PROJECT))
    found = {"no job waits": milliseconds(database, owner)}
    fill(database, count)
    found["many wait"] = milliseconds(database, owner)
    with database.write() as connection:
        connection.exec_driver_sql("DROP INDEX jobs_reserved")
    found["without the index"] = milliseconds(database, owner)
    return found


def fill(database: Database, count: int) -> None:
    for start in range(0, count, AT_ONCE):
        rows = [
            {**ROW, "id": f"batch_{number:026}", "ordinal": f"{number:026}", "share": number}
            for number in range(start, min(start + AT_ONCE, count))
        ]
        with database.write() as connection:
            connection.execute(sa.insert(jobs), rows)


def milliseconds(database: Database, owner: Tenant) -> float:
    admission = Admission(Quotas(database), MonthlyQuotas(database), Budgets(database, PRICES))
    took = []
    for _ in range(CALLS):
        with undone(database) as connection:
            now = database.now(connection)
            began = time.perf_counter()
            admission.admit(connection, now, owner, "batch", {})
            took.append(time.perf_counter() - began)
    return round(min(took) * 1e3, 2)


@contextmanager
def undone(database: Database) -> Iterator[Connection]:
    """A transaction that is rolled back."""
    try:
        with database.write() as connection:
            yield connection
            raise InterruptedError
    except InterruptedError:
        pass


if __name__ == "__main__":
    main()
