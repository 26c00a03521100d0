"""A small server of real HTTP, and the command line as a program pointed at it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]


class Answers(BaseHTTPRequestHandler):
    """Answers from a table; remembers what was asked."""

    table: dict[str, tuple[int, str, bytes]]
    asked: list[tuple[str, bytes]]
    languages: list[str]
    elsewhere = ""  # where a proxy before it sends everybody

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.asked.append((f"{self.command} {self.path} {self.headers['Authorization']}", body))
        self.languages.append(self.headers.get("Accept-Language", ""))
        unknown = (404, "application/json", b'{"error": {"message": "No such thing."}}')
        status, kind, answer = self.table.get(f"{self.command} {self.path}", unknown)
        if self.elsewhere:
            status, kind, answer = 301, "text/html", b"<h1>Moved Permanently</h1>"
        self.send_response(status)
        if self.elsewhere:
            self.send_header("Location", self.elsewhere + self.path)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: Any) -> None:
        """Keep the tests' output clean."""


class Service:
    """A server on a free port and the command line pointed at it."""

    def __init__(self, folder: Path) -> None:
        handler = type("Handler", (Answers,), {"table": {}, "asked": [], "languages": []})
        self.answers = handler
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.folder = folder

    def put(self, request: str, answer: Any, status: int = 200) -> None:
        self.answers.table[request] = (status, "application/json", json.dumps(answer).encode())

    def put_stream(self, request: str, *events: str) -> None:
        body = "".join(f"data: {event}\n\n" for event in events)
        self.answers.table[request] = (200, "text/event-stream", body.encode())

    def put_page(self, request: str, page: str) -> None:
        self.answers.table[request] = (200, "text/html", page.encode())

    def redirect(self, address: str) -> None:
        """Answer as a proxy does that sends all requests to another address."""
        self.answers.elsewhere = address

    @property
    def languages(self) -> list[str]:
        """In which languages answers were asked for."""
        return self.answers.languages

    def run(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return run(self.folder, *words, **self.variables, **variables)

    @property
    def variables(self) -> dict[str, str]:
        """What leads the command line here."""
        url = f"http://127.0.0.1:{self.server.server_address[1]}"
        return {"TEXTGEN_BASE_URL": url, "TEXTGEN_API_KEY": "tg_1"}


def run(folder: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("TEXTGEN_")}
    return subprocess.run(
        [sys.executable, "-m", "web.cli", *words],
        cwd=ROOT,
        env={**clean, "TEXTGEN_HOME": str(folder), **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@contextmanager
def running_service(folder: Path) -> Iterator[Service]:
    """The server, answering until the context ends."""
    service = Service(folder)
    thread = threading.Thread(target=service.server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield service
    finally:
        service.server.shutdown()
        thread.join()
        service.server.server_close()
