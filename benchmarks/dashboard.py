"""How fast the dashboard's pages are made with a million jobs, and what the first page weighs.

    python -m benchmarks.dashboard [--rows 1000000] [--requests 30] [--only sqlite|postgresql]
                                   [--keep FOLDER] [--fill]

A whole stack with default settings, on SQLite and on PostgreSQL (pgserver's). Of jobs, usage, files
and keys so many rows each are made for one project, over the last 90 days; with `--keep` they stay
in a folder and are made once, with `--fill` nothing else is done. The time is that of a request on
the loopback address, beside it the processor time of the web process for one. The weight is what
the browser loads for the overview, the chart library left out. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import sqlalchemy as sa
from sqlalchemy import func, select

from benchmarks.live_pages import seconds_of, web_process
from benchmarks.many_rows import NEEDLE, fill
from tests.stack import QUICK, Stack
from worker.jobs.tables import jobs
from worker.storage.database import Database
from worker.storage.tables import api_keys, files

LIMIT_MS, LIMIT_BYTES = 100, 150_000
CHART_LIBRARY = "/static/js/chart.js"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--requests", type=int, default=30)
    parser.add_argument("--only", choices=("sqlite", "postgresql"))
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--fill", action="store_true")
    arguments = parser.parse_args()
    figures: dict[str, object] = {"rows": arguments.rows}
    requests = 0 if arguments.fill else arguments.requests
    for kind in ("sqlite", "postgresql"):
        if arguments.only in (None, kind):
            with folder_of(arguments.keep, kind) as folder, database_url(kind, folder) as url:
                figures[kind] = measure(folder, url, arguments.rows, requests)
    print(json.dumps(figures))


@contextmanager
def folder_of(kept: Path | None, kind: str) -> Iterator[Path]:
    if kept is None:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)
    else:
        (kept / kind).mkdir(parents=True, exist_ok=True)
        yield kept / kind


@contextmanager
def database_url(kind: str, folder: Path) -> Iterator[str]:
    """Of an empty database; for SQLite empty, as the setting is."""
    if kind == "sqlite":
        yield ""
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of platformdirs, about XDG_RUNTIME_DIR
        import pgserver

        server = pgserver.get_server(folder / "postgresql", cleanup_mode="stop")
    try:
        url = sa.make_url(server.get_uri()).set(drivername="postgresql+psycopg")
        yield url.render_as_string(hide_password=False)
    finally:
        server.cleanup()


def measure(folder: Path, url: str, rows: int, requests: int) -> dict[str, object]:
    stack = Stack(folder / "home", TEXTGEN_DATABASE_URL=url, TEXTGEN_TRAIN_WORKERS="0")
    for name in QUICK:
        del stack.environment[name]
    database = Database(url or f"sqlite:///{stack.home / 'textgen.db'}")
    stack.home.mkdir(exist_ok=True)
    database.migrate()
    kind = "SQLite" if database.is_sqlite else "PostgreSQL"
    began = time.perf_counter()
    fill(database, rows)
    print(f"{kind}: filled in {time.perf_counter() - began:.0f} s", flush=True)
    if not requests:
        database.dispose()
        return {}
    with stack:
        web = web_process(stack)
        figures: dict[str, object] = {}
        with httpx.Client(base_url=stack.base_url) as browser:
            signed_in = browser.post("/signin", data={"key": stack.key})
            assert signed_in.status_code == 303, signed_in.text
            for name, path in pages(database).items():
                figures[name] = found = timed(browser, web, path, requests)
                late = "" if found["p50_ms"] <= LIMIT_MS else f"  over {LIMIT_MS} ms"
                shown = " ".join(f"{found[each]:8.1f}" for each in ("p50_ms", "p95_ms", "cpu_ms"))
                print(f"  {name:36} {shown}{late}", flush=True)
            figures["first page, bytes"] = weight = first_page(browser)
            print(f"  first page {weight:,} bytes of {LIMIT_BYTES:,}", flush=True)
    database.dispose()
    return figures


def pages(database: Database) -> dict[str, str]:
    """What is measured: every list at its beginning, far behind it, searched and filtered."""
    with database.read() as connection:

        def middle(table: sa.Table, *order: sa.ColumnElement[Any]) -> str:
            half = connection.execute(select(func.count()).select_from(table)).scalar_one() // 2
            query = select(table.c.id).order_by(*order).limit(1).offset(half)
            return str(connection.execute(query).scalar_one())

        job, file = middle(jobs, jobs.c.ordinal), middle(files, files.c.id)
        key = middle(api_keys, api_keys.c.created_at, api_keys.c.id)
    return {
        "overview": "/",
        "jobs": "/jobs",
        "jobs, from the middle": f"/jobs?after={job}",
        "jobs, failed batches": "/jobs?state=failed&kind=batch",
        "jobs, search that finds nothing": "/jobs?q=nowhere-to-be-found",
        "jobs, search within failed ones": f"/jobs?state=failed&q={NEEDLE}",
        "a job": f"/jobs/{job}",
        "corpora": "/corpora",
        "corpora, from the middle": f"/corpora?after={file}",
        "keys": "/keys",
        "keys, from the middle": f"/keys?after={key}",
        "keys, search that finds nothing": "/keys?q=nowhere-to-be-found",
        "workers and queues": "/workers",
        "usage of this month": "/usage",
        "usage of this month by model": "/usage?by=model",
        "settings": "/settings",
    }


def timed(browser: httpx.Client, web: psutil.Process, path: str, requests: int) -> dict[str, float]:
    times, worked = [], 0.0
    for number in range(requests + 2):
        if number == 2:
            worked = seconds_of(web)
        began = time.perf_counter()
        answer = browser.get(path)
        assert answer.status_code == 200, (path, answer.status_code, answer.text[-500:])
        if number >= 2:
            times.append(1000 * (time.perf_counter() - began))
    spent = seconds_of(web) - worked
    times.sort()
    return {
        "p50_ms": round(statistics.median(times), 1),
        "p95_ms": round(times[min(len(times) - 1, int(0.95 * len(times)))], 1),
        "cpu_ms": round(1000 * spent / requests, 1),
        "bytes": len(answer.content),
    }


def first_page(browser: httpx.Client) -> int:
    """Bytes of the overview and all that it loads, with what its scripts import."""
    page = browser.get("/")
    loaded: dict[str, int] = {"/": len(page.content)}
    wanted = re.findall(r'(?:src|href)="(/static/[^"]+)"', page.text)
    while wanted:
        path = wanted.pop()
        if path in loaded or path == CHART_LIBRARY:
            continue
        answer = browser.get(path)
        assert answer.status_code == 200, path
        loaded[path] = len(answer.content)
        if path.endswith(".js"):
            found = re.findall(r'from "\./([^"]+)"', answer.text)
            wanted += [str(Path(path).parent / name) for name in found]
    return sum(loaded.values())


if __name__ == "__main__":
    main()
