"""Every operation of the HTTP interface, from the same description as /openapi.json."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from flask import Flask

from web import openapi
from web.app import RESOURCES
from web.resource import Operation

HEAD = """# The HTTP interface

Under `/v1` the service speaks the OpenAI API; the same description for programs is at
`/openapi.json` of every server, and shown at its `/docs`. Every request but those for
`/healthz`, `/readyz` and `/docs/errors` needs the header
`Authorization: Bearer KEY`; beside each operation stand the scopes of which the key needs one.
Unknown fields are refused.
What goes wrong: [errors](errors.md), told in the language of `Accept-Language` (English, Chinese).
"""
Schema = Mapping[str, Any]


def page() -> str:
    """The page of operations, by resource."""
    app = Flask("textgen")
    operations: dict[str, Operation] = {}
    for resource in RESOURCES:
        app.register_blueprint(resource)
        operations |= {name.replace(".", "_"): each for name, each in resource.operations.items()}
    described = openapi.document(
        app, {name: each for resource in RESOURCES for name, each in resource.operations.items()}
    )
    schemas = described["components"]["schemas"]
    by_tag: dict[str, list[str]] = {}
    for path, methods in described["paths"].items():
        for method, found in methods.items():
            operation = operations[found["operationId"]]
            text = "\n".join(_operation(method.upper(), path, found, operation, schemas))
            by_tag.setdefault(found["tags"][0], []).append(text)
    parts = [HEAD]
    for resource in RESOURCES:
        if resource.name in by_tag:
            parts += [f"## {resource.name.replace('_', ' ')}\n", *by_tag[resource.name]]
    return "\n".join(parts)


def _operation(
    method: str, path: str, found: Schema, operation: Operation, schemas: Schema
) -> Iterator[str]:
    scopes = " or ".join(f"`{scope}`" for scope in operation.scopes) or "no key needed"
    operator = ", of the operator's own project" if operation.operator else ""
    yield f"### {method} {path}\n"
    yield f"{found['summary']}. ({scopes}{operator})\n"
    rows = [
        _row(f"?{parameter['name']}", parameter["schema"], False)
        for parameter in found["parameters"]
        if parameter["in"] == "query"
    ]
    for schema in found.get("requestBody", {}).get("content", {}).values():
        body = _resolved(schema["schema"], schemas)
        wanted = body.get("required", ())
        rows += [_row(name, each, name in wanted) for name, each in _fields(body, schemas)]
    if rows:
        yield "\n".join(["| field | type | meaning |", "|---|---|---|", *rows]) + "\n"


def _fields(body: Schema, schemas: Schema) -> Iterator[tuple[str, Schema]]:
    for choice in (body, *(_resolved(each, schemas) for each in body.get("oneOf", ()))):
        yield from choice.get("properties", {}).items()


def _resolved(schema: Schema, schemas: Schema) -> Schema:
    return schemas[schema["$ref"].rsplit("/", 1)[1]] if "$ref" in schema else schema


def _row(name: str, schema: Schema, required: bool) -> str:
    meaning = [schema.get("description", "")]
    if required:
        meaning.append("required")
    elif schema.get("default") not in (None, [], {}, ""):
        meaning.append(f"default {json.dumps(schema['default'], ensure_ascii=False)}")
    text = "; ".join(part for part in meaning if part)
    return f"| `{name}` | {_type(schema)} | {_cell(text)} |"


def _type(schema: Schema) -> str:
    """A short name for what a field takes, with its bounds."""
    if "$ref" in schema:
        return str(schema["$ref"].rsplit("/", 1)[1])
    if "anyOf" in schema:
        kinds = [_type(each) for each in schema["anyOf"] if each.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    if "enum" in schema or "const" in schema:
        return _cell(", ".join(f"`{each}`" for each in schema.get("enum", [schema.get("const")])))
    kind = str(schema.get("type", "any"))
    if kind == "array":
        return f"list of {_type(schema.get('items', {}))}"
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    bounds = [f"{sign} {schema[key]}" for key, sign in signs.items() if key in schema]
    return " ".join([kind, *bounds])


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
