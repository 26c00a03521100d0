"""Watching a job on a terminal and in a pipe, over a server that goes away and comes back."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import subprocess
import sys
import threading
import time
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner
from rich.console import Console

from tests.unit.cli.service import ROOT, Service, running_service
from web.cli import follow as following
from web.cli.api import Api, Server
from web.cli.follow import follow
from web.cli.jobs import jobs

JOB = "ftjob-1"
COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:3|4|9|10)[0-7](?:;\d+)*m")


def job(state: str, **fields: Any) -> dict[str, Any]:
    progress = {"step": 3, "total_steps": 3, "train_loss": 1.0}
    return {
        "id": JOB,
        "state": state,
        "phase": None,
        "progress": progress,
        "waiting": None,
    } | fields


def measured(number: int) -> dict[str, Any]:
    data = {"step": number, "valid_loss": 5.0 - number, "train_loss": 4.0 - number}
    message = f"Step {number} is measured"
    return {"id": number, "type": "metrics", "level": "info", "message": message, "data": data}


def put(service: Service, state: str, after: int, *events: dict[str, Any]) -> None:
    service.put(f"GET /v1/jobs/{JOB}", job(state))
    path = f"GET /v1/jobs/{JOB}/events?after={after}&limit=100"
    service.put(path, {"data": events, "has_more": False})


def test_each_event_is_told_once_over_a_restart_of_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By real HTTP, with a time between in which nobody answers."""
    monkeypatch.setattr(following, "POLL_SECONDS", 0.05)
    text = io.StringIO()
    console = Console(file=text, markup=False, highlight=False)
    with running_service(tmp_path) as first:
        put(first, "running", 0, measured(1))
        put(first, "running", 1)
        server = Server(first.variables["TEXTGEN_BASE_URL"], "tg_1")
        found: list[dict[str, Any]] = []
        watching = threading.Thread(
            target=lambda: found.append(follow(Api(server), JOB, console)), daemon=True
        )
        watching.start()
        while "Step 1" not in text.getvalue():
            time.sleep(0.01)
    time.sleep(0.3)  # the port is nobody's
    assert watching.is_alive()
    second = Service(tmp_path)
    second.server.server_close()
    put(second, "succeeded", 1, measured(2))
    address = ("127.0.0.1", int(server.url.rpartition(":")[2]))
    with ThreadingHTTPServer(address, second.answers) as again:
        serving = threading.Thread(target=again.serve_forever, args=(0.02,))
        serving.start()
        watching.join(60)
        again.shutdown()
        serving.join()

    assert [each["state"] for each in found] == ["succeeded"]
    assert [line for line in text.getvalue().splitlines() if "is measured" in line] == [
        "  Step 1 is measured",
        "  Step 2 is measured",
    ]


def test_a_server_that_stays_away_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(following, "PATIENCE_SECONDS", 0.1)

    with pytest.raises(following.ServerUnreachable):
        follow(Api(Server("http://127.0.0.1:9", "tg_1")), JOB, Console(file=io.StringIO()))


@pytest.mark.parametrize("status", [408, 429, 502, 503, 504])
def test_a_proxy_that_answers_while_the_server_is_restarted_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setattr(following, "POLL_SECONDS", 0.01)
    away = iter([True, False, True])

    def answer(request: httpx.Request) -> httpx.Response:
        if next(away, False):
            return httpx.Response(status, html="<h1>Bad Gateway</h1>")
        if request.url.path.endswith("/events"):
            return httpx.Response(200, json={"data": [], "has_more": False})
        return httpx.Response(200, json=job("succeeded"))

    api = Api(Server("http://server", "tg_1"), httpx.MockTransport(answer))
    assert follow(api, JOB, Console(file=io.StringIO()))["state"] == "succeeded"


def test_logs_have_what_was_told_just_before_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """The job ends after its events were read, and the server is restarted then."""
    told, restarting = [measured(1)], iter([False, True, False])

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/events"):
            found = [each for each in told if each["id"] > int(request.url.params["after"])]
            told[1:] = [measured(2)]
            return httpx.Response(200, json={"data": found, "has_more": False})
        if next(restarting):
            return httpx.Response(502)
        return httpx.Response(200, json=job("succeeded" if len(told) > 1 else "running"))

    monkeypatch.setattr(following, "POLL_SECONDS", 0.01)
    api = Api(Server("http://server", "tg_1"), httpx.MockTransport(answer))
    monkeypatch.setattr("web.cli.jobs.connect", lambda: api)
    found = CliRunner().invoke(jobs, ["logs", JOB, "--follow"])

    assert found.exit_code == 0, found.output
    assert found.stdout.splitlines() == ["  Step 1 is measured", "  Step 2 is measured"]


def test_logs_that_are_followed_are_no_json(tmp_path: Path) -> None:
    with running_service(tmp_path) as service:
        found = service.run("jobs", "logs", JOB, "--follow", "--json")

    assert (found.returncode, found.stdout) == (2, "")
    assert "--follow prints events as they come" in found.stderr


