from pathlib import Path

import numpy as np
import pytest
import torch

from tests.unit.training_files import small, text_file
from textgen.corpus.encode import encode_corpus
from textgen.corpus.sources import Source
from textgen.errors import InvalidOption
from textgen.tokenizers.byte import END, ByteTokenizer
from textgen.training.private.documents import Documents, protected_documents
from textgen.training.streams import IGNORED, Batch

TEXTS = ["abc", "", "defghij", "kl"]


def ids(texts: list[str] = TEXTS) -> np.ndarray:
    return np.append(np.uint16(END), ByteTokenizer().encode_documents(texts))


def shown(batch: Batch) -> list[tuple[str, str]]:
    """Each row's inputs and targets: . is an end, _ a target that does not count."""
    names = {END: ".", IGNORED: "_"}
    rows = zip(batch.inputs.tolist(), batch.targets.tolist(), strict=True)
    return [
        tuple("".join(names.get(each, chr(each % 128)) for each in part) for part in row)
        for row in rows
    ]


def test_documents_are_read_from_an_end_to_an_end() -> None:
    documents = Documents(ids(), END, 100)
    assert len(documents) == 4
    assert documents.cut == 0
    (batch,) = documents.batches([0, 1, 2, 3], 8)
    assert shown(batch) == [
        ("........", ".".ljust(8, "_")),
        (".kl.....", "kl.".ljust(8, "_")),
        (".abc....", "abc.".ljust(8, "_")),
        (".defghij", "defghij."),
    ]


def test_rows_are_computed_some_at_once_and_padded_to_the_longest() -> None:
    documents = Documents(ids(), END, 100)
    first, second = documents.batches([2, 0, 1, 3], 3)
    assert shown(first) == [("....", ".___"), (".kl.", "kl._"), (".abc", "abc.")]
    assert shown(second) == [(".defghij", "defghij.")]
    assert first.inputs.dtype == first.targets.dtype == torch.int64
    assert list(documents.batches([], 3)) == []


def test_of_a_long_document_only_the_beginning_is_read() -> None:
    documents = Documents(ids(), END, 4)
    assert documents.cut == 1
    (batch,) = documents.batches([2], 4)
    assert shown(batch) == [(".def", "defg")]


def test_only_what_counts_is_predicted() -> None:
    counted = np.array([0, *(0, 1, 1, 1), 0, *(1,) * 8, 1, 1, 1], np.uint8)
    (batch,) = Documents(ids(), END, 100, counted).batches([0, 1], 4)
    assert shown(batch) == [("....", "____"), (".abc", "_bc.")]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("text.txt", "one text without any documents, long enough to learn from it"),
        ("rows.jsonl", '{"messages": [{"role": "assistant", "content": "hello to you"}]}\n' * 9),
    ],
)  # fmt: skip
def test_other_corpora_are_refused(tmp_path: Path, name: str, text: str) -> None:
    options = small(tokenizer="byte", validation_fraction=0.0)
    corpus = encode_corpus([text_file(tmp_path, text, name)], options, tmp_path / "ids")
    with pytest.raises(InvalidOption, match=r"'privacy'.*(format lines|Write them)") as error:
        protected_documents(corpus, 50)
    assert error.value.param == "privacy"


def test_prompts_are_read_and_completions_predicted(tmp_path: Path) -> None:
    rows = '{"prompt": "2+2=", "completion": "4!"}\n' * 2
    rows += '{"prompt": "a", "completion": "bcd"}\n' * 8
    source: Source = text_file(tmp_path, rows, "rows.jsonl")
    options = small(tokenizer="byte", validation_fraction=0.0)
    corpus = encode_corpus([source], options, tmp_path / "ids")
    documents = protected_documents(corpus, 50)
    assert len(documents) == corpus.splits["train"].documents == 10
    targets = [shown(batch)[0][1] for batch in documents.batches(range(10), 1)]
    assert sorted(targets) == ["_____4!."] * 2 + ["__bcd."] * 8
