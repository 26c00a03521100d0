"""A month of usage, and invoices, as pages."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient

from tests.unit.web.conftest import OWN, Caller, caller
from web.app import create_app
from web.services import Services
from worker.billing.months import bounds, month_of
from worker.billing.plans_file import Terms
from worker.billing.prices import KindPrices, PriceList, Prices
from worker.tenants.options import TenantOptions
from worker.usage.quantities import NAMES
from worker.usage.tables import usage

LAST = "2026-03"


@pytest.fixture
def services(services: Services) -> Services:
    prices = PriceList(
        currency="USD",
        valid_from=date(2020, 1, 1),
        trainings=KindPrices(compute_hour=Decimal(36)),
        completions=KindPrices(million_characters_out=Decimal(1)),
    )
    return replace(services, terms=Terms(prices=Prices([prices])))


def browser_of(services: Services, tenant: str, *scopes: str) -> FlaskClient:
    app = create_app(services)
    key = caller(app, services, tenant, *scopes).key
    client = app.test_client()
    client.post("/signin", data={"key": key})
    return client


@pytest.fixture
def browser(services: Services) -> FlaskClient:
    """Signed in as an admin of acme."""
    return browser_of(services, "acme", "read", "admin")


@pytest.fixture
def operator(services: Services) -> FlaskClient:
    return browser_of(services, "default", "read", "admin")


def use(services: Services, name: str, at: float, **values: object) -> None:
    row = {
        "id": name, "tenant": "acme", "kind": "completions", "outcome": "succeeded",
        "billable": True, "at": at, **dict.fromkeys(NAMES, 0), **values,
    }  # fmt: skip
    with services.database.write() as connection:
        connection.execute(sa.insert(usage).values(**row))


def train(services: Services, name: str, month: str = LAST) -> None:
    use(
        services, name, bounds(month, "UTC")[0] + 60, kind="trainings", job_id=name,
        compute_seconds=100.0, characters_in=5_000,
    )  # fmt: skip


def test_a_month_by_day_model_and_key(browser: FlaskClient, services: Services) -> None:
    key = services.keys.create("acme", "website", ["generate"])[0]
    start, _ = bounds(LAST, "UTC")
    day = 86_400
    for number, (model, made) in enumerate([("bard", 1000), ("bard", 500), ("poet", 7)]):
        at = start + number * day + 5
        use(services, f"u{number}", at, model=model, characters_out=made, api_key=key.id)
    use(services, "elsewhere", start, tenant="globex", model="theirs", characters_out=9)

    page = browser.get(f"/usage?month={LAST}&by=model").text

    assert "<title>2026-03-01: 1,000</title>" in page and "<title>2026-03-03: 7</title>" in page
    assert page.count("<title>2026-03-") == 31
    assert page.index("bard") < page.index("poet") and "theirs" not in page
    assert re.search(r'data-title="Characters out">1,500<', page)
    assert "website" in browser.get(f"/usage?month={LAST}&by=api_key_id").text
    assert "start_time=1772323200&amp;end_time=1775001600" in page
    assert 'href="/usage?month=2026-02&amp;' in page and "Nothing was used" not in page
    assert "Nothing was used" in browser.get("/usage?month=2026-02").text


def test_days_are_those_of_the_project_s_calendar(browser: FlaskClient, services: Services) -> None:
    services.tenants.update("acme", TenantOptions(time_zone="Europe/Berlin"))
    end_of_first, start_of_last = 1774738800 - 1, 1774738800  # the day on which clocks go forward
    use(services, "a", end_of_first, characters_out=3)
    use(services, "b", start_of_last, characters_out=5)
    use(services, "c", start_of_last + 23 * 3600 - 1, characters_out=5)

    page = browser.get(f"/usage?month={LAST}").text

    assert "<title>2026-03-28: 3</title>" in page and "<title>2026-03-29: 10</title>" in page


def test_what_is_no_month_is_a_page_that_says_so(browser: FlaskClient) -> None:
    for month in ("2026-13", "march", "2026-3"):
        answer = browser.get(f"/usage?month={month}")
        assert answer.status_code == 400 and "write it as 2026-11" in answer.text


def test_what_is_left_and_what_happens_when_it_is_used_up(
    browser: FlaskClient, services: Services
) -> None:
    now = time.time()
    services.tenants.update(
        "acme", TenantOptions.parse({"monthly_budget": "2", "limits": {"tokens_per_month": 100}})
    )
    use(services, "a", now, tokens_out=40, characters_out=1_000_000)

    page = browser.get("/usage").text
    assert "1.00 USD of 2.00 USD used" in page and "40 of 100 used" in page and "60 left" in page
    assert "New work is refused until" not in page

    use(services, "b", now, tokens_out=60, characters_out=1_000_000)
    page = browser.get("/usage").text
    assert "Tokens: all of this month is used" in page
    assert "Budget: all of this month is used" in page
    assert "2.00 <small>USD" in page


def test_usage_is_the_project_s_own_and_the_operator_s_any(
    browser: FlaskClient, operator: FlaskClient, services: Services
) -> None:
    train(services, "ftjob-1")

    assert "1 min 40 s" in browser.get(f"/usage?month={LAST}").text
    assert browser.get("/usage?project=default").status_code == 404
    assert 'name="project"' not in browser.get("/usage").text
    assert "Nothing was used" in operator.get(f"/usage?month={LAST}").text
    page = operator.get(f"/usage?month={LAST}&project=acme").text
    assert "1 min 40 s" in page and '<option value="acme" selected>' in page


def test_an_invoice_from_draft_to_credit(
    browser: FlaskClient, operator: FlaskClient, services: Services
) -> None:
    train(services, "ftjob-1")
    draft = f"/invoices/draft?month={LAST}"

    page = browser.get(draft).text
    assert "1.00 <small>USD" in page and "/jobs/ftjob-1" in page and "A draft" in page
    assert "Issue it" not in page
    asked = {"month": LAST, "project": "acme"}
    assert browser.post("/invoices/issue", data={"month": LAST}, headers=OWN).status_code == 403
    assert "Issue it" in operator.get(f"{draft}&project=acme").text

    issued = operator.post("/invoices/issue", data=asked, headers=OWN)
    assert issued.status_code == 303
    [invoice] = services.invoices.list("acme")
    assert issued.headers["Location"] == f"/invoices/{invoice.id}?project=acme"
    assert "Give something back" in operator.get(issued.headers["Location"]).text
    assert invoice.id in browser.get("/invoices").text
    page = browser.get(f"/invoices/{invoice.id}").text
    link = re.search(r'href="([^"]+/content)"', page)
    assert link is not None and "Give something back" not in page
    assert "ftjob-1" in browser.get(link[1]).text

    credit = {"project": "acme", "amount": "0.25", "reason": "slow"}
    given = operator.post(f"/invoices/{invoice.id}/credits", data=credit, headers=OWN)
    assert "It stands on the next invoice" in given.text
    assert "-0.2500" in browser.get("/invoices/draft?month=2026-04").text
    more = {**credit, "amount": "9"}
    refused = operator.post(f"/invoices/{invoice.id}/credits", data=more, headers=OWN)
    assert refused.status_code == 400 and 'id="amount-problem"' in refused.text


def test_a_month_that_goes_on_cannot_be_issued(operator: FlaskClient) -> None:
    month = month_of(time.time(), "UTC")

    refused = operator.post("/invoices/issue", data={"month": month}, headers=OWN)

    assert refused.status_code == 400 and "cannot be billed yet" in refused.text


def test_invoices_are_for_admins(services: Services, stranger: Caller) -> None:
    reader = browser_of(services, "acme", "read")
    train(services, "ftjob-1")
    theirs = services.invoices.issue("acme", LAST).id

    assert reader.get("/invoices").status_code == 403
    assert 'href="/invoices"' not in reader.get("/usage").text
    assert stranger("GET", f"/invoices/{theirs}").status_code == 404
    assert stranger("GET", "/invoices?project=acme").status_code == 404
