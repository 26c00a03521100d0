"""How much text the files of a job hold, where their own size says nothing of it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from textgen.corpus.columns import ColumnOptions
from textgen.corpus.parquet_footer import text_bytes
from textgen.reading_options import ReadingOptions, format_by_name
from worker.storage.artifacts import ArtifactStore

LOG = logging.getLogger("textgen.web")

# Fields of a specification with files, and the one that says how they are read.
READ_BY = {
    "files": "hyperparameters",
    "input_file": "reading",
    "training_files": "training_reading",
}


def with_text_sizes(store: ArtifactStore, spec: Mapping[str, Any]) -> dict[str, Any]:
    """The specification of a job, in which each Parquet file that is read has ``text_bytes``.

    None there: not known before the file is read. Any other file is its text.
    """
    sized = dict(spec)
    for field, how in READ_BY.items():
        files, options = spec.get(field), spec.get(how)
        if not files or options is None:
            continue
        reading = _reading(options)
        if isinstance(files, Mapping):
            sized[field] = _sized(store, files, reading)
        else:
            sized[field] = [_sized(store, file, reading) for file in files]
    return sized


def _reading(options: Mapping[str, Any]) -> ReadingOptions:
    names = ReadingOptions.model_fields
    return ReadingOptions.parse({name: options[name] for name in names if name in options})


def _sized(
    store: ArtifactStore, file: Mapping[str, Any], reading: ReadingOptions
) -> Mapping[str, Any]:
    if (reading.format or format_by_name(file["filename"])) != "parquet":
        return file
    columns = ColumnOptions(
        reading.column, reading.prompt_column, reading.completion_column, reading.label_column
    )
    found = None
    try:
        with store.open(file["artifact"], file["file"]) as stream:
            found = text_bytes(stream, columns)
    except Exception as error:  # of the storage, which has kinds of its own; the job will tell
        LOG.warning("%s: its footer cannot be read: %s", file["id"], error)
    return {**file, "text_bytes": found}
