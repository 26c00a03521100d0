"""Running sums of usage are always those of the rows, whoever writes, dies or corrects."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa

from tests.integration.statements import explain, statements
from tests.stack import ROOT
from textgen.options import SamplingOptions
from worker.backend import Backend
from worker.billing.admission import Admission
from worker.billing.budgets import Budgets
from worker.billing.costs import Costs
from worker.billing.months import bounds
from worker.billing.prices import PriceList, Prices
from worker.contracts import BundleReference, ChoiceDelta, GenerateRequest, Owner
from worker.errors import DatabaseUnavailable
from worker.generation.engine_link import Update
from worker.operations.checks.usage import OrphanUsage, UsageSums
from worker.storage.database import Database, insert_into
from worker.tenants.deletion import TenantDeletion
from worker.tenants.monthly_quotas import MonthlyQuotas
from worker.tenants.options import NewTenant
from worker.tenants.quotas import Quotas
from worker.tenants.tables import tenants
from worker.tenants.tenants import Tenants
from worker.usage.interactive import InteractiveMeter
from worker.usage.quantities import NAMES, Quantities
from worker.usage.sums import billed
from worker.usage.tables import usage, usage_sums

DAY = 86_400
NOW = datetime(2026, 11, 20, 15, 7, tzinfo=UTC).timestamp()
ZONES = ("UTC", "Asia/Shanghai", "Asia/Kolkata", "Asia/Kathmandu", "America/St_Johns")


def row(number: object, at: float, tenant: str = "acme", **values: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        **dict.fromkeys(NAMES, 0),
        "id": f"use-{number}",
        "tenant": tenant,
        "kind": "batches",
        "job_id": None,
        "outcome": "succeeded",
        "billable": True,
        "at": at,
        "requests": 1,
    }
    return {**found, **values}


def some_rows(chance: random.Random, count: int, tenant: str = "acme") -> list[dict[str, Any]]:
    return [
        row(
            f"{tenant}-{chance.random()}",
            NOW - chance.random() * 45 * DAY,
            tenant,
            kind=chance.choice(["batches", "completions", "trainings"]),
            billable=chance.random() < 0.8,
            characters_in=chance.randrange(10**6),
            tokens_out=chance.randrange(10**12),
            compute_seconds=chance.random() * 100,
        )
        for _ in range(count)
    ]


def write(database: Database, *found: dict[str, Any]) -> None:
    with database.write() as connection:
        connection.execute(insert_into(connection, usage).on_conflict_do_nothing(), list(found))


def by_rows(
    database: Database, tenant: str, since: float, until: float = 1e12
) -> dict[str, Quantities]:
    """The same as `billed`, added up row by row."""
    found: dict[str, Quantities] = defaultdict(Quantities)
    with database.read() as connection:
        for each in connection.execute(
            sa.select(usage).where(
                usage.c.tenant == tenant, usage.c.billable, usage.c.at >= since, usage.c.at < until
            )
        ):
            found[each.kind] += Quantities(*(each._mapping[name] for name in NAMES))
    return found


def assert_same(one: Mapping[Any, Quantities], other: Mapping[Any, Quantities]) -> None:
    for kind in {*one, *other}:
        for name in NAMES:
            amounts = [getattr(each.get(kind, Quantities()), name) for each in (one, other)]
            assert amounts[0] == pytest.approx(amounts[1], abs=1e-6), (kind, name)


def is_right(database: Database, tenant: str = "acme") -> None:
    """The sums of every month and of all time are those of the rows."""
    with database.read() as connection:
        everything = billed(connection, tenant, 0)
        for zone in ZONES:
            start, _ = bounds("2026-11", zone)
            assert_same(billed(connection, tenant, start), by_rows(database, tenant, start))
            until = (start + 10 * DAY) // DAY * DAY
            assert_same(
                billed(connection, tenant, start, until),
                by_rows(database, tenant, start, until),
            )
    assert_same(everything, by_rows(database, tenant, 0))


@pytest.mark.parametrize("seed", range(3))
def test_whatever_is_written_repeated_and_corrected(database: Database, seed: int) -> None:
    chance = random.Random(seed)
    rows = some_rows(chance, 120)
    write(database, *rows[:80])
    write(database, *rows[40:])  # half of it for a second time
    is_right(database)
    with database.write() as connection:
        for each in rows[::7]:
            one = usage.c.id == each["id"]
            match chance.randrange(3):
                case 0:
                    connection.execute(sa.delete(usage).where(one))
                case 1:
                    free = not each["billable"]
                    connection.execute(sa.update(usage).where(one).values(billable=free))
                case _:
                    other = {"at": NOW - 40 * DAY, "tokens_out": 7, "kind": "scorings"}
                    connection.execute(sa.update(usage).where(one).values(**other))
    is_right(database)
    with pytest.raises(ZeroDivisionError), database.write() as connection:
        connection.execute(sa.insert(usage), some_rows(chance, 10))
        _ = 1 / 0
    is_right(database)


def test_usage_of_before_is_in_the_sums_and_going_back_loses_none(database: Database) -> None:
    database.downgrade("0011")
    rows = some_rows(random.Random(1), 200)
    write(database, *rows)

    for _ in range(2):
        database.migrate()
        is_right(database)
        write(database, rows[0], *some_rows(random.Random(2), 20))
        is_right(database)
        database.downgrade("0011")

    write(database, *some_rows(random.Random(3), 20))
    database.migrate()
    is_right(database)
    with database.read() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(usage)).scalar() == 240


WRITER = """
import os, sys
from tests.integration.test_usage_sums import row, write, NOW
from worker.storage.database import Database

