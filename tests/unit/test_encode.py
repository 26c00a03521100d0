import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.corpora import corpus as find_corpus
from textgen.corpus.dataset import EncodedCorpus
from textgen.corpus.encode import encode_corpus
from textgen.corpus.sources import Source
from textgen.errors import InvalidCorpus
from textgen.events import Event
from textgen.options import Hyperparameters
from textgen.tokenizers import ByteTokenizer, CharTokenizer

REPO = Path(__file__).resolve().parents[2]
TEXT = "Once upon a time there was a small model of a long text.\n" * 20


def source(folder: Path, name: str, content: str | bytes) -> Source:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return Source(path)


def encode(
    train: Source | list[Source], folder: Path, events: list[Event] | None = None, **options: object
) -> EncodedCorpus:
    return encode_corpus(
        train if isinstance(train, list) else [train],
        Hyperparameters.parse(options),
        folder,
        on_event=(events if events is not None else []).append,
    )


def refusal(train: Source, folder: Path, **options: object) -> InvalidCorpus:
    with pytest.raises(InvalidCorpus) as caught:
        encode(train, folder, **options)
    return caught.value


def test_shakespeare_is_split_as_everywhere(tmp_path: Path) -> None:
    path = find_corpus("shakespeare.txt")
    text = path.read_text(encoding="utf-8")
    corpus = encode(Source(path), tmp_path)
    assert corpus.splits["train"].characters == 1_003_854
    assert corpus.splits["valid"].characters == 111_540
    assert len(corpus.tokens("train")) == 1_003_854
    assert corpus.tokenizer.vocab_size == 65 + 2
    assert corpus.tokenizer.decode(corpus.tokens("train")) == text[:1_003_854]
    assert corpus.tokenizer.decode(corpus.tokens("valid")) == text[1_003_854:]
    assert corpus.splits["valid"].unknown == 0


def test_poems_a_line_come_back_whole(tmp_path: Path) -> None:
    path = find_corpus("tang.txt")
    lines = [line for line in path.read_text(encoding="utf-8").split("\n") if line]
    corpus = encode(Source(path, format="lines"), tmp_path, tokenizer="byte")
    found = []
    for part in ("train", "valid"):
        ids = corpus.tokens(part)
        assert ids[0] == ids[-1] == corpus.tokenizer.end_id
        ends = np.flatnonzero(ids == corpus.tokenizer.end_id)
        found += [
            corpus.tokenizer.decode(ids[start:end]) for start, end in itertools.pairwise(ends)
        ]
        assert len(ends) == corpus.splits[part].documents + 1
    assert sorted(found) == sorted(lines)
    assert 0.08 < corpus.splits["valid"].documents / len(lines) < 0.12


def test_the_tokenizer_is_learnt_from_the_training_part_alone(tmp_path: Path) -> None:
    train = "abcdefghij" * 9
    events: list[Event] = []
    corpus = encode(source(tmp_path, "a.txt", train + "zzzzzyyyyy"), tmp_path / "out", events)
    assert corpus.tokenizer.decode(corpus.tokens("train")) == train
    assert corpus.splits["valid"].unknown == 10
    assert corpus.facts.commonest_unknown == {"y": 5, "z": 5}
    assert corpus.facts.symbols == 12
    assert events[-1].type == "corpus"
    assert events[-1].level == "warn"
    assert "10 characters are unknown" in events[-1].message
    assert json.loads(json.dumps(events[-1].as_dict()))["data"]["unknown"] == 10


def test_a_given_tokenizer_is_kept_and_gets_the_characters_that_are_new(tmp_path: Path) -> None:
    given = CharTokenizer("Once up")
    events: list[Event] = []
    corpus = encode_corpus(
        [source(tmp_path, "a.txt", TEXT)],
        Hyperparameters(),
        tmp_path / "out",
        tokenizer=given,
        on_event=events.append,
    )
    made = corpus.tokenizer
    assert made.encode("Once up").tolist() == given.encode("Once up").tolist()
    assert corpus.splits["train"].unknown == 0
    chosen = [event.data for event in events if event.type == "choice"]
    assert [(each["option"], each["value"]) for each in chosen] == [("vocab_size", made.vocab_size)]


def test_a_given_tokenizer_that_writes_every_text_is_kept(tmp_path: Path) -> None:
    given = ByteTokenizer()
    files = [source(tmp_path, "a.txt", TEXT)]
    corpus = encode_corpus(files, Hyperparameters(), tmp_path / "out", tokenizer=given)
    assert corpus.tokenizer is given


def test_objectives_give_the_tokenizer_their_marks(tmp_path: Path) -> None:
    files = [source(tmp_path, "a.txt", TEXT)]
    plain = encode_corpus(files, Hyperparameters(), tmp_path / "out")
    wanted = Hyperparameters.parse({"objectives": ["causal", "infill"]})
    marked = encode_corpus(files, wanted, tmp_path / "out")
    assert "infill" not in plain.tokenizer.special_ids
    assert "infill" in marked.tokenizer.special_ids
    assert marked.tokens("train").tolist() == plain.tokens("train").tolist()
    assert encode_corpus(files, wanted, tmp_path / "out").tokenizer.special_ids == (
        marked.tokenizer.special_ids
    )


