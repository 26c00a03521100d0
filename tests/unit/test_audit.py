"""`make audit` against a service that speaks OSV's protocol on this machine."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import ClassVar

import pytest

from tests.stack import ROOT, free_port

pytestmark = pytest.mark.slow  # pip-audit takes seconds to start
LOCK = """jinja2==3.1.6 \\
    --hash=sha256:00
flask==3.1.3 ; python_version > '3' \\
    --hash=sha256:00
"""


class Osv(BaseHTTPRequestHandler):
    """Knows a fault of the packages that it is told, mended in the version that it is told."""

    faults: ClassVar[dict[str, str | None]] = {}

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name = asked["package"]["name"]
        found = {"vulns": [self._fault(name)]} if name in self.faults else {}
        body = json.dumps(found).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _fault(self, name: str) -> dict[str, object]:
        fixed = self.faults[name]
        events = [{"introduced": "0"}, *([{"fixed": fixed}] if fixed else [])]
        affected = {
            "package": {"name": name, "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": events}],
        }
        return {"id": "PYSEC-2099-1", "summary": "Reads too much.", "affected": [affected]}

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def osv() -> Iterator[str]:
    Osv.faults = {}
    with ThreadingHTTPServer(("127.0.0.1", 0), Osv) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1/query"
        server.shutdown()
        thread.join()


def audit(tmp_path: Path, url: str) -> tuple[int, str]:
    lock = tmp_path / "some.lock"
    lock.write_text(LOCK)
    run = subprocess.run(
        [sys.executable, ".ci/audit.py", str(lock), "--also", "torch==2.13.0", "--osv-url", url],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert run.stderr == ""
    return run.returncode, run.stdout


def test_one_line_when_nothing_is_known(tmp_path: Path, osv: str) -> None:
    assert audit(tmp_path, osv) == (0, "audit: no known faults in 3 locked packages\n")


def test_a_known_fault_fails_with_its_remedy(tmp_path: Path, osv: str) -> None:
    Osv.faults = {"jinja2": "3.2.0", "torch": None}

    status, told = audit(tmp_path, osv)

    assert status == 1
    assert "jinja2 3.1.6: PYSEC-2099-1. Reads too much." in told
    assert "make lock LOCK_ARGS='--upgrade-package jinja2'" in told
    assert "torch 2.13.0: PYSEC-2099-1" in told and "no version mends it yet" in told
    assert "no known faults" not in told


def test_what_could_not_be_asked_is_not_called_clean(tmp_path: Path) -> None:
    status, told = audit(tmp_path, f"http://127.0.0.1:{free_port()}/v1/query")

    assert status == 0
    assert told.startswith("audit: left out") and told.count("\n") == 1
