import random

from hypothesis import given
from hypothesis import strategies as st

from textgen.corpus.splits import DocumentSplitter, HashExtremes, TextSplitter

fractions = st.integers(0, 50).map(lambda percent: percent / 100)


@given(pieces=st.lists(st.text("abc", min_size=1, max_size=30)), valid=fractions, test=fractions)
def test_one_text_is_cut_in_order_whatever_the_pieces(
    pieces: list[str], valid: float, test: float
) -> None:
    text = "".join(pieces)
    splitter = TextSplitter.by_fraction(len(text), valid, test)
    dealt = list(splitter.deal(pieces))
    assert "".join(piece for _, piece in dealt) == text
    train = "".join(piece for part, piece in dealt if part == "train")
    exact = len(text) * (100 - round(valid * 100) - round(test * 100)) // 100
    assert len(train) == exact
    assert text.startswith(train)
    assert [part for part, _ in dealt] == sorted(
        (part for part, _ in dealt), key=["train", "valid", "test"].index
    )


def deal(documents: list[str], valid: float, test: float) -> dict[str, str]:
    extremes = HashExtremes()
    for document in documents:
        extremes.add(document)
    splitter = DocumentSplitter.by_fraction(extremes, valid, test)
    return {document: part for part, document in splitter.deal(documents)}


def test_documents_are_dealt_by_their_text_alone() -> None:
    documents = [f"document {n}" for n in range(5000)]
    parts = deal(documents, 0.1, 0.2)
    counts = [list(parts.values()).count(part) for part in ("valid", "test")]
    assert 400 < counts[0] < 600
    assert 850 < counts[1] < 1150
    # In another order, and with other documents among them, each stays where it was
    shuffled = random.Random(0).sample(documents, 5000) + [f"more {n}" for n in range(100)]
    assert {key: part for key, part in deal(shuffled, 0.1, 0.2).items() if key in parts} == parts


@given(st.sets(st.text(max_size=5), min_size=3, max_size=6))
def test_few_documents_still_give_each_held_out_part_one(documents: set[str]) -> None:
    assert {"valid", "test"} <= set(deal(sorted(documents), 0.1, 0.1).values())


def test_without_fractions_all_is_for_training() -> None:
    assert set(deal(["a", "b"], 0, 0).values()) == {"train"}
