"""The end of a training: the model and its metrics file stored, then published by one commit."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from sqlalchemy.engine import Connection

from textgen.bundles.header import BundleHeader, read_header
from worker.backend import Backend
from worker.jobs.rows import Job
from worker.processes.lease import Lease
from worker.processes.results import Result, store_result
from worker.storage.models import NewModel, add_model, put_alias

MODEL_FILE = "model.safetensors"
METRICS_FILE = "step_metrics.csv"
# OpenAI's columns, and where an event of type metrics has their values.
COLUMNS = {
    "step": "step",
    "train_loss": "train_loss",
    "train_accuracy": "train_mean_token_accuracy",
    "valid_loss": "valid_loss",
    "valid_mean_token_accuracy": "valid_mean_token_accuracy",
}


def publish_model(backend: Backend, lease: Lease, job: Job, bundle: Path) -> None:
    """Store the model and its metrics, end the job, and give the model its name and alias."""
    header = read_header(bundle)
    artifact = f"jobs/{job.id}/{job.token}/model"
    with backend.store.create(artifact) as staging:
        staging.add(bundle, MODEL_FILE)
        staging.commit()
    lease.keep()
    model = new_model(job, header, artifact, MODEL_FILE)
    metrics = lease.write(lambda: _store_metrics(backend, job))
    result = {
        "fine_tuned_model": model.id,
        "result_files": [metrics.id],
        "trained_tokens": trained_tokens(header),
        "metrics": dict(header.metrics),
    }

    def publish(connection: Connection) -> None:
        now = backend.database.now(connection)
        add_model(connection, job.tenant, model, now, job_id=job.id)
        metrics.publish(connection, job.tenant, now)
        if job.spec.get("alias"):
            put_alias(connection, job.tenant, job.spec["alias"], model.id, now)

    lease.write(lambda: backend.jobs.succeed(job, result, publish))


def model_name(job: Job, step: int | None = None) -> str:
    """``ft:{base}:{organisation}:{suffix}:{id}``, and for a checkpoint its step behind it."""
    base = job.spec["model"]
    if base.startswith("ft:"):
        base = base.split(":")[1]
    suffix = job.spec.get("suffix")
    name = f"ft:{base}:{job.tenant}:{'' if suffix is None else suffix}:{job.id[-10:]}"
    return name if step is None else f"{name}:ckpt-step-{step}"


def new_model(
    job: Job, header: BundleHeader, artifact: str, file: str, step: int | None = None
) -> NewModel:
    """What the models table says of a model file that this job made."""
    return NewModel(
        id=model_name(job, step),
        base=job.spec["model"],
        owned_by=job.tenant,
        artifact=artifact,
        file=file,
        header=describe(header),
    )


def describe(header: BundleHeader) -> dict[str, Any]:
    """The part of a bundle's header that users look at."""
    return {
        "model": header.model.model_dump(),
        "parameters": header.parameters,
        "tokenizer": header.tokenizer["name"],
        "vocab_size": header.vocab_size,
        "metrics": dict(header.metrics),
        "corpus": header.corpus,
        "documents": header.documents,
        "objectives": list(header.objectives),
        "rows": header.rows,
        "labels": list(header.labels),
        "licence": header.licence,
        "copy_index": header.copy_index,
        "classification": header.classification,
        "generation_defaults": header.generation_defaults.model_dump(mode="json"),
    }


def trained_tokens(header: BundleHeader) -> int:
    """Of all steps that were done, also where a training ended before its last."""
    plan, steps = header.plan, header.steps
    if plan is None or steps is None:
        return 0
    return steps * plan.tokens_per_step


def _store_metrics(backend: Backend, job: Job) -> Result:
    """The metrics events as the CSV that OpenAI gives as the first result file."""
    with store_result(backend, METRICS_FILE, "fine-tune-results") as result:
        result.stream.write(metrics_csv(_metrics(backend, job)).encode())
    return result


def _metrics(backend: Backend, job: Job) -> list[dict[str, Any]]:
    events = backend.jobs.all_events(job.tenant, job.id)
    return [event.data for event in events if event.type == "metrics"]


def metrics_csv(events: list[dict[str, Any]]) -> str:
    """One row a step; a step that a resumed training measured again counts once."""
    rows: dict[int, dict[str, Any]] = {}
    for data in events:
        values = {name: data[key] for name, key in COLUMNS.items() if data.get(key) is not None}
        rows.setdefault(data["step"], {}).update(values)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(COLUMNS), restval="")
    writer.writeheader()
    writer.writerows(rows[step] for step in sorted(rows))
    return text.getvalue()
