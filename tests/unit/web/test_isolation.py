"""Of another tenant's things nobody learns anything, on any route that there is."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from tests.unit.web.conftest import Caller
from tests.unit.web.test_auth import described
from web.services import Services
from worker.contracts import BundleReference
from worker.jobs.states import Kind
from worker.webhooks.events import EVENT_TYPES

BUNDLE = BundleReference(artifact="jobs/ftjob-1/1/model", file="model.safetensors")

NOBODY = {
    "file_id": "file-00000000000000000000000000",
    "job_id": "ftjob-00000000000000000000000000",
    "batch_id": "batch_00000000000000000000000000",
    "evaluation_id": "eval-00000000000000000000000000",
    "examination_id": "exam-00000000000000000000000000",
    "score_id": "score-00000000000000000000000000",
    "model_id": "ft:lstm-tiny:acme::none",
    "name": "no-such-alias",
    "project_id": "proj_00000000000000000000000000",
    "key_id": "ffffffffffffffff",
    "state_id": "state_11111111111111111111111111",
    "invoice_id": "inv_00000000000000000000000000",
    "webhook_endpoint_id": "we_00000000000000000000000000",
    "delivery_id": "whd_00000000000000000000000000",
    "upload_id": "upload_00000000000000000000000000",
    "rate_limit_id": "rl_none",
}
# A route that takes a body is given one that is right, so that it gets as far as looking.
BODIES: dict[tuple[str, str], dict[str, Any]] = {
    ("POST", "/v1/fine_tuning/jobs"): {"model": "lstm-tiny", "training_file": "{file_id}"},
    ("POST", "/v1/completions"): {"model": "{model_id}", "prompt": "x"},
    ("POST", "/v1/insertions"): {"model": "{model_id}", "input": "x y"},
    ("POST", "/v1/next_tokens"): {"model": "{model_id}", "prompt": "x"},
    ("POST", "/v1/chat/completions"): {
        "model": "{model_id}",
        "messages": [{"role": "user", "content": "x"}],
    },
    ("POST", "/v1/embeddings"): {"model": "{model_id}", "input": "x"},
    ("POST", "/v1/tokenize"): {"model": "{model_id}", "prompt": "x"},
    ("POST", "/v1/detokenize"): {"model": "{model_id}", "tokens": [1]},
    ("POST", "/v1/classify"): {"model": "{model_id}", "input": "x"},
    ("POST", "/v1/scores"): {"model": "{model_id}", "input": ["x"]},
    ("POST", "/v1/evaluations"): {"model": "{model_id}"},
    ("POST", "/v1/examinations"): {"file": "{file_id}"},
    ("POST", "/v1/batches"): {
        "input_file_id": "{file_id}",
        "endpoint": "/v1/completions",
        "completion_window": "24h",
    },
    ("PUT", "/v1/aliases/{name}"): {"model": "{model_id}"},
    ("POST", "/v1/organization/projects/{project_id}"): {"name": "mine now"},
    ("POST", "/v1/organization/projects/{project_id}/api_keys"): {"name": "mine now"},
    ("POST", "/v1/organization/projects/{project_id}/api_keys/{key_id}/rotate"): {},
    ("POST", "/v1/organization/projects/{project_id}/api_keys/{key_id}"): {"scopes": ["read"]},
    ("POST", "/v1/organization/projects/{project_id}/service_accounts"): {"name": "mine now"},
    ("POST", "/v1/organization/projects/{project_id}/service_accounts/{key_id}"): {"name": "x"},
    ("POST", "/v1/organization/projects/{project_id}/rate_limits/{rate_limit_id}"): {
        "max_requests_per_1_minute": 1
    },
    ("POST", "/v1/organization/projects/{project_id}/spend_limit"): {
        "threshold_amount": 1,
        "currency": "USD",
        "interval": "month",
    },
    ("POST", "/v1/webhook_endpoints/{webhook_endpoint_id}"): {"name": "mine now"},
    ("POST", "/v1/webhook_endpoints/{webhook_endpoint_id}/rotate_secret"): {},
    ("POST", "/v1/webhook_endpoints/{webhook_endpoint_id}/test"): {"event_type": "batch.failed"},
    ("POST", "/v1/uploads/{upload_id}/complete"): {"part_ids": ["part_x"]},
    ("POST", "/v1/cost_estimates"): {"model": "lstm-tiny", "training_file": "{file_id}"},
    ("POST", "/v1/organization/projects/{project_id}/invoices"): {"month": "2026-03"},
    ("POST", "/v1/organization/projects/{project_id}/invoices/{invoice_id}/credits"): {
        "amount": 1,
        "reason": "x",
    },
}
OPERATORS = {"/v1/organization/admin_api_keys/{key_id}"}  # closed to all others, whatever the id
CREATES = {  # they name nothing that is there, or in their path alone
    "/v1/files",
    "/v1/models",
    "/v1/organization/projects",
    "/v1/organization/admin_api_keys",
    "/v1/uploads",
    "/v1/uploads/{upload_id}/parts",
    "/v1/webhook_endpoints",
}


@pytest.fixture
def ids(
    services: Services, call: Caller, upload: Callable[..., str], model: str
) -> dict[str, dict[str, str]]:
    """What acme has: for each parameter of a path the id of a thing that is there."""
    file_id = upload()

    def job(kind: Kind) -> str:
        return services.jobs.submit("acme", kind, {}, uses_files=[file_id]).id

    services.models.set_alias("acme", "ours", model)
    endpoint = services.endpoints.create("acme", "x", "https://93.184.215.14/", EVENT_TYPES)
    services.jobs.request_cancel("acme", job("training"))
    upload = services.uploads.create(
        "acme", filename="a", mime_type="text/plain", purpose="batch", bytes=1
    )
    known = {
        "file_id": file_id,
        "job_id": job("training"),
        "batch_id": job("batch"),
        "evaluation_id": job("evaluation"),
        "examination_id": job("examination"),
        "score_id": job("scoring"),
        "model_id": model,
        "name": "ours",
        "project_id": "acme",
        "state_id": services.states.add("acme", model, BUNDLE, '{"tokens": 1}'),
        "key_id": services.keys.authenticate(call.key).id,
        "webhook_endpoint_id": endpoint.id,
        "delivery_id": services.endpoints.deliveries("acme", endpoint.id).items[0].id,
        "upload_id": upload.id,
        "rate_limit_id": "rl_all",
        "invoice_id": services.invoices.issue("acme", "2026-03").id,
    }
    return {"theirs": known, "nobodys": NOBODY}


def filled(value: Any, ids: dict[str, str]) -> Any:
    if isinstance(value, str):
        return re.sub(r"{(\w+)}", lambda name: ids[name[1]], value)
    if isinstance(value, list):
        return [filled(inner, ids) for inner in value]
    if isinstance(value, dict):
        return {key: filled(inner, ids) for key, inner in value.items()}
    return value


def test_a_foreign_id_is_as_unknown_as_one_that_never_was(
    app: Flask, stranger: Caller, ids: dict[str, dict[str, str]]
) -> None:
    walked = 0
    for method, path in described(app):
        body = BODIES.get((method, path))
        if "{" not in path and body is None:
            continue
        told = []
        for known in ids.values():
            options = {} if body is None else {"json": filled(body, known)}
            answer = stranger(method, filled(path, known), **options)
            if path in OPERATORS:
                assert answer.status_code == 403, (method, path, answer.text)
            elif "{" in path:
                assert answer.status_code == 404, (method, path, answer.status_code, answer.text)
            else:
                assert answer.status_code in (400, 404), (method, path, answer.text)
            text = answer.text
            for name in known.values():
                text = text.replace(name, "…")
            told.append((answer.status_code, text))
        assert told[0] == told[1], (method, path)
        walked += 1
    assert walked > 40


def test_every_route_with_a_body_is_walked(app: Flask) -> None:
    paths = app.extensions["textgen-openapi"]()["paths"]
    takers = {
        (method.upper(), path)
        for path, methods in paths.items()
        for method, operation in methods.items()
        if "requestBody" in operation and path not in CREATES
    }

    assert takers - set(BODIES) == set()


def test_lists_show_nothing_of_others(
    app: Flask, stranger: Caller, ids: dict[str, dict[str, str]]
) -> None:
    theirs = ids["theirs"]
    looked = 0
    for method, path in described(app):
        if method != "GET" or "{" in path or not path.startswith("/v1/"):
            continue
        answer = stranger(method, path)
        if answer.status_code != 200:
            continue
        looked += 1
        for name in (theirs["file_id"], theirs["job_id"], theirs["model_id"], "acme"):
            assert name not in answer.text, path
    assert looked >= 8


def test_a_thing_is_still_there_for_its_owner(call: Caller, ids: dict[str, dict[str, str]]) -> None:
    for path in (
        "/v1/files/{file_id}",
        "/v1/jobs/{job_id}",
        "/v1/models/{model_id}",
        "/v1/states/{state_id}",
    ):
        assert call("GET", filled(path, ids["theirs"])).status_code == 200