database = Database(sys.argv[1])
for number in range(10**6):
    write(database, row(f"{sys.argv[2]}-{number}", NOW), row(f"{sys.argv[2]}-{number}b", NOW - 7e5))
    print(number, flush=True)
"""


def test_a_writer_that_is_killed(database: Database, database_url: str) -> None:
    for life in range(3):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, database_url, str(life)],
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        assert writer.stdout is not None
        for _ in range(5 + life):
            writer.stdout.readline()
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()

    is_right(database)
    with database.read() as connection:
        assert billed(connection, "acme", 0)["batches"].requests >= 2 * (5 + 6 + 7)


def test_many_write_at_once(database: Database, database_url: str) -> None:
    def work(number: int) -> None:
        own = Database(database_url)
        chance = random.Random(number)
        for _ in range(10):
            rows = [*some_rows(chance, 3, "acme"), *some_rows(chance, 3, "zeta")]
            while True:
                try:
                    write(own, *rows)
                    break
                except DatabaseUnavailable:  # SQLite has one writer
                    continue
        own.dispose()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    is_right(database)
    is_right(database, "zeta")


def price(valid_from: date, **prices: Decimal) -> PriceList:
    return PriceList.parse(
        {
            "currency": "EUR",
            "valid_from": valid_from,
            "batches": {name: str(each) for name, each in prices.items()},
        }
    )


@pytest.mark.parametrize("zone", ZONES)
def test_what_is_spent_is_what_the_bill_says(database: Database, zone: str) -> None:
    """Also where prices change within the month."""
    new = NewTenant.parse({"id": "acme", "name": "A", "time_zone": zone, "currency": "EUR"})
    Tenants(database).create(new)
    write(database, *some_rows(random.Random(4), 150))
    first, second = Decimal("0.5"), Decimal(3)
    prices = Prices(
        [
            price(date(2020, 1, 1), million_characters_in=first, compute_hour=first),
            price(date(2026, 11, 9), million_characters_in=second),
        ]
    )
    costs = Costs(database, prices)
    start, _ = bounds("2026-11", zone)
    with database.read() as connection:
        owner = connection.execute(sa.select(tenants).where(tenants.c.id == "acme")).one()
        lines = list(costs.lines(connection, "acme", "EUR", start, NOW + 1))
        spent = costs.spent(connection, owner, NOW)

    assert len(lines) == 3 and spent > 0
    assert float(spent) == pytest.approx(float(sum(line.amount for line in lines)))


def test_an_admission_reads_no_row_of_usage_and_none_of_a_job(database: Database) -> None:
    """What it costs does not grow with the jobs of the month, and little with those that wait."""
    limits = dict.fromkeys(("queued_jobs", "tokens_per_month", "compute_seconds_per_month"), 10**6)
    new = {
        "id": "acme",
        "name": "A",
        "currency": "EUR",
        "monthly_budget": "1000",
        "limits": limits,
    }
    owner = Tenants(database).create(NewTenant.parse(new))
    prices = Prices([price(date(2020, 1, 1), compute_hour=Decimal(1))])
    budgets, monthly = Budgets(database, prices), MonthlyQuotas(database)
    admission = Admission(Quotas(database), monthly, budgets)

    with statements() as asked:
        with database.write() as connection:
            now = database.now(connection)
            admission.admit(connection, now, owner, "batch", {})
        budgets.check("acme")
        monthly.check(owner)

    assert any("usage_sums" in each.statement for each in asked)
    assert [each for each in asked if re.search(r"\busage\b", each.statement)] == []
    about_jobs = [each for each in asked if re.search(r"\bjobs\b", each.statement)]
    assert len(about_jobs) >= 3  # how many wait; what is set aside, for budget and quotas
    with database.read() as connection:
        for each in about_jobs:
            plan = explain(connection, each)
            assert any(step.startswith(INDEX_ALONE) for step in plan), (each, plan)


INDEX_ALONE = ("SEARCH jobs USING COVERING INDEX", "Index Only Scan")


class TestCheck:
    def test_sound_sums_are_left_alone(self, database: Database) -> None:
        write(database, *some_rows(random.Random(5), 50))

        assert list(UsageSums(database).look()) == []

    @pytest.mark.parametrize("how", ["changed", "lost", "too many"])
    def test_wrong_ones_are_added_up_anew(self, database: Database, how: str) -> None:
        write(database, *some_rows(random.Random(5), 50), *some_rows(random.Random(6), 9, "zeta"))
        changes: dict[str, Callable[[], sa.Executable]] = {
            "changed": lambda: sa.update(usage_sums).values(tokens_out=usage_sums.c.tokens_out + 1),
            "lost": lambda: sa.delete(usage_sums),
            "too many": lambda: sa.insert(usage_sums).values(
                **dict.fromkeys(NAMES, 3), tenant="acme", width=900, start=900, kind="batches"
            ),
        }
        with database.write() as connection:
            connection.execute(changes[how]())
        check = UsageSums(database)

        found = list(check.look())
        check.mend(found)

        wrong = ["acme"] if how == "too many" else ["acme", "zeta"]
        assert [(each.what, each.id) for each in found] == [
            ("wrong_usage_sum", name) for name in wrong
        ]
        assert list(check.look()) == []
        is_right(database)
        write(database, row("after", NOW))
        is_right(database)

    def test_usage_of_nobody(self, backend: Backend) -> None:
        database = backend.database
        known = Tenants(database)
        for name in ("acme", "zeta"):
            known.create(NewTenant.parse({"id": name, "name": name}))
        write(database, row("a", NOW), row("b", NOW, job_id="batch-none"), row("z", NOW, "zeta"))
        TenantDeletion(database, backend.store, known).delete("zeta", wait_seconds=0)
        assert by_rows(database, "zeta", 0) == {}
        with database.read() as connection:
            assert billed(connection, "zeta", 0) == {}
        write(database, row("late", NOW, "zeta"))  # by a worker that was about to
        check = OrphanUsage(database)

        found = list(check.look())
        check.mend([each for each in found if not each.hint])

        assert [(each.id, bool(each.hint)) for each in found] == [
            ("zeta", False),
            ("batch-none", True),
        ]
        assert [each.id for each in check.look()] == ["batch-none"]
        is_right(database, "zeta")
        is_right(database)


def test_completions_are_in_the_sums(database: Database) -> None:
    """A worker's meter writes as anybody does."""
    meter = InteractiveMeter(database)
    for tenant in ("zeta", "acme"):
        request = GenerateRequest(
            id=f"cmpl-{tenant}",
            owner=Owner(tenant=tenant, api_key="k", model="m"),
            bundle=BundleReference(artifact="a", file="f"),
            prompts=("abc",),
            options=SamplingOptions(),
            seed=1,
        )
        meter.begin(request)
        meter.take([Update(request.id, (ChoiceDelta(index=0, text="xy", tokens=2),))])
    meter.flush()

    with database.read() as connection:
        for tenant in ("acme", "zeta"):
            found = billed(connection, tenant, 0)["completions"]
            assert (found.characters_in, found.characters_out, found.tokens_out) == (3, 2, 2)
