from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textgen.errors import InvalidBundle
from textgen.tokenizers import ByteTokenizer, CharTokenizer, MarkedTokenizer, load_tokenizer
from textgen.tokenizers.marked import with_marks

MARKS = ("question", "answer")


def test_marks_come_after_the_ids_of_the_inner_tokenizer() -> None:
    inner = CharTokenizer("abc")
    marked = with_marks(inner, MARKS)
    assert marked.vocab_size == inner.vocab_size + 2
    assert marked.special_ids["question"] == inner.vocab_size
    assert marked.special_ids["answer"] == inner.vocab_size + 1
    assert marked.end_id == inner.end_id
    assert marked.unknown_id == inner.unknown_id
    assert marked.name == "char"


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_text_makes_the_inner_tokenizers_ids_and_never_a_mark(text: str) -> None:
    inner = ByteTokenizer()
    marked = with_marks(inner, MARKS)
    assert marked.encode(text).tolist() == inner.encode(text).tolist()
    assert marked.decode(marked.encode(text)) == text


@given(st.lists(st.integers(0, 258), max_size=30))
def test_decoding_step_by_step_is_decoding(ids: list[int]) -> None:
    marked = with_marks(ByteTokenizer(), MARKS)
    decoder = marked.decoder()
    assert "".join([*map(decoder.push, ids), decoder.finish()]) == marked.decode(ids)


def test_a_mark_has_no_text_and_ends_a_character() -> None:
    marked = with_marks(ByteTokenizer(), MARKS)
    first, second, third = "我".encode()
    assert marked.decode([first, second, third, 257]) == "我"
    assert marked.decode([first, 257, second, third]).count("\ufffd") >= 2
    assert marked.token_text(257) == ""


def test_generation_never_draws_a_mark() -> None:
    marked = with_marks(ByteTokenizer(), MARKS)
    assert set(marked.generation_banned(documents=True)) == {257, 258}


def test_a_model_file_keeps_them() -> None:
    marked = with_marks(CharTokenizer("abc"), MARKS)
    loaded = load_tokenizer(marked.to_dict())
    assert isinstance(loaded, MarkedTokenizer)
    assert loaded.special_ids == marked.special_ids
    assert (
        load_tokenizer(CharTokenizer("abc").to_dict()).to_dict() == CharTokenizer("abc").to_dict()
    )


def test_more_marks_can_be_added_and_known_ones_stay() -> None:
    marked = with_marks(with_marks(ByteTokenizer(), MARKS), ("answer", "gap"))
    assert marked.special_ids == {"end": 256, "question": 257, "answer": 258, "gap": 259}
    assert with_marks(marked, MARKS) is marked


@pytest.mark.parametrize(
    "marks", [["end"], ["a", "a"], [""], ["x" * 121], list(map(str, range(4001)))]
)
def test_names_that_cannot_be_are_refused(marks: list[str]) -> None:
    with pytest.raises(InvalidBundle):
        MarkedTokenizer(ByteTokenizer(), marks)


@pytest.mark.parametrize("marks", ["ab", [1], ["a", "a"], None])
def test_a_model_file_with_other_marks_is_refused(marks: object) -> None:
    with pytest.raises(InvalidBundle):
        load_tokenizer({**ByteTokenizer().to_dict(), "marks": marks})
