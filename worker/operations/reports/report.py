"""One archive for a bug report, in which nothing is secret and nothing is a user's.

Each part is made by itself: where one cannot be made, the archive says what kind of error it was.
In the end every part is searched for the secrets that are known here; one that has any is left
out.
"""

from __future__ import annotations

import json
import os
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import redis

from worker.backend import Backend
from worker.operations.reports import facts
from worker.operations.reports.logs import reduced
from worker.operations.reports.problems import problems
from worker.operations.reports.settings import masked, secrets_of
from worker.operations.reports.sources import codes

FORMAT = 1
README = """What textgen admin report has written: for whoever looks into a fault of this service.

versions.json    of Python, packages, database, Redis
settings.json    numbers and choices; all else is masked
migrations.json  the version of the tables
health.json      which parts answer, which workers are there
queues.json      what waits, and for how long
counts.json      rows by table, jobs by kind and state
errors.json      errors of jobs and webhooks by code
log-N.txt        ends of log files: our own messages with ids and numbers, frames of our own code

There are no prompts, texts, keys, names of files, projects, models or machines in it. Job ids are.
"""


@dataclass(frozen=True, slots=True)
class ReportMade:
    """What was written: names of the parts, and of those that could not be made."""

    path: Path
    parts: Sequence[str]
    missing: Mapping[str, str]


def write_report(
    backend: Backend, broker: redis.Redis | None, target: Path, logs: Sequence[Path] = ()
) -> ReportMade:
    """Write the archive, readable for its owner alone; raises FileExistsError, OSError."""
    makers: dict[str, Callable[[], object]] = {
        "versions.json": lambda: facts.versions(backend, broker),
        "settings.json": lambda: masked(backend.settings),
        "migrations.json": lambda: facts.migrations(backend),
        "health.json": lambda: facts.health(backend, broker),
        "queues.json": lambda: facts.queues(backend, broker),
        "counts.json": lambda: facts.counts(backend),
        "errors.json": lambda: problems(backend, codes()),
    }
    for number, path in enumerate(logs, 1):
        makers[f"log-{number}.txt"] = partial(_log, path)
    texts, missing = _made(makers)
    secrets = secrets_of(backend.settings)
    for name in [name for name, text in texts.items() if any(each in text for each in secrets)]:
        del texts[name]
        missing[name] = "it held a secret"
    texts["README.txt"] = README
    texts["report.json"] = _json(
        {"format": FORMAT, "made_at": round(time.time()), "missing": missing}
    )
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with (
        os.fdopen(descriptor, "wb") as stream,
        zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        for name, text in sorted(texts.items()):
            archive.writestr(name, text)
    return ReportMade(target, sorted(texts), missing)


def _made(makers: Mapping[str, Callable[[], object]]) -> tuple[dict[str, str], dict[str, str]]:
    texts: dict[str, str] = {}
    missing: dict[str, str] = {}
    for name, make in makers.items():
        try:
            made = make()
        except Exception as error:  # a report of a broken service is wanted most
            missing[name] = type(error).__name__
        else:
            texts[name] = made if isinstance(made, str) else _json(made)
    return texts, missing


def _log(path: Path) -> str:
    return "".join(f"{line}\n" for line in reduced(path))


def _json(value: object) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"
