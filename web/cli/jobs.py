"""``textgen jobs``: every job of every kind, and what can be done with it."""

from __future__ import annotations

import itertools
import shlex
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import click

from web.cli import completion
from web.cli.api import connect, path_of, save
from web.cli.figures import figures
from web.cli.follow import ENDED, Left, describe, follow, patiently, print_events
from web.cli.language import _, named, said
from web.cli.losses import losses_of
from web.cli.terminal import ago, json_option, notes, print_json, print_table, results, span
from web.cli.train import say_how_to_come_back, say_not_done

# As worker.jobs.states has them, whose package takes half a second to load.
KINDS = ("training", "batch", "scoring", "evaluation", "examination")
STATES = ("queued", "running", "paused", "succeeded", "failed", "cancelled")


@click.group(invoke_without_command=True)
@click.pass_context
def jobs(context: click.Context) -> None:
    """Trainings, batches, scorings, evaluations, examinations; without a command, list them."""
    if context.invoked_subcommand is None:
        context.invoke(show_list, kind=None, state=None, limit=20, as_json=False)


@jobs.command("list", epilog="Example: textgen jobs list --state running")
@click.option("--kind", type=click.Choice(KINDS))
@click.option("--state", type=click.Choice(STATES))
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
        (job["id"], named(job["kind"]), named(job["state"]), ago(job["created_at"]), remark(job))
        for job in found
    ]
    empty = _("No jobs yet. Start one: textgen train FILE")
    print_table((_("job"), _("kind"), _("state"), _("made"), ""), rows, empty)


@jobs.command(epilog="Example: textgen jobs show ftjob-… --follow")
@click.argument("job_id", shell_complete=completion.jobs)
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
        curves = losses_of(api, job_id).lines() if job["kind"] == "training" else {}
        _print_job(job, curves)
    if following and job["state"] != "succeeded":
        say_not_done(console, job)
        return 1
    return 0


@jobs.command(epilog="Example: textgen jobs logs ftjob-… --follow")
@click.argument("job_id", shell_complete=completion.jobs)
@click.option("--follow", "following", is_flag=True, help="Go on until the job ends.")
@json_option
def logs(job_id: str, following: bool, as_json: bool) -> int:
    """Print a job's events, the oldest first."""
    if following and as_json:
        raise click.UsageError(
            _("--follow prints events as they come, which are no JSON: leave out one of the two.")
        )
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
    console, seen = results(), 0
    read = partial(api.get, path_of("jobs", job_id))
    job = read()
    try:
        while True:  # the state is read first: a job that has ended has told all its events
            seen = print_events(api, job_id, console, seen)
            if not following or job["state"] in ENDED:
                return 0
            time.sleep(1)
            job = patiently(read)
    except KeyboardInterrupt:
        return 1


def _act(job_id: str, verb: str, as_json: bool) -> dict[str, Any]:
    job: dict[str, Any] = connect().post(path_of("jobs", job_id, verb))
    if as_json:
        print_json(job)
    else:
        _tell_state(job["id"], job["state"])
    return job


def _tell_state(job_id: str, state: str) -> None:
    click.echo(_("%(job)s is %(state)s") % {"job": job_id, "state": named(state)})


@jobs.command(epilog="Example: textgen jobs cancel ftjob-…")
@click.argument("job_id", shell_complete=completion.jobs_in(*completion.UNFINISHED))
@json_option
def cancel(job_id: str, as_json: bool) -> None:
    """End a job; what it has written so far stays."""
    job = _act(job_id, "cancel", as_json)
    if job["state"] not in ENDED and not as_json:
        click.echo(_("It ends at its next step."))


@jobs.command(epilog="Example: textgen jobs pause ftjob-…")
@click.argument("job_id", shell_complete=completion.jobs_in("queued", "running"))
@json_option
def pause(job_id: str, as_json: bool) -> None:
    """Let a job rest; it keeps a checkpoint."""
    _act(job_id, "pause", as_json)


@jobs.command(epilog="Example: textgen jobs resume ftjob-…")
@click.argument("job_id", shell_complete=completion.jobs_in("paused"))
@json_option
def resume(job_id: str, as_json: bool) -> None:
    """Let a paused job go on where it was."""
    _act(job_id, "resume", as_json)


@jobs.command(epilog="Example: textgen jobs retry batch_… --failed")
@click.argument("job_id", shell_complete=completion.jobs_in("failed", "cancelled"))
@click.option("--failed", is_flag=True, help="Of a batch the lines that have no answer, no others.")
@json_option
def retry(job_id: str, failed: bool, as_json: bool) -> None:
    """Run a failed or cancelled job again, as a new one; of a batch also its failed lines alone."""
    if failed:
        job = connect().post(path_of("batches", job_id, "retry_failed"))
        if as_json:
            print_json(job)
        else:
            _tell_state(job["id"], job["status"])
    else:
        job = _act(job_id, "retry", as_json)
    if not as_json:
        click.echo(
            _("Watch it: %(command)s") % {"command": f"textgen jobs show {job['id']} --follow"}
        )


@jobs.command(epilog="Example: textgen jobs output batch_… --out so-far.jsonl")
@click.argument("job_id", shell_complete=completion.jobs)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write it there.")
@click.option("--errors", is_flag=True, help="The failed lines instead.")
def output(job_id: str, out: Path | None, errors: bool) -> None:
    """Print the answers of a batch: all of them, or while it runs what is there so far."""
    path = path_of("batches", job_id, "errors" if errors else "output")
    if out is None:
        connect().download(path, sys.stdout.buffer)
    else:
        save(connect(), path, out)


@jobs.command(epilog="Example: textgen jobs tensorboard runs ftjob-… ftjob-…")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.argument("job_ids", nargs=-1, required=True)
@json_option
def tensorboard(folder: Path, job_ids: tuple[str, ...], as_json: bool) -> None:
    """Write what trainings have measured into FOLDER, to be seen with TensorBoard.

    Each has a folder of its own. Of a training that runs, call it again for what is new.
    """
    api = connect()
    written = {job_id: folder / job_id / f"events.out.tfevents.0.{job_id}" for job_id in job_ids}
    for job_id, path in written.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            api.download(path_of("jobs", job_id, "tensorboard"), file)
    if as_json:
        print_json({job_id: str(path) for job_id, path in written.items()})
        return
    command = f"tensorboard --logdir {shlex.quote(str(folder))}"
    click.echo(_("Look at it: %(command)s") % {"command": command})


def remark(job: dict[str, Any]) -> str:
    """What is worth knowing about a job in a list."""
    if job["state"] in ("queued", "running"):
        return describe(job)
    if job["error"]:
        return said(str(job["error"]["message"]))
    result = job["result"] if job["result"] is not None else {}
    return str(result.get("fine_tuned_model", ""))


def _print_job(job: dict[str, Any], curves: dict[str, str]) -> None:
    rows: list[tuple[str, object]] = [
        (_("job"), job["id"]),
        (_("kind"), named(job["kind"])),
        (_("state"), named(job["state"])),
        (_("made"), ago(job["created_at"])),
    ]
    if job["started_at"] is not None:
        end = time.time() if job["finished_at"] is None else job["finished_at"]
        rows.append((_("ran for"), span(end - job["started_at"])))
    rows.append((_("now"), remark(job)))
    rows += curves.items()
    rows += [(name, value) for name, value in job["metadata"].items()]
    result = job["result"] if job["result"] is not None else {}
    rows += figures({name: each for name, each in result.items() if name != "fine_tuned_model"})
    print_table(("", ""), [row for row in rows if row[1] not in ("", None)], "")
