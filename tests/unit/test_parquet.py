"""Parquet files as corpora: what is read, what is refused, and that no file does harm."""

from __future__ import annotations

import json
import random
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from textgen.corpus import parquet
from textgen.corpus.columns import ColumnOptions
from textgen.corpus.doctor import examine
from textgen.corpus.documents import Dialogue, Labelled, text_of
from textgen.corpus.encode import encode_corpus
from textgen.corpus.parquet_footer import text_bytes
from textgen.corpus.sources import Source, read_documents, read_rows
from textgen.errors import InvalidCorpus
from textgen.options import Hyperparameters, ReadingOptions

Columns = Mapping[str, Sequence[Any] | pa.Array]


def table(folder: Path, columns: Columns, name: str = "rows.parquet", **how: Any) -> Path:
    path = folder / name
    metadata = how.pop("metadata", None)
    made = pa.table(dict(columns))
    pq.write_table(made.replace_schema_metadata(metadata) if metadata else made, path, **how)
    return path


def refusal(path: Path, **how: Any) -> InvalidCorpus:
    with pytest.raises(InvalidCorpus) as caught:
        list(read_documents(Source(path, **how)))
    return caught.value


def test_rows_of_all_groups_come_in_their_order(tmp_path: Path) -> None:
    texts = [f"{number} 春\n" for number in range(2500)] + ["", None, "last"]
    path = table(tmp_path, {"id": range(2503), "text": texts}, row_group_size=1000)
    found = list(read_rows(Source(path)))
    assert [text for _, text in found] == [*texts[:2500], "last"]
    assert [number for number, _ in found[-2:]] == [2500, 2503]


def test_the_text_column_is_named_or_alone(tmp_path: Path) -> None:
    poems = table(
        tmp_path, {"poem": pa.array(["a", "b", "a"]).dictionary_encode()}, "poems.parquet"
    )
    assert list(read_documents(Source(poems))) == ["a", "b", "a"]
    two = table(tmp_path, {"id": ["1"], "body": pa.array(["x"], pa.large_string())})
    assert list(read_documents(Source(two, column="body"))) == ["x"]
    error = refusal(two)
    assert (error.code, error.param) == ("missing_column", "column")
    assert "its columns are 'id', 'body'" in error.message
    stored = Source(two, name="mine", format="parquet").read_as(ReadingOptions(column="body"))
    assert list(read_documents(stored)) == ["x"]


def test_prompts_and_messages_are_what_they_are_in_json_lines(tmp_path: Path) -> None:
    talks = [
        [
            {"role": "user", "content": "hi", "weight": None},
            {"role": "assistant", "content": "hello", "weight": None},
            {"role": "assistant", "content": "no", "weight": 0},
        ],
        None,
    ]
    pairs = {"prompt": ["2+2", None, "x"], "completion": ["4", "5", None]}
    rows = [
        *({"prompt": p or "", "completion": c} for p, c in (("2+2", "4"), (None, "5"))),
    ]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    wanted = list(read_documents(Source(tmp_path / "pairs.jsonl")))
    assert list(read_documents(Source(table(tmp_path, pairs)))) == wanted

    for how in ({}, {"column": "talk"}):
        path = table(tmp_path, {how.get("column", "messages"): talks, "id": [1, 2]})
        (found,) = read_documents(Source(path, **how))
        assert isinstance(found, Dialogue)
        assert [(turn.text, turn.mark, turn.counted) for turn in found.turns] == [
            ("hi", "user", False),
            ("hello", "assistant", True),
            ("no", "assistant", False),
        ]


@pytest.mark.parametrize(
    ("labels", "found"),
    [(["a", "b"], ["a", "b"]), ([3, -1], ["3", "-1"]), ([True, False], ["true", "false"])],
)
def test_labels(tmp_path: Path, labels: list[Any], found: list[str]) -> None:
    path = table(tmp_path, {"text": ["x", "y"], "label": labels})
    rows = list(read_documents(Source(path)))
    assert rows == [Labelled("x", found[0]), Labelled("y", found[1])]
    assert list(read_documents(Source(path, labels=False))) == ["x", "y"]


def test_numbers_of_hugging_faces_class_labels_become_their_names(tmp_path: Path) -> None:
    label = {"names": ["neg", "pos"], "_type": "ClassLabel"}
    told = {"huggingface": json.dumps({"info": {"features": {"label": label}}})}
    columns = {"text": ["x", "y", "z"], "label": [1, 0, 1]}
    path = table(tmp_path, columns, metadata=told)
    assert [each.label for each in read_documents(Source(path)) if isinstance(each, Labelled)] == [
        "pos",
        "neg",
        "pos",
    ]
    odd = table(tmp_path, columns, "odd.parquet", metadata={"huggingface": "[" * 100_000})
    assert next(read_documents(Source(odd))) == Labelled("x", "1")


