"""Following a job until it ends: its events as they come, a live bar below them.

Leaving (Ctrl-C) never touches the job.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from textwrap import indent
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.text import Text

from web.cli.api import Api, RequestFailed, ServerUnreachable, path_of
from web.cli.terminal import span

POLL_SECONDS = 0.5
PATIENCE_SECONDS = 90.0  # a server may be restarted while we watch
PLAIN_SECONDS = 10.0  # between two lines of progress where there is no terminal
ENDED = frozenset({"succeeded", "failed", "cancelled"})
QUIET = frozenset({"progress", "checkpoint", "plan"})
WAITING = {
    "behind_others": "its turn has not come yet",
    "quota": "your quota is in use",
    "no_worker": "no worker is running; start one with `textgen worker train` or `generate`",
    "does_not_fit": "no worker is large enough for it",
}


class Left(Exception):
    """The user pressed Ctrl-C; the job goes on."""


def follow(api: Api, job_id: str, console: Console, *, after: int = 0) -> dict[str, Any]:
    """Show the job until it ends (or is paused); return it. Raises Left on Ctrl-C."""
    seen = after
    with bar(console) as show:
        try:
            while True:
                job = patiently(lambda: api.get(path_of("jobs", job_id)))
                seen = print_events(api, job_id, console, seen)
                if job["state"] in ENDED or job["state"] == "paused":
                    return dict(job)
                show(job)
                time.sleep(POLL_SECONDS)
        except KeyboardInterrupt:
            raise Left from None


def print_events(api: Api, job_id: str, console: Console, after: int) -> int:
    """Print the events behind number ``after``; return the number of the last."""
    path = path_of("jobs", job_id, "events")
    while True:
        page = patiently(partial(api.get, path, after=after, limit=100))
        for event in page["data"]:
            print_event(console, event)
            after = event["id"]
        if not page["has_more"]:
            return after


def print_event(console: Console, event: Mapping[str, Any]) -> None:
    """Print one event, unless the bar says the same."""
    if event["level"] == "info" and not _worth_a_line(event):
        return
    if event["type"] == "sample":
        console.print(Text("  a sample of what it writes now:", style="dim"))
        sample = str(event["data"].get("text", event["message"]))
        console.print(Text(indent(sample, "    "), style="italic"), soft_wrap=True)
        return
    style = {"warn": "yellow", "error": "red"}.get(event["level"], "")
    console.print(Text(f"  {event['message']}", style=style), soft_wrap=True)


def _worth_a_line(event: Mapping[str, Any]) -> bool:
    if event["type"] == "metrics":
        return event["data"].get("valid_loss") is not None
    return event["type"] not in QUIET


@contextmanager
def bar(console: Console) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Yield a function that shows where a job is: a live bar, or lines now and then."""
    if not console.is_terminal:
        yield _Lines(console).show
        return
    columns = (
        BarColumn(bar_width=24),
        TextColumn("{task.percentage:>3.0f} %"),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("starting", total=None)
        yield lambda job: _move(progress, task, job)


def _move(progress: Progress, task: TaskID, job: Mapping[str, Any]) -> None:
    done, total = share(job)
    progress.update(task, completed=done, total=total, description=describe(job))


class _Lines:
    """Progress where lines cannot be overwritten: one now and then."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._next = time.monotonic()
        self._last = ""

    def show(self, job: Mapping[str, Any]) -> None:
        """Print a line if it is time for one and it says something new."""
        line = describe(job)
        if time.monotonic() < self._next or line == self._last:
            return
        self._next, self._last = time.monotonic() + PLAIN_SECONDS, line
        done, total = share(job)
        percent = f"{100 * done / total:3.0f} %  " if total else ""
        self._console.print(f"  {percent}{line}", soft_wrap=True)


def share(job: Mapping[str, Any]) -> tuple[float, float | None]:
    """(done, total) of a job's work; the total is None while unknown."""
    progress = job["progress"]
    counts = progress.get("request_counts")
    if counts and counts["total"]:
        return float(counts["completed"] + counts["failed"]), float(counts["total"])
    if progress.get("total_steps"):
        return float(progress.get("step", 0)), float(progress["total_steps"])
    if progress.get("total"):
        return float(progress["done"]), float(progress["total"])
    return 0.0, None


def describe(job: Mapping[str, Any]) -> str:
    """One line about where a job is: why it waits, or rate, loss and time left."""
    if job["state"] == "queued":
        return _why_waiting(job.get("waiting"))
    progress, parts = job["progress"], []
    if progress.get("train_loss") is not None:
        parts.append(f"loss {progress['train_loss']:.3f}")
    if progress.get("epsilon_spent") is not None:
        parts.append(f"epsilon {progress['epsilon_spent']:.2f}")
    if progress.get("tokens_per_second") is not None:
        parts.append(f"{progress['tokens_per_second']:,.0f} tokens/s")
    counts = progress.get("request_counts")
    if counts:
        parts.append(f"{counts['completed']:,} of {counts['total']:,} lines")
        if counts["failed"]:
            parts.append(f"{counts['failed']:,} failed")
    if progress.get("part"):
        parts.append(f"measuring {progress['part'].replace('_', ' ')}")
    if progress.get("total"):
        parts.append(f"{progress['done']:,} of {progress['total']:,} {progress['unit']}")
    if progress.get("rate"):
        digits = 0 if progress["rate"] >= 10 else 1
        parts.append(f"{progress['rate']:,.{digits}f} {progress['unit']}/s")
    if progress.get("seconds_left") is not None:
        parts.append(f"{span(progress['seconds_left'])} left")
    if not parts and progress.get("doing"):
        parts.append(str(progress["doing"]))
    if not parts:
        phase = job.get("phase")
        parts.append(str(phase).replace("_", " ") if phase else job["state"])
    return " · ".join(parts)


def _why_waiting(waiting: Mapping[str, Any] | None) -> str:
    if not waiting:
        return "waiting for a worker"
    text = f"waiting: {WAITING.get(waiting['reason'], waiting['reason'])}"
    if waiting.get("position"):
        text += f", place {waiting['position']} in the queue"
    if waiting.get("estimated_start"):
        text += f", starts in about {span(waiting['estimated_start'] - time.time())}"
    return text


def patiently(call: Callable[[], Any]) -> Any:
    """The call's result; while the server is away it is tried for a minute and a half."""
    give_up = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return call()
        except ServerUnreachable:
            if time.monotonic() > give_up:
                raise
        except RequestFailed as error:
            if error.status not in (429, 503) or time.monotonic() > give_up:
                raise
        time.sleep(2 * POLL_SECONDS)
