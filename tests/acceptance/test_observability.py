"""A whole stack tells what it does: figures, health, lines that lead from a request to its job."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.acceptance.conftest import TINY_STEPS
from tests.stack import Stack, wait_for
from worker.celery_app import make_publisher
from worker.settings import Settings

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack whose log is JSON."""
    home = tmp_path_factory.mktemp("watched") / "home"
    with Stack(home, TEXTGEN_LOG_FORMAT="json") as running:
        yield running


@pytest.fixture(scope="module")
def trained(watched: Stack, verses: Path) -> tuple[Any, str]:
    """A finished training, and the id of the request that asked for it."""
    client = watched.client()
    file = client.files.create(file=verses, purpose="fine-tune")
    made = client.fine_tuning.jobs.with_raw_response.create(
        model="lstm-tiny",
        training_file=file.id,
        extra_body={"hyperparameters": TINY_STEPS},
    )
    return wait_for(client, made.parse().id), str(made.headers["x-request-id"])


def samples(stack: Stack) -> dict[str, list[tuple[dict[str, str], float]]]:
    with stack.http() as http:
        answer = http.get("/metrics")
    assert answer.status_code == 200
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def until(condition: Callable[[], bool], seconds: float = 40) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_figures_of_what_was_done(watched: Stack, trained: tuple[Any, str]) -> None:
    client: openai.OpenAI = watched.client()
    model = trained[0].fine_tuned_model
    for number in range(3):
        client.completions.create(model=model, prompt="The ", max_tokens=20, seed=number)
    until(lambda: samples(watched).get("vllm:generation_tokens_total", [({}, 0.0)])[0][1] >= 60)

    found = samples(watched)

    def total(name: str, **labels: str) -> float:
        return sum(value for given, value in found[name] if labels.items() <= given.items())

    assert total("vllm:generation_tokens_total") == 60
    assert total("vllm:time_to_first_token_seconds_count", queue="interactive") == 3
    assert total("vllm:request_success_total", finished_reason="length") == 3
    assert total("vllm:inter_token_latency_seconds_count") >= 57
    assert total("textgen_jobs_ended_total", kind="training", outcome="succeeded") == 1
    assert total("textgen_job_wait_seconds_count", kind="training") == 1
    assert total("flower_events_total", task="textgen.generate", type="task-succeeded") == 3
    assert total("textgen_worker_consuming") == 2
    assert {labels["role"] for labels, _ in found["textgen_worker_up"]} == {
        "train", "generate", "reconcile",
    }  # fmt: skip


def statuses(stack: Stack) -> dict[str, str]:
    with stack.http() as http:
        listed = http.get("/v1/workers").json()["data"]
    return {each["role"]: each["status"] for each in listed}


def test_a_worker_that_takes_nothing_is_not_healthy(
    watched: Stack, trained: tuple[Any, str]
) -> None:
    """Its consumer is stopped as an operator can, or a fault; its heartbeat goes on."""
    until(lambda: set(statuses(watched).values()) == {"ok"})
    facts = json.loads((watched.home / "stack.json").read_text())
    redis_conf = (watched.home / "redis" / "redis.conf").read_text()
    password = redis_conf.split("requirepass ")[1].split()[0].strip('"')
    control = make_publisher(
        Settings(broker_url=f"redis://:{password}@127.0.0.1:{facts['redis_port']}/0")
    ).control
    control.cancel_consumer("training")
    try:
        job = watched.client().fine_tuning.jobs.create(
            model="lstm-tiny",
            training_file=trained[0].training_file,
            extra_body={"hyperparameters": {**TINY_STEPS, "max_steps": 2}},
        )
        until(lambda: statuses(watched)["train"] == "not_consuming")
        assert statuses(watched)["generate"] == "ok"
    finally:
        control.add_consumer("training")
    wait_for(watched.client(), job.id)
    until(lambda: statuses(watched)["train"] == "ok")


def test_a_requests_id_leads_to_its_jobs_lines(watched: Stack, trained: tuple[Any, str]) -> None:
    job, request_id = trained

    found = [json.loads(line) for line in watched.log_text().splitlines()]

    mine = [each for each in found if each.get("request_id") == request_id]
    web = [each for each in mine if each["process"] == "web"]
    assert any(each["logger"] == "textgen.access" and each["status"] == 200 for each in web)
    assert any(each.get("job_id") == job.id for each in web)
    worker = [each for each in mine if each["process"] == "train"]
    assert worker and all(each["job_id"] == job.id for each in worker)
    assert all(each["tenant"] == "default" for each in [*worker, *web])
    assert {"web", "train", "generate", "up"} <= {each["process"] for each in found}
