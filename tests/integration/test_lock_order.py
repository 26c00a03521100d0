"""Transactions that meet on PostgreSQL: they wait for each other, and never in a circle."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from datetime import date
from decimal import Decimal

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tests.integration.conftest import store
from worker.all_tables import LOCK_ORDER
from worker.backend import Backend
from worker.billing.budgets import Budgets
from worker.billing.prices import KindPrices, PriceList, Prices
from worker.errors import InsufficientQuota
from worker.jobs.idempotency import IdempotencyKey
from worker.jobs.origin import Origin, Reserved, Retry
from worker.jobs.rows import Job
from worker.jobs.states import Kind
from worker.jobs.tables import checkpoints, idempotency, jobs
from worker.operations.checks.usage import UsageSums
from worker.storage.database import Database
from worker.storage.models import NewModel
from worker.tenants.deletion import TenantDeletion
from worker.tenants.monthly_quotas import MonthlyQuotas
from worker.tenants.options import NewTenant
from worker.tenants.tables import tenants
from worker.tenants.tenants import Tenants, locked
from worker.usage.quantities import Quantities
from worker.usage.sums import DAY
from worker.usage.tables import usage, usage_sums

WAITING = """SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock'"""


@pytest.fixture
def database_url(new_postgresql: Callable[[], str]) -> str:
    return new_postgresql()


@pytest.fixture
def known(database: Database) -> Tenants:
    found = Tenants(database)
    found.create(NewTenant.parse({"id": "acme", "name": "A", "limits": {"running_jobs": 9}}))
    return found


@pytest.fixture
def deletion(backend: Backend, known: Tenants) -> TenantDeletion:
    return TenantDeletion(backend.database, backend.store, known)


def running(backend: Backend) -> Job:
    backend.jobs.submit("acme", "training", {})
    job = backend.jobs.claim("training", "w1")
    assert job is not None
    return job


class Work(threading.Thread):
    """Something that another connection does meanwhile; it ends well, or the test does not."""

    def __init__(self, action: Callable[[], object]) -> None:
        super().__init__(daemon=True)
        self._action = action
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self._action()
        except BaseException as error:
            self._error = error

    def done(self) -> None:
        self.join(60)
        assert not self.is_alive()
        if self._error is not None:
            raise self._error


class Held:
    """A moment in a transaction at which it stays until it is let go."""

    def __init__(self) -> None:
        self._reached, self._on = threading.Event(), threading.Event()

    def __call__(self, _: Connection) -> None:
        self._reached.set()
        assert self._on.wait(60)

    def reached(self) -> None:
        assert self._reached.wait(60)

    def let_go(self) -> None:
        self._on.set()


