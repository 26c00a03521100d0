"""How long a page of models or corpora is looked for where there are a million, and all models of
a project with ten thousand.

    python -m benchmarks.model_lists [--rows 1000000]

Rows are made in a SQLite file in a temporary folder (with a million, about 700 MB and two minutes).
Each figure is the median of seven calls after one. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from web.resource import json_answer
from web.views.models import all_models
from worker.backend import Backend, open_backend
from worker.settings import Settings

HEADER = {
    "metrics": {"valid_loss": 1.5},
    "objectives": ["causal"],
    "tokenizer": "char",
    "parameters": 1_000_000,
    "corpus": {"sha256": "0" * 64, "characters": 1_000_000, "encoding": "utf-8"},
}
SPLIT = {"tokens": 10**6, "characters": 10**6, "documents": 0, "unknown": 9, "spelt": 0}
WHOLE_HEADER = {  # as a training leaves one
    **HEADER,
    "metrics": {
        f"{part}_{name}": 1.5
        for part in ("train", "valid", "full_valid", "test")
        for name in ("loss", "mean_token_accuracy", "bits_per_character", "perplexity")
    },
    "model": {f"option_{number}": 0.0 for number in range(12)},
    "corpus": {
        **HEADER["corpus"],
        "commonest_unknown": {chr(0x4E00 + number): 9 for number in range(20)},
        "splits": dict.fromkeys(("train", "valid", "test"), SPLIT),
    },
    "generation_defaults": {"max_tokens": 400, "temperature": 0.7, "stop": []},
}
TENANT, CALLS = "default", 7
OTHER, OF_ONE = "acme", 10_000  # a project, and how many models it has
MODELS = """insert into models(tenant, id, owned_by, job_id, artifact, file, header, created_at)
            values (?, ?, 'default', 'ftjob-1', ?, 'model.safetensors', ?, ?)"""
FILES = """insert into files(id, tenant, filename, purpose, status, bytes, sha256, artifact, file,
           created_at) values (?, ?, ?, 'fine-tune', 'processed', 1, '', ?, 'content', ?)"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as folder:
        backend = open_backend(Settings(home=Path(folder)))
        fill(Path(folder) / "textgen.db", rows)
        figures = {name: milliseconds(call) for name, call in looks(backend, rows)}
    for name, found in figures.items():
        print(f"{name:40} {found:8.1f} ms")
    print(json.dumps({"rows": rows, "milliseconds": figures}))


def fill(path: Path, rows: int) -> None:
    header = json.dumps(HEADER)
    database = sqlite3.connect(path)
    database.execute("PRAGMA synchronous=OFF")
    database.executemany(
        MODELS, ((TENANT, model_id(row), f"a{row}", header, float(row)) for row in range(rows))
    )
    whole = json.dumps(WHOLE_HEADER)
    database.executemany(
        MODELS, ((OTHER, model_id(row), f"o{row}", whole, float(row)) for row in range(OF_ONE))
    )
    database.executemany(
        FILES, ((file_id(row), TENANT, f"text {row}.txt", f"b{row}", row) for row in range(rows))
    )
    database.commit()
    database.close()


def model_id(row: int) -> str:
    return f"ft:lstm-tiny:default::{row:010}"


def file_id(row: int) -> str:
    return f"file-{row:026}"


def looks(backend: Backend, rows: int) -> Iterator[tuple[str, Callable[[], object]]]:
    models, files, middle = backend.models, backend.files, rows // 2
    key = (float(middle), model_id(middle))
    yield "models, first page", lambda: models.search(TENANT, origin="finished")
    yield "models, in the middle", lambda: models.search(TENANT, origin="finished", after=key)
    yield "models, a text of none", lambda: models.search(TENANT, "zebra")
    yield (
        "models, imported ones, of which none is",
        lambda: models.search(TENANT, origin="imported"),
    )
    yield f"models, all {OF_ONE:,} of a project", lambda: json_answer(all_models(models, OTHER))
    yield "corpora, first page", lambda: files.search(TENANT, "", purpose="fine-tune")
    yield (
        "corpora, in the middle",
        lambda: files.search(TENANT, "", purpose="fine-tune", after=file_id(middle)),
    )
    yield "corpora, a text of none", lambda: files.search(TENANT, "zebra", purpose="fine-tune")


def milliseconds(call: Callable[[], object]) -> float:
    call()
    took = []
    for _ in range(CALLS):
        began = time.perf_counter()
        call()
        took.append(time.perf_counter() - began)
    return round(statistics.median(took) * 1e3, 1)


if __name__ == "__main__":
    main()
