"""Money over HTTP: costs, estimates, budgets, invoices."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from decimal import Decimal
from io import BytesIO

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from tests.unit.web.conftest import Caller, caller
from web.app import create_app
from web.services import Services
from worker.batches.shard import ShardCounts
from worker.billing.estimate import estimated
from worker.billing.months import bounds
from worker.billing.plans_file import Terms
from worker.billing.prices import KindPrices, PriceList, Prices
from worker.usage.quantities import NAMES
from worker.usage.tables import usage

ACME = "/v1/organization/projects/acme"


@pytest.fixture
def services(services: Services) -> Services:
    prices = PriceList(
        currency="USD",
        valid_from=date(2020, 1, 1),
        trainings=KindPrices(compute_hour=Decimal(36)),
        completions=KindPrices(million_characters_out=Decimal(1)),
        batches=KindPrices(million_characters_out=Decimal(2)),
    )
    return replace(services, terms=Terms(prices=Prices([prices])))


@pytest.fixture
def operator(services: Services) -> Caller:
    return caller(create_app(services), services, "default", "admin")


def spend(services: Services, seconds: float, at: float, name: str = "ftjob-1") -> None:
    with services.database.write() as connection:
        connection.execute(
            sa.insert(usage).values(
                **{**dict.fromkeys(NAMES, 0), "compute_seconds": seconds},
                id=name,
                tenant="acme",
                kind="trainings",
                job_id=name,
                outcome="succeeded",
                billable=True,
                at=at,
            )
        )


def training(file_id: str, seconds: int = 100) -> dict[str, object]:
    return {
        "model": "lstm-tiny",
        "training_file": file_id,
        "hyperparameters": {"max_seconds": seconds},
    }


def test_a_budget_refuses_in_words_that_clients_know(
    call: Caller, operator: Caller, upload: Callable[..., str], model: str, services: Services
) -> None:
    file_id = upload()
    operator("POST", ACME, json={"monthly_budget": 1.5})
    first = call("POST", "/v1/fine_tuning/jobs", json=training(file_id))

    answer = call("POST", "/v1/fine_tuning/jobs", json=training(file_id))

    assert first.status_code == 200
    error = answer.get_json()["error"]
    assert (answer.status_code, error["type"], error["code"]) == (
        429,
        "insufficient_quota",
        "insufficient_quota",
    )
    assert answer.headers["x-should-retry"] == "false"
    job = call("GET", f"/v1/jobs/{first.get_json()['id']}").get_json()
    assert job["cost"] == {"currency": "USD", "estimate": 1.0, "so_far": 0.0}
    completion = {"model": model, "prompt": "x"}
    assert call("POST", "/v1/completions", json=completion).status_code == 200
    spend(services, 150, time.time())
    services.budgets._spent.clear()  # what is looked up every five seconds
    assert call("POST", "/v1/completions", json=completion).status_code == 429


def test_the_cost_of_a_running_training_grows_with_its_steps(
    call: Caller, upload: Callable[..., str], services: Services
) -> None:
    job_id = call("POST", "/v1/fine_tuning/jobs", json=training(upload())).get_json()["id"]
    running = services.jobs.claim("training", "w1")
    assert running is not None

    def cost() -> dict[str, object]:
        found: dict[str, object] = call("GET", f"/v1/jobs/{job_id}").get_json()["cost"]
        return found

    seen = [cost()["so_far"]]
    for step, seconds in ((10, 20.0), (20, 50.0)):
        services.jobs.set_progress(running, {"step": step, "seconds": seconds})
        seen.append(cost()["so_far"])
    assert seen == [0.0, 0.2, 0.5]
    assert cost()["estimate"] == 1.0
    page = call("GET", f"/jobs/{job_id}").text
    assert "0.5000 <small>USD</small>" in page

    services.jobs.cancelled(running)  # who cancels pays for the work done
    assert cost()["so_far"] == 0.5


def test_the_cost_of_a_running_batch_is_that_of_its_finished_shards(
    call: Caller, upload: Callable[..., str], services: Services, model: str
) -> None:
    line = {
        "custom_id": "1", "method": "POST", "url": "/v1/completions",
        "body": {"model": model, "prompt": "x"},
    }  # fmt: skip
    file_id = upload(json.dumps(line).encode(), "batch", "batch.jsonl")
    body = {
        "input_file_id": file_id, "endpoint": "/v1/completions", "completion_window": "24h",
    }  # fmt: skip
    job_id = call("POST", "/v1/batches", json=body).get_json()["id"]
    running = services.jobs.claim("batch", "w1")
    assert running is not None
    services.jobs.plan_shards(running, {}, [5, 5])
    seen = []
    for index in range(2):
        counts = ShardCounts(5, 0, 50, 50, 500_000, 250_000, 1.0)
        services.jobs.finish_shard(running, index, f"jobs/b/1/shard-{index}", counts)
        seen.append(call("GET", f"/v1/jobs/{job_id}").get_json()["cost"]["so_far"])

    assert seen == [0.5, 1.0]
    services.jobs.fail(running, {"code": "poison", "message": "", "param": None})
    assert call("GET", f"/v1/jobs/{job_id}").get_json()["cost"]["so_far"] == 0  # ours are free


def test_an_estimate_comes_before_the_job(call: Caller, upload: Callable[..., str]) -> None:
    found = call("POST", "/v1/cost_estimates", json=training(upload(), 50)).get_json()

    assert (found["currency"], found["amount"]) == ("USD", 0.5)
    assert found["quantities"]["compute_seconds"] == 50


def test_an_estimate_counts_the_text_of_a_compressed_file(
    call: Caller, upload: Callable[..., str], services: Services
) -> None:
    packed = BytesIO()
    texts = ["to be or not to be, that is the question. " * 40] * 500
    pq.write_table(pa.table({"line": texts, "id": range(500)}), packed, compression="zstd")
    file_id, size = upload(packed.getvalue(), name="hamlet.parquet"), len(texts[0]) * 500
    body = {
        "model": "lstm-tiny",
        "training_file": file_id,
        "hyperparameters": {"n_epochs": 2, "column": "line"},
    }

    found = call("POST", "/v1/cost_estimates", json=body).get_json()
    job_id = call("POST", "/v1/fine_tuning/jobs", json=body).get_json()["id"]
    spec = call("GET", f"/v1/jobs/{job_id}").get_json()["spec"]

    assert len(packed.getvalue()) < size / 50
    assert (found["text_bytes"], found["quantities"]["tokens_in"]) == (size, 2 * size)
    assert spec["files"][0]["text_bytes"] == size
    with services.database.read() as connection:
        kept = services.jobs.get("acme", job_id).spec
        assert estimated(connection, "acme", "training", kept).tokens_in == 2 * size

    other = {**body, "hyperparameters": {"max_seconds": 10}}  # which column, is not said
    assert call("POST", "/v1/cost_estimates", json=other).get_json()["text_bytes"] is None
    plain = call("POST", "/v1/cost_estimates", json=training(upload(b"x" * 99))).get_json()
    assert plain["text_bytes"] == 99


def test_costs_by_day(call: Caller, services: Services) -> None:
    today = int(time.time()) // 86_400 * 86_400
    spend(services, 100, today - 86_400)

    query = f"start_time={today - 86_400}&group_by[]=line_item"
    found = call("GET", f"/v1/organization/costs?{query}").get_json()

    assert found["data"][0]["results"] == [
        {
            "object": "organization.costs.result",
            "amount": {"value": 1.0, "currency": "usd"},
            "line_item": "trainings, compute_hour",
            "quantity": pytest.approx(100 / 3600),
            "project_id": None,
        }
    ]
    assert found["data"][1]["results"] == []


def test_an_invoice_is_issued_downloaded_and_credited(
    call: Caller, operator: Caller, services: Services
) -> None:
    start, _ = bounds("2026-03", "UTC")
    spend(services, 100, start)

    draft = call("POST", f"{ACME}/invoices", json={"month": "2026-03"}).get_json()
    refused = call("POST", f"{ACME}/invoices", json={"month": "2026-03", "issue": True})
    issued = operator(
        "POST", f"{ACME}/invoices", json={"month": "2026-03", "issue": True}
    ).get_json()
    text = call("GET", f"{ACME}/invoices/{issued['id']}/content").text
    credit = operator(
        "POST", f"{ACME}/invoices/{issued['id']}/credits", json={"amount": 0.1, "reason": "late"}
    )

    assert (draft["id"], draft["total"], draft["lines"][0]["jobs"]) == ("", 1.0, ["ftjob-1"])
    assert refused.status_code == 403
    assert "ftjob-1" in text and issued["id"] in text
    assert credit.get_json()["invoice_id"] == issued["id"]
    listed = call("GET", f"{ACME}/invoices").get_json()["data"]
    assert [each["id"] for each in listed] == [issued["id"]]
    assert (issued["starts_at"], issued["ends_at"]) == bounds("2026-03", "UTC")
    changed = operator("POST", ACME, json={"currency": "JPY"})
    assert (changed.status_code, changed.get_json()["error"]["code"]) == (409, "currency_in_use")
