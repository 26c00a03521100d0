"""Texts with labels: from rows of a file to ids, labels and balance, and what is refused."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.training_files import Listener
from textgen.corpus.dataset import EncodedCorpus
from textgen.corpus.doctor import examine
from textgen.corpus.documents import Labelled, document_hash, label_mark
from textgen.corpus.encode import encode_corpus
from textgen.corpus.labelled import LabelledTexts
from textgen.corpus.sources import Source, read_documents
from textgen.corpus.splits import SPLITS, SplitName
from textgen.errors import InvalidCorpus, InvalidOption
from textgen.options import Hyperparameters

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
LABEL = st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=20)
ROWS = [
    {"text": f"text number {number} of a few", "label": "even" if number % 2 == 0 else "odd"}
    for number in range(60)
]


def write(folder: Path, rows: Sequence[Any], name: str = "rows.jsonl") -> Source:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return Source(path)


def table(folder: Path, rows: Sequence[Sequence[str]], name: str = "rows.csv") -> Path:
    path = folder / name
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return path


def options(**values: Any) -> Hyperparameters:
    return Hyperparameters.parse({"validation_fraction": 0, **values})


def pairs_of(corpus: EncodedCorpus, split: SplitName) -> list[tuple[str, str]]:
    """The texts and labels of a part as they lie on disk."""
    texts = LabelledTexts(corpus, split)
    return [
        (corpus.tokenizer.decode(texts.ids(number)), corpus.labels[texts.labels[number]])
        for number in range(len(texts))
    ]


def refusal(folder: Path, rows: Sequence[Any]) -> InvalidCorpus:
    with pytest.raises(InvalidCorpus) as caught:
        list(read_documents(write(folder, rows)))
    return caught.value


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(TEXT, LABEL), max_size=8),
    st.sampled_from(["char", "byte", "bpe", "unigram", "word"]),
    st.sampled_from(["jsonl", "csv"]),
    st.booleans(),
)
def test_every_text_keeps_its_label(
    tmp_path_factory: pytest.TempPathFactory,
    pairs: list[tuple[str, str]],
    tokenizer: str,
    kind: str,
    shuffle: bool,
) -> None:
    folder = tmp_path_factory.mktemp("rows")
    pairs = [*pairs, ("This is a sentence of some length, is it not?", "a"), ("And this.", "b")]
    if kind == "csv":  # a lone carriage return ends a row of csv as a line feed does
        pairs = [("".join(text.split()), label) for text, label in pairs]
        source = Source(table(folder, [("text", "label"), *pairs]))
    else:
        source = write(folder, [{"text": text, "label": label} for text, label in pairs])
    wanted = options(tokenizer=tokenizer, shuffle=shuffle)
    corpus = encode_corpus([source], wanted, folder / "out")
    kept = [(text, label) for text, label in pairs if text]
    found = pairs_of(corpus, "train")
    assert corpus.kind == "labels"
    assert corpus.labels == tuple(sorted({label for _, label in kept}))
    assert (Counter(found) == Counter(kept)) if shuffle else (found == kept)
    assert corpus.splits["train"].classes == dict(Counter(label for _, label in kept))
    ids = corpus.tokens("train").tolist()
    assert not set(ids) & set(corpus.label_ids)  # no label can be read
    again = encode_corpus([source], wanted, folder / "out")
    assert (again.labels, pairs_of(again, "train")) == (corpus.labels, found)


def test_a_label_follows_its_row_through_all_that_is_done_to_texts(tmp_path: Path) -> None:
    texts = [f"\N{LATIN SMALL LIGATURE FI}ne row {n:03d}, to r{n}@example.org" for n in range(200)]
    rows = [{"text": text, "label": f"class {n % 7}"} for n, text in enumerate(texts)]
    copies = [{"text": texts[n], "label": "class 0"} for n in range(0, 200, 3)]
    wanted = Hyperparameters(
        deduplicate="exact", mask_personal_data=True, normalization="nfkc", validation_fraction=0.2
    )
    corpus = encode_corpus([write(tmp_path, [*rows, *copies])], wanted, tmp_path / "out")
    found = pairs_of(corpus, "train") + pairs_of(corpus, "valid")
    expected = [(f"fine row {n:03d}, to <EMAIL>", f"class {n % 7}") for n in range(200)]
    assert sorted(found) == expected
    assert pairs_of(corpus, "train") != sorted(pairs_of(corpus, "train"))  # in the seed's order
    assert corpus.facts.left_out == {"copies": len(copies), "near": 0}
    counted = Counter[str]()
    for part in SPLITS:
        counted.update(corpus.splits[part].classes)
    assert counted == Counter(label for _, label in expected)


def test_labels_are_strings_numbers_or_booleans(tmp_path: Path) -> None:
    labels = [1, 1.5, True, False, " spaced ", "ja"]
    rows = [{"text": "a", "label": label} for label in labels]
    documents = list(read_documents(write(tmp_path, rows)))
    found = [each.label for each in documents if isinstance(each, Labelled)]
    assert found == ["1", "1.5", "true", "false", "spaced", "ja"]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([{"text": "a", "label": None}], ("line 1", "no string", "causal")),
        ([{"text": "a", "label": ["x"]}], ("line 1", "no string")),
        ([{"text": "a", "label": "  "}], ("line 1", "0 characters")),
        ([{"text": "a", "label": "x" * 101}], ("line 1", "101 characters", "1 to 100")),
        ([{"text": "a", "label": "x\ny"}], ("line 1", "printable")),
        ([{"text": "a", "label": "x"}, {"text": "b"}], ("line 2", "no 'label'")),
        ([{"text": "a", "label": "x"}, {"prompt": "b", "completion": "c"}], ("line 2", "'prompt'")),
        ([{"text": 1, "label": "x"}], ("line 1", "'text' that is not a string")),
    ],
)
def test_rows_that_cannot_be_read_are_named(
    tmp_path: Path, rows: Sequence[Any], words: tuple[str, ...]
) -> None:
    error = refusal(tmp_path, rows)
    assert error.code == "invalid_jsonl_line"
    for word in words:
        assert word in error.message


def test_csv_columns_can_be_named_and_a_bad_label_is_told_with_its_line(tmp_path: Path) -> None:
    path = table(tmp_path, [("review", "stars"), ("good", "5"), ("bad", "")])
    source = Source(path, column="review", label_column="stars")
    with pytest.raises(InvalidCorpus, match=r"rows.csv, line 3: .*label") as caught:
        list(read_documents(source))
    assert caught.value.code == "invalid_csv_row"
    with pytest.raises(InvalidCorpus, match=r"'star'.*'label_column'"):
        list(read_documents(Source(path, column="review", label_column="star")))
    both = Source(path, prompt_column="review", completion_column="stars", label_column="stars")
    with pytest.raises(InvalidCorpus, match="label_column"):
        list(read_documents(both))


def test_labels_are_left_aside_where_another_objective_is_asked_for(tmp_path: Path) -> None:
    for source in (
        write(tmp_path, ROWS),
        Source(table(tmp_path, [("text", "label"), *[tuple(row.values()) for row in ROWS]])),
    ):
        causal = encode_corpus([source], options(objectives="causal"), tmp_path / "causal")
        assert (causal.kind, causal.labels) == ("text", ())
        assert encode_corpus([source], options(), tmp_path / "classes").kind == "labels"
    with pytest.raises(InvalidOption, match="label_column"):
        named = options(objectives="causal", label_column="label")
        encode_corpus([source], named, tmp_path / "named")
    first_has_none = write(tmp_path, [{"text": "some text"}, *ROWS], "mixed.jsonl")
    assert encode_corpus([first_has_none], options(), tmp_path / "text").kind == "text"


def test_classes_cannot_be_learnt_without_labels(tmp_path: Path) -> None:
    plain = tmp_path / "text.txt"
    plain.write_text("some text that is long enough to learn from")
    rows = write(tmp_path, [{"text": "some text that is long enough to learn from"}])
    for source in (Source(plain), rows):
        with pytest.raises(InvalidCorpus, match="label_column") as caught:
            encode_corpus([source], options(objectives="classify"), tmp_path / "out")
        assert caught.value.code == "no_labels"


@pytest.mark.parametrize(("count", "code"), [(1, "one_label"), (1001, "too_many_labels")])
def test_there_are_two_to_a_thousand_labels(tmp_path: Path, count: int, code: str) -> None:
    rows = [{"text": f"text {number}", "label": number} for number in range(count)] * 10
    with pytest.raises(InvalidCorpus) as caught:
        encode_corpus([write(tmp_path, rows)], options(), tmp_path / "out")
    assert caught.value.code == code


def test_a_thousand_labels_can_be_told_apart(tmp_path: Path) -> None:
    rows = [{"text": f"text {number}", "label": number} for number in range(1000)]
    corpus = encode_corpus([write(tmp_path, rows)], options(), tmp_path / "out")
    assert len(set(corpus.label_ids)) == 1000


def test_a_label_of_the_validation_file_that_cannot_be_learnt_is_named(tmp_path: Path) -> None:
    valid = write(tmp_path, [ROWS[0], {"text": "a", "label": "strange"}], "valid.jsonl")
    with pytest.raises(
        InvalidCorpus, match=r"valid.jsonl, text 2: .*'strange'.*'even', 'odd'"
    ) as e:
        encode_corpus(
            [write(tmp_path, ROWS)], options(), tmp_path / "out", validation_sources=[valid]
        )
    assert e.value.code == "unknown_label"


def test_a_text_is_on_one_side_whatever_its_labels(tmp_path: Path) -> None:
    rows = [{"text": row["text"], "label": label} for row in ROWS for label in ("a", "b")]
    corpus = encode_corpus(
        [write(tmp_path, rows)],
        options(validation_fraction=0.3, test_fraction=0.2),
        tmp_path / "out",
    )
    sides = [{text for text, _ in pairs_of(corpus, split)} for split in SPLITS]
    assert all(sides)
    assert sum(map(len, sides)) == len(ROWS)
    assert document_hash(Labelled("x", "a")) == document_hash("x")


def test_the_balance_of_classes_is_told_and_rare_ones_are_warned_of(tmp_path: Path) -> None:
    listener = Listener()
    source = write(tmp_path, [*ROWS, {"text": "once", "label": "rare"}])
    for _ in range(2):  # when it is made and when it is found
        encode_corpus([source], options(), tmp_path / "out", on_event=listener)
    events = [event for event in listener.events if event.type == "classes"]
    assert len(events) == 2
    for event in events:
        assert event.level == "warn"
        assert event.data["rare"] == ["rare"]
        assert event.data["rows"]["train"] == {"even": 30, "odd": 30, "rare": 1}
        assert "rare 1" in event.message


def test_marks_of_labels_keep_their_ids_when_a_corpus_has_others(tmp_path: Path) -> None:
    first = encode_corpus([write(tmp_path, ROWS)], options(), tmp_path / "first")
    rows = [{"text": row["text"], "label": f"{row['label']}!"} for row in ROWS]
    second = encode_corpus(
        [write(tmp_path, rows)], options(), tmp_path / "second", tokenizer=first.tokenizer
    )
    known = first.tokenizer.special_ids
    assert {name: second.tokenizer.special_ids[name] for name in known} == dict(known)
    assert second.labels == ("even!", "odd!")
    assert label_mark("even") in second.tokenizer.special_ids


def test_the_doctor_counts_the_classes(tmp_path: Path) -> None:
    report = examine(write(tmp_path, ROWS), count=False)
    assert report.classes == {"even": 30, "odd": 30}
    assert "2 classes: even 30, odd 30" in report.as_text()
    with pytest.raises(InvalidCorpus) as caught:
        examine(write(tmp_path, [{"text": "some text " * 9, "label": "same"}]), count=False)
    assert caught.value.code == "one_label"
