"""Finding jobs by what people remember of them, at a cost that does not grow with their number."""

from __future__ import annotations

from sqlalchemy import ColumnElement, String, cast, or_, select

from worker.jobs.moves import JobTable
from worker.jobs.rows import Job, job_from
from worker.jobs.states import Kind, State
from worker.jobs.tables import jobs
from worker.storage.ids import ordinal
from worker.storage.windows import Found, look_through


class JobSearch(JobTable):
    """Searches for clients; every query names the tenant."""

    def search(
        self,
        tenant: str,
        text: str = "",
        *,
        kind: Kind | None = None,
        state: State | None = None,
        after: str | None = None,
        limit: int = 25,
    ) -> Found[Job, str]:
        """Jobs whose id, model, files or metadata have ``text`` in them, whatever its case.

        Looks at a window of them behind ``after``.
        """
        rows = select(jobs).where(jobs.c.tenant == tenant)
        filters: list[ColumnElement[bool]] = []
        # One of these has an index of its own; the other is a filter within the window.
        if state is not None:
            rows = rows.where(jobs.c.state == state)
            if kind is not None:
                filters.append(jobs.c.kind == kind)
        elif kind is not None:
            rows = rows.where(jobs.c.kind == kind)
        if text:
            filters.append(_mentions(text))
        with self._database.read() as connection:
            return look_through(
                connection,
                rows,
                (jobs.c.ordinal,),
                filters,
                after=None if after is None else (ordinal(after),),
                limit=limit,
                item=job_from,
                mark=lambda row: str(row.id),
            )


def _mentions(text: str) -> ColumnElement[bool]:
    spec, result = jobs.c.spec, jobs.c.result
    places: list[ColumnElement[str]] = [
        jobs.c.id,
        spec["model"].as_string(),
        spec["alias"].as_string(),
        spec["suffix"].as_string(),
        spec["files"][0]["filename"].as_string(),
        spec["input_file"]["filename"].as_string(),
        result["fine_tuned_model"].as_string(),
        cast(jobs.c["metadata"], String),
    ]
    return or_(*(place.icontains(text, autoescape=True) for place in places))
