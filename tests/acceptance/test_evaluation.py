"""Scoring and evaluation as jobs: odd log lines come first, figures are the library's own."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from tests.acceptance.conftest import train
from tests.stack import ROOT, Stack, ended
from textgen.bundles.bundle import load_bundle
from textgen.corpus.sources import Source
from textgen.evaluation.evaluate import evaluate_bundle
from textgen.evaluation.options import EvaluationOptions
from textgen.evaluation.scoring import score_rows, worst_rows

ODD = (
    "2026-03-01 12:00:41 ERROR disk /dev/sdb1 unreadable, sector 77120934",
    "Segmentation fault (core dumped)",
)
MANY = 64_000  # some seconds of work: enough for a look and a signal in between


def log_lines(count: int, seed: int) -> list[str]:
    """What a healthy service writes, all day long."""
    random_of = random.Random(seed)
    return [
        f"2026-03-01 {random_of.randrange(24):02}:{random_of.randrange(60):02}:00 INFO "
        f"{random_of.choice(('GET', 'PUT'))} /items/{random_of.randrange(1000)} "
        f"{random_of.choice((200, 204))} in {random_of.randrange(1, 90)} ms"
        for _ in range(count)
    ]


@pytest.fixture(scope="module")
def log_model(client: openai.OpenAI) -> str:
    lines = "\n".join(log_lines(3000, 1))
    return train(client, "log.txt", lines, max_steps=250, batch_size=16, format="lines")


def run(http: httpx.Client, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Start a job and wait for its end."""
    answer = http.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return ended(http, f"{path}/{answer.json()['id']}")


def content(http: httpx.Client, file_id: str) -> bytes:
    return http.get(f"/v1/files/{file_id}/content").content


def bundle_of(stack: Stack, http: httpx.Client, model: str) -> Path:
    job_id = http.get(f"/v1/models/{model}").json()["job_id"]
    (path,) = (stack.home / "artifacts" / "jobs" / job_id).glob("*/model/*.safetensors")
    return path


def test_odd_log_lines_come_first(
    stack: Stack, client: openai.OpenAI, http: httpx.Client, log_model: str, tmp_path: Path
) -> None:
    lines = log_lines(500, 2)
    lines[123:123] = [ODD[0]]
    lines[400:400] = ["", ODD[1]]
    (tmp_path / "today.log").write_text("\n".join(lines))
    file = client.files.create(file=tmp_path / "today.log", purpose="user_data")

    done = run(http, "/v1/scores", {"model": log_model, "file": file.id, "worst": 5})

    assert done["status"] == "succeeded", done["error"]
    worst = done["summary"]["worst"]
    assert {row["text"] for row in worst[:2]} == set(ODD)
    assert {row["line"] for row in worst[:2]} == {124, 402}
    rows = [json.loads(row) for row in content(http, done["scores_file_id"]).splitlines()]
    assert [row["index"] for row in rows] == list(range(502))  # the empty line is none
    assert [row["text"] for row in rows] == [line for line in lines if line]
    summary = json.loads(content(http, done["summary_file_id"]))
    assert summary["rows"] == 502 and len(summary["worst"]) == 5

    expected = list(score_rows(load_bundle(bundle_of(stack, http, log_model)), lines))
    wanted = [score for score in expected if score.text]
    for row, score in zip(rows, wanted, strict=True):
        assert row["nats"] == pytest.approx(score.nats, rel=1e-5)
        assert row["most_surprising"] == score.most_surprising
    assert [row["text"] for row in worst] == [row.text for row in worst_rows(expected, 5)]


def test_a_few_texts_need_no_file(http: httpx.Client, log_model: str) -> None:
    usual = log_lines(1, 3)[0]

    done = run(http, "/v1/scores", {"model": log_model, "input": [usual, ODD[1]]})

    assert [row["text"] for row in done["summary"]["worst"]] == [ODD[1], usual]
    assert done["file"] is None


@pytest.fixture(scope="module")
def many(client: openai.OpenAI) -> str:
    text = "\n".join(log_lines(MANY, 4)).encode()
    return client.files.create(file=("many.log", text), purpose="user_data").id


def kill_child(stack: Stack) -> None:
    (child,) = stack.processes("worker.scoring.child")
    child.kill()


def kill_everything(stack: Stack) -> None:
    stack.kill()
    stack.start()


