import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textgen.corpus import encoding, sources
from textgen.corpus.sources import Source, read_documents
from textgen.errors import InvalidCorpus


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def refusal(source: Source) -> InvalidCorpus:
    with pytest.raises(InvalidCorpus) as caught:
        list(read_documents(source))
    return caught.value


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.txt", "text"),
        ("a.JSONL", "jsonl"),
        ("a.ndjson", "jsonl"),
        ("a.csv", "csv"),
        ("README", "text"),
        ("a.py", "text"),
    ],
)
def test_the_format_follows_the_users_name(name: str, kind: str) -> None:
    source = Source(Path("/store/file-123"), name=name)
    assert source.kind == kind
    assert source.has_documents == (kind != "text")
    assert Source(Path(name), format="lines").kind == "lines"


def test_one_text_comes_through_unchanged(tmp_path: Path) -> None:
    text = "a\r\n\n b\u2028c\x0b" * 300_000
    source = Source(write(tmp_path, "a.txt", text))
    assert "".join(read_documents(source)) == text


def test_lines_end_at_newlines_only_and_empty_ones_are_left_out(tmp_path: Path) -> None:
    source = Source(write(tmp_path, "a.txt", "one\r\n\n two \u2028\x0b\nthree"), format="lines")
    assert list(read_documents(source)) == ["one", " two \u2028\x0b", "three"]


@settings(max_examples=50)
@given(
    texts=st.lists(st.text(min_size=1, max_size=20).filter(lambda text: "\0" not in text)),
    block=st.integers(1, 50),
)
def test_json_lines_come_back_whatever_the_blocks(texts: list[str], block: int) -> None:
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(encoding, "BLOCK", block)
        rows = [
            json.dumps({"text": text, "id": n}, ensure_ascii=n % 2 == 0)
            for n, text in enumerate(texts)
        ]
        source = Source(write(Path(folder), "a.jsonl", "\n".join([*rows, "", " "])))
        assert list(read_documents(source)) == texts


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"text": "a"', "not valid JSON"),
        ("[1]", "not an object"),
        ('"text"', "not an object"),
        ('{"txt": "a"}', "(its keys: 'txt')"),
        ('{"text": 5}', "not a string"),
        ('{"text": "a", "x": NaN}', "NaN"),
        ('{"text": "a", "x": -Infinity}', "-Infinity"),
        ('{"text": "a", "text": "b"}', "'text' twice"),
        ('{"text": "a", "x": {"y": 1, "y": 2}}', "'y' twice"),
        ('{"text": "a\\u0000b"}', "NUL"),
        ('{"text": "a\\ud800b"}', "surrogate"),
        ('{"text": "a", "x": ' + "9" * 5000 + "}", "digits"),
        ('{"text": "a", "x": ' + "[" * 200_000 + "]" * 200_000 + "}", "nested too deeply"),
    ],
)
def test_a_broken_json_line_is_named(tmp_path: Path, line: str, words: str) -> None:
    content = '{"text": "fine"}\n\n' + line + '\n{"text": "fine"}\n'
    error = refusal(Source(write(tmp_path, "x", content), name="my.jsonl"))
    assert error.code == "invalid_jsonl_line"
    assert error.message.startswith("my.jsonl, line 3: ")
    assert words in error.message


@pytest.mark.parametrize(
    ("name", "first", "code"),
    [("a.jsonl", '{"text": "x"}', "invalid_jsonl_line"), ("a.csv", "text", "line_too_long")],
)
def test_a_line_without_end_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, first: str, code: str
) -> None:
    monkeypatch.setattr(sources, "MAX_LINE", 1000)
    monkeypatch.setattr(encoding, "BLOCK", 100)
    error = refusal(Source(write(tmp_path, name, first + "\n" + "y" * 5000)))
    assert error.code == code
    assert "line 2" in error.message


def test_a_column_of_a_csv_file(tmp_path: Path) -> None:
    content = 'id,text,more\r\n1,"first, ""quoted""\r\nsecond line",x\r\n2,,x\r\n3,人,x\r\n'
    path = write(tmp_path, "a.csv", content)
    texts = ['first, "quoted"\nsecond line', "人"]
    assert list(read_documents(Source(path))) == texts
    assert list(read_documents(Source(path, column="id"))) == ["1", "2", "3"]
    only = Source(write(tmp_path, "b.csv", "poem\nspring\n"))
    assert list(read_documents(only)) == ["spring"]


def test_a_long_cell_is_read(tmp_path: Path) -> None:
    source = Source(write(tmp_path, "a.csv", "text\n" + "x" * 500_000 + "\n"))
    assert [len(text) for text in read_documents(source)] == [500_000]


@pytest.mark.parametrize("header", ["id,body", "text,text", ""])
def test_a_missing_column_is_named_with_those_there_are(tmp_path: Path, header: str) -> None:
    error = refusal(Source(write(tmp_path, "a.csv", header + "\n1,2\n")))
    assert (error.code, error.param) == ("missing_column", "column")
    assert "'text'" in error.message
    if header == "id,body":
        assert "'id', 'body'" in error.message


@pytest.mark.parametrize("row", ['"never closed', "1,2", '"a"b'])
def test_a_broken_csv_row_is_named(tmp_path: Path, row: str) -> None:
    error = refusal(Source(write(tmp_path, "a.csv", f"text\nfine\n{row}\n")))
    assert error.code == "invalid_csv_row"
    assert "a.csv, line " in error.message


def test_a_file_that_changes_under_the_reader_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "a.txt", "fine")
    found = encoding.detect_encoding(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidCorpus) as caught:
        list(read_documents(Source(path), found))
    assert caught.value.code == "invalid_encoding"


@settings(max_examples=100)
@given(
    content=st.binary(max_size=100) | st.text(max_size=100).map(str.encode),
    name=st.sampled_from(["a.txt", "a.jsonl", "a.csv"]),
)
def test_any_file_is_read_or_refused(content: bytes, name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        source = Source(write(Path(folder), name, content))
        try:
            documents = list(read_documents(source))
        except InvalidCorpus:
            return
        assert all(documents)