@pytest.mark.parametrize(
    ("columns", "how", "code", "words"),
    [
        (
            {"text": [1, 2]},
            {},
            "wrong_column_type",
            "rows.parquet, column 'text': it holds 'int64'",
        ),
        (
            {"text": ["a"], "label": [["b"]]},
            {},
            "wrong_column_type",
            "strings, numbers or booleans",
        ),
        ({"text": ["a", "b"], "label": ["c", None]}, {}, "invalid_parquet_row", "row 2: has a"),
        ({"text": ["fine", "a\0b"]}, {}, "invalid_parquet_row", "row 2: has a NUL character"),
        (
            {"messages": [[{"role": "cat", "content": "miaow"}]]},
            {},
            "invalid_parquet_row",
            "row 1: has in 'messages' as number 0 the role 'cat'",
        ),
        ({"text": ["a"]}, {"prompt_column": "text"}, "missing_column", "named 'completion'"),
    ],
)
def test_what_cannot_be_learnt_is_named(
    tmp_path: Path, columns: Columns, how: dict[str, Any], code: str, words: str
) -> None:
    error = refusal(table(tmp_path, columns), **how)
    assert error.code == code
    assert words in error.message


def test_strings_that_are_no_utf8_are_named_with_their_group(tmp_path: Path) -> None:
    good = pa.array(["fine"] * 10)
    offsets = pa.py_buffer((0).to_bytes(4, "little") + (2).to_bytes(4, "little"))
    bad = pa.StringArray.from_buffers(1, offsets, pa.py_buffer(b"\xff\xfe"))
    path = table(tmp_path, {"text": pa.concat_arrays([good, bad])}, row_group_size=10)
    error = refusal(path)
    assert error.code == "invalid_parquet"
    assert error.message.startswith("rows.parquet, column 'text', row group 2 of 2: ")
    assert "utf-8" in error.message


def test_what_is_no_parquet_file_or_not_whole_is_refused(tmp_path: Path) -> None:
    path = table(tmp_path, {"text": ["some text"] * 100})
    whole = path.read_bytes()
    for content, code, words in (
        (b"", "empty_file", "is empty"),
        (b"some text", "invalid_parquet", "does not begin as one"),
        (whole[:-1], "invalid_parquet", "cut off"),
        (b"PAR1PAR1", "invalid_parquet", "cut off"),
        (whole[:40] + whole[-40:], "invalid_parquet", "cannot be read as Parquet"),
    ):
        path.write_bytes(content)
        error = refusal(path)
        assert error.code == code
        assert error.message.startswith("rows.parquet")
        assert words in error.message
    path.write_bytes(whole)
    as_text = refusal(path, format="text")
    assert (as_text.code, as_text.param) == ("binary_file", "format")
    assert "parquet" in as_text.message


@pytest.mark.parametrize("seed", range(12))
def test_a_damaged_file_is_read_or_refused(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    texts = [f"row {number} " + "x" * (number % 7) for number in range(300)]
    columns = {"text": texts, "label": [number % 3 for number in range(300)]}
    path = table(tmp_path, columns, row_group_size=100, compression=chance.choice(["none", "zstd"]))
    content = bytearray(path.read_bytes())
    for _ in range(chance.choice((1, 20))):
        # The end says how the rest is read, so that more faults lie there than elsewhere.
        first = chance.choice((4, len(content) * 3 // 4))
        content[chance.randrange(first, len(content) - 4)] = chance.randrange(256)
    path.write_bytes(content)
    try:
        for document in read_documents(Source(path)):
            assert isinstance(text_of(document), str)
    except InvalidCorpus as error:
        assert error.message.startswith("rows.parquet")


def test_a_small_file_that_says_much_is_refused(tmp_path: Path) -> None:
    value = pa.array(["x" * 1_000_000])
    column = pa.DictionaryArray.from_arrays(pa.array([0] * 200, pa.int32()), value)
    path = table(tmp_path, {"text": column})
    error = refusal(path)
    assert error.code == "parquet_too_large"
    assert "the same again and again" in error.message


def test_memory_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "MEMORY", 64 << 20)
    value = pa.array(["x" * 1_000_000])
    column = pa.DictionaryArray.from_arrays(pa.array([0] * 1000, pa.int32()), value)
    error = refusal(table(tmp_path, {"text": column}, store_schema=False))
    assert error.code == "parquet_too_large"
    assert "row group 1 of 1: it takes more than 64 MiB" in error.message


def test_a_text_that_is_too_long_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("textgen.corpus.sources.MAX_LINE", 100)
    error = refusal(table(tmp_path, {"text": ["fine", "y" * 101]}))
    assert error.code == "line_too_long"
    assert "rows.parquet, row 2: longer than 100 characters" in error.message


def test_where_pyarrow_is_missing_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "without").mkdir()
    (tmp_path / "without" / "pyarrow.py").write_text("raise ImportError('not here')")
    path = table(tmp_path, {"text": ["a"]})
    root = str(Path(parquet.__file__).parents[2])
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'without'}:{root}")
    error = refusal(path)
    assert error.code == "parquet_not_installed"
    assert "pip install 'textgen-backend[parquet]'" in error.message


def readers() -> list[psutil.Process]:
    """The processes that read for this one."""
    found = psutil.Process().children()
    return [each for each in found if "textgen.corpus.parquet_process" in each.cmdline()]


