"""/v1/organization/…: projects, their keys, the audit log."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Flask

from tests.unit.web.conftest import Caller, caller
from web.services import Services

ROOT = "/v1/organization/projects"


@pytest.fixture
def operator(app: Flask, services: Services) -> Caller:
    return caller(app, services, "default", "admin")


def test_the_operator_makes_a_project_and_a_key_for_it(operator: Caller, app: Flask) -> None:
    made = operator("POST", ROOT, json={"id": "acme", "name": "ACME", "weight": 2}).get_json()
    key = operator("POST", f"{ROOT}/acme/api_keys", json={"name": "site"}).get_json()

    assert (made["id"], made["object"], made["weight"]) == ("acme", "organization.project", 2)
    theirs = Caller(app.test_client(), key["value"])
    assert theirs("GET", "/v1/models").status_code == 200
    assert theirs("GET", ROOT).status_code == 403  # no admin
    listed = operator("GET", f"{ROOT}/acme/api_keys").get_json()["data"]
    assert [each["id"] for each in listed] == [key["id"]]
    assert key["value"] not in str(listed)
    assert operator("POST", ROOT, json={"id": "acme", "name": "x"}).status_code == 409


def test_an_id_is_made_up(operator: Caller) -> None:
    made = operator("POST", ROOT, json={"name": "Someone"}).get_json()

    assert made["id"].startswith("proj_")
    assert operator("GET", f"{ROOT}/{made['id']}").get_json() == made


def test_an_admin_of_a_project_sees_its_own_alone(call: Caller, operator: Caller) -> None:
    operator("POST", ROOT, json={"id": "globex", "name": "Globex"})

    assert [each["id"] for each in call("GET", ROOT).get_json()["data"]] == ["acme"]
    assert len(operator("GET", ROOT).get_json()["data"]) == 3
    assert call("GET", f"{ROOT}/acme").status_code == 200
    for method, path in (("POST", ROOT), ("POST", f"{ROOT}/acme"), ("GET", "/metrics")):
        answer = call(method, path, json={"name": "x"})
        assert (answer.status_code, answer.get_json()["error"]["code"]) == (403, "operator_only")


def test_a_suspended_project_is_refused_until_it_is_resumed(call: Caller, operator: Caller) -> None:
    assert operator("POST", f"{ROOT}/acme/suspend").get_json()["status"] == "suspended"

    answer = call("GET", "/v1/models")

    assert (answer.status_code, answer.get_json()["error"]["code"]) == (403, "project_suspended")
    operator("POST", f"{ROOT}/acme/resume")
    assert call("GET", "/v1/models").status_code == 200
    assert operator("POST", f"{ROOT}/default/suspend").status_code == 400


def test_a_key_is_rotated_and_revoked(call: Caller, app: Flask) -> None:
    keys = f"{ROOT}/acme/api_keys"
    old = call("POST", keys, json={"name": "site", "expires_in_seconds": 60}).get_json()

    new = call("POST", f"{keys}/{old['id']}/rotate", json={"grace_seconds": 30}).get_json()

    for key in (old, new):
        assert Caller(app.test_client(), key["value"])("GET", "/v1/models").status_code == 200
    gone = call("DELETE", f"{keys}/{new['id']}").get_json()
    assert gone["deleted"]
    assert Caller(app.test_client(), new["value"])("GET", "/v1/models").status_code == 401
    assert call("GET", f"{keys}/{new['id']}").get_json()["revoked_at"] is not None


def test_the_audit_log(call: Caller, operator: Caller, upload: Callable[..., str]) -> None:
    file_id = upload(b"the words of the text")
    call("DELETE", f"/v1/files/{file_id}")
    operator("POST", f"{ROOT}/acme", json={"weight": 5})

    own = call("GET", "/v1/organization/audit_logs").get_json()["data"]
    filtered = operator(
        "GET", "/v1/organization/audit_logs?project_ids[]=acme&event_types[]=resource.deleted"
    ).get_json()["data"]

    assert {entry["project"]["id"] for entry in own} == {"acme"}
    assert own[0]["type"] == "project.updated" and own[0]["data"] == {"weight": 5.0}
    assert [entry["subject"] for entry in filtered] == [file_id]
    assert "the words" not in str(own)


def test_deleting_a_project_says_first_what_goes(
    call: Caller, operator: Caller, upload: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.tenants.deletion.time.sleep", lambda _: None)
    upload()

    named = call("GET", f"{ROOT}/acme/contents").get_json()
    unsure = operator("DELETE", f"{ROOT}/acme")
    gone = operator("DELETE", f"{ROOT}/acme?confirm=acme").get_json()

    assert named["rows"]["files"] == 1
    assert unsure.get_json()["error"]["code"] == "confirmation_needed"
    assert gone["deleted"] and gone["rows"]["files"] == 1
    assert call("GET", "/v1/models").status_code == 401
    assert operator("GET", f"{ROOT}/acme").status_code == 404


def test_what_used_a_file_is_named(call: Caller, upload: Callable[..., str]) -> None:
    file_id = upload()
    body = {"model": "lstm-tiny", "training_file": file_id}
    job_id = call("POST", "/v1/fine_tuning/jobs", json=body).get_json()["id"]
    call("POST", f"/v1/jobs/{job_id}/cancel")

    used = call("GET", f"/v1/uses/files/{file_id}").get_json()

    assert used["jobs"] == [{"id": job_id, "kind": "training", "state": "cancelled"}]
    assert call("DELETE", f"/v1/files/{file_id}").status_code == 200


def test_admin_keys_are_the_operators(operator: Caller, call: Caller, app: Flask) -> None:
    keys = "/v1/organization/admin_api_keys"
    made = operator("POST", keys, json={"name": "second", "expires_in_seconds": 60}).get_json()

    second = Caller(app.test_client(), made["value"])
    listed = second("GET", f"{keys}?order=desc&limit=1").get_json()
    behind = second("GET", f"{keys}?order=desc&after={listed['last_id']}").get_json()

    assert [each["id"] for each in listed["data"]] == [made["id"]] and listed["has_more"]
    assert len(behind["data"]) == 1 and not behind["has_more"]
    assert "value" not in listed["data"][0]
    assert second("GET", f"{keys}/{made['id']}").get_json()["owner"]["role"] == "owner"
    assert call("GET", keys).get_json()["error"]["code"] == "operator_only"
    assert operator("DELETE", f"{keys}/{made['id']}").get_json()["deleted"]
    assert second("GET", keys).status_code == 401
    assert operator("GET", f"{keys}/{made['id']}").status_code == 404


def test_a_service_account_is_its_key(call: Caller, app: Flask) -> None:
    accounts = f"{ROOT}/acme/service_accounts"
    made = call("POST", accounts, json={"name": "site"}).get_json()
    theirs = Caller(app.test_client(), made["api_key"]["value"])
    assert theirs("GET", accounts).status_code == 403

    changed = call("POST", f"{accounts}/{made['id']}", json={"role": "owner", "name": "shop"})

    assert changed.get_json() == {
        "id": made["id"],
        "object": "organization.project.service_account",
        "name": "shop",
        "role": "owner",
        "created_at": made["created_at"],
    }
    assert made["id"] in [each["id"] for each in theirs("GET", accounts).get_json()["data"]]
    assert call("DELETE", f"{accounts}/{made['id']}").get_json()["deleted"]
    assert theirs("GET", "/v1/models").status_code == 401
    assert call("GET", f"{accounts}/{made['id']}").status_code == 404


def test_the_scopes_of_a_key_are_changed(call: Caller, app: Flask) -> None:
    keys = f"{ROOT}/acme/api_keys"
    made = call("POST", keys, json={"name": "site", "scopes": ["read"]}).get_json()
    theirs = Caller(app.test_client(), made["value"])
    assert theirs("GET", keys).status_code == 403

    change = {"scopes": ["read", "admin"], "expires_in_seconds": 60}
    changed = call("POST", f"{keys}/{made['id']}", json=change).get_json()

    assert changed["scopes"] == ["read", "admin"] and changed["expires_at"]
    assert theirs("GET", f"{keys}?limit=1").get_json()["has_more"]
    call("DELETE", f"{keys}/{made['id']}")
    assert call("POST", f"{keys}/{made['id']}", json=change).status_code == 409


def test_a_rate_limit_is_that_of_the_project(call: Caller, operator: Caller) -> None:
    limits = f"{ROOT}/acme/rate_limits"
    (before,) = call("GET", limits).get_json()["data"]
    change = {"max_requests_per_1_minute": 2, "max_tokens_per_1_minute": 500}
    assert call("POST", f"{limits}/rl_all", json=change).status_code == 403

    changed = operator("POST", f"{limits}/rl_all", json=change).get_json()

    assert changed == {**before, **change}
    project = operator("GET", f"{ROOT}/acme").get_json()
    assert project["limits"]["tokens_per_minute"] == 500
    assert "x-ratelimit-limit-requests" in call("GET", "/v1/models").headers
    assert operator("POST", f"{limits}/rl_none", json=change).status_code == 404
    again = {name: before[name] for name in change}
    assert operator("POST", f"{limits}/rl_all", json=again).get_json() == before
    assert operator("GET", f"{ROOT}/acme").get_json()["limits"]["tokens_per_minute"] is None


def test_a_spend_limit_is_the_monthly_budget(call: Caller, operator: Caller) -> None:
    limit = f"{ROOT}/acme/spend_limit"
    body = {"threshold_amount": 1250, "currency": "USD", "interval": "month"}
    assert call("GET", limit).get_json()["error"]["code"] == "spend_limit_not_found"
    assert operator("POST", limit, json={**body, "currency": "EUR"}).status_code == 400

    made = operator("POST", limit, json=body).get_json()

    assert (made["threshold_amount"], made["enforcement"]) == (1250, {"status": "inactive"})
    assert call("GET", limit).get_json() == made
    assert operator("GET", f"{ROOT}/acme").get_json()["monthly_budget"] == 12.5
    assert operator("DELETE", limit).get_json()["deleted"]
    assert operator("GET", f"{ROOT}/acme").get_json()["monthly_budget"] is None


def test_archiving_is_suspending(call: Caller, operator: Caller) -> None:
    archived = operator("POST", f"{ROOT}/acme/archive").get_json()

    assert archived["status"] == "suspended"
    assert archived["archived_at"] == archived["suspended_at"] is not None
    listed = operator("GET", f"{ROOT}?include_archived=false").get_json()["data"]
    assert "acme" not in [each["id"] for each in listed]
    assert call("GET", "/v1/models").status_code == 403