@pytest.fixture(scope="module")
def undisturbed(http: httpx.Client, log_model: str, many: str) -> bytes:
    done = run(http, "/v1/scores", {"model": log_model, "file": many})
    return content(http, done["scores_file_id"]) + content(http, done["summary_file_id"])


@pytest.mark.parametrize(
    "kill", [kill_child, pytest.param(kill_everything, marks=pytest.mark.slow)]
)
def test_a_killed_scoring_ends_with_the_same_bytes(
    stack: Stack,
    http: httpx.Client,
    log_model: str,
    many: str,
    undisturbed: bytes,
    kill: Callable[[Stack], None],
) -> None:
    started = http.post("/v1/scores", json={"model": log_model, "file": many}).json()
    path = f"/v1/scores/{started['id']}"
    _until_half_done(http, path)

    kill(stack)
    done = ended(http, path)

    assert done["status"] == "succeeded", done["error"]
    found = content(http, done["scores_file_id"]) + content(http, done["summary_file_id"])
    assert found == undisturbed
    job = http.get(f"/v1/jobs/{started['id']}").json()
    assert job["kind"] == "scoring" and job["losses"] == 0  # forgiven with the next shard
    events = http.get(f"/v1/jobs/{started['id']}/events", params={"limit": 1000}).json()["data"]
    types = [event["type"] for event in events]
    assert types.count("running") == 2 and types.count("succeeded") == 1
    assert types.count("plan") == 1  # the second claim went on


@pytest.mark.slow
def test_a_paused_scoring_goes_on(
    http: httpx.Client, log_model: str, many: str, undisturbed: bytes
) -> None:
    started = http.post("/v1/scores", json={"model": log_model, "file": many}).json()
    path = f"/v1/scores/{started['id']}"
    _until_half_done(http, path)

    paused = http.post(f"/v1/jobs/{started['id']}/pause").json()
    assert paused["state"] == "paused"
    http.post(f"/v1/jobs/{started['id']}/resume")
    done = ended(http, path)

    found = content(http, done["scores_file_id"]) + content(http, done["summary_file_id"])
    assert found == undisturbed


def test_a_scoring_that_runs_can_be_cancelled(
    http: httpx.Client, log_model: str, many: str
) -> None:
    started = http.post("/v1/scores", json={"model": log_model, "file": many}).json()
    path = f"/v1/scores/{started['id']}"
    _until_half_done(http, path)
    kept = http.delete(f"/v1/files/{many}")
    assert kept.status_code == 409 and kept.json()["error"]["code"] == "file_in_use"

    http.post(f"{path}/cancel")
    done = ended(http, path)

    assert (done["status"], done["summary"]) == ("cancelled", None)


def _until_half_done(http: httpx.Client, path: str) -> None:
    """Until some of its shards are safe, and some are not."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = http.get(path).json()
        if found["progress"].get("done"):
            assert 0 < found["progress"]["done"] < MANY
            return
        assert found["status"] in ("queued", "running")
        time.sleep(0.01)
    raise AssertionError("nothing is done after a minute")


def test_an_evaluation_has_the_librarys_figures(
    stack: Stack, http: httpx.Client, model: str, verses: Path
) -> None:
    options = {"parts": ["prediction", "calibration", "rows"], "seed": 3}

    done = run(http, "/v1/evaluations", {"model": model, "options": options})

    assert done["status"] == "succeeded", done["error"]
    report = json.loads(content(http, done["report_file_id"]))
    expected = evaluate_bundle(
        bundle_of(stack, http, model),
        training_sources=[Source(verses)],
        options=EvaluationOptions.parse(options),
        device="cpu",
    )
    assert expected is not None and expected.prediction is not None
    assert report["text"]["origin"] == "held out"
    assert report["prediction"]["loss"] == pytest.approx(expected.prediction.loss, rel=1e-6)
    assert report["calibration"]["expected_error"] == pytest.approx(
        expected.as_dict()["calibration"]["expected_error"], rel=1e-4
    )
    assert done["summary"]["prediction"]["loss"] == report["prediction"]["loss"]
    page = http.get(f"/v1/files/{done['page_file_id']}/content")
    assert page.text.startswith("<!doctype html>")
    # A browser neither shows it under our name nor runs anything in it.
    assert page.headers["Content-Disposition"].startswith("attachment")
    assert page.headers["Content-Type"] == "application/octet-stream"
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    job = http.get(f"/v1/jobs/{done['id']}").json()
    assert job["kind"] == "evaluation"


def test_a_page_runs_nothing_that_stands_in_a_name(
    client: openai.OpenAI, http: httpx.Client, model: str, verses: Path
) -> None:
    name = "<img src=x onerror=alert(1)>.txt"
    file = client.files.create(file=(name, verses.read_bytes()), purpose="user_data")

    body = {"model": model, "file": file.id, "options": {"parts": ["prediction", "rows"]}}
    done = run(http, "/v1/evaluations", body)

    page = content(http, done["page_file_id"]).decode()
    assert "&lt;img src=x onerror=alert(1)&gt;.txt" in page
    assert "<img" not in page


def test_an_evaluation_on_a_file_of_another_kind_says_so(
    client: openai.OpenAI, http: httpx.Client, model: str
) -> None:
    row = b'{"prompt": "a", "completion": "b"}\n'
    file = client.files.create(file=("rows.jsonl", row), purpose="user_data")

    done = run(http, "/v1/evaluations", {"model": model, "file": file.id})

    assert done["status"] == "failed"
    assert done["error"]["code"] == "mixed_formats"


def _hears_ctrl_c() -> None:
    """Background jobs of a shell, such as a run of tests, ignore SIGINT; so do their children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.slow