def test_a_reader_ends_with_who_reads(tmp_path: Path) -> None:
    path = table(tmp_path, {"text": [f"{number} " * 100 for number in range(5000)]})
    rows = read_rows(Source(path))
    next(rows)
    assert len(readers()) == 1
    rows.close()  # type: ignore[attr-defined]
    assert readers() == []


@pytest.mark.parametrize(
    ("number", "raised"), [(signal.SIGSEGV, InvalidCorpus), (signal.SIGKILL, ChildProcessError)]
)
def test_a_reader_that_crashes_is_not_the_end(
    tmp_path: Path, number: signal.Signals, raised: type[Exception]
) -> None:
    path = table(tmp_path, {"text": [f"{number} " * 100 for number in range(5000)]})
    rows = read_rows(Source(path))
    next(rows)
    readers()[0].send_signal(number)
    with pytest.raises(raised, match=r"rows\.parquet"):
        list(rows)


def test_a_corpus_is_the_same_as_that_of_json_lines(tmp_path: Path) -> None:
    texts = [f"The {number}th row of the table.\n" for number in range(400)]
    labels = [["odd", "even"][number % 2] for number in range(400)]
    lines = [
        json.dumps({"text": text, "label": label})
        for text, label in zip(texts, labels, strict=True)
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines[:300]))
    (tmp_path / "held.jsonl").write_text("\n".join(lines[300:]))
    table(tmp_path, {"text": texts[:300], "label": labels[:300]})
    table(tmp_path, {"text": texts[300:], "label": labels[300:]}, "held.parquet")
    options = Hyperparameters(seed=1, tokenizer="char")
    found = [
        encode_corpus(
            [Source(tmp_path / f"rows.{kind}")],
            options,
            tmp_path / kind,
            validation_sources=[Source(tmp_path / f"held.{kind}")],
        )
        for kind in ("jsonl", "parquet")
    ]
    assert found[0].splits == found[1].splits
    assert found[0].labels == found[1].labels == ("even", "odd")
    for part in ("train", "valid"):
        assert (found[0].tokens(part) == found[1].tokens(part)).all()
        assert (found[0].label_numbers(part) == found[1].label_numbers(part)).all()


def test_the_doctor_reads_it(tmp_path: Path) -> None:
    texts = [f"{number} is a number that nobody wrote down before." for number in range(100)]
    path = table(tmp_path, {"text": texts, "label": [number % 2 for number in range(100)]})
    report = examine(Source(path), 60, count=False)
    assert (report.format, report.encoding, report.lines) == ("parquet", "utf-8", 100)
    assert report.classes == {"0": 50, "1": 50}
    assert report.characters == sum(map(len, texts))


def told(path: Path, **columns: str) -> int | None:
    with path.open("rb") as file:
        return text_bytes(file, ColumnOptions(**columns))


def test_the_footer_tells_how_much_text_there_is(tmp_path: Path) -> None:
    texts = [f"{number % 7} 春眠不觉晓 " * 20 for number in range(3000)]
    size = sum(len(text.encode()) for text in texts)
    columns = {"id": range(3000), "text": texts, "label": ["spring"] * 3000, "body": ["x"] * 3000}
    path = table(tmp_path, columns, row_group_size=1000, compression="zstd")
    assert path.stat().st_size < size / 50
    assert told(path) == size
    assert told(path, column="body") == 3000
    assert told(path, prompt_column="body", completion_column="text") == size + 3000
    assert told(path, column="none") is None
    talks = [[{"role": "user", "content": "春"}, {"role": "assistant", "content": "summer"}]]
    assert told(table(tmp_path, {"messages": talks * 10, "id": ["1"] * 10})) == 90


def test_of_a_long_footer_the_beginning_is_enough(tmp_path: Path) -> None:
    texts = ["a text, and one more " * (1 + number % 5) for number in range(4000)]
    path = table(tmp_path, {"text": texts}, row_group_size=1)
    assert int.from_bytes(path.read_bytes()[-8:-4], "little") > 300_000
    assert told(path) == pytest.approx(sum(map(len, texts)), rel=0.01)


def test_a_damaged_footer_tells_nothing_or_little(tmp_path: Path) -> None:
    path = table(tmp_path, {"text": ["some text"] * 50, "id": range(50)}, row_group_size=10)
    whole, dice = path.read_bytes(), random.Random(2)
    start = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    for _ in range(300):
        changed = bytearray(whole)
        for _ in range(dice.randint(1, 4)):
            changed[dice.randrange(start, len(whole))] = dice.randrange(256)
        path.write_bytes(changed)
        found = told(path)
        assert found is None or 0 <= found <= 100 << 20
    for content in (b"", b"PAR1", b"PAR1PAR1", whole[:-1], whole[:40] + whole[-40:]):
        path.write_bytes(content)
        assert told(path) is None
    nested = b"PAR1" + b"\x1c" * 100_000  # structures in structures
    path.write_bytes(nested + len(nested).to_bytes(4, "little") + b"PAR1")
    assert told(path) is None
