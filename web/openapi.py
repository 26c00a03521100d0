"""The OpenAPI 3.1 document, made from the routes and from the schemas that check them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, cast

from flask import Flask
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from textgen.evaluation.options import EvaluationOptions
from textgen.options import Hyperparameters
from web.openapi_links import add_links
from web.resource import Operation
from web.schemas.base import OF, ErrorEnvelope
from worker.error_answers import INVALID

REFERENCE = "#/components/schemas/{model}"
PARAMETER = re.compile(r"<(?:\w+:)?(\w+)>")
Named = tuple[type[BaseModel], JsonSchemaMode]
METHODS = ("GET", "POST", "PUT", "DELETE")


def document(app: Flask, operations: Mapping[str, Operation]) -> dict[str, Any]:
    """Describe every route of ``app`` that has an operation."""
    schemas, references = _schemas(operations.values())
    paths: dict[str, dict[str, Any]] = {}
    for rule in app.url_map.iter_rules():
        operation = operations.get(rule.endpoint)
        if operation is None:
            continue
        path = paths.setdefault(PARAMETER.sub(r"{\1}", rule.rule), {})
        for method in set(METHODS) & (rule.methods or set()):
            path[method.lower()] = _describe(rule.endpoint, rule.rule, operation, references)
    add_links(paths)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "textgen",
            "version": "1",
            "description": (
                "Train small language models on your own text and generate from them. "
                "The routes under /v1 speak the OpenAI API: any OpenAI client works with "
                "the base URL of this server followed by /v1."
            ),
        },
        "servers": [{"url": "/"}],
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": schemas,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _schemas(operations: Iterable[Operation]) -> tuple[dict[str, Any], dict[Named, dict[str, Any]]]:
    """The component schemas, and how each model is referred to."""
    wanted: dict[Named, None] = {
        (ErrorEnvelope, "serialization"): None,
        (Hyperparameters, "validation"): None,
        (EvaluationOptions, "validation"): None,
    }
    for operation in operations:
        for model in (operation.body, operation.query):
            if model is not None:
                wanted[model, "validation"] = None
        if operation.answer is not None:
            wanted[operation.answer, "serialization"] = None
    references, definitions = models_json_schema(list(wanted), ref_template=REFERENCE)
    found = {(model, mode): schema for (model, mode), schema in references.items()}
    _point(definitions["$defs"])
    return definitions["$defs"], cast(dict[Named, dict[str, Any]], found)


def _point(schema: object) -> None:
    """Let what says that it is `OF` another model point to its schema, all the way down."""
    if isinstance(schema, dict):
        if OF in schema:
            schema["$ref"] = REFERENCE.format(model=schema.pop(OF))
        for inner in schema.values():
            _point(inner)
    elif isinstance(schema, list):
        for inner in schema:
            _point(inner)


def _describe(
    endpoint: str, rule: str, operation: Operation, references: Mapping[Named, dict[str, Any]]
) -> dict[str, Any]:
    found: dict[str, Any] = {
        "operationId": endpoint.replace(".", "_"),
        "tags": [endpoint.split(".")[0]],
        "summary": operation.summary,
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in PARAMETER.findall(rule)
        ]
        + _query_parameters(operation),
        "responses": _responses(operation, references),
        "security": [{"key": []}] if operation.scopes else [],
    }
    body = _body(operation, references)
    if body is not None:
        found["requestBody"] = {"required": True, "content": body}
    return found


def _query_parameters(operation: Operation) -> list[dict[str, Any]]:
    schema = operation.query.model_json_schema(ref_template=REFERENCE)
    return [
        {
            "name": name,
            "in": "query",
            "required": False,
            "schema": field,
            **({"style": "deepObject", "explode": True} if name == "metadata" else {}),
        }
        for name, field in schema.get("properties", {}).items()
    ]


def _body(
    operation: Operation, references: Mapping[Named, dict[str, Any]]
) -> dict[str, Any] | None:
    if operation.form is not None:
        return {"multipart/form-data": {"schema": dict(operation.form)}}
    if operation.body is None:
        return None
    return {"application/json": {"schema": references[operation.body, "validation"]}}


def _responses(operation: Operation, references: Mapping[Named, dict[str, Any]]) -> dict[str, Any]:
    answer = operation.answer
    schema = {} if answer is None else {"schema": references[answer, "serialization"]}
    content = {media: schema if media == "application/json" else {} for media in operation.media}
    error = {"application/json": {"schema": references[ErrorEnvelope, "serialization"]}}
    page: dict[str, Any] = {media: {} for media in operation.media if media == "text/html"}
    return {
        "200": {"description": "What was asked for.", "content": content},
        "default": {
            "description": f"What went wrong; type is {INVALID} where the request is to blame.",
            "headers": {"x-request-id": {"schema": {"type": "string"}}},
            "content": {**error, **page},
        },
    }
