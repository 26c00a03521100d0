"""The base of every model of options: how values are checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, ValidationError
from pydantic_core import CoreSchema

from textgen.errors import InvalidOption
from textgen.option_messages import explain
from textgen.option_numbers import numbers_alone


class Options(BaseModel):
    """Base of every option model: frozen, strict about names, errors that name the way out.

    Where a number is wanted, true and false are refused, which Python takes for 1 and 0.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @classmethod
    def parse(cls, values: Mapping[str, Any], *, within: str = "") -> Self:
        """Check ``values``; raise InvalidOption naming the field (prefixed with ``within``)."""
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            raise explain(cls, error, within) from None
        except InvalidOption as error:  # of a validator that names the field and the way out
            param = ".".join(part for part in (within, error.param) if part)
            raise InvalidOption(error.message, code=error.code, param=param) from None

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: type[BaseModel], handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """As pydantic makes it, with numbers that are no truth values."""
        return numbers_alone(handler(source))
