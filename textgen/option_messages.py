"""Says in one plain sentence which option is wrong, what it is, and what it may be.

Bounds are read from the model's own JSON schema, so that a sentence has both ends of a range and
every kind of value that a field takes, in the words of people who call over HTTP.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.errors import PydanticInvalidForJsonSchema

from textgen.errors import InvalidOption

Schema = Mapping[str, Any]
_LONGEST_VALUE = 80
_SEVERAL = {
    "a whole number": "whole numbers",
    "a whole number of at least 0": "whole numbers of at least 0",
    "a number": "numbers",
    "a string": "strings",
    "an object": "objects",
}
_NAMES = {"True": "true", "False": "false", "None": "null"}  # as those write who call over HTTP
_OWN_WORDS = ("value_error", "assertion_error")  # a validator's sentence is not to be replaced
_KEPT = ("string_unicode",)  # of pydantic's own: no schema says it


def explain(cls: type[BaseModel], error: ValidationError, within: str) -> InvalidOption:
    """What pydantic says of one bad field of ``cls``, which lies ``within`` another option."""
    chosen = _first(cls, error)
    param = ".".join(part for part in (within, chosen.field) if part)
    name = _shown((within, *chosen.path) if within else chosen.path)
    if chosen.kind == "extra_forbidden":
        known = sorted(chosen.parent.get("properties", cls.model_fields))
        near = difflib.get_close_matches(str(chosen.path[-1]), known, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else f"Known options: {', '.join(known)}."
        return InvalidOption(f"Unknown option {name!r}. {hint}", code="unknown_option", param=param)
    if chosen.kind == "missing":
        return InvalidOption(f"{name!r} is required.", code="missing_option", param=param)
    value = _NAMES.get(repr(chosen.value), repr(chosen.value))
    shown = value if len(value) <= _LONGEST_VALUE else value[: _LONGEST_VALUE - 3] + "..."
    verb = "has the key" if chosen.of_key else "is"
    return InvalidOption(f"{name!r} {verb} {shown}: {chosen.reason()}.", param=param)


def reason_of(cls: type[BaseModel], error: ValidationError) -> str:
    """Why the value of that field cannot be."""
    return _first(cls, error).reason()


def _first(cls: type[BaseModel], error: ValidationError) -> _Complaint:
    """The complaint about the first bad field that says most."""
    schema = _schema(cls)
    complaints = [_Complaint(schema, each) for each in error.errors(include_url=False)]
    of_first = [each for each in complaints if each.field == complaints[0].field]
    # A field of several types complains once for each; the deepest knows what was meant.
    return max(of_first, key=lambda each: (len(each.path), each.kind in _OWN_WORDS))


@lru_cache(maxsize=256)
def _schema(cls: type[BaseModel]) -> Schema:
    try:
        return cls.model_json_schema()
    except PydanticInvalidForJsonSchema:
        return {}


class _Complaint:
    """One of pydantic's, and where in the schema it was met.

    ``path`` has names and places in lists, without what pydantic puts between them for the types
    of a union.
    """

    def __init__(self, schema: Schema, said: Mapping[str, Any]) -> None:
        self.kind: str = said["type"]
        self.value: object = said["input"]
        self._message: str = said["msg"]
        self._definitions: Schema = schema.get("$defs", {})
        self.path: list[str | int] = []
        self.of_key = "[key]" in said["loc"]
        self.here = self.parent = schema
        for part in said["loc"][:-2] if self.of_key else said["loc"]:
            found = self._step(self.here, part)
            if found is not None:
                self.parent, self.here = found
                self.path.append(part)
        if self.kind == "extra_forbidden":  # no schema leads to it
            self.parent = next(self._alternatives(self.here), schema)
            self.path.append(said["loc"][-1])
        if not self.path and said["loc"]:
            self.path.append(said["loc"][0])
            self.here = {}
        self.field = str(self.path[0]) if self.path else ""

    def _step(self, schema: Schema, part: str | int) -> tuple[Schema, Schema] | None:
        """The schema that ``part`` leads on from, and that of what it leads to."""
        for each in self._alternatives(schema):
            if isinstance(part, int):
                if "items" in each:
                    return each, each["items"]
            elif part in each.get("properties", {}):
                return each, each["properties"][part]
            elif isinstance(each.get("additionalProperties"), Mapping):
                return each, each["additionalProperties"]
        return None

    def _alternatives(self, schema: Schema) -> Iterator[Schema]:
        """What a value may be, without null and references."""
        if "$ref" in schema:
            schema = self._definitions.get(schema["$ref"].rpartition("/")[2], {})
        options = schema.get("anyOf", schema.get("oneOf"))
        if options is None:
            if schema.get("type") != "null":
                yield schema
            return
        for option in options:
            yield from self._alternatives(option)

    def reason(self) -> str:
        """What is wrong, or what it may be."""
        if self.kind in _OWN_WORDS:
            return self._message.partition(", ")[2] or self._message
        allowed = [] if self.kind in _KEPT else list(self._alternatives(self.here))
        if self.of_key:
            allowed = [each["propertyNames"] for each in allowed if "propertyNames" in each]
            if not allowed and self.kind.startswith("int"):
                allowed = [{"type": "integer"}]
        kinds = list(dict.fromkeys(map(self._words, allowed)))
        if not kinds or "" in kinds:
            return self._message[:1].lower() + self._message[1:]
        return f"it must be {_either(kinds)}"

    def _words(self, schema: Schema) -> str:
        """What a value of a schema is; empty where it says less than pydantic does."""
        if "const" in schema:
            return repr(schema["const"])
        if "enum" in schema:
            return _either([repr(each) for each in schema["enum"]])
        match schema.get("type"):
            case "boolean":
                return "true or false"
            case "integer":
                return f"a whole number{_range(schema)}"
            case "number":
                return f"a number{_range(schema)}"
            case "string" if not {"pattern", "format"} & {*schema}:
                return f"a string{_size(schema, 'Length', 'character')}"
            case "array":
                return self._list_words(schema)
            case "object":
                return f"an object{_size(schema, 'Properties', 'entry')}"
        return ""

    def _list_words(self, schema: Schema) -> str:
        size = _size(schema, "Items", "entry")
        kinds = {self._words(each) for each in self._alternatives(schema.get("items", {}))}
        if "" in kinds:
            return f"a list{size}"
        if not size and len(kinds) == 1 and kinds <= {*_SEVERAL}:
            return f"a list of {_SEVERAL[kinds.pop()]}"
        return f"a list{size}, each {_either(sorted(kinds, key=len))}"


def _shown(path: Sequence[str | int]) -> str:
    """A path as it is written: ``messages[0].content``."""
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in path]
    return "".join(parts).removeprefix(".")


def _either(kinds: Sequence[str]) -> str:
    """The last two joined by "or", those before by commas; each by both where one has a comma."""
    if any(", " in kind for kind in kinds[:-1]):
        return ", or ".join(kinds)
    return " or ".join(part for part in (", ".join(kinds[:-1]), kinds[-1]) if part)


def _range(schema: Schema) -> str:
    least, most = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    if least is not None and most is not None:
        return f" from {_number(least)} to {_number(most)}"
    if least is not None:
        return f" of at least {_number(least)}"
    bounds = (("above", above), ("of at most", most), ("below", below))
    found = [f"{word} {_number(value)}" for word, value in bounds if value is not None]
    return " " + ", ".join(found).replace(", of at", ", at") if found else ""


def _number(value: float) -> str:
    """Whole ones without a point, large ones with commas."""
    return f"{int(value):,}" if value == int(value) else f"{value:g}"


def _size(schema: Schema, what: str, unit: str) -> str:
    """How long a string or list may be."""
    least, most = schema.get(f"min{what}", 0), schema.get(f"max{what}")
    many = f"{unit[:-1]}ies" if unit.endswith("y") else f"{unit}s"
    if most is None:
        return f" of at least {least} {unit if least == 1 else many}" if least else ""
    if least == most:
        return f" of {most:,} {unit if most == 1 else many}"
    if least:
        return f" of {least:,} to {most:,} {many}"
    return f" of at most {most:,} {many}"
