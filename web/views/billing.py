"""Costs as OpenAI shows them, estimates, and the invoices of a project."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from decimal import Decimal

from flask import Response

from textgen.options import Hyperparameters
from web.auth import actor, tenant
from web.file_references import reference
from web.project_access import changeable, visible
from web.resource import Resource
from web.schemas.billing import (
    Amount,
    CostBucket,
    CostPage,
    CostQuery,
    CostResult,
    CreditBody,
    CreditObject,
    Estimate,
    EstimateBody,
    InvoiceBody,
    InvoiceList,
    InvoiceObject,
)
from web.services import Services, current
from web.text_sizes import with_text_sizes
from web.views.usage import page_start, visible_tenants
from worker.billing.estimate import estimated
from worker.billing.invoice import Invoice
from worker.tenants.tenants import Tenant

billing = Resource("billing", __name__)
INVOICES = "/v1/organization/projects/<project_id>/invoices"
DAY = 86_400


@billing.on("GET /v1/organization/costs", "Costs by day", "read", query=CostQuery, answer=CostPage)
def costs(query: CostQuery) -> CostPage:
    """Usage times the prices of its day; what is not billed costs nothing."""
    services = current()
    first = page_start(query.page, query.start_time) // DAY * DAY
    end = int(time.time()) + 1 if query.end_time is None else query.end_time
    until = min(end, first + query.limit * DAY)
    owners = list(_owners(services, visible_tenants(query.project_ids)))
    groups = () if query.group_by is None else tuple(query.group_by)
    buckets = [
        CostBucket(
            start_time=day,
            end_time=day + DAY,
            results=_results(services, owners, day, min(day + DAY, end), groups),
        )
        for day in range(first, until, DAY)
    ]
    more = until < end
    return CostPage(data=buckets, has_more=more, next_page=f"page_{until}" if more else None)


@billing.on(
    "POST /v1/cost_estimates",
    "What a training would cost",
    "read",
    body=EstimateBody,
    answer=Estimate,
)
def estimate(body: EstimateBody) -> Estimate:
    """Rough, and made at once: from the time asked for, else from the size of the text."""
    services, owner = current(), tenant()
    wanted = Hyperparameters.parse(body.hyperparameters, within="hyperparameters")
    file = reference(services, owner, body.training_file, "training_file", "fine-tune")
    asked = {
        "preset": body.model,
        "files": [file],
        "hyperparameters": wanted.model_dump(exclude_unset=True),
    }
    spec = with_text_sizes(services.store, asked)
    currency = services.tenants.get(owner).currency
    with services.database.read() as connection:
        now = services.database.now(connection)
        quantities = estimated(connection, owner, "training", spec)
    amount = services.budgets.costs.prices.cost(currency, "trainings", quantities, now)
    size = services.files.get(owner, body.training_file).bytes
    return Estimate(
        currency=currency,
        amount=float(amount),
        quantities=asdict(quantities),
        text_bytes=spec["files"][0].get("text_bytes", size),
    )


@billing.on(f"GET {INVOICES}", "List invoices", "admin", answer=InvoiceList)
def index(project_id: str) -> InvoiceList:
    """Those that were issued, the newest first."""
    services = current()
    services.tenants.get(visible(project_id))
    return InvoiceList(data=[_view(each) for each in services.invoices.list(project_id)])


@billing.on(
    f"POST {INVOICES}", "Draft or issue an invoice", "admin", body=InvoiceBody, answer=InvoiceObject
)
def make(project_id: str, body: InvoiceBody) -> InvoiceObject:
    """A draft changes with the usage; what was issued never changes."""
    if not body.issue:
        return _view(current().invoices.draft(visible(project_id), body.month))
    return _view(current().invoices.issue(changeable(project_id), body.month, actor()))


@billing.on(f"GET {INVOICES}/<invoice_id>", "Show an invoice", "admin", answer=InvoiceObject)
def show(project_id: str, invoice_id: str) -> InvoiceObject:
    """With the ids of the jobs of each line."""
    return _view(current().invoices.get(visible(project_id), invoice_id))


@billing.on(
    f"GET {INVOICES}/<invoice_id>/content",
    "Download an invoice",
    "admin",
    media=("text/csv",),
)
def content(project_id: str, invoice_id: str) -> Response:
    """As CSV."""
    found = current().invoices.get(visible(project_id), invoice_id)
    return Response(found.as_csv(), mimetype="text/csv")


@billing.on(
    f"POST {INVOICES}/<invoice_id>/credits",
    "Give something back",
    "admin",
    body=CreditBody,
    answer=CreditObject,
)
def credit(project_id: str, invoice_id: str, body: CreditBody) -> CreditObject:
    """An invoice is corrected by a line of the next one."""
    made = current().invoices.credit(
        changeable(project_id),
        invoice_id,
        Decimal(str(body.amount)),
        body.reason,
        job_id=body.job_id,
        actor=actor(),
    )
    return CreditObject(id=made, invoice_id=invoice_id)


def _owners(services: Services, asked: Sequence[str] | None) -> Iterator[Tenant]:
    after = None
    while True:
        page = services.tenants.list(after=after, limit=1000)
        for found in page.items:
            if asked is None or found.id in asked:
                yield found
        if not page.has_more:
            return
        after = page.items[-1].id


def _results(
    services: Services, owners: list[Tenant], start: int, end: int, groups: tuple[str, ...]
) -> list[CostResult]:
    """The costs of a day: of currencies apart, and of what was asked for."""
    sums: dict[tuple[str, str | None, str | None], list[Decimal]] = {}
    with services.database.read() as connection:
        for owner in owners:
            project = owner.id if "project_id" in groups else None
            for line in services.budgets.costs.lines(
                connection, owner.id, owner.currency, start, end
            ):
                item = f"{line.kind}, {line.unit}" if "line_item" in groups else None
                found = sums.setdefault((owner.currency, project, item), [Decimal(0), Decimal(0)])
                found[0] += line.amount
                found[1] += line.quantity
    return [
        CostResult(
            amount=Amount(value=float(amount), currency=currency.lower()),
            project_id=project,
            line_item=item,
            quantity=None if item is None else float(quantity),
        )
        for (currency, project, item), (amount, quantity) in sums.items()
    ]


def _view(invoice: Invoice) -> InvoiceObject:
    return InvoiceObject(
        id=invoice.id,
        project_id=invoice.tenant,
        month=invoice.month,
        currency=invoice.currency,
        total=float(invoice.total),
        issued_at=None if invoice.issued_at is None else int(invoice.issued_at),
        starts_at=None if invoice.starts_at is None else int(invoice.starts_at),
        ends_at=None if invoice.ends_at is None else int(invoice.ends_at),
        lines=[asdict(line) for line in invoice.lines],
    )
