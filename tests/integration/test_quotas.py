"""Monthly quotas: what is used and set aside is bounded, by months of the tenant's calendar."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from tests.integration.conftest import admitted_at_once
from worker.backend import Backend
from worker.billing.admission import Admission
from worker.billing.budgets import Budgets
from worker.billing.months import bounds, month_of
from worker.billing.prices import Prices
from worker.errors import InsufficientQuota
from worker.jobs.jobs import Jobs
from worker.jobs.origin import Origin, Reserved
from worker.jobs.rows import Job
from worker.jobs.states import Kind
from worker.storage.database import Database
from worker.storage.upload_rows import Upload
from worker.storage.uploads import Uploads
from worker.tenants.monthly_quotas import MonthlyQuotas
from worker.tenants.options import NewTenant, TenantOptions
from worker.tenants.quotas import Quotas
from worker.tenants.tenants import Tenants
from worker.usage.quantities import NAMES
from worker.usage.tables import usage

HOUR = {"hyperparameters": {"max_seconds": 3600}}


@pytest.fixture
def bound(database: Database) -> Callable[..., None]:
    """Give acme a time zone and monthly quotas."""
    tenants = Tenants(database)
    tenants.create(NewTenant.parse({"id": "acme", "name": "A", "time_zone": "Asia/Shanghai"}))

    def set_limits(**limits: float) -> None:
        tenants.update("acme", TenantOptions.parse({"limits": limits}))

    return set_limits


@pytest.fixture
def used(database: Database) -> Callable[..., None]:
    def write(kind: str, at: float, *, billable: bool = True, **amounts: float) -> None:
        with database.write() as connection:
            connection.execute(
                sa.insert(usage).values(
                    **{**dict.fromkeys(NAMES, 0), **amounts},
                    id=f"{kind}-{at}-{sorted(amounts)}-{billable}",
                    tenant="acme",
                    kind=kind,
                    outcome="succeeded",
                    billable=billable,
                    at=at,
                )
            )

    return write


def origin(database: Database) -> Origin:
    """What checks a job as the web process does."""
    admission = Admission(Quotas(database), MonthlyQuotas(database), Budgets(database, Prices()))

    def admit(connection: sa.Connection, now: float, kind: Kind, spec: Any) -> Reserved:
        return admission.admit(connection, now, Tenants(database).get("acme"), kind, spec)

    return Origin(admit=admit)


def submit(jobs: Jobs, database: Database, kind: Kind = "training", spec: Any = HOUR) -> Job:
    return jobs.submit("acme", kind, spec, origin=origin(database))


def test_estimates_are_set_aside_until_the_job_ends(
    jobs: Jobs, database: Database, bound: Callable[..., None]
) -> None:
    bound(compute_seconds_per_month=2 * 3600)
    first = submit(jobs, database)
    submit(jobs, database)

    with pytest.raises(InsufficientQuota) as caught:
        submit(jobs, database)

    assert (caught.value.code, caught.value.param) == (
        "insufficient_quota",
        "compute_seconds_per_month",
    )
    assert "7,200 are set aside" in caught.value.message
    assert "(Asia/Shanghai)" in caught.value.message
    (state,) = MonthlyQuotas(database).states(Tenants(database).get("acme"))
    assert (state.used, state.reserved) == (0, 7200)
    jobs.request_cancel("acme", first.id)  # it has used nothing
    submit(jobs, database)


def test_a_month_begins_in_the_tenants_time_zone(
    jobs: Jobs, database: Database, bound: Callable[..., None], used: Callable[..., None]
) -> None:
    bound(tokens_per_month=1000, characters_per_month=1000)
    with database.read() as connection:
        now = database.now(connection)
    start, end = bounds(month_of(now, "Asia/Shanghai"), "Asia/Shanghai")
    acme = Tenants(database).get("acme")
    used("completions", start - 1, tokens_in=5000, characters_in=5000)
    used("completions", start, tokens_in=400, tokens_out=300, characters_out=999)
    used("batches", start + 1, tokens_in=299)
    used("trainings", start + 1, tokens_in=5000)  # what is learnt from is not written
    used("batches", start + 1, billable=False, tokens_out=5000)  # our failures are free
    quotas = MonthlyQuotas(database)

    quotas.check(acme)
    states = {state.name: state for state in quotas.states(acme)}

    assert states["tokens_per_month"].used == states["characters_per_month"].used == 999
    assert {state.resets_at for state in states.values()} == {end}
    used("completions", start + 2, tokens_out=1)
    quotas.forget("acme")
    with pytest.raises(InsufficientQuota) as caught:
        quotas.check(acme)
    assert caught.value.param == "tokens_per_month"
    submit(jobs, database)  # a training needs none of it
    with pytest.raises(InsufficientQuota):
        submit(jobs, database, "batch", {})


def test_no_two_jobs_get_the_same_seconds(
    database_url: str, backend: Backend, bound: Callable[..., None]
) -> None:
    bound(compute_seconds_per_month=3 * 3600)

    def one(own: Database) -> Job:
        return submit(Jobs(own, backend.settings), own)

    assert admitted_at_once(6, database_url, one) == 3


def test_no_two_uploads_get_the_same_bytes(
    database_url: str, backend: Backend, bound: Callable[..., None]
) -> None:
    bound(storage_bytes=1000)

    def one(own: Database) -> Upload:
        return Uploads(own, backend.store).create(
            "acme",
            filename="a",
            mime_type="text/plain",
            purpose="batch",
            bytes=400,
            room=lambda connection: Quotas(own).storage(connection, Tenants(own).get("acme")),
        )

    assert admitted_at_once(6, database_url, one) == 2


def test_a_retry_is_admitted_as_a_new_job(
    jobs: Jobs, database: Database, bound: Callable[..., None]
) -> None:
    bound(compute_seconds_per_month=3600)
    first = submit(jobs, database)
    jobs.request_cancel("acme", first.id)
    submit(jobs, database)

    with pytest.raises(InsufficientQuota):
        jobs.retry("acme", first.id, origin(database))

    assert len(jobs.list("acme").items) == 2
