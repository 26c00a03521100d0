"""The OpenAPI document is whole, and describes what is really there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from pydantic import BaseModel, ValidationError

from tests.unit.web.conftest import Caller
from textgen.evaluation.options import EvaluationOptions
from textgen.options import Hyperparameters
from web.app import RESOURCES


def every(value: Any, key: str) -> Iterator[Any]:
    """All values under ``key``, however deep."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name == key:
                yield inner
            yield from every(inner, key)
    elif isinstance(value, list):
        for inner in value:
            yield from every(inner, key)


def test_every_route_is_described(app: Flask, call: Caller) -> None:
    document = call("GET", "/openapi.json").get_json()

    routes = {
        (method, re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule))
        for rule in app.url_map.iter_rules()
        if rule.endpoint != "static"
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    described = {
        (method.upper(), path) for path, methods in document["paths"].items() for method in methods
    }
    assert routes == described


def test_the_document_is_sound(call: Caller) -> None:
    document = call("GET", "/openapi.json").get_json()

    assert document["openapi"].startswith("3.1")
    schemas = document["components"]["schemas"]
    for reference in every(document, "$ref"):
        assert reference.startswith("#/components/schemas/")
        assert reference.rpartition("/")[2] in schemas, reference
    operations = [each for methods in document["paths"].values() for each in methods.values()]
    names = [operation["operationId"] for operation in operations]
    assert len(set(names)) == len(names)
    for path, methods in document["paths"].items():
        in_path = set(re.findall(r"{(\w+)}", path))
        for operation in methods.values():
            declared = {p["name"] for p in operation["parameters"] if p["in"] == "path"}
            assert declared == in_path
            assert {"200", "default"} <= set(operation["responses"])
            assert operation["summary"]


def test_links_lead_from_what_was_made_to_what_can_be_done_with_it(call: Caller) -> None:
    paths = call("GET", "/openapi.json").get_json()["paths"]
    operations = {
        operation["operationId"]: (path, operation)
        for path, methods in paths.items()
        for operation in methods.values()
    }

    linked = set()
    for path, operation in operations.values():
        for name, link in operation["responses"]["200"].get("links", {}).items():
            target, _ = operations[link["operationId"]]
            assert name == link["operationId"]
            given = link.get("parameters", {})
            if "requestBody" not in link:
                assert set(given) == set(re.findall(r"{(\w+)}", target)), (path, name)
            for source in set(given.values()) - {"$response.body#/id"}:
                assert f"{{{source.rpartition('.')[2]}}}" in path
            linked.add(target)

    made = operations["fine_tuning_create"][1]["responses"]["200"]["links"]
    assert {"fine_tuning_cancel", "jobs_events", "jobs_retry"} <= set(made)
    file = operations["files_create"][1]["responses"]["200"]["links"]
    assert file["fine_tuning_create"]["requestBody"]["training_file"] == "$response.body#/id"
    # What no call makes: aliases, states, deliveries; an invoice's page knows its project.
    alone = {path for path, _ in operations.values() if "{" in path} - linked
    assert {re.findall(r"{(\w+)}", path)[-1] for path in alone} == {
        "name", "state_id", "rate_limit_id", "delivery_id", "invoice_id",
    }  # fmt: skip


def test_hyperparameters_and_options_are_in_it(call: Caller) -> None:
    schemas = call("GET", "/openapi.json").get_json()["components"]["schemas"]

    assert "max_seconds" in schemas["Hyperparameters"]["properties"]
    assert {"prompt", "temperature", "stream"} <= set(schemas["CompletionBody"]["properties"])
    assert schemas["TrainingBody"]["additionalProperties"] is False


def test_one_text_or_several_are_declared(call: Caller) -> None:
    schemas = call("GET", "/openapi.json").get_json()["components"]["schemas"]

    def kinds(model: str, field: str) -> list[str]:
        return [each["type"] for each in schemas[model]["properties"][field]["anyOf"]]

    assert kinds("CompletionBody", "prompt") == ["string", "array", "array"]
    assert kinds("EmbeddingsBody", "input") == ["string", "array", "array"]
    assert kinds("ClassifyBody", "input") == ["string", "array"]
    for model in ("CompletionBody", "ChatBody"):
        assert kinds(model, "stop") == kinds(model, "bad_words") == ["string", "array", "null"]
    tokens = schemas["CompletionBody"]["properties"]["prompt"]["anyOf"][2]
    assert tokens["items"] == {"type": "integer", "minimum": 0}


def numbers_of(model: type[BaseModel]) -> Iterator[str]:
    """The fields where a number may stand, but neither true nor false."""
    for name, field in model.model_json_schema()["properties"].items():
        kinds = {each.get("type") for each in field.get("anyOf", [field])}
        if kinds & {"integer", "number"} and "boolean" not in kinds:
            yield name


def test_no_body_takes_true_for_a_number() -> None:
    bodies = {
        operation.body
        for resource in RESOURCES
        for operation in resource.operations.values()
        if operation.body is not None
    }
    for model in (*bodies, Hyperparameters, EvaluationOptions):
        for name in numbers_of(model):
            with pytest.raises(ValidationError) as caught:
                model.model_validate({name: True})
            assert name in {error["loc"][0] for error in caught.value.errors()}, (model, name)


def test_the_page_for_people(call: Caller) -> None:
    page = call("GET", "/docs").text

    assert "/v1/fine_tuning/jobs" in page
    assert "Hyperparameters" in page
