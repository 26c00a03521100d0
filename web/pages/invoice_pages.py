"""/invoices: a project's bills, month by month, and what the next one would say."""

from __future__ import annotations

import time
from typing import Any

from flask import Response
from pydantic import Field

from textgen.errors import TextgenError
from web.pages.forms import body_of_form
from web.pages.page import Pages, go, render, render_error
from web.pages.projects import project_choice, project_of
from web.pages.usage_days import neighbours
from web.schemas.base import Query
from web.schemas.billing import CreditBody, InvoiceBody
from web.services import current
from web.views import billing as api
from worker.billing.invoice import Invoice
from worker.billing.months import month_of
from worker.tenants.tenants import Tenant

invoice_pages = Pages("invoice_pages", __name__)

MONTHS = 12  # that a draft can be looked at of, from the list


class ProjectQuery(Query):
    """Whose invoices."""

    project: str = Field("", max_length=100)


class DraftQuery(ProjectQuery):
    """Of which month."""

    month: str = Field(max_length=7)


@invoice_pages.page("GET /invoices", "Invoices, for people", "admin", query=ProjectQuery)
def index(query: ProjectQuery) -> Response:
    """The newest first, and the months that have none."""
    project = project_of(query.project)
    issued = current().invoices.list(project.id)
    return render(
        "invoices.html",
        rows=issued,
        months=_months(project, {each.month for each in issued}),
        priced=bool(current().terms.prices.lists),
        **project_choice(project),
    )


@invoice_pages.page(
    "GET /invoices/draft", "An invoice as it would be, for people", "admin", query=DraftQuery
)
def draft(query: DraftQuery) -> Response:
    """It changes with the usage."""
    project = project_of(query.project)
    return render(
        "invoice.html", **_one(project, current().invoices.draft(project.id, query.month))
    )


@invoice_pages.page(
    "GET /invoices/<invoice_id>", "An invoice, for people", "admin", query=ProjectQuery
)
def show(invoice_id: str, query: ProjectQuery) -> Response:
    """With its lines and the jobs in them."""
    project = project_of(query.project)
    return render("invoice.html", **_one(project, current().invoices.get(project.id, invoice_id)))


@invoice_pages.page("POST /invoices/issue", "Issue an invoice, by a form", "admin")
def issue() -> Response:
    """As POST …/invoices with ``issue``."""
    given = body_of_form()
    project = project_of(str(given.pop("project", "")))
    try:
        made = api.make(project.id, InvoiceBody.parse({**given, "issue": True}))
    except TextgenError as error:
        if error.code != "month_not_over":
            raise
        found = current().invoices.draft(project.id, given["month"])
        return render_error("invoice.html", error, **_one(project, found))
    return go("invoice_pages.show", invoice_id=made.id, project=project.id)


@invoice_pages.page(
    "POST /invoices/<invoice_id>/credits", "Give something back, by a form", "admin"
)
def credit(invoice_id: str) -> Response:
    """As POST …/invoices/{id}/credits."""
    given = body_of_form()
    project = project_of(str(given.pop("project", "")))
    found = current().invoices.get(project.id, invoice_id)
    try:
        api.credit(project.id, invoice_id, CreditBody.parse({**given, "amount": _amount(given)}))
    except TextgenError as error:
        return render_error("invoice.html", error, **_one(project, found), given=given)
    return render("invoice.html", **_one(project, found), credited=True)


def _one(project: Tenant, invoice: Invoice) -> dict[str, Any]:
    now = month_of(time.time(), project.time_zone)
    return {
        "invoice": invoice,
        "over": invoice.month < now,
        "fields": ("amount", "reason", "job_id"),
        **project_choice(project),
    }


def _amount(given: dict[str, Any]) -> Any:
    """As a number, where it is one."""
    text = str(given.get("amount", ""))
    try:
        return float(text)
    except ValueError:
        return text


def _months(project: Tenant, issued: set[str]) -> list[str]:
    """The last months without an invoice, the newest first, from the project's first one on."""
    month = month_of(time.time(), project.time_zone)
    first = month_of(project.created_at, project.time_zone)
    found = []
    for _number in range(MONTHS):
        if month < first:
            break
        found.append(month)
        month, _after = neighbours(month)
    return [each for each in found if each not in issued]
