"""What `textgen train` sends."""

from __future__ import annotations

import pytest

from textgen.errors import InvalidOption
from web.cli.train import DEFAULT_SECONDS, choose, read_settings


def test_values_are_numbers_words_and_truths() -> None:
    found = read_settings(("layers=2", "learning_rate=1e-3", "tokenizer=byte", "tie_weights=true"))
    assert found == {"layers": 2, "learning_rate": 1e-3, "tokenizer": "byte", "tie_weights": True}


def test_an_equals_sign_in_a_value_is_the_values() -> None:
    assert read_settings(("column=a=b",)) == {"column": "a=b"}


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        ("layers", "key=value"),
        ("layer=2", "Did you mean 'layers'"),
        ("layers=99", "'layers' is 99"),
        ("layers=two", "'layers' is 'two'"),
    ],
)
def test_a_bad_pair_is_refused_with_the_way_out(pair: str, said: str) -> None:
    with pytest.raises(InvalidOption, match=said):
        read_settings((pair,))


def test_five_minutes_unless_something_else_limits_it() -> None:
    assert choose((), None) == {"max_seconds": DEFAULT_SECONDS}
    assert choose((), 20.0) == {"max_seconds": 20.0}
    assert choose(("max_steps=10",), None) == {"max_steps": 10}
    assert choose(("n_epochs=2",), 60.0) == {"n_epochs": 2, "max_seconds": 60.0}
