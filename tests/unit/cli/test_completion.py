"""Completion of commands and of what the server has, in the shells themselves where they are."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from tests.unit.cli.service import ROOT, Service, running_service
from web.cli.app import COMMANDS, textgen
from web.cli.completion import SHELLS

MODEL = "ft:lstm-auto:mine:8f3"
STATES = ("queued", "running", "paused", "succeeded", "failed", "cancelled")


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with running_service(tmp_path) as running:
        presets = [{"id": "lstm-auto", "owned_by": "preset"}]
        running.put("GET /v1/models", {"data": [*presets, {"id": MODEL, "owned_by": "default"}]})
        running.put("GET /v1/aliases", {"data": [{"id": "novels", "model": MODEL}]})
        running.put(
            "GET /v1/jobs?limit=100",
            {"data": [{"id": f"ftjob-{s}", "kind": "training", "state": s} for s in STATES]},
        )
        running.put("GET /v1/files?limit=100", {"data": [{"id": "file-1", "filename": "a.txt"}]})
        running.put(
            "GET /v1/webhook_endpoints?limit=100", {"data": [{"id": "we_1", "name": "hook"}]}
        )
        yield running


def offered(*words: str) -> list[str]:
    """What the line would be completed to, whose last word is begun."""
    *whole, begun = words
    found = ShellComplete(textgen, {}, "textgen", "_TEXTGEN_COMPLETE").get_completions(whole, begun)
    return [item.value for item in found]


@pytest.fixture
def here(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in service.variables.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (("generate", ""), ["novels", MODEL]),
        (("generate", "ft:"), [MODEL]),
        (("train", "--model", ""), ["lstm-auto", "novels", MODEL]),
        (("models", "rm", ""), [MODEL]),
        (("alias", ""), ["novels"]),
        (("alias", "other", "ft:l"), [MODEL]),
        (("jobs", "show", "ftjob-"), [f"ftjob-{state}" for state in STATES]),
        (("jobs", "cancel", ""), ["ftjob-queued", "ftjob-running", "ftjob-paused"]),
        (("jobs", "resume", ""), ["ftjob-paused"]),
        (("jobs", "retry", ""), ["ftjob-failed", "ftjob-cancelled"]),
        (("files", "rm", ""), ["file-1"]),
        (("webhooks", "log", ""), ["we_1"]),
        (("jobs", "list", "--kind", "tr"), ["training"]),
        (("completion", ""), list(SHELLS)),
        (("models", "s"), ["show"]),
    ],
    ids=" ".join,
)
def test_what_the_server_has_is_offered(here: None, words: tuple[str, ...], names: str) -> None:
    assert offered(*words) == names


def test_what_is_offered_is_explained_in_the_reader_s_language(
    here: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def explained(*words: str) -> dict[str, str | None]:
        *whole, begun = words
        shell = ShellComplete(textgen, {}, "textgen", "_TEXTGEN_COMPLETE")
        return {item.value: item.help for item in shell.get_completions(whole, begun)}

    assert explained("train", "--model", "")["lstm-auto"] == "preset"
    assert explained("jobs", "pau")["pause"] == "Let a job rest; it keeps a checkpoint."

    monkeypatch.setenv("TEXTGEN_LANGUAGE", "zh")
    assert explained("train", "--model", "")["lstm-auto"] == "预设"
    assert explained("generate", "ft:")[MODEL] == "模型"
    assert explained("jobs", "resume", "")["ftjob-paused"] == "训练，已暂停"
    assert explained("jobs", "pau")["pause"] == "让任务休息；它会保留检查点"
    assert explained("train", "--deta")["--detach"] == "不等待结束。"


def test_commands_and_options_are_offered_without_a_server() -> None:
    assert offered("") == list(COMMANDS)
    assert offered("tra") == ["train", "trace"]
    assert "--max-seconds" in offered("train", "--max")
    assert "--version" in offered("--v")


def test_a_server_that_is_away_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TEXTGEN_HOME", str(tmp_path))
    assert offered("jobs", "show", "") == []
    monkeypatch.setenv("TEXTGEN_BASE_URL", "http://127.0.0.1:9")
    assert offered("jobs", "show", "") == []
    monkeypatch.setenv("PORT", "many")
    assert offered("jobs", "show", "") == []
    assert capfd.readouterr() == ("", "")


def test_a_server_that_is_silent_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("TEXTGEN_BASE_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        began = time.monotonic()
        assert offered("generate", "") == []
        assert time.monotonic() - began < 20  # a command waits for two minutes


# How each shell is made to complete $LINE, whose words are $1, $2 and so on.
DRIVERS = {
    "bash": """
        eval "$(textgen completion bash)"
        COMP_LINE=$LINE COMP_POINT=${#LINE} COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
        _textgen_completion textgen
        printf '%s\\n' "${COMPREPLY[@]}"
    """,
    "zsh": """
        compdef() { : }
        eval "$(textgen completion zsh)"
        _describe() { print -l -- ${completions_with_descriptions//\\\\:/:} }
        compadd() { print -l -- $completions }
        words=("$@") CURRENT=$#
        _textgen_completion
    """,
    "fish": """
        textgen completion fish | source
        complete --do-complete $LINE
    """,
}


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("line", "completed"),
    [
        ("textgen jo", "jobs"),
        ("textgen jobs resume ", "ftjob-paused"),
        ("textgen trace ft:l", MODEL),
    ],
)
def test_in_the_shell(
    service: Service, tmp_path: Path, shell: str, line: str, completed: str
) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell} here")
    program = tmp_path / "textgen"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m web.cli "$@"\n')
    program.chmod(0o755)
    options = {"bash": ["--norc"], "zsh": ["-f"], "fish": ["--no-config"]}[shell]
    words = [shell] if shell != "fish" else []
    run = subprocess.run(
        [shell, *options, "-c", DRIVERS[shell], *words, *line.split(" ")],
        cwd=ROOT,
        env={
            **os.environ,
            **service.variables,
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "LINE": line,
            "HOME": str(tmp_path),
        },
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert run.returncode == 0, run.stderr
    assert run.stderr == ""
    # Bash has what stands before the colon on the line already.
    rest = completed.removeprefix("ft:") if shell == "bash" else completed
    offered = [each.partition("\t")[0].removesuffix(":model") for each in run.stdout.splitlines()]
    assert [each for each in offered if each.startswith(rest)], run.stdout
