"""``textgen jobs``: every job of every kind, and what can be done with it."""

from __future__ import annotations

import itertools
import time
from typing import Any, get_args

import click

from web.cli.api import connect, path_of
from web.cli.follow import ENDED, Left, describe, follow, print_events
from web.cli.terminal import ago, json_option, notes, print_json, print_table, results, span
from web.cli.train import say_how_to_come_back, say_not_done
from worker.jobs.states import Kind

KINDS = get_args(Kind)


@click.group(invoke_without_command=True)
@click.pass_context
def jobs(context: click.Context) -> None:
    """Trainings, batches, scorings, evaluations; without a command, list them."""
    if context.invoked_subcommand is None:
        context.invoke(show_list, kind=None, state=None, limit=20, as_json=False)


@jobs.command("list", epilog="Example: textgen jobs list --state running")
@click.option("--kind", type=click.Choice(KINDS))
@click.option(
    "--state",
    type=click.Choice(["queued", "running", "paused", "succeeded", "failed", "cancelled"]),
)
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True)
@json_option
def show_list(kind: str | None, state: str | None, limit: int, as_json: bool) -> None:
    """List jobs, the newest first."""
    pages = connect().pages("/v1/jobs", kind=kind, state=state, limit=min(limit, 100))
    found = list(itertools.islice(pages, limit))
    if as_json:
        print_json(found)
        return
    rows = [
        (job["id"], job["kind"], job["state"], ago(job["created_at"]), remark(job)) for job in found
    ]
    empty = "No jobs yet. Start one: textgen train FILE"
    print_table(("job", "kind", "state", "made", ""), rows, empty)


@jobs.command(epilog="Example: textgen jobs show ftjob-… --follow")
@click.argument("job_id")
@click.option("--follow", "following", is_flag=True, help="Watch it until it ends.")
@json_option
def show(job_id: str, following: bool, as_json: bool) -> int:
    """Show a job; with --follow, watch it until its end."""
    api, console = connect(), notes()
    job = api.get(path_of("jobs", job_id))
    if following and job["state"] not in ENDED:
        try:
            job = follow(api, job_id, console)
        except Left:
            say_how_to_come_back(console, job_id)
            return 1
    if as_json:
        print_json(job)
    else:
        _print_job(job)
    if following and job["state"] != "succeeded":
        say_not_done(console, job)
        return 1
    return 0


@jobs.command(epilog="Example: textgen jobs logs ftjob-… --follow")
@click.argument("job_id")
@click.option("--follow", "following", is_flag=True, help="Go on until the job ends.")
@json_option
def logs(job_id: str, following: bool, as_json: bool) -> int:
    """Print a job's events, the oldest first."""
    api = connect()
    if as_json:
        path, found, after = path_of("jobs", job_id, "events"), [], 0
        while True:
            page = api.get(path, after=after, limit=1000)
            found += page["data"]
            if not page["has_more"]:
                break
            after = page["data"][-1]["id"]
        print_json(found)
        return 0
    console = results()
    seen = print_events(api, job_id, console, 0)
    try:
        while following and api.get(path_of("jobs", job_id))["state"] not in ENDED:
            time.sleep(1)
            seen = print_events(api, job_id, console, seen)
    except KeyboardInterrupt:
        return 1
    return 0


def _act(job_id: str, verb: str, as_json: bool) -> dict[str, Any]:
    job: dict[str, Any] = connect().post(path_of("jobs", job_id, verb))
    if as_json:
        print_json(job)
    else:
        click.echo(f"{job['id']} is {job['state']}")
    return job


@jobs.command(epilog="Example: textgen jobs cancel ftjob-…")
@click.argument("job_id")
@json_option
def cancel(job_id: str, as_json: bool) -> None:
    """End a job; what it has written so far stays."""
    job = _act(job_id, "cancel", as_json)
    if job["state"] not in ENDED and not as_json:
        click.echo("It ends at its next step.")


@jobs.command(epilog="Example: textgen jobs pause ftjob-…")
@click.argument("job_id")
@json_option
def pause(job_id: str, as_json: bool) -> None:
    """Let a job rest; it keeps a checkpoint."""
    _act(job_id, "pause", as_json)


@jobs.command(epilog="Example: textgen jobs resume ftjob-…")
@click.argument("job_id")
@json_option
def resume(job_id: str, as_json: bool) -> None:
    """Let a paused job go on where it was."""
    _act(job_id, "resume", as_json)


@jobs.command(epilog="Example: textgen jobs retry ftjob-…")
@click.argument("job_id")
@json_option
def retry(job_id: str, as_json: bool) -> None:
    """Run a failed or cancelled job again, as a new one."""
    job = _act(job_id, "retry", as_json)
    if not as_json:
        click.echo(f"Watch it: textgen jobs show {job['id']} --follow")


def remark(job: dict[str, Any]) -> str:
    """What is worth knowing about a job in a list."""
    if job["state"] in ("queued", "running"):
        return describe(job)
    if job["error"]:
        return str(job["error"]["message"])
    result = job["result"] if job["result"] is not None else {}
    return str(result.get("fine_tuned_model", ""))


def _print_job(job: dict[str, Any]) -> None:
    rows: list[tuple[str, object]] = [
        ("job", job["id"]),
        ("kind", job["kind"]),
        ("state", job["state"]),
        ("made", ago(job["created_at"])),
    ]
    if job["started_at"] is not None:
        end = time.time() if job["finished_at"] is None else job["finished_at"]
        rows.append(("ran for", span(end - job["started_at"])))
    rows.append(("now", remark(job)))
    rows += [(name, value) for name, value in job["metadata"].items()]
    if job["result"] is not None:
        rows += [(name, _plain(value)) for name, value in job["result"].items()]
    print_table(("", ""), [row for row in rows if row[1] not in ("", None)], "")


def _plain(value: Any) -> Any:
    """A value, or of an object what fits into a line."""
    if not isinstance(value, dict):
        return value
    return {key: inner for key, inner in value.items() if not isinstance(inner, (dict, list))}
