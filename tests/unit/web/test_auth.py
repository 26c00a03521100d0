"""Keys, scopes, tenants, sessions."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Flask

from tests.unit.web.conftest import Caller, caller
from web.resource import Operation
from web.services import Services

OPEN = {"/healthz", "/readyz", "/signin", "/signout", "/language", "/docs/errors"}
NO_PAGES = ("/v1", "/openapi.json", "/metrics", "/live")


def described(app: Flask) -> list[tuple[str, str]]:
    document = app.extensions["textgen-openapi"]()
    return [
        (method.upper(), path)
        for path, methods in document["paths"].items()
        for method in methods
        if path not in OPEN
    ]


def test_every_route_but_the_open_ones_needs_a_key(app: Flask) -> None:
    client = app.test_client()

    for method, path in described(app):
        answer = client.open(path.replace("{", "").replace("}", ""), method=method)
        expected = 401 if path.startswith(NO_PAGES) else 303  # on to sign in
        assert answer.status_code == expected, (method, path, answer.status_code)


@pytest.mark.parametrize("header", ["Bearer", "Bearer ", "Basic abc", "Bearer tg_x_y", "Bearer é"])
def test_what_is_no_key_is_refused(app: Flask, header: str) -> None:
    answer = app.test_client().get("/v1/models", headers={"Authorization": header})

    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_a_revoked_key_is_refused(call: Caller, services: Services) -> None:
    key = services.keys.authenticate(call.key)
    services.keys.revoke(key.tenant, key.id)

    assert call("GET", "/v1/models").status_code == 401


def test_scopes(app: Flask, services: Services) -> None:
    reader = caller(app, services, "acme", "read")

    assert reader("GET", "/v1/models").status_code == 200
    answer = reader("POST", "/v1/fine_tuning/jobs", json={})
    assert answer.status_code == 403
    assert "'train'" in answer.get_json()["error"]["message"]


def test_another_tenants_things_are_not_there(
    call: Caller, stranger: Caller, upload: Callable[..., str], model: str
) -> None:
    file_id = upload()
    body = {"model": "lstm-tiny", "training_file": file_id}
    job_id = call("POST", "/v1/fine_tuning/jobs", json=body).get_json()["id"]

    assert stranger("GET", f"/v1/files/{file_id}").status_code == 404
    assert stranger("GET", f"/v1/files/{file_id}/content").status_code == 404
    assert stranger("DELETE", f"/v1/files/{file_id}").status_code == 404
    assert stranger("GET", f"/v1/jobs/{job_id}").status_code == 404
    assert stranger("GET", f"/v1/jobs/{job_id}/events?stream=true").status_code == 404
    assert stranger("POST", f"/v1/fine_tuning/jobs/{job_id}/cancel").status_code == 404
    assert stranger("GET", f"/v1/models/{model}").status_code == 404
    assert stranger("POST", "/v1/fine_tuning/jobs", json=body).status_code == 400
    completion = {"model": model, "prompt": "x"}
    assert stranger("POST", "/v1/completions", json=completion).status_code == 404
    assert stranger("GET", "/v1/jobs").get_json()["data"] == []


def test_a_route_without_an_operation_is_closed(services: Services) -> None:
    from web.app import create_app

    app = create_app(services)
    app.add_url_rule("/forgotten", "forgotten", lambda: "open")

    assert app.test_client().get("/forgotten").status_code == 403


def sign_in(app: Flask, key: str, **form: str):  # type: ignore[no-untyped-def]
    client = app.test_client()
    return client, client.post("/signin", data={"key": key, **form})


def test_a_session_changes_things_from_our_own_pages_alone(app: Flask, call: Caller) -> None:
    client, answer = sign_in(app, call.key)

    assert answer.status_code == 303
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie and "SameSite=Lax" in cookie and call.key not in cookie
    assert client.get("/").status_code == 200
    assert client.get("/v1/models").status_code == 200
    for headers, status in [
        ({}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "http://localhost"}, 400),
        ({"Sec-Fetch-Site": "same-origin"}, 400),
    ]:
        answer = client.post("/v1/fine_tuning/jobs", json={}, headers=headers)
        assert answer.status_code == status, headers


def test_a_wrong_key_does_not_sign_in(app: Flask) -> None:
    client, answer = sign_in(app, "tg_0123456789abcdef_" + "x" * 43)

    assert answer.status_code == 401
    assert client.get("/").status_code == 303


def test_signing_out_ends_the_session_on_the_server_too(app: Flask, call: Caller) -> None:
    client, _ = sign_in(app, call.key)
    cookie = client.get_cookie("textgen_session")
    assert cookie is not None

    client.post("/signout")

    assert client.get("/").status_code == 303
    thief = app.test_client()
    thief.set_cookie("textgen_session", cookie.value)
    assert thief.get("/v1/models").status_code == 401


def test_a_session_is_good_for_a_browser_alone(app: Flask, call: Caller) -> None:
    client, _ = sign_in(app, call.key)
    cookie = client.get_cookie("textgen_session")
    assert cookie is not None

    as_key = {"Authorization": f"Bearer {cookie.value}"}
    assert app.test_client().get("/v1/models", headers=as_key).status_code == 401
    other, answer = sign_in(app, cookie.value)
    assert answer.status_code == 401 and "Sign in with a key" in answer.text
    assert other.get("/").status_code == 303
    assert client.get("/").status_code == 200


def test_a_session_ends_with_its_key(app: Flask, services: Services) -> None:
    key, plaintext = services.keys.create("default", "a person's", ["read", "admin"])
    client, _ = sign_in(app, plaintext)
    assert client.get("/keys").status_code == 200

    services.keys.change("default", key.id, scopes=["read"])
    assert client.get("/keys").status_code == 403
    assert client.get("/").status_code == 200
    services.keys.revoke("default", key.id)
    assert client.get("/").status_code == 303


@pytest.mark.parametrize("target", ["//evil.example/", "https://evil.example/", "/\\evil.example"])
def test_signing_in_never_leads_elsewhere(app: Flask, call: Caller, target: str) -> None:
    _, answer = sign_in(app, call.key, next=target)

    assert answer.headers["Location"] in ("/", "http://localhost/")


def test_who_signs_in_to_send_a_form_comes_to_the_page_with_it(app: Flask) -> None:
    own = {"Origin": "http://localhost"}
    stood_on = {**own, "Referer": "http://localhost/jobs/ftjob-1?x=1"}

    known = app.test_client().post("/jobs/ftjob-1/cancel", headers=stood_on)
    unknown = app.test_client().post("/jobs/ftjob-1/cancel", headers=own)

    assert known.headers["Location"] == "/signin?next=/jobs/ftjob-1%3Fx%3D1"
    assert unknown.headers["Location"] == "/signin?next=/jobs"


def test_a_form_of_another_site_is_refused(app: Flask, call: Caller) -> None:
    client, _ = sign_in(app, call.key)

    answer = client.post("/signout", headers={"Origin": "https://evil.example"})

    assert answer.status_code == 403
    assert client.get("/").status_code == 200


def test_operations_are_open_only_on_purpose(app: Flask) -> None:
    found: dict[str, Operation] = {}
    for blueprint in app.blueprints.values():
        found.update(getattr(blueprint, "operations", {}))

    assert {name for name, operation in found.items() if not operation.scopes} == {
        "documentation.errors",  # the error may be that the key is missing
        "health.alive",
        "health.ready",
        "sessions.choose_language",
        "sessions.form",
        "sessions.sign_in",
        "sessions.sign_out",
    }
