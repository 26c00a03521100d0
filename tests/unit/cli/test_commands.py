"""Every command: its help, its exit codes, its errors, against a small server of real HTTP."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import click
import pytest

from web.cli.app import COMMANDS, textgen

ROOT = Path(__file__).parents[3]


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name)


def find(path: tuple[str, ...]) -> click.Command:
    command: click.Command = textgen
    for name in path:
        assert isinstance(command, click.Group)
        found = command.get_command(click.Context(command), name)
        assert found is not None
        command = found
    return command


@pytest.mark.parametrize("path", list(commands(textgen)), ids=" ".join)
def test_every_command_has_help_with_an_example(path: tuple[str, ...]) -> None:
    command = find(path)
    context = click.Context(command, info_name=" ".join(("textgen", *path)))

    help_text = command.get_help(context)

    assert command.help
    assert "Example: " in help_text
    assert f"textgen {' '.join(path)}" in " ".join(help_text.split("Example:")[1].split())


def test_every_listed_command_exists() -> None:
    assert all(find((name,)) for name in COMMANDS)


class Answers(BaseHTTPRequestHandler):
    """Answers from a table; remembers what was asked."""

    table: dict[str, tuple[int, str, bytes]]
    asked: list[tuple[str, bytes]]

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.asked.append((f"{self.command} {self.path} {self.headers['Authorization']}", body))
        unknown = (404, "application/json", b'{"error": {"message": "No such thing."}}')
        status, kind, answer = self.table.get(f"{self.command} {self.path}", unknown)
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: Any) -> None:
        """Keep the tests' output clean."""


