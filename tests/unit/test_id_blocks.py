"""Long texts are looked through in little memory."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from textgen.corpus.id_blocks import counts_of, places_of
from textgen.tokenizers import Ids
from textgen.training.private.documents import Documents

LENGTH = 6_000_000
EVERY = 100_000  # ids of a document, with its end


@pytest.fixture
def ids() -> Ids:
    found = np.ones(LENGTH + 1, np.uint16)
    found[::EVERY] = 0
    return found


@pytest.fixture
def most_bytes() -> Iterator[Callable[[], int]]:
    """Says how much memory was taken at most since the test began."""
    tracemalloc.start()
    yield lambda: tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()


def test_places_and_counts_are_those_of_the_whole(ids: Ids, most_bytes: Callable[[], int]) -> None:
    assert places_of(0, ids).tolist() == list(range(0, LENGTH + 1, EVERY))
    ends = LENGTH // EVERY + 1
    assert counts_of(ids, 3).tolist() == [ends, LENGTH + 1 - ends, 0]
    assert most_bytes() < 12e6  # in int64 they would be 48 MB
    assert places_of(0, ids[:0]).size == 0 and counts_of(ids[:0], 2).tolist() == [0, 0]


def test_private_documents_take_no_memory_for_each_token(
    ids: Ids, most_bytes: Callable[[], int]
) -> None:
    documents = Documents(ids, 0, 50)
    assert len(documents) == documents.cut == LENGTH // EVERY
    assert most_bytes() < 3e6