def test_a_terminal_has_the_losses_under_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "POLL_SECONDS", 0.05)
    states = iter(["running", "running", "succeeded"])

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/events"):
            after = int(request.url.params["after"])
            events = [measured(number) for number in range(after + 1, 4)]
            return httpx.Response(200, json={"data": events, "has_more": False})
        return httpx.Response(200, json=job(next(states)))

    text = io.StringIO()
    console = Console(file=text, force_terminal=True, width=80, markup=False, highlight=False)
    follow(Api(Server("http://server", "tg_1"), httpx.MockTransport(answer)), JOB, console)

    assert "validation loss █▆▃  4.000 → 2.000" in text.getvalue()
    assert "training loss   ▆▃▁  3.000 → 1.000" in text.getvalue()


def put_trace(service: Service) -> None:
    """An evaluation that traced two tokens, the second one surprising."""
    state = {**job("succeeded"), "id": "eval-1"}
    tokens = [{"text": "The ", "nats": 0.1}, {"text": "dork", "nats": 9.0}]
    service.put("POST /v1/files", {"id": "file-1"})
    service.put("POST /v1/evaluations", {"id": "eval-1", "model": "m"})
    service.put("GET /v1/jobs/eval-1", state)
    service.put(
        "GET /v1/jobs/eval-1/events?after=0&limit=100",
        {"data": [{"id": 1, "type": "state", "level": "warn", "message": "Odd", "data": {}}],
         "has_more": False},
    )  # fmt: skip
    service.put("GET /v1/evaluations/eval-1", {"report_file_id": "file-2"})
    service.put("GET /v1/files/file-2/content", {"traces": {"tokens": tokens, "units": []}})


@pytest.mark.parametrize("no_color", ["", "1"])
def test_a_terminal_has_colours_unless_they_are_not_wanted(tmp_path: Path, no_color: str) -> None:
    with running_service(tmp_path) as service:
        put_trace(service)
        shown = on_a_terminal(service, "trace", "m", "The dork", NO_COLOR=no_color)

    assert "dork" in shown
    assert "Odd" in shown
    assert bool(COLOUR.search(shown)) is not bool(no_color), repr(shown)


def test_a_pipe_has_no_control_characters(tmp_path: Path) -> None:
    with running_service(tmp_path) as service:
        put_trace(service)
        run = service.run("trace", "m", "The dork", TERM="xterm-256color")

    assert run.stdout.startswith("The dork\n")
    assert "Odd" in run.stderr
    assert "\x1b" not in run.stdout + run.stderr


@pytest.mark.parametrize("as_json", [(), ("--json",)])
def test_nothing_traced_is_a_failure_for_programs_too(
    tmp_path: Path, as_json: tuple[str, ...]
) -> None:
    with running_service(tmp_path) as service:
        put_trace(service)
        service.put("GET /v1/files/file-2/content", {"missing": {"traces": "the text is empty"}})
        run = service.run("trace", "m", "x", *as_json)

    assert (run.returncode, run.stdout) == (1, "")
    assert "Nothing was traced: the text is empty" in run.stderr


def test_what_a_terminal_cannot_show_is_no_failure(tmp_path: Path) -> None:
    with running_service(tmp_path) as service:
        put_trace(service)
        tokens = [{"text": "雪", "nats": 0.1}]
        service.put("GET /v1/files/file-2/content", {"traces": {"tokens": tokens, "units": []}})
        run = service.run("trace", "m", "The dork", PYTHONIOENCODING="latin-1")

    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("?\n")


def on_a_terminal(service: Service, *words: str, **variables: str) -> str:
    """What a terminal of 100 columns is sent."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, **service.variables, "TEXTGEN_HOME": str(service.folder)}
    process = subprocess.Popen(
        [sys.executable, "-m", "web.cli", *words],
        cwd=ROOT,
        env={**environment, "TERM": "xterm-256color", "COLUMNS": "100", **variables},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    told = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        told += piece
    os.close(ours)
    assert process.wait(60) == 0, told.decode()
    return told.decode()


@pytest.mark.parametrize(
    ("words", "lines", "results", "mark"),
    [
        (
            ("chat", "m", "--json"),
            "hi\nho\n",
            ['{"role": "assistant", "content": "Yes."}'] * 2,
            "> ",
        ),
        (("generate", "m", "It", "-i"), "/text\n/keep a\n/go a\n", ["It", "It"], "› "),
    ],
    ids=["chat", "generate"],
)
def test_what_is_typed_beside_a_pipe_is_asked_for_on_standard_error(
    tmp_path: Path, words: tuple[str, ...], lines: str, results: list[str], mark: str
) -> None:
    """Standard output has the results alone, each a line."""
    with running_service(tmp_path) as service:
        service.put("GET /v1/models/m", {"id": "m"})
        reply = {"choices": [{"delta": {"content": "Yes."}}]}
        service.put_stream("POST /v1/chat/completions", json.dumps(reply), "[DONE]")
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-m", "web.cli", *words],
            cwd=ROOT,
            env={**os.environ, **service.variables, "TEXTGEN_HOME": str(service.folder)},
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        os.close(theirs)
        os.write(ours, f"{lines}\x04".encode())
        told, asked = process.communicate(timeout=60)
        os.close(ours)

    assert process.returncode == 0, asked
    assert told.splitlines() == results
    assert asked.count(mark) == lines.count("\n") + 1
