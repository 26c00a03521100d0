"""/batches: many prompts in one file, watched while they are answered, and had as files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from flask import Response
from pydantic import Field

from textgen.errors import TextgenError
from web.auth import tenant
from web.batch_lines import error_of, texts_of
from web.batch_results import first_results
from web.batch_uploads import PromptUpload
from web.batch_views import batch_view
from web.job_lookup import job_of_kind
from web.pages.job_lists import StateListQuery, render_jobs
from web.pages.job_rows import job_row
from web.pages.language import _
from web.pages.page import Pages, go, render, render_error
from web.pages.sampling_fields import option_fields, options_of
from web.pages.words import job_words, upload_words
from web.pages.writers import Writer, writers_of
from web.schemas.base import Query
from web.schemas.batches import BatchBody
from web.services import current
from web.views import batches as api
from worker.batches.shard import ERROR_FILE, OUTPUT_FILE
from worker.jobs.states import FINAL

batch_pages = Pages("batch_pages", __name__)

SHOWN = 20  # lines of a batch that its page shows
OPTIONS = ("max_tokens", "temperature", "top_p", "seed", "stop")  # that the form offers
FIELDS = ("file", "model", "column", *OPTIONS)


class NewBatchQuery(Query):
    """What the form begins with."""

    model: str = Field("", max_length=300)


@dataclass(frozen=True)
class ShownLine:
    """A line that is through: what was written for it, or why nothing was."""

    custom_id: str
    text: str
    problem: str


@batch_pages.page("GET /batches", "Batches, for people", "read", query=StateListQuery)
def index(query: StateListQuery) -> Response:
    """The newest first."""
    return render_jobs("batches.html", query, "batch")


@batch_pages.page("GET /batches/new", "The form of a new batch", "generate", query=NewBatchQuery)
def new(query: NewBatchQuery) -> Response:
    """With the model that is asked for, else the first, and what suits it."""
    choices, writers = _choices(query.model)
    wanted = [each for each in writers if each.name == query.model or not query.model]
    given = {"model": wanted[0].name, **wanted[0].defaults} if wanted else {}
    return render("new_batch.html", given=given, **choices)


@batch_pages.page("POST /batches/new", "Start a batch, by a form", "generate")
def start() -> Response:
    """The prompts become the lines of POST /v1/batches: on to the batch."""
    upload = PromptUpload(current(), tenant())
    try:
        file, endpoint = upload.receive(_defaults)
        body = {"input_file_id": file.id, "endpoint": endpoint, "completion_window": "24h"}
        batch = api.create(BatchBody.parse(body))
    except TextgenError as error:
        choices, _writers = _choices(upload.fields.get("model", ""))
        return render_error(
            "new_batch.html", error, given=upload.fields, uploaded=upload.uploaded, **choices
        )
    return go("batch_pages.show", batch_id=batch.id)


@batch_pages.page("GET /batches/<batch_id>", "A batch, for people", "read")
def show(batch_id: str) -> Response:
    """With its first lines, which follow while it runs."""
    services = current()
    job = job_of_kind(services, batch_id, "batch", "batch_id")
    batch = batch_view(job)
    counts = batch.request_counts
    missing = counts.total - counts.completed
    return render(
        "batch.html",
        job=job,
        batch=batch,
        row=job_row(job),
        name=job.spec["input_file"]["filename"],
        final=job.state in FINAL,
        failed=counts.failed,
        again=missing if job.state in FINAL and job.result is not None else 0,
        good=[_shown(each) for each in first_results(services, job, OUTPUT_FILE, SHOWN)],
        bad=[_shown(each) for each in first_results(services, job, ERROR_FILE, SHOWN)],
        words=job_words(),
    )


@batch_pages.page("POST /batches/<batch_id>/cancel", "Cancel a batch, by a form", "generate")
def cancel(batch_id: str) -> Response:
    """As POST /v1/batches/{id}/cancel."""
    return go("batch_pages.show", batch_id=api.cancel(batch_id).id)


@batch_pages.page(
    "POST /batches/<batch_id>/retry_failed",
    "Run a batch's failed lines again, by a form",
    "generate",
)
def retry_failed(batch_id: str) -> Response:
    """As POST /v1/batches/{id}/retry_failed: on to the new batch."""
    return go("batch_pages.show", batch_id=api.retry_failed(batch_id).id)


def _defaults(fields: Mapping[str, str]) -> dict[str, Any]:
    """What each line's body begins with."""
    model = fields.get("model", "").strip()
    return {**({"model": model} if model else {}), **options_of(fields, OPTIONS)}


def _choices(model: str) -> tuple[dict[str, Any], list[Writer]]:
    writers, _problem = writers_of(current(), tenant(), model)
    models = [*((each.name, each.name) for each in writers), ("", _("as each line says"))]
    seed = _("The same for every line. Empty: each line has one of its own.")
    options = [
        replace(each, hint=seed) if each.name == "seed" else each for each in option_fields(OPTIONS)
    ]
    choices = {"models": models, "options": options, "fields": FIELDS, "words": upload_words()}
    return choices, writers


def _shown(line: Mapping[str, Any]) -> ShownLine:
    texts = [text for text, _reason in texts_of(line)]
    return ShownLine(str(line["custom_id"]), "\n".join(filter(None, texts)), error_of(line))
