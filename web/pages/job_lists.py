"""A list of jobs on a page: found, filtered, and followed while they run."""

from __future__ import annotations

from typing import Any

from flask import Response

from web.auth import tenant
from web.pages.job_rows import job_row
from web.pages.lists import ROWS, ListQuery, pager
from web.pages.page import render
from web.pages.words import job_words
from web.schemas.jobs import State
from web.services import current
from worker.jobs.states import FINAL, Kind

STATES: tuple[State, ...] = ("queued", "running", "paused", "succeeded", "failed", "cancelled")


class StateListQuery(ListQuery):
    """A part of the jobs, by what has become of them."""

    state: State | None = None


def render_jobs(template: str, query: StateListQuery, kind: Kind | None, **more: Any) -> Response:
    """The page that ``query`` asks for, the newest job first."""
    jobs = current().jobs
    found = jobs.search(
        tenant(), query.q, kind=kind, state=query.state, after=query.after, limit=ROWS
    )
    rows = [job_row(job) for job in found.items]
    return render(
        template,
        query=query,
        rows=rows,
        found=found,
        states=STATES,
        newest=jobs.newest(tenant()),
        watched=[row.id for row in rows if row.state not in FINAL],
        pager=pager(query, found.following, found.following is not None),
        words=job_words(),
        **more,
    )
