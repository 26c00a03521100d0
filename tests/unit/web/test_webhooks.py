"""Webhook endpoints as the official client calls them."""

from __future__ import annotations

import pytest

from tests.unit.web.conftest import Caller
from web.services import Services

ROOT = "/v1/webhook_endpoints"
BODY = {"name": "hook", "url": "https://93.184.215.14/hook", "event_types": ["batch.completed"]}


def test_an_endpoint_is_made_changed_and_deleted(call: Caller) -> None:
    made = call("POST", ROOT, json=BODY).get_json()
    path = f"{ROOT}/{made['id']}"

    assert made["signing_secret"].startswith("whsec_")
    assert made["signing_secret_hint"].endswith(made["signing_secret"][-4:])
    changed = call("POST", path, json={"name": "other"}).get_json()
    assert (changed["name"], changed["url"]) == ("other", BODY["url"])
    assert "signing_secret" not in changed
    listed = call("GET", ROOT).get_json()
    assert [each["id"] for each in listed["data"]] == [made["id"]]
    rotated = call("POST", f"{path}/rotate_secret", json={}).get_json()
    assert rotated["signing_secret"] != made["signing_secret"]
    assert call("DELETE", path).get_json()["deleted"]
    assert call("GET", path).status_code == 404
    types = [
        entry["type"] for entry in call("GET", "/v1/organization/audit_logs").get_json()["data"]
    ]
    assert types.count("webhook_endpoint.updated") == 2
    assert "webhook_endpoint.deleted" in types


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"url": "https://127.0.0.1/"}, "url"),
        ({"url": "http://93.184.215.14/"}, "url"),
        ({"url": "https://user:x@93.184.215.14/"}, "url"),
        ({"event_types": ["response.completed"]}, "event_types"),
        ({"event_types": []}, "event_types"),
        ({"secret": "x"}, "secret"),
    ],
)
def test_what_cannot_be(call: Caller, change: dict[str, object], param: str) -> None:
    answer = call("POST", ROOT, json={**BODY, **change})

    assert answer.status_code == 400
    assert answer.get_json()["error"]["param"] == param


def test_the_log_and_once_more(call: Caller, services: Services) -> None:
    made = call("POST", ROOT, json=BODY).get_json()
    job = services.jobs.submit("acme", "batch", {})
    held = services.jobs.claim("batch", "w")
    assert held is not None
    services.jobs.succeed(held, {})

    (found,) = call("GET", f"{ROOT}/{made['id']}/deliveries").get_json()["data"]
    again = call("POST", f"{ROOT}/{made['id']}/deliveries/{found['id']}/retry").get_json()

    assert found["event"]["data"] == {"id": job.id}
    assert (found["state"], found["attempts"], again["state"]) == ("pending", 0, "pending")
    assert "batch.completed" in call("GET", "/v1/webhook_event_types").get_json()["data"]
