"""Budgets hold the money of jobs that are not finished; invoices freeze."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import date
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
import sqlalchemy as sa

from tests.integration.conftest import admitted_at_once
from tests.integration.statements import explain, statements
from textgen.errors import InvalidOption
from worker.backend import Backend
from worker.billing.budgets import Budgets
from worker.billing.costs import Costs
from worker.billing.estimate import estimated
from worker.billing.invoice import Invoice
from worker.billing.invoices import Invoices
from worker.billing.months import bounds
from worker.billing.prices import KindPrices, Line, PriceList, Prices
from worker.billing.tables import invoices as invoice_table
from worker.errors import Conflict, InsufficientQuota, NotFound
from worker.jobs.jobs import Jobs
from worker.jobs.origin import Origin, Reserved
from worker.jobs.rows import Job
from worker.storage.database import Database
from worker.tenants.options import NewTenant, TenantOptions
from worker.tenants.tables import tenants
from worker.tenants.tenants import Tenants, locked
from worker.usage.quantities import NAMES
from worker.usage.tables import usage

HOUR = {"hyperparameters": {"max_seconds": 3600}}
PRICES = Prices(
    [
        PriceList(
            currency="USD",
            valid_from=date(2020, 1, 1),
            trainings=KindPrices(compute_hour=Decimal(1), gigabyte_month=Decimal(1)),
            completions=KindPrices(million_characters_out=Decimal(2)),
        )
    ]
)
START, END = bounds("2026-03", "UTC")


@pytest.fixture
def budgets(database: Database) -> Budgets:
    Tenants(database).create(NewTenant.parse({"id": "acme", "name": "A", "monthly_budget": 3}))
    return Budgets(database, PRICES)


@pytest.fixture
def invoices(database: Database, budgets: Budgets) -> Invoices:
    return Invoices(database, budgets.costs)


def submit(jobs: Jobs, budgets: Budgets) -> Job:
    def admit(connection: sa.Connection, now: float, kind: Any, spec: Any) -> Reserved:
        needed = estimated(connection, "acme", kind, spec)
        return Reserved(budgets.admit(connection, now, "acme", kind, needed))

    return jobs.submit("acme", "training", HOUR, origin=Origin("k", "req_1", admit=admit))


class TestBudget:
    def test_an_estimate_is_set_aside_until_the_job_ends(
        self, jobs: Jobs, budgets: Budgets
    ) -> None:
        first = submit(jobs, budgets)
        for _ in range(2):
            submit(jobs, budgets)
        assert (first.reserved, first.api_key, first.request_id) == (1_000_000, "k", "req_1")

        with pytest.raises(InsufficientQuota) as caught:
            submit(jobs, budgets)

        assert caught.value.code == "insufficient_quota"
        assert "3.00" in caught.value.message
        jobs.request_cancel("acme", first.id)  # it has used nothing
        submit(jobs, budgets)

    def test_what_is_spent_stops_new_work_and_not_what_runs(
        self, jobs: Jobs, budgets: Budgets
    ) -> None:
        submit(jobs, budgets)
        submit(jobs, budgets)
        first, second = (jobs.claim("training", "w") for _ in range(2))
        assert first is not None and second is not None
        jobs.set_progress(first, {"step": 1, "seconds": 4 * 3600.0})
        jobs.succeed(first, {})

        with pytest.raises(InsufficientQuota):
            submit(jobs, budgets)
        with pytest.raises(InsufficientQuota):
            budgets.check("acme")
        jobs.set_progress(second, {"step": 2, "seconds": 7200.0})
        running = budgets.costs.of_job(jobs.get("acme", second.id), "USD")

        assert (running.estimate, running.so_far) == (1, 2)
        assert jobs.succeed(second, {}).state == "succeeded"

    def test_our_failures_are_free(self, jobs: Jobs, budgets: Budgets) -> None:
        submit(jobs, budgets)
        job = jobs.claim("training", "w")
        assert job is not None
        jobs.set_progress(job, {"step": 1, "seconds": 9 * 3600.0})
        failed = jobs.fail(job, {"code": "poison", "message": "", "param": None})

        assert budgets.costs.of_job(failed, "USD").so_far == 0
        budgets.check("acme")
        submit(jobs, budgets)

    @pytest.mark.usefixtures("budgets")
    def test_no_two_jobs_get_the_same_money(self, database_url: str, backend: Backend) -> None:
        def one(own: Database) -> Job:
            return submit(Jobs(own, backend.settings), Budgets(own, PRICES))

        assert admitted_at_once(6, database_url, one) == 3

    def test_without_prices_nothing_is_set_aside(self, jobs: Jobs, database: Database) -> None:
        job = submit(jobs, Budgets(database, Prices()))

        assert job.reserved == 0


@pytest.fixture
def used(database: Database, budgets: Budgets) -> Callable[..., None]:
    def write(name: str, kind: str, at: float, *, billable: bool = True, **amounts: float) -> None:
        with database.write() as connection:
            connection.execute(
                sa.insert(usage).values(
                    **{**dict.fromkeys(NAMES, 0), **amounts},
                    id=name,
                    tenant="acme",
                    kind=kind,
                    job_id=name if kind == "trainings" else None,
                    outcome="succeeded",
                    billable=billable,
                    at=at,
                )
            )

    return write


class TestInvoices:
    def month(self, used: Callable[..., None]) -> None:
        used("ftjob-1", "trainings", START, compute_seconds=1800)
        used("ftjob-2", "trainings", END - 1, compute_seconds=900)
        used("ftjob-3", "trainings", START + 5, compute_seconds=900, billable=False)
        used("ftjob-4", "trainings", END, compute_seconds=3600)
        used("use-1", "completions", START + 9, characters_out=2_000_000)

    def test_a_line_names_its_jobs(self, invoices: Invoices, used: Callable[..., None]) -> None:
        self.month(used)

        bill = invoices.issue("acme", "2026-03")

        found = {line.kind: line for line in bill.lines}
        assert list(found["trainings"].jobs) == ["ftjob-1", "ftjob-2"]
        assert (found["trainings"].quantity, found["trainings"].amount) == ("0.75", "0.75")
        assert (found["completions"].amount, bill.total) == ("4", Decimal("4.75"))
        text = bill.as_csv().splitlines()
        assert text[0].startswith("invoice,project,month,currency,line")
        assert text[2].endswith("ftjob-1 ftjob-2")
        assert text[-1].split(",")[-2] == "4.75"

    def test_where_a_price_changes_each_line_names_the_jobs_of_its_time(
        self, database: Database, used: Callable[..., None]
    ) -> None:
        self.month(used)
        dearer = PriceList(
            currency="USD",
            valid_from=date(2026, 3, 10),
            trainings=KindPrices(compute_hour=Decimal(2)),
        )
        prices = Prices([*PRICES.lists, dearer])

        bill = Invoices(database, Costs(database, prices)).issue("acme", "2026-03")

        assert [(line.kind, line.unit_price, *line.jobs) for line in bill.lines] == [
            ("completions", "2"),
            ("trainings", "1", "ftjob-1"),
            ("trainings", "2", "ftjob-2"),
        ]
        assert bill.total == Decimal("5.0")  # 4 and 0.5, and a quarter of an hour at 2

    def test_what_was_issued_stays(
        self, invoices: Invoices, used: Callable[..., None], database: Database
    ) -> None:
        self.month(used)
        bill = invoices.issue("acme", "2026-03")
        used("ftjob-9", "trainings", START + 1, compute_seconds=3600)

        again = invoices.issue("acme", "2026-03")

        assert same(again, bill) and same(invoices.get("acme", bill.id), bill)
        assert invoices.draft("acme", "2026-03").total == Decimal("5.75")
        with pytest.raises(sa.exc.IntegrityError), database.write() as connection:
            connection.execute(sa.update(invoice_table).values(total=0))
        with pytest.raises(NotFound):
            invoices.get("globex", bill.id)

    def test_a_credit_is_a_line_of_the_next_one(
        self, invoices: Invoices, used: Callable[..., None]
    ) -> None:
        self.month(used)
        bill = invoices.issue("acme", "2026-03")

        invoices.credit("acme", bill.id, Decimal("0.25"), "too slow", job_id="ftjob-2")
        with pytest.raises(InvalidOption):
            invoices.credit("acme", bill.id, Decimal("4.51"), "too much")
        following = invoices.issue("acme", "2026-04")

        assert following.total == Decimal("0.75")
        assert list(following.lines[-1].jobs) == ["ftjob-2"]
        assert following.lines[-1].amount == "-0.25"
        assert invoices.issue("acme", "2026-05").total == 0

    def test_a_month_that_is_not_over_is_a_draft(self, invoices: Invoices) -> None:
        with pytest.raises(InvalidOption) as caught:
            invoices.issue("acme", "2099-01")

        assert caught.value.code == "month_not_over"
        assert invoices.draft("acme", "2099-01").lines == []

    def test_a_draft_waits_for_nobody(
        self, database: Database, invoices: Invoices, used: Callable[..., None]
    ) -> None:
        self.month(used)

        with database.write() as connection:
            locked(connection, "acme")
            assert invoices.draft("acme", "2026-03").total == Decimal("4.75")

        with pytest.raises(NotFound):
            invoices.draft("globex", "2026-03")

    def test_nobody_waits_while_a_month_is_read(
        self, database: Database, invoices: Invoices, used: Callable[..., None]
    ) -> None:
        """What jobs a bill names is asked once for all lines, along an index of jobs alone."""
        self.month(used)
        used("ftjob-5", "trainings", START, compute_seconds=0)
        used("ftjob-6", "trainings", START + 7, byte_hours=7e11)
        with statements(lambda each: "FROM usage" in each) as asked:
            bill = invoices.issue("acme", "2026-03")

        assert [list(line.jobs) for line in bill.lines] == [
            [], ["ftjob-1", "ftjob-2"], ["ftjob-6"],
        ]  # fmt: skip
        assert not any(each.writes for each in asked)
        (of_jobs,) = (each for each in asked if "job_id" in each.statement)
        with database.read() as connection:
            plan = "\n".join(explain(connection, of_jobs))
        assert "usage_jobs" in plan and not re.search("TEMP B-TREE|Sort", plan), plan

    @pytest.mark.parametrize("change", [{"currency": "EUR"}, {"time_zone": "Asia/Shanghai"}])
    def test_a_bill_is_made_anew_where_its_tenant_changed_meanwhile(
        self,
        database: Database,
        budgets: Budgets,
        used: Callable[..., None],
        change: dict[str, str],
    ) -> None:
        self.month(used)

        class Changing(Costs):
            """Its tenant changes while it reads."""

            def lines(self, *given: Any) -> Iterator[Line]:
                yield from super().lines(*given)
                with database.write() as connection:
                    connection.execute(sa.update(tenants).values(**change))

        bill = Invoices(database, Changing(database, PRICES)).issue("acme", "2026-03")

        assert same(bill, Invoices(database, budgets.costs).issue("acme", "2026-03"))
        if "currency" in change:
            assert (bill.currency, bill.lines) == ("EUR", [])
        else:  # where March ends eight hours earlier
            assert [list(line.jobs) for line in bill.lines] == [[], ["ftjob-1"]]


class TestTimeZones:
    """Bills around a change of the time zone; an hour of training costs 1 USD."""

    def bill(
        self, database: Database, invoices: Invoices, first: str, then: str, months: list[str]
    ) -> list[Invoice]:
        tenants = Tenants(database)
        tenants.update("acme", TenantOptions.parse({"time_zone": first}))
        found = [invoices.issue("acme", months[0])]
        tenants.update("acme", TenantOptions.parse({"time_zone": then}))
        draft = invoices.draft("acme", months[1])
        found += [invoices.issue("acme", month) for month in months[1:]]
        assert (draft.starts_at, draft.total) == (found[1].starts_at, found[1].total)
        again = invoices.draft("acme", months[0])
        assert (again.starts_at, again.total) == (found[0].starts_at, found[0].total)
        return sorted(found, key=lambda each: each.month)

    @pytest.mark.parametrize(
        ("first", "then"),
        [("Asia/Shanghai", "America/New_York"), ("America/New_York", "Asia/Shanghai")],
    )
    @pytest.mark.parametrize(
        "months",
        [
            ["2026-03", "2026-04", "2026-05"],
            ["2026-04", "2026-03", "2026-05"],
            ["2026-03", "2026-05", "2026-04"],  # between two that are issued
        ],
    )
    def test_every_hour_is_billed_once_whatever_the_time_zone_was(
        self,
        database: Database,
        invoices: Invoices,
        used: Callable[..., None],
        first: str,
        then: str,
        months: list[str],
    ) -> None:
        for hour in range(-26, 26):  # around both ends of April, as calendars anywhere have them
            for near in bounds("2026-04", "UTC"):
                at = near + hour * 3600
                used(f"ftjob-{at:.0f}", "trainings", at, compute_seconds=3600)

        bills = self.bill(database, invoices, first, then, months)

        billed = [job for bill in bills for line in bill.lines for job in line.jobs]
        assert len(billed) == len(set(billed)) == 104
        assert sum(bill.total for bill in bills) == 104
        for before, after in pairwise(bills):
            assert before.ends_at == after.starts_at

    def test_a_bill_without_neighbours_is_a_month_of_the_calendar(
        self, database: Database, invoices: Invoices
    ) -> None:
        bills = self.bill(database, invoices, "Asia/Shanghai", "UTC", ["2025-12", "2026-03"])

        assert (bills[1].starts_at, bills[1].ends_at) == (START, END)
        assert (bills[0].starts_at, bills[0].ends_at) == bounds("2025-12", "Asia/Shanghai")
        assert same(invoices.get("acme", bills[0].id), bills[0])


class TestCurrencies:
    def change(self, database: Database, currency: str) -> str:
        change = TenantOptions.parse({"currency": currency})
        return Tenants(database).update("acme", change).currency

    def test_credits_stay_in_the_currency_of_their_invoice(
        self, database: Database, invoices: Invoices, used: Callable[..., None]
    ) -> None:
        used("ftjob-1", "trainings", START, compute_seconds=3600 * 50)
        bill = invoices.issue("acme", "2026-03")
        invoices.credit("acme", bill.id, Decimal(20), "too slow")

        with pytest.raises(Conflict) as caught:
            self.change(database, "JPY")

        assert (caught.value.code, caught.value.param) == ("currency_in_use", "currency")
        assert "credits of 20.00 USD" in caught.value.message
        assert self.change(database, "USD") == "USD"  # as it is
        assert invoices.issue("acme", "2026-04").total == -20
        assert self.change(database, "JPY") == "JPY"
        with pytest.raises(Conflict) as caught:
            invoices.credit("acme", bill.id, Decimal(30), "too slow")
        assert caught.value.code == "other_currency"
        assert invoices.issue("acme", "2026-05").total == 0

    def test_what_is_set_aside_for_jobs_stays_in_its_currency(
        self, database: Database, jobs: Jobs, budgets: Budgets
    ) -> None:
        job = submit(jobs, budgets)

        with pytest.raises(Conflict) as caught:
            self.change(database, "JPY")

        assert caught.value.code == "currency_in_use"
        assert "1.00 USD are set aside" in caught.value.message
        jobs.request_cancel("acme", job.id)
        assert self.change(database, "JPY") == "JPY"


def same(one: Invoice, other: Invoice) -> bool:
    return (one.id, one.total, one.as_csv()) == (other.id, other.total, other.as_csv())
