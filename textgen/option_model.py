"""The base of every model of options: how values are checked, and how a wrong one is explained."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from textgen.errors import InvalidOption


class Options(BaseModel):
    """Base of every option model: frozen, strict about names, errors that name the way out."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @classmethod
    def parse(cls, values: Mapping[str, Any], *, within: str = "") -> Self:
        """Check ``values``; raise InvalidOption naming the field (prefixed with ``within``)."""
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            raise _explain(cls, error, within) from None
        except InvalidOption as error:  # of a validator that names the field and the way out
            param = ".".join(part for part in (within, error.param) if part)
            raise InvalidOption(error.message, code=error.code, param=param) from None


def _explain(cls: type[BaseModel], error: ValidationError, within: str) -> InvalidOption:
    """Turn pydantic's complaints about the first bad field into one sentence for a person."""
    complaints = error.errors(include_url=False)
    first = complaints[0]
    name = str(first["loc"][0]) if first["loc"] else ""
    param = ".".join(part for part in (within, name) if part)
    if first["type"] == "extra_forbidden":
        known = sorted(cls.model_fields)
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else f"Known options: {', '.join(known)}."
        return InvalidOption(
            f"Unknown option {param!r}. {hint}", code="unknown_option", param=param
        )
    if first["type"] == "missing":
        return InvalidOption(f"{param!r} is required.", code="missing_option", param=param)
    # A field of several types complains once for each of them.
    reasons = dict.fromkeys(
        other["msg"].removeprefix("Value error, ")
        for other in complaints
        if other["loc"][:1] == first["loc"][:1]
    )
    value = repr(first["input"])
    shown = value if len(value) <= 80 else value[:77] + "..."
    return InvalidOption(f"{param!r} is {shown}: {', or '.join(reasons)}.", param=param)
