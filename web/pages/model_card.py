"""All that is known of one model: its training, its family, what was measured on it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from textgen.errors import InvalidInput
from textgen.evaluation.report import Report
from textgen.options import PRESET_NAMES
from web.downloads import model_content
from web.pages.model_rows import BITS, LOSSES, facts_of, figure_of, origin_of
from web.services import Services
from worker.errors import CorruptArtifact, NotFound
from worker.jobs.rows import Checkpoint, Job
from worker.storage.models import Model
from worker.storage.uses import UsedBy

GENERATIONS = 20  # of ancestors
FAMILY = 20  # of descendants and jobs that are named
REPORT_BYTES = 16 << 20


@dataclass(frozen=True)
class Ancestor:
    """What a model, or its base, was trained from."""

    id: str
    there: bool  # else it is a preset, or gone
    preset: bool


@dataclass(frozen=True)
class Card:
    """Beside what the API says of the model itself."""

    origin: str
    loss: float | None  # nats a token
    bits: float | None  # a character
    bytes: int | None  # of its file
    files: Sequence[Mapping[str, str]]  # of its training, with ids and names
    shape: Sequence[tuple[str, str]]  # of the network
    settings: Sequence[tuple[str, str]]  # of its training, as they were given
    corpus: Sequence[tuple[str, str]]
    metrics: Sequence[tuple[str, str]]
    classification: Sequence[tuple[str, str]]
    ancestors: Sequence[Ancestor]  # the nearest first
    checkpoints: Sequence[Checkpoint]
    used: UsedBy
    evaluations: Sequence[Job]
    report: Report | None  # of the newest evaluation that has succeeded
    measured: Job | None  # that evaluation


def model_card(services: Services, tenant: str, model: Model) -> Card:
    """Read from the rows of the model and of the jobs around it."""
    used = services.uses.of(tenant, "model", model.id)
    training = _job(services, tenant, model.job_id)
    evaluations = _evaluations(services, tenant, used)
    measured = _newest_measured(evaluations)
    spec = {} if training is None else training.spec
    return Card(
        origin=origin_of(model),
        loss=figure_of(model.header, *LOSSES),
        bits=figure_of(model.header, *BITS),
        bytes=_size(services, model),
        files=spec.get("files") or [],
        shape=list(facts_of(_switched_on(model.header.get("model") or {}))),
        settings=list(facts_of(spec.get("hyperparameters"))),
        corpus=list(facts_of(model.header.get("corpus"))),
        metrics=list(facts_of(model.header.get("metrics"))),
        classification=list(facts_of(model.header.get("classification"))),
        ancestors=_ancestors(services, tenant, model),
        checkpoints=_checkpoints(services, tenant, model),
        used=used,
        evaluations=evaluations,
        report=None if measured is None else _report(services, tenant, measured),
        measured=measured,
    )


def newest_page(services: Services, tenant: str, model_id: str) -> str:
    """The page of the newest evaluation that has succeeded, as it is stored; raises NotFound."""
    used = services.uses.of(tenant, "model", model_id)
    measured = _newest_measured(_evaluations(services, tenant, used))
    result = (None if measured is None else measured.result) or {}
    try:
        row = services.files.get(tenant, str(result.get("page_file_id")))
        with services.files.open(row) as source:
            return source.read().decode("utf-8", "replace")
    except (NotFound, FileNotFoundError):
        raise NotFound(
            f"No evaluation of {model_id!r} has a page. Start one: `POST /v1/evaluations`.",
            code="evaluation_not_found",
        ) from None


def _evaluations(services: Services, tenant: str, used: UsedBy) -> list[Job]:
    """The newest of them."""
    return [
        job
        for job_id, kind, _ in used.jobs[: 10 * FAMILY]
        if kind == "evaluation" and (job := _job(services, tenant, job_id)) is not None
    ][:FAMILY]


def _newest_measured(evaluations: Sequence[Job]) -> Job | None:
    return next((job for job in evaluations if job.state == "succeeded"), None)


def _switched_on(options: Mapping[str, Any]) -> dict[str, Any]:
    """Without what is 0 or off."""
    return {name: value for name, value in options.items() if value}


def _job(services: Services, tenant: str, job_id: str | None) -> Job | None:
    if job_id is None:
        return None
    try:
        return services.jobs.get(tenant, job_id)
    except NotFound:
        return None


def _size(services: Services, model: Model) -> int | None:
    try:
        return model_content(services, model).bytes
    except CorruptArtifact:
        return None


def _ancestors(services: Services, tenant: str, model: Model) -> list[Ancestor]:
    found: list[Ancestor] = []
    base = model.base
    while base is not None and len(found) < GENERATIONS:
        if base in PRESET_NAMES:
            return [*found, Ancestor(base, there=False, preset=True)]
        try:
            parent = services.models.get(tenant, base)
        except NotFound:
            return [*found, Ancestor(base, there=False, preset=False)]
        found.append(Ancestor(base, there=True, preset=False))
        base = parent.base
    return found


def _checkpoints(services: Services, tenant: str, model: Model) -> Sequence[Checkpoint]:
    """Those of its training, the newest first."""
    if model.job_id is None or origin_of(model) != "finished":
        return ()
    return services.jobs.checkpoints(tenant, model.job_id, limit=FAMILY).items


def _report(services: Services, tenant: str, job: Job) -> Report | None:
    """What an evaluation has written; None where its file is gone or of another version."""
    file_id = (job.result or {}).get("report_file_id")
    try:
        row = services.files.get(tenant, str(file_id))
        if row.bytes > REPORT_BYTES:
            return None
        with services.files.open(row) as source:
            return Report.parse(json.load(source))
    except (NotFound, FileNotFoundError, InvalidInput, ValueError):
        return None
