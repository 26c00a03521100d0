"""Every operation of /openapi.json, sent what fits it and what does not, by schemathesis.

All phases: examples, the edges of each field, random values, and calls that follow each other by
links. Whatever comes, the answer is one that the document declares, and none is a 500.
"""

from __future__ import annotations

import logging
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask
from werkzeug.serving import make_server

from tests.unit.web.conftest import ENDLESS, Caller

CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_schema_conformance,response_headers_conformance"
)
ALONE = "examples,coverage,fuzzing"
LINKED = "stateful"
SHORT = ("--seed", "1", "-n", "2", "--max-time")
LONG = ("-n", "40", "--max-time")
# The document's own links: those that would be guessed beside them are seven times as many.
CONFIGURATION = """
[phases.stateful]
max-steps = 8
[phases.stateful.inference]
algorithms = []
"""


@pytest.fixture
def url(app: Flask) -> Iterator[str]:
    """The application on a port of its own."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def run(url: str, key: str, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    (folder / "schemathesis.toml").write_text(CONFIGURATION)
    return subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json"),
            *("--header", f"Authorization: Bearer {key}", "--checks", CHECKS),
            *("--exclude-path", ENDLESS),  # schemathesis would read it to its end
            *("--generation-database", "none", "--no-color", "--warnings", "off", *options),
        ],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(["--phases", ALONE, *SHORT, "10"], id="short"),
        pytest.param(["--phases", LINKED, *SHORT, "20"], id="linked", marks=pytest.mark.slow),
        pytest.param(["--phases", ALONE, *LONG, "240"], id="long", marks=pytest.mark.chaos),
        pytest.param(["--phases", LINKED, *LONG, "99"], id="long, linked", marks=pytest.mark.chaos),
    ],
)
def test_whatever_is_sent_is_answered_as_declared(
    url: str,
    call: Caller,
    upload: Callable[..., str],
    model: str,
    tmp_path: Path,
    options: list[str],
) -> None:
    upload()
    ended = run(url, call.key, tmp_path, *options)
    assert ended.returncode == 0, ended.stdout[-6000:]
    assert re.search(r"Operations: *[1-9]", ended.stdout), ended.stdout
    if LINKED in options:
        assert re.search(r"API Links: *[1-9]\d* covered", ended.stdout), ended.stdout