def someone_waits(database: Database) -> None:
    """Return as soon as a connection waits for a lock that another one has."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        with database.read() as connection:
            if connection.exec_driver_sql(WAITING).scalar_one():
                return
        time.sleep(0.01)
    pytest.fail("nobody waits")


def count(database: Database, table: sa.Table) -> int:
    with database.read() as connection:
        found = sa.select(sa.func.count()).where(table.c.tenant == "acme")
        return int(connection.execute(found).scalar_one())


@pytest.mark.usefixtures("known")
def test_jobs_that_end_together_do_not_wait_for_what_each_publishes(
    backend: Backend, database: Database
) -> None:
    """Both change the same sums, but only with their last statement."""
    first, second = running(backend), running(backend)
    held = Held()
    ends = Work(lambda: backend.jobs.succeed(first, {}, held))
    held.reached()

    assert backend.jobs.succeed(second, {}).state == "succeeded"

    held.let_go()
    ends.done()
    with database.read() as connection:
        days = sa.select(sa.func.sum(usage_sums.c.requests)).where(usage_sums.c.width == DAY)
        assert connection.execute(days).scalar_one() == 2


@pytest.mark.usefixtures("known")
def test_sums_are_mended_while_their_project_is_deleted(
    backend: Backend, database: Database
) -> None:
    """Both want the sums and what they are the sums of; the deletion has come half way."""
    backend.jobs.succeed(running(backend), {})
    with database.write() as connection:
        connection.execute(sa.update(usage_sums).values(requests=7))
    sums = UsageSums(database)
    found = list(sums.look())
    assert [each.id for each in found] == ["acme"]
    with database.write() as connection:
        locked(connection, "acme")
        connection.execute(sa.delete(usage_sums).where(usage_sums.c.tenant == "acme"))
        mends = Work(lambda: sums.mend(found))
        someone_waits(database)
        connection.execute(sa.delete(usage).where(usage.c.tenant == "acme"))
    mends.done()
    assert count(database, usage_sums) == count(database, usage) == 0


def test_a_project_is_deleted_while_a_job_of_it_ends(
    backend: Backend, database: Database, deletion: TenantDeletion
) -> None:
    """The end has the job and will want the sums; the deletion wants both."""
    backend.jobs.succeed(running(backend), {})  # there are sums
    job, held = running(backend), Held()
    ends = Work(lambda: backend.jobs.succeed(job, {}, held))
    held.reached()
    goes = Work(lambda: deletion.delete("acme", wait_seconds=0))
    someone_waits(database)

    held.let_go()

    ends.done()
    goes.done()
    assert [count(database, table) for table in (jobs, usage, usage_sums)] == [0, 0, 0]


def lock(connection: Connection, table: sa.Table) -> None:
    owner = table.c.id if table is tenants else table.c.tenant
    rows = sa.select(table).where(owner == "acme").with_for_update()
    assert connection.execute(rows).all(), table.name


def fill(backend: Backend) -> None:
    """A row of acme in every table of these."""
    backend.jobs.succeed(running(backend), {})
    model = NewModel("ft:a", "acme", "jobs/a/1/step-1", "m")
    backend.jobs.save_checkpoint(
        running(backend), artifact=model.artifact, step=1, metrics={}, publish_model=model
    )
    store(backend, "files/a")
    backend.files.create("acme", filename="a", purpose="batch", artifact="files/a", file="content")
    backend.jobs.submit("acme", "training", {}, idempotency=IdempotencyKey("k", "0"))


@pytest.mark.parametrize("first", LOCK_ORDER, ids=str)
def test_who_locks_in_order_ends_before_the_deletion(
    backend: Backend, database: Database, deletion: TenantDeletion, first: sa.Table
) -> None:
    """As a claim does, a retry, a submission, and whoever removes a model or a checkpoint."""
    fill(backend)
    with database.write() as connection:
        lock(connection, first)
        goes = Work(lambda: deletion.delete("acme", wait_seconds=0))
        someone_waits(database)
        for table in (*LOCK_ORDER[LOCK_ORDER.index(first) :], checkpoints, usage_sums):
            lock(connection, table)  # PostgreSQL would break a circle

    goes.done()
    assert count(database, jobs) == 0


class TestRetry:
    """A request that comes again while the transaction of the first is open."""

    def submit(
        self, backend: Backend, connection: Connection | None = None, *, repeats: bool = True
    ) -> str:
        retry = Retry("the same", repeats, lambda _: False)
        origin = Origin("key-1", "req-1", retry=retry)
        return backend.jobs.submit("acme", "training", {}, origin=origin, connection=connection).id

    @pytest.mark.parametrize("remembered", [False, True])
    def test_it_gets_the_job_that_the_first_makes(
        self, backend: Backend, database: Database, remembered: bool
    ) -> None:
        if remembered:  # of a request of long ago
            self.submit(backend)
            with database.write() as connection:
                connection.execute(sa.update(idempotency).values(created_at=1.0))
        before, found = count(database, jobs), list[str]()
        with database.write() as connection:
            first = self.submit(backend, connection, repeats=remembered)
            again = Work(lambda: found.append(self.submit(backend)))
            someone_waits(database)
        again.done()

        assert found == [first]
        assert count(database, jobs) == before + 1

    def test_it_does_not_meet_a_deletion_of_its_project_in_a_circle(
        self, backend: Backend, database: Database
    ) -> None:
        first = self.submit(backend)
        found: list[str] = []
        with database.write() as connection:
            lock(connection, jobs)
            again = Work(lambda: found.append(self.submit(backend)))
            someone_waits(database)
            lock(connection, idempotency)  # PostgreSQL would break a circle
        again.done()

        assert found == [first]

    def test_it_makes_one_where_the_first_did_not(
        self, backend: Backend, database: Database
    ) -> None:
        found: list[str] = []
        with pytest.raises(ZeroDivisionError), database.write() as connection:
            self.submit(backend, connection, repeats=False)
            again = Work(lambda: found.append(self.submit(backend)))
            someone_waits(database)
            _ = 1 / 0
        again.done()

        assert [job.id for job in backend.jobs.list("acme").items] == found


class TestAdmission:
    """A job that ends between two reads of an admission counts nevertheless."""

    @pytest.fixture
    def admit(self, backend: Backend) -> Callable[[], None]:
        """Asks for an hour while one job that has worked for an hour ends: it is refused."""
        needed = Quantities(compute_seconds=3600)
        prices = PriceList(
            currency="USD",
            valid_from=date(2020, 1, 1),
            trainings=KindPrices(compute_hour=Decimal(1)),
        )
        database, jobs = backend.database, backend.jobs
        all_tenants = Tenants(database)
        budgets, monthly = Budgets(database, Prices([prices])), MonthlyQuotas(database)

        def check(connection: Connection, now: float, kind: Kind, _: object) -> Reserved:
            money = budgets.admit(connection, now, "acme", kind, needed)
            rest = monthly.admit(connection, now, all_tenants.get("acme"), kind, needed)
            return Reserved(money, seconds=rest["seconds"])

        def run_out() -> None:
            origin = Origin(admit=check)
            jobs.submit("acme", "training", {}, origin=origin)
            job = jobs.claim("training", "w1")
            assert job is not None
            jobs.set_progress(job, {"step": 1, "seconds": 3600.0})
            ended: list[Job] = []

            def end(_1: object, _2: object, statement: str, *_3: object) -> None:
                if not ended and re.search(r"sum\((jobs|usage_sums)\.", statement):
                    ended.append(job)
                    jobs.succeed(job, {})

            sa.event.listen(sa.Engine, "after_cursor_execute", end)
            try:
                jobs.submit("acme", "training", {}, origin=origin)
            finally:
                sa.event.remove(sa.Engine, "after_cursor_execute", end)
                assert ended

        return run_out

    @pytest.mark.parametrize(
        "bounds", [{"monthly_budget": 1}, {"limits": {"compute_seconds_per_month": 3600}}]
    )
    def test_it_is_spent_or_set_aside(
        self, database: Database, admit: Callable[[], None], bounds: dict[str, object]
    ) -> None:
        Tenants(database).create(NewTenant.parse({"id": "acme", "name": "A", **bounds}))

        with pytest.raises(InsufficientQuota):
            admit()