def test_leaving_a_scoring_leaves_it_running(
    stack: Stack, http: httpx.Client, log_model: str, tmp_path: Path
) -> None:
    path = tmp_path / "many.log"
    path.write_text("\n".join(log_lines(MANY, 6)))
    with subprocess.Popen(
        [sys.executable, "-m", "web.cli", "score", log_model, str(path)],
        cwd=ROOT,
        env=stack.environment,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_hears_ctrl_c,
    ) as watching:
        assert watching.stderr is not None
        begun = next(line for line in watching.stderr if line.startswith("Scoring "))
        job_id = begun.split()[1]
        _until_half_done(http, f"/v1/scores/{job_id}")

        watching.send_signal(signal.SIGINT)
        said = watching.stderr.read()

    assert watching.returncode == 1
    assert f"textgen jobs show {job_id} --follow" in said
    assert ended(http, f"/v1/scores/{job_id}")["status"] == "succeeded"


def test_on_the_command_line(stack: Stack, log_model: str, model: str, tmp_path: Path) -> None:
    path = tmp_path / "today.log"
    path.write_text("\n".join([*log_lines(300, 5), ODD[1]]))

    found = stack.cli(
        "score", log_model, str(path), "--worst", "3", "--output", str(tmp_path / "o")
    )

    assert found.returncode == 0, found.stderr
    table = found.stdout.splitlines()
    assert table[0].startswith("301 rows")
    assert table[2].split()[0] == "301"
    assert ODD[1] in table[2].replace("⟦", "").replace("⟧", "")
    assert len((tmp_path / "o").read_text().splitlines()) == 301

    asked = ("eval", model, "--set", "parts=prediction", "--html", str(tmp_path / "page.html"))
    found = stack.cli(*asked)
    assert found.returncode == 0, found.stderr
    assert "prediction loss" in found.stdout
    assert "<h1>" in (tmp_path / "page.html").read_text()
    report = json.loads(stack.cli("eval", model, str(path), "--json").stdout)["report"]
    assert report["text"]["origin"] == "given"

    assert stack.cli("eval", model, "--set", "part=x").returncode == 2
    empty = tmp_path / "empty.txt"
    empty.write_text("\n\n")
    failed = stack.cli("score", log_model, str(empty))
    assert failed.returncode == 1 and "no rows to score" in failed.stderr


def test_a_text_is_traced_on_the_command_line(stack: Stack, model: str, tmp_path: Path) -> None:
    page = tmp_path / "trace.html"

    found = stack.cli("trace", model, "The king speaks", "--unit", "h1:3", "--html", str(page))

    assert found.returncode == 0, found.stderr
    assert found.stdout.startswith("The king speaks\n")
    assert "h1:3" in found.stdout
    assert "<svg" in page.read_text()
    wrong = stack.cli("trace", model, "The king speaks", "--unit", "h8:3")
    assert wrong.returncode == 1 and "'units' has 'h8:3'" in wrong.stderr
