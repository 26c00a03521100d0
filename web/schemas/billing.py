"""Costs, estimates and invoices."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from web.schemas.base import Body, Id, Query, Shape
from web.schemas.usage import Repeated, Time

Group = Literal["project_id", "line_item", "user_id", "api_key_id"]


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


class CostQuery(Query):
    """Which costs, by days (UTC)."""

    start_time: Time
    end_time: Time | None = None
    bucket_width: Literal["1d"] = "1d"
    limit: int = Field(7, ge=1, le=180)
    page: str | None = Field(None, max_length=40)
    group_by: Annotated[list[Group], BeforeValidator(_listed)] | None = None
    project_ids: Repeated | None = None


class Amount(Shape):
    """Money; the currency is a lower-case code, as OpenAI writes it."""

    value: float
    currency: str


class CostResult(Shape):
    """What was spent."""

    object: Literal["organization.costs.result"] = "organization.costs.result"
    amount: Amount
    line_item: str | None = None
    quantity: float | None = None
    project_id: str | None = None


class CostBucket(Shape):
    """A day."""

    object: Literal["bucket"] = "bucket"
    start_time: int
    end_time: int
    results: list[CostResult]


class CostPage(Shape):
    """Days in the order of time."""

    object: Literal["page"] = "page"
    data: list[CostBucket]
    has_more: bool
    next_page: str | None


class EstimateBody(Body):
    """A training that is not started: what would it cost?"""

    model: Id
    training_file: Id
    hyperparameters: dict[str, Any] = Field({}, description="as those of a training")


class Estimate(Shape):
    """About what a job will use and cost; ``textgen doctor`` measures.

    ``text_bytes`` is how much text the file holds; null where a Parquet file does not say it, and
    what depends on it is then counted by the size of the file, which is too little.
    """

    object: Literal["cost_estimate"] = "cost_estimate"
    currency: str
    amount: float
    quantities: dict[str, float]
    text_bytes: int | None


class InvoiceBody(Body):
    """Which month; a draft unless ``issue`` is true."""

    month: str = Field(max_length=7)
    issue: bool = False


class CreditBody(Body):
    """What is given back of an invoice, in units of its currency."""

    amount: float = Field(gt=0, le=1e9)
    reason: str = Field(min_length=1, max_length=500)
    job_id: Id | None = None


class CreditObject(Shape):
    """A credit; the next invoice has it as a line."""

    id: str
    object: Literal["invoice.credit"] = "invoice.credit"
    invoice_id: str


class InvoiceObject(Shape):
    """A month's bill; without an id it is a draft."""

    id: str
    object: Literal["invoice"] = "invoice"
    project_id: str
    month: str
    currency: str
    total: float
    issued_at: int | None
    starts_at: int | None
    ends_at: int | None
    lines: list[dict[str, Any]]


class InvoiceList(Shape):
    """Invoices of a project, the newest first."""

    object: Literal["list"] = "list"
    data: list[InvoiceObject]
    has_more: Literal[False] = False
