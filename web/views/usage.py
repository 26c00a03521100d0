"""/v1/organization/usage and /v1/usage: what was used, summed up or row by row."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from flask import Response

from textgen.errors import InvalidOption
from web.auth import is_operator, tenant
from web.project_access import visible
from web.resource import Resource
from web.schemas.usage import (
    DEFAULT_LIMIT,
    MOST,
    SECONDS,
    ExportQuery,
    KindSum,
    QuotaList,
    QuotaQuery,
    QuotaShape,
    SummaryQuery,
    UsageBucket,
    UsagePage,
    UsageQuery,
    UsageResult,
    UsageSummary,
)
from web.services import current
from worker.usage import usage as rows
from worker.usage.quantities import NAMES
from worker.usage.usage import GroupBy, UsageRow, UsageSum

usage = Resource("usage", __name__)
COLUMNS = ("id", "tenant", "kind", "model", "api_key", "job_id", "outcome", "billable", "at")
CHUNK = 64 * 1024
INTERACTIVE, BATCH = "completions", "batches"


@usage.on(
    "GET /v1/organization/usage/completions",
    "Usage of models over time",
    "read",
    query=UsageQuery,
    answer=UsagePage,
)
def completions(query: UsageQuery) -> UsagePage:
    """Texts, replies, vectors and classes, asked for one by one or in batches."""
    width = SECONDS[query.bucket_width]
    limit = DEFAULT_LIMIT[query.bucket_width] if query.limit is None else query.limit
    if limit > MOST[query.bucket_width]:
        raise InvalidOption(
            f"'limit' is {limit}: at most {MOST[query.bucket_width]} buckets of "
            f"{query.bucket_width} at once.",
            param="limit",
        )
    first = page_start(query.page, query.start_time) // width * width
    end = int(time.time()) + 1 if query.end_time is None else query.end_time
    until = min(end, first + limit * width)
    kinds = [INTERACTIVE, BATCH]
    if query.batch is not None:
        kinds = [BATCH if query.batch else INTERACTIVE]
    groups: list[GroupBy] = [
        name
        for name in ("project_id", "api_key_id", "model", "batch")
        if query.group_by is not None and name in query.group_by
    ]
    sums = current().usage.sums(
        rows.UsageQuery(
            start=max(first, 0),
            end=until,
            tenants=visible_tenants(query.project_ids),
            kinds=kinds,
            models=_given(query.models),
            api_keys=_given(query.api_key_ids),
        ),
        width,
        groups,
    )
    buckets = [_bucket(start, start + width, sums) for start in range(first, until, width)]
    more = until < end
    return UsagePage.model_construct(
        data=buckets, has_more=more, next_page=f"page_{until}" if more else None
    )


@usage.on("GET /v1/usage", "Usage by kind of work", "read", query=SummaryQuery, answer=UsageSummary)
def summary(query: SummaryQuery) -> UsageSummary:
    """Trainings, batches, completions, scorings, evaluations, examinations, storage."""
    end = int(time.time()) + 1 if query.end_time is None else query.end_time
    asked = rows.UsageQuery(query.start_time, end, visible_tenants(query.project_ids))
    sums = current().usage.sums(asked, max(1, end - query.start_time), ["kind"])
    data = [KindSum(kind=found.group["kind"], **asdict(found.quantities)) for found in sums]
    return UsageSummary(start_time=query.start_time, end_time=end, data=data)


@usage.on(
    "GET /v1/usage/quotas",
    "How the monthly quotas stand",
    "read",
    query=QuotaQuery,
    answer=QuotaList,
)
def quotas(query: QuotaQuery) -> QuotaList:
    """What is used, set aside and left of this month's characters, tokens, compute seconds."""
    services = current()
    asked = tenant() if query.project_id is None else visible(query.project_id)
    project = services.tenants.get(asked)
    data = [
        QuotaShape(
            name=found.name,
            limit=found.limit,
            used=found.used,
            reserved=found.reserved,
            remaining=max(0.0, found.limit - found.used - found.reserved),
            resets_at=int(found.resets_at),
        )
        for found in services.monthly.states(project)
    ]
    return QuotaList(project_id=project.id, time_zone=project.time_zone, data=data)


@usage.on(
    "GET /v1/usage/export",
    "Rows of usage for billing systems",
    "read",
    query=ExportQuery,
    media=("application/x-ndjson", "text/csv"),
)
def export(query: ExportQuery) -> Response:
    """One row for each job, second of completions, and hour of storage; sent while it is read."""
    end = int(time.time()) + 1 if query.end_time is None else query.end_time
    found = current().usage.rows(
        rows.UsageQuery(query.start_time, end, visible_tenants(query.project_ids))
    )
    as_csv = query.format == "csv"
    lines = _csv(found) if as_csv else (json.dumps(_flat(row)) + "\n" for row in found)
    return Response(lines, mimetype="text/csv" if as_csv else "application/x-ndjson")


def visible_tenants(asked: Sequence[str] | None) -> Sequence[str] | None:
    """Whose usage the caller sees: the operator that of all, everybody else their own."""
    if is_operator():
        return asked
    return [tenant()] if asked is None or tenant() in asked else []


def _given(values: Sequence[str] | None) -> Sequence[str]:
    return () if values is None else values


def page_start(page: str | None, start: int) -> int:
    """Where the buckets of a page begin; raises InvalidOption for a page that never was."""
    if page is None:
        return start
    number = page.removeprefix("page_")
    if not number.isdecimal() or len(number) > 12:
        raise InvalidOption(f"'page' is {page!r}: take 'next_page' of an answer.", param="page")
    return int(number)


def _bucket(start: int, end: int, sums: Sequence[UsageSum]) -> UsageBucket:
    results = [
        UsageResult.model_construct(
            input_tokens=found.quantities.tokens_in,
            output_tokens=found.quantities.tokens_out,
            num_model_requests=found.quantities.requests,
            input_characters=found.quantities.characters_in,
            output_characters=found.quantities.characters_out,
            compute_seconds=found.quantities.compute_seconds,
            project_id=found.group.get("project_id"),
            api_key_id=found.group.get("api_key_id"),
            model=found.group.get("model"),
            batch=None if (batch := found.group.get("batch")) is None else bool(batch),
        )
        for found in sums
        if int(found.start) == start
    ]
    return UsageBucket.model_construct(start_time=start, end_time=end, results=results)


def _flat(row: UsageRow) -> dict[str, object]:
    return {
        **{name: getattr(row, name) for name in COLUMNS},
        **{name: getattr(row.quantities, name) for name in NAMES},
    }


def _csv(found: Iterator[UsageRow]) -> Iterator[str]:
    text = io.StringIO()
    writer = csv.DictWriter(text, [*COLUMNS, *NAMES])
    writer.writeheader()
    for row in found:
        writer.writerow(_flat(row))
        if text.tell() > CHUNK:
            yield text.getvalue()
            text.seek(0)
            text.truncate()
    yield text.getvalue()
