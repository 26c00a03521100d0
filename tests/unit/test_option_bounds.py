"""Every bound of an option is kept, and the error names the option."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from annotated_types import Ge, Gt, Le, MaxLen

from textgen.errors import InvalidOption
from textgen.options import SamplingOptions

LISTS = {"stop_token_ids": 1, "allowed_token_ids": 1, "bad_words": "a", "allowed_words": "a"}


def beyond() -> Iterator[tuple[str, Any]]:
    """Of each option the values that lie next to what it may be."""
    for name, field in SamplingOptions.model_fields.items():
        for bound in field.metadata:
            match bound:
                case Ge(least):
                    yield name, least - 1
                case Gt(less):
                    yield name, less
                case Le(most):
                    yield name, most + 1
                case MaxLen(most) if name in LISTS:
                    yield name, [LISTS[name]] * (most + 1)


def test_there_are_some_of_each_kind() -> None:
    names = {name for name, _ in beyond()}
    assert {"max_tokens", "top_p", "min_p", "seed", "repetition_penalty", *LISTS} <= names


@pytest.mark.parametrize(("name", "value"), list(beyond()))
def test_what_lies_beyond_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(InvalidOption) as caught:
        SamplingOptions.parse({name: value})
    assert caught.value.param == name
