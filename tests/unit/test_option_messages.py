"""What is said of an option that cannot be: its place, its value, all that it may be."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import Field

from textgen.errors import InvalidOption
from textgen.option_model import Options
from textgen.options import Hyperparameters, SamplingOptions


class Part(Options):
    kind: str = Field(pattern="^[a-z]+$")
    size: int = Field(1, gt=0, lt=10)


class Asked(Options):
    parts: tuple[Part, ...] | str = ""
    pair: tuple[int, ...] = Field((1, 2), min_length=2, max_length=2)
    names: dict[str, int] = Field(default_factory=dict)
    on: bool = False
    least: float = Field(0, ge=0.5)


TEMPERATURE = (
    "it must be a number from 0 to 2 or a list of 1 to 64 entries, each a number from 0 to 2."
)


def said(cls: type[Options], within: str = "", **values: Any) -> InvalidOption:
    with pytest.raises(InvalidOption) as caught:
        cls.parse(values, within=within)
    return caught.value


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (9, f"'temperature' is 9: {TEMPERATURE}"),
        (-0.5, f"'temperature' is -0.5: {TEMPERATURE}"),
        ("hot", f"'temperature' is 'hot': {TEMPERATURE}"),
        ([], f"'temperature' is []: {TEMPERATURE}"),
        ([1, 9], "'temperature[1]' is 9: it must be a number from 0 to 2."),
    ],
)
def test_a_field_of_several_types_says_all_of_them_or_the_one_that_was_meant(
    value: object, message: str
) -> None:
    error = said(SamplingOptions, temperature=value)
    assert (error.message, error.param, error.code) == (message, "temperature", "invalid_value")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"top_p": 2}, "'top_p' is 2: it must be a number above 0, at most 1."),
        ({"top_k": -5}, "'top_k' is -5: it must be a whole number of at least -1."),
        (
            {"stop": ["a", 5]},
            "'stop[1]' is 5: it must be a string of 1 to 1,000 characters.",
        ),
        (
            {"stop": list("abcde")},
            "'stop' is ['a', 'b', 'c', 'd', 'e']: it must be a string of 1 to 1,000 characters or "
            "a list of at most 4 entries, each a string of 1 to 1,000 characters.",
        ),
        (
            {"logit_bias": {"7": 101}},
            "'logit_bias.7' is 101: it must be a number from -100 to 100.",
        ),
        ({"logit_bias": {"x": 1}}, "'logit_bias' has the key 'x': it must be a whole number."),
        ({"ignore_eos": "perhaps"}, "'ignore_eos' is 'perhaps': it must be true or false."),
        ({"top_p": None}, "'top_p' is null: it must be a number above 0, at most 1."),
    ],
)
def test_bounds_and_places_are_named(values: dict[str, Any], message: str) -> None:
    assert said(SamplingOptions, **values).message == message


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"temperature": True}, f"'temperature' is true: {TEMPERATURE}"),
        (
            {"temperature": [0.5, False]},
            "'temperature[1]' is false: it must be a number from 0 to 2.",
        ),
        ({"top_k": False}, "'top_k' is false: it must be a whole number of at least -1."),
        (
            {"stop_token_ids": [True]},
            "'stop_token_ids[0]' is true: it must be a whole number from 0 to 2,147,483,647.",
        ),
        (
            {"logit_bias": {"7": True}},
            "'logit_bias.7' is true: it must be a number from -100 to 100.",
        ),
    ],
)
def test_true_and_false_are_no_numbers(values: dict[str, Any], message: str) -> None:
    assert said(SamplingOptions, **values).message == message


@pytest.mark.parametrize(("tokenizer", "size"), [("byte", 256), ("byte", 5000), ("word", 299)])
def test_a_vocabulary_that_the_tokenizer_cannot_have_is_refused(tokenizer: str, size: int) -> None:
    error = said(Hyperparameters, tokenizer=tokenizer, vocab_size=size)
    assert error.param == "vocab_size"
    assert f"the tokenizer {tokenizer}" in error.message


def test_bytes_may_be_counted() -> None:
    assert Hyperparameters(tokenizer="byte", vocab_size=257).vocab_size == 257


def test_numbers_are_taken_as_forms_and_commands_send_them() -> None:
    options = SamplingOptions.parse({"temperature": "0.5", "top_k": "5", "seed": 7.0})
    assert (options.temperature, options.top_k, options.seed) == (0.5, 5, 7)


def test_what_lies_within_other_options_is_named_whole() -> None:
    error = said(Hyperparameters, within="hyperparameters", batch_size=0)
    assert error.message == (
        "'hyperparameters.batch_size' is 0: it must be 'auto' or a whole number from 1 to 256."
    )
    assert error.param == "hyperparameters.batch_size"
    error = said(Hyperparameters, within="hyperparameters", objectives={"causale": 1})
    assert (
        "'hyperparameters.objectives' has the key 'causale': it must be 'causal'," in error.message
    )


@pytest.mark.parametrize(
    ("values", "code", "message"),
    [
        ({"parts": [{}]}, "missing_option", "'parts[0].kind' is required."),
        (
            {"parts": [{"kind": "a", "sise": 1}]},
            "unknown_option",
            "Unknown option 'parts[0].sise'. Did you mean 'size'?",
        ),
        ({"party": 1}, "unknown_option", "Unknown option 'party'. Did you mean 'parts'?"),
        (
            {"parts": [{"kind": "a", "size": 10}]},
            "invalid_value",
            "'parts[0].size' is 10: it must be a whole number above 0, below 10.",
        ),
        (
            {"parts": 5},
            "invalid_value",
            "'parts' is 5: it must be a list of objects or a string.",
        ),
        (
            {"pair": [1]},
            "invalid_value",
            "'pair' is [1]: it must be a list of 2 entries, each a whole number.",
        ),
        ({"names": {"a": "b"}}, "invalid_value", "'names.a' is 'b': it must be a whole number."),
        ({"least": 0}, "invalid_value", "'least' is 0: it must be a number of at least 0.5."),
        (
            {"parts": [{"kind": "A"}]},
            "invalid_value",
            "'parts[0].kind' is 'A': string should match pattern '^[a-z]+$'.",
        ),
        ({"on": "x" * 100}, "invalid_value", f"'on' is '{'x' * 76}...: it must be true or false."),
    ],
)
def test_nested_fields(values: dict[str, Any], code: str, message: str) -> None:
    error = said(Asked, **values)
    assert (error.code, error.message) == (code, message)
