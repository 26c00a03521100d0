"""Following a job until it ends: its events as they come, below them a live bar and the losses.

Leaving (Ctrl-C) never touches the job.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from textwrap import indent
from typing import Any

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from web.cli.api import Api, RequestFailed, ServerUnreachable, path_of
from web.cli.language import _, language, named, padded, reported, said
from web.cli.losses import GONE, Losses
from web.cli.terminal import span
from web.translation import translated_event

POLL_SECONDS = 0.5
PATIENCE_SECONDS = 90.0  # a server may be restarted while we watch
PLAIN_SECONDS = 10.0  # between two lines of progress where there is no terminal
AWAY = frozenset({408, 429, 502, 503, 504})  # from a server, or a proxy before one, in a restart
ENDED = frozenset({"succeeded", "failed", "cancelled"})
QUIET = frozenset({"progress", "checkpoint", "plan"})


class Left(Exception):
    """The user pressed Ctrl-C; the job goes on."""


def follow(api: Api, job_id: str, console: Console, *, after: int = 0) -> dict[str, Any]:
    """Show the job until it ends (or is paused); return it. Raises Left on Ctrl-C."""
    seen, losses = after, Losses()
    with bar(console) as show:
        try:
            while True:
                job = patiently(lambda: api.get(path_of("jobs", job_id)))
                told = seen
                try:
                    seen = print_events(api, job_id, console, seen, losses.note)
                except RequestFailed as error:
                    if error.status != GONE:  # an old job's events may be removed
                        raise
                    console.print(Text(f"  {said(error.message)}", style="dim"), soft_wrap=True)
                if job["state"] in ENDED or job["state"] == "paused":
                    return dict(job)
                if job["state"] != "queued" or seen == told:  # else it may have begun since
                    show(job, losses.lines())
                time.sleep(POLL_SECONDS)
        except KeyboardInterrupt:
            raise Left from None


def print_events(
    api: Api,
    job_id: str,
    console: Console,
    after: int,
    note: Callable[[Mapping[str, Any]], None] = lambda event: None,  # noqa: ARG005
) -> int:
    """Print the events behind number ``after``, and ``note`` them; the number of the last."""
    path = path_of("jobs", job_id, "events")
    while True:
        page = patiently(partial(api.get, path, after=after, limit=100))
        for event in page["data"]:
            print_event(console, event)
            note(event)
            after = event["id"]
        if not page["has_more"]:
            return after


def print_event(console: Console, event: Mapping[str, Any]) -> None:
    """Print one event, unless the bar says the same."""
    if event["level"] == "info" and not _worth_a_line(event):
        return
    if event["type"] == "sample":
        console.print(Text("  " + _("a sample of what it writes now:"), style="dim"))
        sample = str(event["data"].get("text", event["message"]))
        console.print(Text(indent(sample, "    "), style="italic"), soft_wrap=True)
        return
    style = {"warn": "yellow", "error": "red"}.get(event["level"], "")
    message = translated_event(event["message"], event["level"], language())
    console.print(Text(f"  {message}", style=style), soft_wrap=True)


def _worth_a_line(event: Mapping[str, Any]) -> bool:
    if event["type"] == "metrics":
        return event["data"].get("valid_loss") is not None
    return event["type"] not in QUIET


Show = Callable[[Mapping[str, Any], Mapping[str, str]], None]


@contextmanager
def bar(console: Console) -> Iterator[Show]:
    """Yield a function that shows where a job is: a live bar, or lines now and then."""
    if not console.is_terminal:
        yield _Lines(console).show
        return
    with _Bar(console) as progress:
        yield progress.show


class _Bar(Progress):
    """A bar with the losses below it. Its own thread draws it, so what it shows is replaced."""

    def __init__(self, console: Console) -> None:
        self._losses = Text()
        super().__init__(
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.description}"),
            console=console,
            transient=True,
        )
        self._task = self.add_task(_("starting"), total=None)

    def get_renderables(self) -> Iterator[RenderableType]:
        """What is drawn, from above."""
        yield from super().get_renderables()
        if self._losses:
            yield self._losses

    def show(self, job: Mapping[str, Any], losses: Mapping[str, str]) -> None:
        """Show where the job is."""
        lines = [f"{padded(name, 15)} {line}" for name, line in losses.items()]
        self._losses = Text("\n".join(lines), style="cyan", no_wrap=True, overflow="ellipsis")
        done, total = share(job)
        self.update(self._task, completed=done, total=total, description=describe(job))


class _Lines:
    """Progress where lines cannot be overwritten: one now and then."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._next = time.monotonic()
        self._last = ""

    def show(self, job: Mapping[str, Any], losses: Mapping[str, str]) -> None:  # noqa: ARG002
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
    """One line about where a job is: why it waits, or rate, loss and time left.

    Rate and time left are those of steps: they say nothing while it does something else.
    """
    if job["state"] == "queued":
        return _why_waiting(job.get("waiting"))
    progress, parts = job["progress"], []
    if progress.get("train_loss") is not None:
        parts.append(_("loss %(loss)s") % {"loss": f"{progress['train_loss']:.3f}"})
    if progress.get("epsilon_spent") is not None:
        parts.append(f"epsilon {progress['epsilon_spent']:.2f}")
    doing = progress.get("doing")
    if doing:
        parts.append(reported(str(doing)))
    if progress.get("tokens_per_second") is not None and not doing:
        rate = f"{progress['tokens_per_second']:,.0f}"
        parts.append(_("%(rate)s tokens/s") % {"rate": rate})
    counts = progress.get("request_counts")
    if counts:
        told = {name: f"{count:,}" for name, count in counts.items()}
        parts.append(_("%(completed)s of %(total)s lines") % told)
        if counts["failed"]:
            parts.append(_("%(failed)s failed") % told)
    if progress.get("part"):
        parts.append(_("measuring %(part)s") % {"part": named(progress["part"])})
    if progress.get("total"):
        told = {name: f"{progress[name]:,}" for name in ("done", "total")}
        parts.append(
            _("%(done)s of %(total)s %(unit)s") % {**told, "unit": named(progress["unit"])}
        )
    if progress.get("rate"):
        digits = 0 if progress["rate"] >= 10 else 1
        parts.append(f"{progress['rate']:,.{digits}f} {named(progress['unit'])}/s")
    if progress.get("seconds_left") is not None and not doing:
        parts.append(_("%(time)s left") % {"time": span(progress["seconds_left"])})
    if not parts:
        phase = job.get("phase")
        parts.append(named(str(phase if phase else job["state"])).replace("_", " "))
    return " · ".join(parts)


