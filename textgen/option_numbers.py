"""Numbers among options refuse true and false, which Python, and so pydantic, takes for 1 and 0."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, cast

from pydantic_core import CoreSchema, PydanticKnownError, core_schema

_COMPLAINTS = {"int": "int_type", "float": "float_type", "decimal": "decimal_type"}
_NO_SCHEMAS = ("metadata", "default", "serialization", "config")  # parts of a schema


def numbers_alone(schema: CoreSchema) -> CoreSchema:
    """How a model is checked, with each number in it guarded; else as it was."""
    return cast(CoreSchema, _wrapped(schema))


def _wrapped(schema: Any) -> Any:
    """A part of a schema with each number in it wrapped, but for those that are strict already."""
    if isinstance(schema, (list, tuple)):
        return type(schema)(map(_wrapped, schema))
    if not isinstance(schema, dict):
        return schema
    kind = schema.get("type")
    if kind == "model-fields":
        fields = {name: _wrapped(field) for name, field in schema["fields"].items()}
        return {**schema, "fields": fields}
    if isinstance(kind, str) and kind in _COMPLAINTS:
        if schema.get("strict"):
            return schema
        refuse = partial(_refuse_truth, _COMPLAINTS[kind])
        return core_schema.no_info_before_validator_function(refuse, cast(CoreSchema, schema))
    if kind == "function-before" and _is_wrapped(schema):
        return schema
    return {name: part if name in _NO_SCHEMAS else _wrapped(part) for name, part in schema.items()}


def _is_wrapped(schema: Mapping[str, Any]) -> bool:
    return getattr(schema["function"]["function"], "func", None) is _refuse_truth


def _refuse_truth(complaint: Any, value: object) -> object:
    if isinstance(value, bool):
        raise PydanticKnownError(complaint)
    return value
