"""Every command with ``--json``, against a stack of its own: standard output is JSON, whole."""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from tests.acceptance.conftest import VERSES
from tests.acceptance.talks import STEPS, talks
from tests.stack import Stack
from tests.webhook_receiver import Receiver, running
from web.cli.app import textgen

TINY = ("--set", "batch_size=8", "--set", "sequence_length=32")
# It would want a bill of a month that is over, with something on it.
LEFT_OUT = {("usage", "credit")}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def with_json(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every command that has the option."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from with_json(command, (*path, name))
        elif command is not None and "--json" in {o for p in command.params for o in p.opts}:
            yield (*path, name)


class Teller:
    """Runs commands and remembers which."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self.told: set[tuple[str, ...]] = set()

    def __call__(self, command: str, *words: str, given: str | None = None) -> Any:
        path = tuple(command.split())
        run = self._stack.cli(*path, *words, "--json", given=given, timeout=600)
        assert run.returncode == 0, (command, run.stderr)
        self.told.add(path)
        return json.loads(run.stdout)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    home = tmp_path_factory.mktemp("told") / "home"
    with Stack(home, TEXTGEN_WEBHOOK_ALLOW="127.0.0.0/8") as stack:
        yield stack


def test_every_command_tells_programs_in_json(stack: Stack, tmp_path: Path) -> None:
    tell = Teller(stack)
    verses = tmp_path / "verses.txt"
    verses.write_text(VERSES * 4)

    tell("doctor", str(verses), "--no-measure")
    _models(tell, tmp_path, verses)
    _jobs(tell, stack, tmp_path, verses)
    _files(tell, verses)
    _operators(tell, tmp_path)
    _webhooks(tell)
    _backups(tell, stack, tmp_path)

    assert tell.told == set(with_json(textgen)) - LEFT_OUT


def _models(tell: Teller, folder: Path, verses: Path) -> None:
    fill = ("--set", "objectives=causal,infill", "--set", "max_steps=60")
    trained = tell("train", str(verses), "--name", "verses", "--model", "lstm-tiny", *TINY, *fill)
    assert trained["state"] == "succeeded"
    assert [each["id"] for each in tell("alias")] == ["verses"]
    model = tell("models show", "verses")["id"]
    assert model in {each["id"] for each in tell("models list")}

    assert tell("generate", "verses", "The king", "--max-tokens", "5")["choices"]
    assert "text" in tell("insert", "verses", "The king speaks.")
    assert tell("tokenize", "verses", "The king")["count"] > 0
    assert [each["index"] for each in tell("embed", "verses", "a", "b")] == [0, 1]
    assert tell("score", "verses", str(verses), "--format", "lines")["summary"]["rows"] > 100
    assert "report" in tell("eval", "verses", "--set", "parts=prediction")
    assert tell("trace", "verses", "The king speaks")["tokens"]
    prompts = folder / "prompts.txt"
    prompts.write_text("The king\nThe queen\n")
    counts = tell("batch", "verses", str(prompts), str(folder / "out.jsonl"), "--max-tokens", "3")
    assert counts["request_counts"]["completed"] == 2

    talk = folder / "talks.jsonl"
    talk.write_bytes(talks().encode())
    tell(
        "train",
        str(talk),
        "--name",
        "helper",
        "--model",
        "lstm-tiny",
        "--set",
        f"max_steps={STEPS}",
    )
    assert tell("chat", "helper", "hello", "--temperature", "0")["role"] == "assistant"

    draw, rows = random.Random(1), folder / "rows.jsonl"
    pairs = [draw.choice([("good", "praise"), ("bad", "complaint")]) for _ in range(300)]
    lines = [
        {"text": f"{draw.choice('abcdef')} is {word}", "label": label} for word, label in pairs
    ]
    rows.write_text("\n".join(json.dumps(line) for line in lines))
    tell("train", str(rows), "--name", "judge", "--model", "lstm-tiny", "--set", "max_steps=30")
    (judged,) = tell("classify", "judge", "a is good")
    assert judged["label"] in ("praise", "complaint")
    file = str(folder / "judge.safetensors")
    assert tell("models export", "judge", "--out", file)["path"] == file
    assert tell("models import", file, "--name", "brought")["id"]
    tell("models rm", "judge", "--yes")


def _jobs(tell: Teller, stack: Stack, folder: Path, verses: Path) -> None:
    steps = ("--set", "max_steps=1000000")
    begun = tell("train", str(verses), "--model", "lstm-tiny", *TINY, *steps, "--detach")["id"]
    assert begun in {each["id"] for each in tell("jobs list", "--kind", "training")}
    _until(stack, begun, "running")
    tell("jobs pause", begun)
    _until(stack, begun, "paused")
    tell("jobs resume", begun)
    tell("jobs cancel", begun)
    _until(stack, begun, "cancelled")
    again = tell("jobs retry", begun)["id"]
    tell("jobs cancel", again)
    assert tell("jobs show", begun)["state"] == "cancelled"
    assert Path(tell("jobs tensorboard", str(folder), begun)[begun]).stat().st_size
    assert tell("jobs logs", begun)[0]["id"] == 1


def _until(stack: Stack, job_id: str, state: str) -> None:
    deadline = time.monotonic() + 60
    with stack.http() as http:
        while http.get(f"/v1/jobs/{job_id}").json()["state"] != state:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def _files(tell: Teller, verses: Path) -> None:
    stored = tell("files upload", str(verses))["id"]
    assert stored in {each["id"] for each in tell("files list")}
    assert tell("files rm", stored, "--yes")["deleted"]


def _operators(tell: Teller, folder: Path) -> None:
    key = tell("keys create", "web")["id"]
    assert key in {each["id"] for each in tell("keys list")}
    new = tell("keys rotate", key)["id"]
    assert tell("keys revoke", new)["state"] == "revoked"
    tell("tenants create", "acme")
    assert tell("tenants show", "acme")["status"] == "active"
    assert "acme" in {each["id"] for each in tell("tenants list")}
    assert tell("tenants set", "acme", "--set", "weight=2")["weight"] == 2
    tell("tenants suspend", "acme")
    tell("tenants resume", "acme")
    assert tell("tenants audit", "--tenant", "acme")
    assert tell("tenants rm", "acme", "--yes")["deleted"]
    assert tell("usage show")["data"]
    assert tell("usage quotas")["data"] == []
    assert tell("usage invoice", "2026-01")["month"] == "2026-01"
    assert tell("admin check")["clean"]
    assert Path(tell("admin report", "--output", str(folder / "report.zip"))["path"]).exists()


def _webhooks(tell: Teller) -> None:
    with running(Receiver()) as receiver:
        endpoint = tell("webhooks create", receiver.url, "--event", "batch.completed")["id"]
        assert [each["id"] for each in tell("webhooks list")] == [endpoint]
        assert tell("webhooks test", endpoint)["status_code"] == 200
        assert isinstance(tell("webhooks log", endpoint), list)
        assert tell("webhooks rotate", endpoint)["signing_secret"]
        assert tell("webhooks rm", endpoint)["deleted"]


def _backups(tell: Teller, stack: Stack, folder: Path) -> None:
    revision = tell("db upgrade")["revision"]
    assert tell("db downgrade", revision, "--yes") == {"revision": revision}
    assert tell("backup", str(folder / "kept"))["rows"] > 0
    assert tell("restore", str(folder / "kept"), "--verify")["verified"]


def test_a_finished_training_shows_its_losses(stack: Stack, tmp_path: Path) -> None:
    verses = tmp_path / "verses.txt"
    verses.write_text(VERSES * 4)
    asked = ("train", str(verses), "--model", "lstm-tiny", *TINY, "--set", "max_steps=60")
    run = stack.cli(*asked, timeout=600)
    assert run.returncode == 0, run.stderr
    for name in ("validation loss", "training loss"):
        assert any(
            line.strip().startswith(name) and "→" in line for line in run.stderr.splitlines()
        )

    job = json.loads(stack.cli("jobs", "list", "--limit", "1", "--json").stdout)[0]["id"]
    shown = stack.cli("jobs", "show", job).stdout
    curves = [line for line in shown.splitlines() if "→" in line]
    assert [curve.split(" loss")[0] for curve in curves] == ["validation", "training"]
    # They share a scale, of which the first validation is near the end already.
    blocks = re.split(r"\s{2,}", curves[1])[1]
    assert len(set(blocks)) > 1
    ends = [
        (float(curve.split("→")[0].split()[-1]), float(curve.split("→")[1].split(",")[0]))
        for curve in curves
    ]
    assert ends[0][0] >= ends[0][1]  # both near the end
    assert ends[1][0] > ends[1][1]


def test_models_are_listed_by_their_names_and_without_checkpoints(
    stack: Stack, tmp_path: Path
) -> None:
    verses = tmp_path / "verses.txt"
    verses.write_text(VERSES * 4)
    long = ("--set", "max_steps=600")
    run = stack.cli("train", str(verses), "--name", "odes", "--model", "lstm-tiny", *TINY, *long)
    assert run.returncode == 0, run.stderr

    (line,) = [each for each in stack.cli("models").stdout.splitlines() if "odes" in each]
    assert line.split()[0] == run.stdout.split("Done: ")[1].split()[0]
    assert ":ckpt-step-" not in stack.cli("models", "list").stdout
    assert ":ckpt-step-" in stack.cli("models", "list", "--checkpoints").stdout


def test_what_is_refused_leaves_nothing_and_costs_nothing(stack: Stack, tmp_path: Path) -> None:
    verses, prompts = tmp_path / "verses.txt", tmp_path / "prompts.txt"
    verses.write_text(VERSES * 4 + "Nobody has stored this.")
    prompts.write_text("The king\n")
    before = stack.cli("files", "list", "--json").stdout

    run = stack.cli("train", str(verses), "--model", "lstm-smal")
    assert run.returncode == 1 and "lstm-smal" in run.stderr
    away = str(tmp_path / "nowhere" / "out.jsonl")
    run = stack.cli("batch", "lstm-tiny", str(prompts), away)
    assert run.returncode == 2 and away in run.stderr.replace("\n", "")
    run = stack.cli("batch", "lstm-tiny", str(prompts), str(tmp_path / "out.pdf"))
    assert run.returncode == 2 and ".jsonl, .csv or .txt" in run.stderr

    assert stack.cli("files", "list", "--json").stdout == before


def test_a_file_that_is_stored_is_not_stored_again(stack: Stack, tmp_path: Path) -> None:
    verses = tmp_path / "again.txt"
    verses.write_text(VERSES * 4)
    asked = ("train", str(verses), "--model", "lstm-tiny", *TINY, "--set", "max_steps=20")
    first, second = (stack.cli(*asked, "--json", timeout=600) for _ in range(2))
    assert "is stored already" not in first.stderr
    assert "again.txt is stored already, as file-" in second.stderr
    files = [json.loads(run.stdout)["spec"]["files"][0]["id"] for run in (first, second)]
    assert files[0] == files[1]
    refused = stack.cli("train", str(verses), "--model", "lstm-smal")
    assert refused.returncode == 1
    assert stack.cli("files", "content", files[0]).stdout == VERSES * 4

    verses.write_text(VERSES * 4 + "Changed.")
    third = stack.cli(*asked, "--json", timeout=600)
    assert json.loads(third.stdout)["spec"]["files"][0]["id"] != files[0]


def test_an_ended_training_stands_at_its_last_step(stack: Stack, tmp_path: Path) -> None:
    verses = tmp_path / "verses.txt"
    verses.write_text(VERSES * 4)
    asked = ("train", str(verses), "--model", "lstm-tiny", *TINY, "--set", "max_steps=60")
    job = json.loads(stack.cli(*asked, "--json", timeout=600).stdout)
    assert (job["progress"]["step"], job["progress"]["seconds_left"]) == (60, 0)

    shown = stack.cli("jobs", "show", job["id"]).stdout
    loss = f"{job['result']['metrics']['full_valid_loss']:.4f}"
    (line,) = [line for line in shown.splitlines() if "full valid loss" in line]
    assert line.split()[-1] == loss
    assert "{" not in shown