def test_validation_and_test_files_take_the_place_of_fractions(tmp_path: Path) -> None:
    corpus = encode_corpus(
        [source(tmp_path, "a.txt", TEXT)],
        Hyperparameters(validation_fraction=0.3, test_fraction=0.3),
        tmp_path / "out",
        validation_sources=[source(tmp_path, "b.txt", "Once more.")],
        test_sources=[source(tmp_path, "c.txt", "A model.")],
    )
    assert corpus.tokenizer.decode(corpus.tokens("train")) == TEXT
    assert corpus.tokenizer.decode(corpus.tokens("valid")) == "Once more."
    assert corpus.splits["test"].tokens == 8


def test_a_test_fraction_is_the_very_end(tmp_path: Path) -> None:
    corpus = encode(source(tmp_path, "a.txt", TEXT), tmp_path / "out", test_fraction=0.2)
    parts = [corpus.tokenizer.decode(corpus.tokens(part)) for part in ("train", "valid", "test")]
    assert "".join(parts) == TEXT
    assert [len(part) for part in parts] == [798, 114, 228]


def test_several_texts_follow_each_other(tmp_path: Path) -> None:
    files = [source(tmp_path, "a.txt", TEXT), source(tmp_path, "b.txt", "The end.")]
    corpus = encode(files, tmp_path / "out", validation_fraction=0)
    assert corpus.tokenizer.decode(corpus.tokens("train")) == TEXT + "The end."
    assert len(corpus.tokens("valid")) == 0


def test_text_and_documents_do_not_mix(tmp_path: Path) -> None:
    files = [source(tmp_path, "a.txt", TEXT), source(tmp_path, "b.csv", "text\nhello\n")]
    with pytest.raises(InvalidCorpus, match=r"a\.txt \(text\), b\.csv \(csv\)") as caught:
        encode(files, tmp_path / "out")
    assert caught.value.code == "mixed_formats"


def test_a_finished_folder_is_found_again(tmp_path: Path) -> None:
    train, out = source(tmp_path, "a.txt", TEXT), tmp_path / "out"
    first = encode(train, out)
    written = (out / "train.bin").stat().st_mtime_ns
    events: list[Event] = []
    again = encode(train, out, events)
    assert again.as_dict() == first.as_dict()
    assert again.tokenizer.to_dict() == first.tokenizer.to_dict()
    assert (out / "train.bin").stat().st_mtime_ns == written
    assert events[-1].message.startswith("Found")


@pytest.mark.parametrize("damage", ["text", "options", "torn", "header", "missing"])
def test_a_folder_that_does_not_fit_is_made_again(tmp_path: Path, damage: str) -> None:
    train, out = source(tmp_path, "a.txt", TEXT), tmp_path / "out"
    encode(train, out)
    options, expected = {}, TEXT
    match damage:
        case "text":
            expected = TEXT.replace("Once", "once")
            train.path.write_text(expected)
        case "options":
            options = {"tokenizer": "byte"}
        case "torn":
            os.truncate(out / "train.bin", 100)
        case "header":
            (out / "corpus.json").write_text('{"format": 1')
        case "missing":
            (out / "valid.bin").unlink()
    corpus = encode(train, out, **options)
    parts = [corpus.tokenizer.decode(corpus.tokens(part)) for part in ("train", "valid")]
    assert "".join(parts) == expected
    assert isinstance(corpus.tokenizer, ByteTokenizer) == (damage == "options")
    assert sorted(path.name for path in out.iterdir()) == [
        "corpus.json",
        "test.bin",
        "train.bin",
        "valid.bin",
    ]


def test_changing_the_array_changes_no_file(tmp_path: Path) -> None:
    corpus = encode(source(tmp_path, "a.txt", TEXT), tmp_path / "out")
    before = (tmp_path / "out" / "train.bin").read_bytes()
    corpus.tokens("train")[:] = 0
    assert (tmp_path / "out" / "train.bin").read_bytes() == before


def test_a_conversion_is_never_silent(tmp_path: Path) -> None:
    events: list[Event] = []
    text = "春眠不觉晓，处处闻啼鸟。" * 20
    corpus = encode(source(tmp_path, "poem.txt", text.encode("gb18030")), tmp_path / "out", events)
    assert corpus.facts.encodings == ("gb18030",)
    assert events[0].data["option"] == "encoding"
    assert "poem.txt" in events[0].message
    assert corpus.as_dict()["encoding"] == "gb18030"