class Service:
    """A server on a free port and the command line pointed at it."""

    def __init__(self, folder: Path) -> None:
        handler = type("Handler", (Answers,), {"table": {}, "asked": []})
        self.answers = handler
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.folder = folder

    def put(self, request: str, answer: Any, status: int = 200) -> None:
        self.answers.table[request] = (status, "application/json", json.dumps(answer).encode())

    def put_stream(self, request: str, *events: str) -> None:
        body = "".join(f"data: {event}\n\n" for event in events)
        self.answers.table[request] = (200, "text/event-stream", body.encode())

    def run(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        url = f"http://127.0.0.1:{self.server.server_address[1]}"
        return run(self.folder, *words, TEXTGEN_BASE_URL=url, TEXTGEN_API_KEY="tg_1", **variables)


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


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    service = Service(tmp_path)
    thread = threading.Thread(target=service.server.serve_forever, args=(0.02,))
    thread.start()
    yield service
    service.server.shutdown()
    thread.join()
    service.server.server_close()


@pytest.mark.parametrize("words", [("jobs",), ("models", "list"), ("generate", "m", "x")])
def test_without_a_server_it_names_the_command_that_starts_one(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    found = run(tmp_path, *words)

    assert found.returncode == 1
    assert "textgen up" in found.stderr
    assert "Traceback" not in found.stderr


def test_a_server_that_does_not_answer_is_named(tmp_path: Path) -> None:
    found = run(tmp_path, "jobs", TEXTGEN_BASE_URL="http://127.0.0.1:9")

    assert found.returncode == 1
    assert "http://127.0.0.1:9" in found.stderr


@pytest.mark.parametrize(
    "words",
    [("nonsense",), ("train",), ("train", "no-such-file"), ("jobs", "list", "--state", "odd")],
)
def test_wrong_usage_is_exit_code_2(tmp_path: Path, words: tuple[str, ...]) -> None:
    found = run(tmp_path, *words)

    assert found.returncode == 2
    assert "Traceback" not in found.stderr


def test_an_unknown_hyperparameter_is_wrong_usage_and_names_the_nearest(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("some text")

    found = run(tmp_path, "train", str(text), "--set", "learning_rat=1")

    assert found.returncode == 2
    assert "learning_rate" in found.stderr


def test_a_bad_variable_is_said_by_name(tmp_path: Path) -> None:
    found = run(tmp_path, "jobs", PORT="many")

    assert found.returncode == 1
    assert "PORT is 'many'" in found.stderr


def test_the_servers_own_words_are_shown(service: Service) -> None:
    found = service.run("models", "show", "unknown")

    assert found.returncode == 1
    assert found.stderr.strip() == "Error: No such thing."


def test_a_refused_key_says_where_keys_come_from(service: Service) -> None:
    service.put("GET /v1/models", {"error": {"message": "Wrong API key."}}, 401)

    assert "TEXTGEN_API_KEY" in service.run("models").stderr


def test_json_is_what_the_server_said(service: Service) -> None:
    models = [{"id": "lstm-auto", "owned_by": "preset", "description": "grows"}]
    service.put("GET /v1/models", {"object": "list", "data": models})

    found = service.run("models", "list", "--json")

    assert json.loads(found.stdout) == models
    assert service.answers.asked[-1][0] == "GET /v1/models Bearer tg_1"


def test_text_comes_as_it_is_written_with_the_models_own_defaults(service: Service) -> None:
    defaults = {"max_tokens": 7, "temperature": 0.6, "stop": None}
    service.put("GET /v1/models/mine", {"id": "mine", "generation_defaults": defaults})
    chunks = [json.dumps({"choices": [{"index": 0, "text": text}]}) for text in ("Hal", "lo\n")]
    service.put_stream("POST /v1/completions", *chunks, "[DONE]")

    found = service.run("generate", "mine", "Sag ", "--temperature", "0")

    assert (found.returncode, found.stdout) == (0, "Hallo\n\n")
    assert json.loads(service.answers.asked[-1][1]) == {
        "model": "mine",
        "prompt": "Sag ",
        "max_tokens": 7,
        "temperature": 0.0,
        "stream": True,
    }


def test_options_go_by_the_names_of_the_api(service: Service) -> None:
    service.put("GET /v1/models/mine", {"id": "mine"})
    service.put("POST /v1/completions", {"choices": []})
    words = ("--temperature", "0.2,1.5", "--bad-word", "no", "--bad-word", "never")
    more = ("--min-p", "0.1", "--set", "min_tokens=3", "--set", 'logit_bias={"5": -1}')

    found = service.run("generate", "mine", "x", "--json", *words, *more)

    assert found.returncode == 0
    assert json.loads(service.answers.asked[-1][1]) == {
        "model": "mine",
        "prompt": "x",
        "temperature": [0.2, 1.5],
        "bad_words": ["no", "never"],
        "min_p": 0.1,
        "min_tokens": 3,
        "logit_bias": {"5": -1},
    }
    assert service.run("generate", "mine", "x", "--temperature", "warm").returncode == 2


def test_a_stream_that_breaks_off_is_a_failure(service: Service) -> None:
    service.put("GET /v1/models/mine", {"id": "mine"})
    service.put_stream("POST /v1/completions", '{"choices": []}')

    found = service.run("generate", "mine", "x")

    assert found.returncode == 1
    assert "broke off" in found.stderr


def test_an_error_within_a_stream_is_a_failure(service: Service) -> None:
    service.put("GET /v1/models/mine", {"id": "mine"})
    service.put_stream("POST /v1/completions", '{"error": {"message": "The worker died."}}')

    found = service.run("generate", "mine", "x")

    assert found.returncode == 1
    assert "The worker died." in found.stderr


def test_keys_are_made_listed_and_revoked_without_a_server(tmp_path: Path) -> None:
    assert "textgen up" in run(tmp_path, "keys").stderr
    assert run(tmp_path, "db", "upgrade").returncode == 0

    made = json.loads(run(tmp_path, "keys", "create", "web", "--scope", "read", "--json").stdout)
    assert made["key"].startswith(f"tg_{made['id']}_")
    assert made["scopes"] == ["read"]

    revoked = run(tmp_path, "keys", "revoke", made["id"])
    assert revoked.returncode == 0
    (listed,) = json.loads(run(tmp_path, "keys", "list", "--json").stdout)
    assert (listed["name"], listed["state"]) == ("web", "revoked")
    assert "key" not in listed


def test_the_doctor_looks_at_a_file_without_a_server(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("The cat sat on the mat. " * 200)

    found = run(tmp_path, "doctor", str(text), "--json")

    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout)["characters"] == 4800
