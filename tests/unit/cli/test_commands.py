"""Every command: its help, its exit codes, its errors, against a small server of real HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import click
import pytest

from tests.unit.cli.service import Service, run, running_service
from web.cli.app import COMMANDS, textgen
from worker.jobs.states import Kind, State


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


# What they print is for a shell, a file, or somebody who watches a service.
WITHOUT_JSON = {
    ("up",): "a service's log; TEXTGEN_LOG_FORMAT=json makes that JSON",
    ("worker", "train"): "the same",
    ("worker", "generate"): "the same",
    ("worker", "reconcile"): "the same",
    ("completion",): "a shell script",
    ("files", "content"): "the file itself",
    ("jobs", "output"): "the same",
    ("usage", "export"): "--format says what",
}


@pytest.mark.parametrize("path", list(commands(textgen)), ids=" ".join)
def test_every_command_that_tells_something_tells_it_to_programs(path: tuple[str, ...]) -> None:
    options = {name for parameter in find(path).params for name in parameter.opts}

    assert ("--json" in options) is (path not in WITHOUT_JSON)


def test_the_choices_of_the_jobs_list_are_those_of_jobs() -> None:
    choices = {
        parameter.name: parameter.type.choices
        for parameter in find(("jobs", "list")).params
        if isinstance(parameter.type, click.Choice)
    }

    assert choices == {"kind": get_args(Kind), "state": get_args(State)}


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with running_service(tmp_path) as running:
        yield running


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


def test_an_error_ends_with_the_page_of_its_code(service: Service) -> None:
    error = {"message": "No such model.", "code": "model_not_found", "doc_url": "http://here/docs"}
    service.put("GET /v1/models/unknown", {"error": error}, 404)

    said = service.run("models", "show", "unknown").stderr

    assert said.splitlines() == ["Error: No such model.", "More: http://here/docs"]


def test_a_refused_key_says_where_keys_come_from(service: Service) -> None:
    service.put("GET /v1/models", {"error": {"message": "Wrong API key."}}, 401)

    assert "TEXTGEN_API_KEY" in service.run("models").stderr


@pytest.mark.parametrize(
    "words", [("jobs",), ("jobs", "logs", "ftjob-1"), ("files", "content", "file-1", "--out"),
              ("generate", "m", "It")]
)  # fmt: skip
def test_a_redirect_is_a_failure_that_names_the_address(
    service: Service, tmp_path: Path, words: tuple[str, ...]
) -> None:
    """As of a proxy that wants https, whose own page is nobody's result."""
    service.redirect("https://elsewhere")
    target = tmp_path / "x"

    found = service.run(*words, *([str(target)] if words[-1] == "--out" else []))

    url = service.variables["TEXTGEN_BASE_URL"]
    assert found.stderr.strip() == (
        f"Error: {url} redirects to https://elsewhere. Set TEXTGEN_BASE_URL to that address."
    )
    assert (found.returncode, found.stdout) == (1, "")
    assert not target.exists()


def test_a_page_instead_of_an_answer_is_said_to_be_no_server_s(service: Service) -> None:
    service.put_page("GET /v1/jobs?limit=20", "<h1>Welcome</h1>")

    found = service.run("jobs")

    assert found.returncode == 1
    assert found.stderr.startswith("Error: What answers at http://127.0.0.1")
    assert "is no textgen server" in found.stderr
    assert "Traceback" not in found.stderr


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
