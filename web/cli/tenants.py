"""``textgen tenants``: whom the service works for. Works on the database, without a server."""

from __future__ import annotations

from typing import Any

import click

from web.cli.language import _, named
from web.cli.operator import Operator, open_operator
from web.cli.options import set_option, values_of
from web.cli.terminal import ago, json_option, notes, print_json, print_table, size
from worker.tenants.options import NewTenant, TenantOptions
from worker.tenants.tenants import Tenant

EXAMPLE = "weight=2"


@click.group(invoke_without_command=True)
@click.pass_context
def tenants(context: click.Context) -> None:
    """Tenants; without a command, list them. Run it where the database is."""
    if context.invoked_subcommand is None:
        context.invoke(show_list, as_json=False)


@tenants.command(epilog='Example: textgen tenants create acme --name "ACME Ltd" --set plan=free')
@click.argument("tenant_id")
@click.option("--name", help="What people call it; its id where not given.")
@set_option(EXAMPLE)
@json_option
def create(tenant_id: str, name: str | None, pairs: tuple[str, ...], as_json: bool) -> None:
    """Make a tenant, and then a key for it: textgen keys create NAME --tenant ID."""
    values = {"id": tenant_id, "name": tenant_id if name is None else name}
    new = NewTenant.parse({**values, **values_of(pairs, EXAMPLE)})
    _show(open_operator().tenants.create(new), as_json)


@tenants.command("list", epilog="Example: textgen tenants list")
@json_option
def show_list(as_json: bool) -> None:
    """List tenants by id."""
    found = list(_all(open_operator()))
    if as_json:
        print_json([as_dict(tenant) for tenant in found])
        return
    rows = [
        (each.id, each.name, named(each.status), each.weight, each.plan, ago(each.created_at))
        for each in found
    ]
    headings = (_("tenant"), _("name"), _("state"), _("weight"), _("plan"), _("made"))
    print_table(headings, rows, _("No tenants."))


@tenants.command(epilog="Example: textgen tenants show acme")
@click.argument("tenant_id")
@json_option
def show(tenant_id: str, as_json: bool) -> None:
    """Show a tenant and what it has."""
    operator = open_operator()
    tenant = operator.tenants.get(tenant_id)
    contents = operator.deletion().contents(tenant_id)
    if as_json:
        print_json({**as_dict(tenant), "contents": dict(contents.rows)})
        return
    rows = [
        (named(name), _shown(name, value))
        for name, value in as_dict(tenant).items()
        if value not in (None, "")
    ]
    rows += [
        (_("has %(what)s") % {"what": named(name)}, count) for name, count in contents.rows.items()
    ]
    rows.append((_("has bytes of files"), size(contents.file_bytes)))
    print_table(("", ""), rows, "")


@tenants.command("set", epilog="Example: textgen tenants set acme --set monthly_budget=50")
@click.argument("tenant_id")
@set_option(EXAMPLE)
@json_option
def change(tenant_id: str, pairs: tuple[str, ...], as_json: bool) -> None:
    """Change what a tenant may use: weight, plan, limits, monthly_budget, label, …"""
    wanted = TenantOptions.parse(values_of(pairs, EXAMPLE))
    _show(open_operator().tenants.update(tenant_id, wanted), as_json)


@tenants.command(epilog="Example: textgen tenants suspend acme")
@click.argument("tenant_id")
@json_option
def suspend(tenant_id: str, as_json: bool) -> None:
    """Refuse its requests and start none of its jobs; what runs goes on to its end."""
    _show(open_operator().tenants.suspend(tenant_id), as_json)


@tenants.command(epilog="Example: textgen tenants resume acme")
@click.argument("tenant_id")
@json_option
def resume(tenant_id: str, as_json: bool) -> None:
    """Take a suspension back."""
    _show(open_operator().tenants.resume(tenant_id), as_json)


@tenants.command(epilog="Example: textgen tenants rm acme --yes")
@click.argument("tenant_id")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def rm(tenant_id: str, yes: bool, as_json: bool) -> None:
    """Delete a tenant and all that it has, for good; says first what that is."""
    operator = open_operator()
    deletion = operator.deletion()
    found = deletion.contents(tenant_id)
    told = _(", ").join(f"{count:,} {named(name)}" for name, count in found.rows.items())
    has = _("%(tenant)s has %(rows)s; %(size)s of files, %(jobs)s jobs that are not finished.")
    names = {"tenant": tenant_id, "rows": told}
    notes().print(has % {**names, "size": size(found.file_bytes), "jobs": found.live_jobs})
    if not yes:
        click.confirm(_("Delete all of it?"), abort=True, err=True)
    gone = deletion.delete(tenant_id)
    if as_json:
        print_json({"id": tenant_id, "deleted": True, "rows": dict(gone.rows)})
    else:
        click.echo(_("Deleted %(id)s") % {"id": tenant_id})


@tenants.command(epilog="Example: textgen tenants audit --tenant acme")
@click.option("--tenant", help="Of this one alone.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@json_option
def audit(tenant: str | None, limit: int, as_json: bool) -> None:
    """Who changed what, the newest first."""
    entries = open_operator().audit.list([tenant] if tenant else None, limit=limit).items
    shown = [{name: getattr(each, name) for name in each.__dataclass_fields__} for each in entries]
    if as_json:
        print_json(shown)
        return
    rows = [
        (each.type, each.subject, each.tenant, each.actor_key, ago(each.created_at))
        for each in entries
    ]
    headings = (_("what"), _("of"), _("tenant"), _("by key"), _("when"))
    print_table(headings, rows, _("Nothing was changed."))


def as_dict(tenant: Tenant) -> dict[str, Any]:
    """A tenant for programs."""
    budget = tenant.monthly_budget
    return {
        "id": tenant.id,
        "name": tenant.name,
        "status": tenant.status,
        "weight": tenant.weight,
        "plan": tenant.plan,
        "currency": tenant.currency,
        "time_zone": tenant.time_zone,
        "monthly_budget": None if budget is None else float(budget),
        "limits": tenant.limits.model_dump(exclude_none=True),
        "label": tenant.label,
        "blocked_words": len(tenant.blocked_words),
        "created_at": tenant.created_at,
        "suspended_at": tenant.suspended_at,
    }


def _shown(name: str, value: Any) -> Any:
    """A field's value, for people."""
    if name.endswith("_at"):
        return ago(value)
    return named(value) if name == "status" else value


def _show(tenant: Tenant, as_json: bool) -> None:
    if as_json:
        print_json(as_dict(tenant))
    else:
        told = {"tenant": tenant.id, "name": tenant.name, "state": named(tenant.status)}
        click.echo(_("%(tenant)s (%(name)s) is %(state)s") % told)


def _all(operator: Operator) -> list[Tenant]:
    found: list[Tenant] = []
    page = operator.tenants.list(limit=1000)
    while True:
        found += page.items
        if not page.has_more:
            return found
        page = operator.tenants.list(after=found[-1].id, limit=1000)
