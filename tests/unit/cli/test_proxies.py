"""An environment that names a proxy: it hears nothing of what stays on this machine."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.unit.test_compose import SERVICES
from web.cli.api import Api, Server, is_loopback
from web.cli.stack import is_ready


class Recorder(ThreadingHTTPServer):
    """Answers everything, and knows what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        asked = self.asked

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_: object) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@pytest.fixture
def service() -> Iterator[Recorder]:
    with Recorder() as server:
        yield server
        server.shutdown()


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    with Recorder() as server:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, server.url)
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        yield server
        server.shutdown()


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_the_command_line_asks_this_machine_itself(
    service: Recorder, proxy: Recorder, name: str
) -> None:
    Api(Server(service.url.replace("127.0.0.1", name), "a-secret")).get("/v1/models")

    assert service.asked == ["/v1/models"]
    assert proxy.asked == []


def test_another_machine_is_reached_by_the_proxy(proxy: Recorder) -> None:
    Api(Server("http://textgen.example", "a-secret")).get("/v1/models")

    assert proxy.asked == ["http://textgen.example/v1/models"]


def test_the_stack_asks_itself_whether_it_is_ready(service: Recorder, proxy: Recorder) -> None:
    assert is_ready(service.url)
    assert service.asked == ["/readyz"]
    assert proxy.asked == []


def test_a_container_asks_itself_about_its_health(service: Recorder, proxy: Recorder) -> None:
    kind, program, *arguments = SERVICES["web"]["healthcheck"]["test"]
    here = [each.replace("http://127.0.0.1:8000", service.url) for each in arguments]

    assert (kind, program) == ("CMD", "python")
    subprocess.run([sys.executable, *here], check=True, timeout=60)

    assert service.asked == ["/readyz"]
    assert proxy.asked == []


@pytest.mark.parametrize(
    ("url", "here"),
    [
        ("http://127.0.0.1:8000", True),
        ("http://127.1.2.3", True),
        ("http://[::1]:8000", True),
        ("http://localhost:8000", True),
        ("http://textgen.localhost", True),
        ("http://192.168.0.1", False),
        ("https://localhost.example", False),
    ],
)
def test_what_is_this_machine(url: str, here: bool) -> None:
    assert is_loopback(url) is here