@pytest.mark.parametrize(
    ("content", "options", "code"),
    [
        ("a", {}, "corpus_too_small"),
        ("too short", {}, "corpus_too_small"),
        ("a" * 1000, {}, "one_symbol"),
        (TEXT[:40], {"validation_fraction": 0.01}, "corpus_too_small"),
        (TEXT, {"validation_fraction": 0.5, "test_fraction": 0.5}, "corpus_too_small"),
        ("", {}, "empty_file"),
        (b"\0\1\2\3", {}, "binary_file"),
        ("中".encode()[:2], {}, "invalid_encoding"),
    ],
)
def test_what_cannot_be_learnt_from_is_refused(
    tmp_path: Path, content: str | bytes, options: dict[str, object], code: str
) -> None:
    error = refusal(source(tmp_path, "a.txt", content), tmp_path / "out", **options)
    assert error.code == code
    assert not (tmp_path / "out" / "corpus.json").exists()
    assert not list(tmp_path.glob("out/*.tmp"))


@pytest.mark.parametrize("rows", ["\n\n", '{"text": ""}\n', '{"text": "all the same"}\n' * 100])
def test_rows_that_leave_nothing_to_learn_from_are_refused(tmp_path: Path, rows: str) -> None:
    error = refusal(source(tmp_path, "a.jsonl", rows), tmp_path / "out")
    assert error.code == "corpus_too_small"


def test_characters_are_read_where_no_tokenizer_is_named(tmp_path: Path) -> None:
    text = "".join(chr(0x4E00 + number % 4_000) for number in range(12_000))
    events: list[Event] = []
    corpus = encode(source(tmp_path, "a.txt", text), tmp_path / "out", events)
    assert corpus.tokenizer.name == "char" and corpus.tokenizer.vocab_size >= 4_000
    assert text.startswith(corpus.tokenizer.decode(corpus.tokens("train")))
    told = {each.data["option"]: each.data["value"] for each in events if each.type == "choice"}
    assert told == {"tokenizer": "char"}


@pytest.mark.parametrize(
    ("rows", "fractions", "option"),
    [
        ('{"text": "all the same, and long enough"}\n' * 50, {}, "validation_fraction"),
        (
            '{"text": "all the same, and long enough"}\n' * 50,
            {"validation_fraction": 0, "test_fraction": 0.2},
            "test_fraction",
        ),
    ],
)
def test_what_was_all_held_out_is_not_called_short(
    tmp_path: Path, rows: str, fractions: dict[str, float], option: str
) -> None:
    error = refusal(source(tmp_path, "a.jsonl", rows), tmp_path / "out", **fractions)
    assert error.param == option
    assert "equal rows are never divided" in error.message
    assert f"a smaller {option}" in error.message


def test_a_text_that_is_short_as_a_whole_is_called_so(tmp_path: Path) -> None:
    error = refusal(source(tmp_path, "a.jsonl", '{"text": "short"}\n' * 3), tmp_path / "out")
    assert error.param is None and "Give a longer text" in error.message


MEASURE = """
import resource, sys
from pathlib import Path
from textgen.corpus.sources import Source
from textgen.corpus.encode import encode_corpus
from textgen.options import Hyperparameters
train, *valid = [Source(Path(path)) for path in sys.argv[2:]]
corpus = encode_corpus([train], Hyperparameters(), Path(sys.argv[1]), validation_sources=valid)
corpus_tokens = corpus.splits["valid" if valid else "train"].tokens
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, corpus_tokens)
"""


def measured(*paths: Path) -> tuple[float, int]:
    """The most memory of a process that reads a corpus, in MiB, and its tokens."""
    command = [sys.executable, "-c", MEASURE, *map(str, paths)]
    result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=REPO)
    peak, tokens = map(int, result.stdout.split())
    return peak / 1024, tokens


def test_memory_does_not_grow_with_a_validation_file(tmp_path: Path) -> None:
    row = '{"text": "' + "The quick brown fox jumps over the lazy dog. " * 20 + '"}\n'
    train = source(tmp_path, "train.jsonl", row.replace("dog", "cat") * 10).path
    peaks = []
    for megabytes in (4, 24):
        path = tmp_path / str(megabytes) / "valid.jsonl"
        path.parent.mkdir()
        with path.open("w", encoding="utf-8") as file:
            for number in range(megabytes * 1100):
                file.write(row.replace("quick", str(number)))
        peak, tokens = measured(path.parent / "out", train, path)
        assert tokens > megabytes * 900_000
        peaks.append(peak)
    assert peaks[1] < peaks[0] + 15


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl"])
def test_memory_does_not_grow_with_the_corpus(tmp_path: Path, name: str) -> None:
    row = '{"text": "' + "The quick brown fox jumps over the lazy dog. 天地玄黄 " * 20 + '"}\n'
    peaks = []
    for megabytes in (4, 48):
        path = tmp_path / str(megabytes) / name
        path.parent.mkdir()
        with path.open("w", encoding="utf-8") as file:
            for number in range(megabytes * 1000):
                file.write(row.replace("quick", str(number)))
        peak, tokens = measured(path.parent / "out", path)
        assert tokens > megabytes * 800_000
        peaks.append(peak)
    # Kilobytes of the whole process, so 44 MB more text would show as 44 MB or more.
    assert peaks[1] < peaks[0] + 15
