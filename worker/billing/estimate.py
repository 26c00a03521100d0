"""About what a job will use, before it runs: to set it aside of a budget, and to say it.

Rough on purpose: for a training the time that was asked for, or the arithmetic of its steps at
the speed of an ordinary core; for everything else how much text its files hold. That is their size,
but of a Parquet file, which is compressed, what its footer says. `textgen doctor` begins the
training and measures.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.engine import Connection

from textgen.costs import tokens_per_second
from textgen.options import PRESETS
from worker.jobs.states import Kind
from worker.storage.tables import files
from worker.usage.quantities import Quantities

VOCABULARY = 4096  # of a text that nobody has looked at yet
AUTO_SHAPE = "lstm-small"  # what lstm-auto is near to
THREADS = 2
EPOCHS = 3
READ_A_SECOND = 50_000  # characters that a scoring or an evaluation reads
WRITTEN_A_SECOND = 10_000  # characters that the engine reads and writes for a batch


def estimate(kind: Kind, spec: Mapping[str, Any], text_bytes: int) -> Quantities:
    """What a job of this kind will use; ``text_bytes``: of the texts that it reads."""
    if kind == "training":
        return _training(spec, text_bytes)
    if kind == "batch":
        # Prompts are most of a batch's lines; the texts are taken to be as long, and a token to
        # be a character.
        return Quantities(
            characters_in=text_bytes,
            characters_out=text_bytes,
            tokens_in=text_bytes,
            tokens_out=text_bytes,
            compute_seconds=2 * text_bytes / WRITTEN_A_SECOND,
        )
    given = sum(map(len, spec.get("input", ()) or ()))
    characters = text_bytes + given
    return Quantities(
        requests=1, characters_in=characters, compute_seconds=characters / READ_A_SECOND
    )


def estimated(
    connection: Connection, tenant: str, kind: Kind, spec: Mapping[str, Any]
) -> Quantities:
    """About what a job will use, by what its specification and the sizes of its files say."""
    read = {file["id"]: file.get("text_bytes") for file in _files(spec)}
    unsaid = [file_id for file_id, size in read.items() if size is None]
    size = connection.execute(
        select(func.coalesce(func.sum(files.c.bytes), 0)).where(
            files.c.tenant == tenant, files.c.id.in_(unsaid)
        )
    ).scalar_one()
    return estimate(kind, spec, int(size) + sum(filter(None, read.values())))


def _files(spec: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The files that a specification has read."""
    several = (*(spec.get("files") or ()), *(spec.get("training_files") or ()))
    return (each for each in (spec.get("input_file"), *several) if isinstance(each, Mapping))


def _training(spec: Mapping[str, Any], text_bytes: int) -> Quantities:
    wanted: Mapping[str, Any] = spec.get("hyperparameters", {})
    preset = PRESETS.get(str(spec.get("preset")), PRESETS[AUTO_SHAPE])
    speed = tokens_per_second(preset.model, VOCABULARY, threads=THREADS)
    seconds = wanted.get("max_seconds")
    if wanted.get("max_steps"):
        batch = _number(wanted.get("batch_size"), preset.batch_size)
        length = _number(wanted.get("sequence_length"), preset.sequence_length)
        tokens = wanted["max_steps"] * batch * length
    elif seconds is not None and wanted.get("n_epochs") in (None, "auto"):
        tokens = seconds * speed
    else:
        tokens = text_bytes * _number(wanted.get("n_epochs"), EPOCHS)
    if seconds is not None:
        tokens = min(tokens, seconds * speed)
    return Quantities(
        requests=1,
        characters_in=round(tokens),
        tokens_in=round(tokens),
        compute_seconds=float(seconds) if seconds is not None else tokens / speed,
    )


def _number(value: Any, otherwise: int) -> float:
    return float(value) if isinstance(value, int | float) else float(otherwise)