def _why_waiting(waiting: Mapping[str, Any] | None) -> str:
    if not waiting:
        return _("waiting for a worker")
    parts = [_("waiting: %(why)s") % {"why": waiting_for(waiting)}]
    if before := waiting.get("position"):
        parts.append(_("place %(place)s in the queue") % {"place": f"{before + 1:,}"})
    until = (waiting.get("estimated_start") or 0) - time.time()
    if until > 0:
        parts.append(_("starts in about %(time)s") % {"time": span(until)})
    return _(", ").join(parts)


def waiting_for(waiting: Mapping[str, Any]) -> str:
    """Why a queued job waits."""
    reason = str(waiting["reason"])
    if reason == "behind_others" and waiting.get("position") == 0:
        return _("it is the next one")
    return {
        "behind_others": _("its turn has not come yet"),
        "quota": _("your quota is in use"),
        "running_jobs": _("as many jobs of this project run as may at once"),
        "suspended": _("this project is suspended; whoever runs the service can resume it"),
        "no_worker": _("no worker is running; start one with `textgen worker train` or `generate`"),
        "does_not_fit": _("no worker is large enough for it"),
    }.get(waiting.get("hold") or reason, reason)


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
            if error.status not in AWAY or time.monotonic() > give_up:
                raise
        time.sleep(2 * POLL_SECONDS)
