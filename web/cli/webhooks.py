"""``textgen webhooks``: where the service tells of jobs that have ended."""

from __future__ import annotations

import click

from web.cli.api import connect, path_of
from web.cli.completion import endpoints
from web.cli.language import _
from web.cli.terminal import ago, json_option, notes, print_json, print_table

ROOT = "/v1/webhook_endpoints"


@click.group(invoke_without_command=True)
@click.pass_context
def webhooks(context: click.Context) -> None:
    """Webhook endpoints; without a command, list them."""
    if context.invoked_subcommand is None:
        context.invoke(show_list, as_json=False)


@webhooks.command(
    epilog="Example: textgen webhooks create https://example.com/hook --event batch.completed"
)
@click.argument("url")
@click.option("--name", help="What people call it; its URL where not given.")
@click.option("--event", "events", multiple=True, help="Several times; without it every event.")
@json_option
def create(url: str, name: str | None, events: tuple[str, ...], as_json: bool) -> None:
    """Make an endpoint. Its secret is shown this once."""
    api = connect()
    wanted = list(events) if events else api.get("/v1/webhook_event_types")["data"]
    made = api.post(
        ROOT, {"url": url, "name": url[:200] if name is None else name, "event_types": wanted}
    )
    if as_json:
        print_json(made)
        return
    click.echo(made["signing_secret"])
    told = _("%(id)s is there. Keep its secret: it is not shown again.")
    notes().print(told % {"id": made["id"]})


@webhooks.command("list", epilog="Example: textgen webhooks list --json")
@json_option
def show_list(as_json: bool) -> None:
    """List endpoints, the oldest first."""
    found = list(connect().pages(ROOT, limit=100))
    if as_json:
        print_json(found)
        return
    rows = [
        (each["id"], each["name"], each["url"], len(each["event_types"]), ago(each["created_at"]))
        for each in found
    ]
    headings = (_("endpoint"), _("name"), _("url"), _("events"), _("made"))
    print_table(headings, rows, _("No webhook endpoints."))


@webhooks.command(epilog="Example: textgen webhooks log we_…")
@click.argument("endpoint_id", shell_complete=endpoints)
@json_option
def log(endpoint_id: str, as_json: bool) -> None:
    """What was sent there, the newest first."""
    path = path_of("webhook_endpoints", endpoint_id, "deliveries")
    found = connect().get(path, limit=100)["data"]
    if as_json:
        print_json(found)
        return
    rows = [
        (
            each["id"],
            each["event_type"],
            each["event"]["data"]["id"],
            each["state"],
            each["attempts"],
            each["last_error"],
            ago(each["created_at"]),
        )
        for each in found
    ]
    headings = (
        _("delivery"),
        _("event"),
        _("of"),
        _("state"),
        _("attempts"),
        _("last error"),
        _("made"),
    )
    print_table(headings, rows, _("Nothing was sent yet."))


@webhooks.command(epilog="Example: textgen webhooks test we_… --event batch.completed")
@click.argument("endpoint_id", shell_complete=endpoints)
@click.option("--event", default="batch.completed", show_default=True)
@json_option
def test(endpoint_id: str, event: str, as_json: bool) -> None:
    """Send a sample event now, and say what the endpoint answered."""
    path = path_of("webhook_endpoints", endpoint_id, "test")
    answer = connect().post(path, {"event_type": event})
    if as_json:
        print_json(answer)
    else:
        told = {"endpoint": endpoint_id, "status": answer["status_code"]}
        click.echo(_("%(endpoint)s answered with status %(status)s") % told)


@webhooks.command(epilog="Example: textgen webhooks rotate we_… --keep-old")
@click.argument("endpoint_id", shell_complete=endpoints)
@click.option("--keep-old", is_flag=True, help="Sign with both secrets for a day.")
@json_option
def rotate(endpoint_id: str, keep_old: bool, as_json: bool) -> None:
    """Replace the secret. The new one is shown this once."""
    path = path_of("webhook_endpoints", endpoint_id, "rotate_secret")
    made = connect().post(path, {"keep_old_secret_active_for_24_hours": keep_old})
    if as_json:
        print_json(made)
    else:
        click.echo(made["signing_secret"])


@webhooks.command(epilog="Example: textgen webhooks rm we_…")
@click.argument("endpoint_id", shell_complete=endpoints)
@json_option
def rm(endpoint_id: str, as_json: bool) -> None:
    """Delete an endpoint, and what was to be sent there."""
    answer = connect().delete(path_of("webhook_endpoints", endpoint_id))
    if as_json:
        print_json(answer)
    else:
        click.echo(_("Deleted %(id)s") % {"id": answer["id"]})
