"""What Prometheus reads: the service's figures and those that workers have published."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import cast

import pytest
import sqlalchemy as sa
from flask import Flask
from prometheus_client.parser import text_string_to_metric_families

from tests.unit.web.conftest import Caller, caller
from tests.unit.web.in_process import InProcessPublished, InProcessWakeups
from web.services import Services
from worker.metrics.publisher import EXPIRY_SECONDS
from worker.processes.presence import Presence, life_of
from worker.storage.tables import workers

GENERATOR = (
    "# HELP vllm:generation_tokens_total Tokens drawn.\n"
    "# TYPE vllm:generation_tokens_total counter\n"
    "vllm:generation_tokens_total 12.0\n"
    "# HELP textgen_worker_consuming 1: takes what there is.\n"
    "# TYPE textgen_worker_consuming gauge\n"
    "textgen_worker_consuming {consuming}\n"
)
Samples = dict[str, dict[tuple[tuple[str, str], ...], float]]


@pytest.fixture
def published(services: Services) -> InProcessPublished:
    return cast(InProcessPublished, services.published)


@pytest.fixture
def scrape(app: Flask, services: Services) -> Callable[[], Samples]:
    """The samples of a scrape by name, then by sorted labels."""
    operator = caller(app, services, "default", "admin")

    def read() -> Samples:
        answer = operator("GET", "/metrics")
        assert answer.status_code == 200
        found: Samples = {}
        for family in text_string_to_metric_families(answer.text):
            for sample in family.samples:
                labels = tuple(sorted(sample.labels.items()))
                found.setdefault(sample.name, {})[labels] = sample.value
        return found

    return read


def worker(services: Services, name: str, role: str = "generate", age: float = 60) -> str:
    """Have a worker there that began so many seconds ago; the name of its life."""
    Presence(services.database, services.settings).register(name, "a", role, {"batch": 4})
    with services.database.write() as connection:
        began = services.database.now(connection) - age
        connection.execute(
            sa.update(workers).where(workers.c.name == name).values(started_at=began)
        )
    return life_of(name, "a")


def test_jobs_and_how_they_ended(
    services: Services, call: Caller, upload: Callable[..., str], scrape: Callable[[], Samples]
) -> None:
    body = {"model": "lstm-tiny", "training_file": upload()}
    for _ in range(3):
        call("POST", "/v1/fine_tuning/jobs", json=body)
    failed, running = (services.jobs.claim("training", "w") for _ in range(2))
    assert failed is not None and running is not None
    services.jobs.fail(failed, {"code": "poison", "message": "x", "param": None})
    progress = {"step": 3, "total_steps": 9, "tokens_per_second": 1000.5, "train_loss": 1.25}
    services.jobs.set_progress(running, progress)

    found = scrape()

    assert found["textgen_jobs"][("queue", "training"), ("state", "queued")] == 1
    assert found["textgen_jobs"][("queue", "batch"), ("state", "running")] == 0
    assert found["textgen_jobs_submitted_total"][(("kind", "training"),)] == 3
    ended = (("code", "poison"), ("kind", "training"), ("outcome", "failed"))
    assert found["textgen_jobs_ended_total"][ended] == 1
    assert found["textgen_job_wait_seconds_count"][(("kind", "training"),)] == 2
    assert found["textgen_jobs_oldest_due_age_seconds"][(("queue", "training"),)] >= 0
    job = (("job", running.id),)
    assert found["textgen_training_tokens_per_second"][job] == 1000.5
    assert found["textgen_training_loss_nats"][job] == 1.25
    assert found["textgen_training_step"][job] == 3


def test_figures_that_a_worker_published_have_its_name(
    services: Services, published: InProcessPublished, scrape: Callable[[], Samples]
) -> None:
    for name in ("w1", "w2"):
        published.by_worker[worker(services, name)] = GENERATOR.format(consuming="1.0")
    published.messages["interactive"] = 5

    found = scrape()

    assert found["vllm:generation_tokens_total"] == {
        (("worker", "w1"),): 12,
        (("worker", "w2"),): 12,
    }
    assert found["flower_worker_online"][(("worker", "w1"),)] == 1
    assert found["textgen_worker_consuming"][("role", "generate"), ("worker", "w1")] == 1
    assert found["textgen_queue_messages"][(("queue", "interactive"),)] == 5


@pytest.fixture
def status(app: Flask, services: Services) -> Callable[[], dict[str, str]]:
    """How each worker does, as the operator is told."""
    operator = caller(app, services, "default", "admin")

    def read() -> dict[str, str]:
        listed = operator("GET", "/v1/workers").get_json()["data"]
        return {each["id"]: each["status"] for each in listed}

    return read


def test_a_worker_that_consumes_nothing_is_not_healthy(
    services: Services,
    published: InProcessPublished,
    call: Caller,
    scrape: Callable[[], Samples],
    status: Callable[[], dict[str, str]],
) -> None:
    published.by_worker[worker(services, "works")] = GENERATOR.format(consuming="1.0")
    published.by_worker[worker(services, "stands")] = GENERATOR.format(consuming="0.0")
    worker(services, "mute")  # its heartbeat comes, and Redis has heard nothing of it
    worker(services, "new", age=EXPIRY_SECONDS / 2)
    worker(services, "silent")
    with services.database.write() as connection:
        connection.execute(
            sa.update(workers)
            .where(workers.c.name == "silent")
            .values(seen_at=services.database.now(connection) - 100)
        )

    assert status() == {
        "works": "ok",
        "stands": "not_consuming",
        "mute": "not_consuming",
        "new": "unknown",
        "silent": "silent",
    }
    assert "takes no work" in call("GET", "/").text
    up = scrape()["textgen_worker_up"]
    assert up[("role", "generate"), ("worker", "stands")] == 1
    assert up[("role", "generate"), ("worker", "silent")] == 0


def test_what_only_redis_knows_is_unknown_while_it_is_away(
    services: Services,
    published: InProcessPublished,
    call: Caller,
    scrape: Callable[[], Samples],
    status: Callable[[], dict[str, str]],
) -> None:
    published.by_worker[worker(services, "w1")] = GENERATOR.format(consuming="1.0")
    published.away = True
    cast(InProcessWakeups, services.wakeups).away = True

    found = scrape()

    assert status() == {"w1": "unknown"}
    assert math.isnan(found["textgen_worker_consuming"][("role", "generate"), ("worker", "w1")])
    assert math.isnan(found["textgen_queue_messages"][(("queue", "training"),)])
    assert found["textgen_part_up"] == {
        (("part", "broker"),): 0,
        (("part", "database"),): 1,
        (("part", "storage"),): 1,
    }
    assert found["textgen_worker_up"][("role", "generate"), ("worker", "w1")] == 1
    assert call("GET", "/").status_code == 200


def test_storage_outbox_and_errors(
    services: Services, call: Caller, scrape: Callable[[], Samples]
) -> None:
    call("GET", "/v1/files/file-none")

    found = scrape()

    assert found["textgen_http_errors_total"] == {(("code", "file_not_found"),): 1}
    assert found["textgen_storage_free_bytes"][()] > 0
    assert math.isnan(found["textgen_storage_used_bytes"][()])  # nobody has measured it yet
    assert found["textgen_webhook_deliveries_pending"][()] == 0
    assert found["textgen_webhook_oldest_due_age_seconds"][()] == 0


def test_invented_methods_make_no_series(app: Flask, scrape: Callable[[], Samples]) -> None:
    """They come without a key, and each would stay for the life of the process."""
    for number in range(5):
        for path in ("/v1/models", "/nowhere"):
            assert app.test_client().open(path, method=f"INVENTED{number}").status_code >= 400
    app.test_client().delete("/nowhere")

    found = scrape()

    methods = {dict(labels)["method"] for labels in found["textgen_http_requests_total"]}
    assert methods == {"other", "DELETE"}
    timed = {dict(labels)["method"] for labels in found["textgen_http_request_seconds_count"]}
    assert timed == {"other", "DELETE"}
