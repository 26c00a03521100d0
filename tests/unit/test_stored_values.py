"""What is stored can be stored anywhere, and read back by any client."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from worker.storage.schema import clean, clean_text

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON)
def test_any_value_becomes_plain_json(value: Any) -> None:
    stored = json.dumps(clean(value), allow_nan=False, ensure_ascii=False)

    stored.encode("utf-8")
    assert "\\u0000" not in stored
    assert json.loads(stored) == clean(value)


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_ordinary_text_is_left_as_it_is(text: str) -> None:
    assert clean_text(text) == text


def test_what_cannot_be_stored_is_shown_as_such() -> None:
    assert clean_text("a\0b") == "a\ufffdb"
    assert clean({"x": (1, float("nan"), "\0")}) == {"x": [1, None, "\ufffd"]}
