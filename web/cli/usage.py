"""``textgen usage``: what was used, by kind of work, and as rows for billing systems."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import click

from web.cli.api import connect, save
from web.cli.language import _
from web.cli.operator import open_operator, tenant_option
from web.cli.terminal import json_option, notes, print_json, print_table

DAY = click.DateTime(["%Y-%m-%d"])
since_option = click.option("--since", type=DAY, help="From this day on (UTC); else this month's.")
until_option = click.option("--until", type=DAY, help="Up to this day, which does not count.")


@click.group(invoke_without_command=True)
@click.pass_context
def usage(context: click.Context) -> None:
    """What was used; without a command, this month's sums by kind of work."""
    if context.invoked_subcommand is None:
        context.invoke(show, since=None, until=None, tenant=None, as_json=False)


@usage.command(epilog="Example: textgen usage show --since 2026-11-01 --json")
@since_option
@until_option
@click.option("--tenant", help="Of this one alone; for the operator, who else sees all.")
@json_option
def show(since: datetime | None, until: datetime | None, tenant: str | None, as_json: bool) -> None:
    """Sums by kind of work."""
    found = connect().get("/v1/usage", **_query(since, until, tenant))
    if as_json:
        print_json(found)
        return
    rows = [
        (
            row["kind"],
            f"{row['requests']:,}",
            f"{row['characters_in']:,}",
            f"{row['characters_out']:,}",
            f"{row['tokens_in'] + row['tokens_out']:,}",
            f"{row['compute_seconds']:,.1f}",
            f"{row['byte_hours'] / 1e9:,.3f}",
        )
        for row in found["data"]
    ]
    headings = (
        _("kind"),
        _("requests"),
        _("characters in"),
        _("out"),
        _("tokens"),
        _("seconds"),
        _("GB hours"),
    )
    print_table(headings, rows, _("Nothing was used."))


@usage.command(epilog="Example: textgen usage quotas --tenant acme")
@click.option("--tenant", help="Of this one; for the operator.")
@json_option
def quotas(tenant: str | None, as_json: bool) -> None:
    """How the monthly quotas stand: used, set aside for jobs, left, and until when."""
    asked = {} if tenant is None else {"project_id": tenant}
    found = connect().get("/v1/usage/quotas", **asked)
    if as_json:
        print_json(found)
        return
    zone = ZoneInfo(found["time_zone"])
    rows = [
        (
            row["name"],
            *(f"{row[name]:,.0f}" for name in ("limit", "used", "reserved", "remaining")),
            f"{datetime.fromtimestamp(row['resets_at'], zone):%Y-%m-%d %H:%M}",
        )
        for row in found["data"]
    ]
    headings = (
        _("quota"),
        _("a month"),
        _("used"),
        _("set aside"),
        _("left"),
        _("begins anew"),
    )
    print_table(headings, rows, _("There are no monthly quotas."))


@usage.command(epilog="Example: textgen usage export --format csv --out november.csv")
@since_option
@until_option
@click.option("--tenant", help="Of this one alone; for the operator, who else sees all.")
@click.option("--format", "form", type=click.Choice(["csv", "jsonl"]), default="csv")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write it there.")
def export(
    since: datetime | None,
    until: datetime | None,
    tenant: str | None,
    form: str,
    out: Path | None,
) -> None:
    """One row for each job, second of completions, and hour of storage."""
    query = {**_query(since, until, tenant), "format": form}
    path = "/v1/usage/export?" + "&".join(f"{name}={value}" for name, value in query.items())
    if out is None:
        connect().download(path, sys.stdout.buffer)
        sys.stdout.buffer.flush()
    else:
        save(connect(), path, out)


@usage.command(epilog="Example: textgen usage invoice 2026-11 --tenant acme --issue --out nov.csv")
@click.argument("month")
@tenant_option
@click.option("--issue", is_flag=True, help="Freeze it; else it is a draft.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write it there.")
@json_option
def invoice(month: str, tenant: str | None, issue: bool, out: Path | None, as_json: bool) -> None:
    """A month's bill as CSV, with the ids of the jobs of each line. Works on the database."""
    operator = open_operator()
    owner = operator.tenant(tenant)
    bills = operator.invoices()
    made = bills.issue(owner, month) if issue else bills.draft(owner, month)
    if out is not None:
        out.write_text(made.as_csv(), encoding="utf-8")
    if as_json:
        print_json({**asdict(made), "total": str(made.total)})
    elif out is None:
        click.echo(made.as_csv(), nl=False)
    if made.id:
        notes().print(_("Issued as %(invoice)s") % {"invoice": made.id})
    else:
        notes().print(_("A draft; --issue freezes it"))


@usage.command(epilog="Example: textgen usage credit inv_… 1.50 --tenant acme --reason refund")
@click.argument("invoice_id")
@click.argument("amount", type=Decimal)
@tenant_option
@click.option("--reason", required=True, help="Stands on the next invoice.")
@click.option("--job", help="The job that it is about.")
@json_option
def credit(
    invoice_id: str,
    amount: Decimal,
    tenant: str | None,
    reason: str,
    job: str | None,
    as_json: bool,
) -> None:
    """Give something back of an invoice, as a line of the next one."""
    operator = open_operator()
    owner = operator.tenant(tenant)
    made = operator.invoices().credit(owner, invoice_id, amount, reason, job_id=job)
    if as_json:
        print_json({"id": made, "invoice_id": invoice_id})
    else:
        click.echo(made)


def _query(since: datetime | None, until: datetime | None, tenant: str | None) -> dict[str, Any]:
    now = datetime.fromtimestamp(time.time(), UTC)
    start = now.replace(day=1, hour=0, minute=0, second=0) if since is None else since
    query: dict[str, Any] = {"start_time": int(start.replace(tzinfo=UTC).timestamp())}
    if until is not None:
        query["end_time"] = int(until.replace(tzinfo=UTC).timestamp())
    if tenant is not None:
        query["project_ids[]"] = tenant
    return query
