"""A month's bill, as it is shown, stored and downloaded."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from sqlalchemy.engine import Row

from worker.tenants.options import MICRO

COLUMNS = (
    "invoice", "project", "month", "currency", "line", "kind", "unit", "quantity", "unit_price",
    "amount", "jobs",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class InvoiceLine:
    """One position. ``jobs`` are the ids of the jobs that it counts; completions have none."""

    kind: str
    unit: str
    quantity: str
    unit_price: str
    amount: str  # rounded to millionths
    jobs: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Invoice:
    """A month's bill; ``id`` is empty for a draft.

    ``starts_at`` and ``ends_at`` bound what is billed; one issued before they were noted has none.
    """

    id: str
    tenant: str
    month: str
    currency: str
    lines: Sequence[InvoiceLine]
    total: Decimal
    issued_at: float | None
    starts_at: float | None
    ends_at: float | None

    def as_csv(self) -> str:
        """One row a line, and a last one with the total, rounded to hundredths."""
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(COLUMNS)
        head = (self.id, self.tenant, self.month, self.currency)
        for number, line in enumerate(self.lines, 1):
            amounts = (line.quantity, line.unit_price, line.amount)
            writer.writerow([*head, number, line.kind, line.unit, *amounts, " ".join(line.jobs)])
        total = self.total.quantize(Decimal("0.01"), ROUND_HALF_UP)
        writer.writerow([*head, "total", "", "", "", "", total, ""])
        return text.getvalue()


def invoice_from(row: Row[Any]) -> Invoice:
    """The invoice in a row of the table."""
    lines: list[Mapping[str, Any]] = row.lines
    return Invoice(
        id=row.id,
        tenant=row.tenant,
        month=row.month,
        currency=row.currency,
        lines=[InvoiceLine(**line) for line in lines],
        total=Decimal(row.total) / MICRO,
        issued_at=row.issued_at,
        starts_at=row.starts_at,
        ends_at=row.ends_at,
    )
