"""/corpora/{file}: one text, looked over by the doctor, and what to train on it with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flask import Response, url_for

from textgen.errors import TextgenError
from web.auth import tenant
from web.pages.forms import body_of_form
from web.pages.page import Pages, go, render, render_error
from web.pages.words import job_words
from web.schemas.examinations import ExaminationBody
from web.services import current
from web.views import examinations, files
from worker.errors import NotFound
from worker.jobs.rows import Job
from worker.jobs.states import FINAL

corpus_report = Pages("corpus_report", __name__)

NEWEST = 50  # jobs of a file among which its examination is looked for
Bar = tuple[str, float, str]  # name, share of the longest, text


@corpus_report.page("GET /corpora/<file_id>", "A corpus, for people", "read")
def show(file_id: str) -> Response:
    """With the newest report there is, and the state of a newer examination."""
    return _page(file_id)


@corpus_report.page("POST /corpora/<file_id>/examine", "Look a corpus over, by a form", "train")
def examine(file_id: str) -> Response:
    """As POST /v1/examinations: back to the page, which waits for it."""
    current().files.get(tenant(), file_id)
    given = {name: value for name, value in body_of_form().items() if name == "format"}
    try:
        examinations.create(ExaminationBody.parse({"file": file_id, **given}))
    except TextgenError as error:
        return _page(file_id, error)
    return go("corpus_report.show", file_id=file_id)


@corpus_report.page("GET /corpora/<file_id>/delete", "Before a corpus is deleted", "train")
def ask(file_id: str) -> Response:
    """What has used it."""
    file = current().files.get(tenant(), file_id)
    return render(
        "delete.html",
        name=file.filename,
        back=url_for("corpus_report.show", file_id=file_id),
        used=current().uses.of(tenant(), "file", file_id),
    )


@corpus_report.page("POST /corpora/<file_id>/delete", "Delete a corpus, by a form", "train")
def delete(file_id: str) -> Response:
    """As DELETE /v1/files/{id}: back to the list."""
    files.delete(file_id)
    return go("corpora.index")


def _page(file_id: str, error: TextgenError | None = None) -> Response:
    services = current()
    file = services.files.get(tenant(), file_id)
    newest, done = _examinations(file_id)
    report = None if done is None or done.result is None else done.result["report"]
    values: dict[str, Any] = {
        "file": file,
        "newest": newest,
        "watched": newest is not None and newest.state not in FINAL,
        "report": report,
        "plots": None if report is None else plots(report),
        "waiting": services.jobs.newest(tenant()),
        "words": job_words(),
    }
    if error is not None:
        return render_error("corpus.html", error, **values)
    return render("corpus.html", **values)


def _examinations(file_id: str) -> tuple[Job | None, Job | None]:
    """The newest examination of a file, and the newest that has succeeded."""
    services = current()
    newest = None
    for job_id, kind, state in services.uses.of(tenant(), "file", file_id).jobs[:NEWEST]:
        if kind != "examination":
            continue
        try:
            job = services.jobs.get(tenant(), job_id)
        except NotFound:
            continue
        newest = job if newest is None else newest
        if state == "succeeded":
            return newest, job
    return newest, None


def plots(report: Mapping[str, Any]) -> dict[str, list[Bar]]:
    """What is drawn of a report, as bars."""
    length_counts = [(f"≤ {bound:,}", count) for bound, count in report["length_counts"]]
    covering = [(f"{percent} %", count) for percent, count in report["covering"].items()]
    return {
        "lengths": bars(length_counts),
        "letters": shares(report["letters"].items()),
        "commonest": shares(
            (_visible(character), share) for character, share in report["commonest"].items()
        ),
        "covering": bars(covering),
        "classes": bars(list(report["classes"].items())[:30]),
    }


def bars(counts: Sequence[tuple[str, int]]) -> list[Bar]:
    """Counts as bars, the largest as long as there is room."""
    most = max((count for _, count in counts), default=0) or 1
    return [(name, count / most, f"{count:,}") for name, count in counts]


def shares(values: Any) -> list[Bar]:
    """Shares of a whole as bars."""
    found = list(values)
    most = max((share for _, share in found), default=0.0) or 1.0
    return [(name, share / most, f"{share:.1%}") for name, share in found]


def _visible(character: str) -> str:
    """A character as it can be read on a page."""
    if character.isprintable() and not character.isspace():
        return character
    return {" ": "␣", "\n": "↵", "\t": "⇥", "\r": "␍"}.get(character, f"U+{ord(character):04X}")
