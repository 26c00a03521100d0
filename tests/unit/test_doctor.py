import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textgen.corpus.doctor import examine
from textgen.corpus.documents import document_hash
from textgen.corpus.report import Report
from textgen.corpus.sources import Source
from textgen.errors import InvalidCorpus
from textgen.evaluation.baselines import KneserNey, Ppm
from textgen.reading_options import CorpusFormat

PLAIN = "".join(
    f"Line {number} of a plain story that goes on for long.\n" for number in range(5000)
)


def look(folder: Path, content: str | bytes, format: CorpusFormat | None = None) -> Report:  # noqa: A002
    path = folder / "file-1"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return examine(Source(path, format=format, name="story.txt"), threads=2, count=False)


def codes(report: Report) -> set[str]:
    return {finding.code for finding in report.findings}


def test_lines_that_may_be_texts_of_their_own_are_noticed_where_nothing_says_so(
    tmp_path: Path,
) -> None:
    assert codes(look(tmp_path, PLAIN)) == {"separate_lines"}
    assert codes(look(tmp_path, PLAIN, format="lines")) == set()
    assert codes(look(tmp_path, PLAIN.replace("\n", "\n\n", 1))) == set()


def test_a_plain_text_is_measured_and_nothing_is_odd(tmp_path: Path) -> None:
    text = f"{PLAIN}\n"
    report = look(tmp_path, text)
    assert (report.name, report.format, report.encoding) == ("story.txt", "text", "utf-8")
    assert report.bytes == report.characters == len(text)
    assert report.symbols == len(set(text))
    assert (report.lines, report.empty_lines, report.duplicate_lines) == (5001, 1, 0)
    assert report.longest_line == max(map(len, text.splitlines()))
    assert codes(report) == set()
    assert "Nothing odd" in report.as_text()
    assert json.loads(json.dumps(report.as_dict()))["suggestion"]["tokenizer"] == "char"


@pytest.mark.parametrize(
    ("extra", "code", "count"),
    [
        ("The very same line, again and again.\n" * 1000, "duplicate_lines", 999),
        ("x" * 20_000 + "\n", "long_lines", 1),
        ("| 12.5 | 13.7 | 99.1 | 4.00 |\n" * 90, "junk_lines", 90),
        ("write to a.b@example.org\n", "personal_data", 1),
        ("one\r\ntwo\r\n", "crlf", 2),
        ("a\x07b\x1bc\n", "control_characters", 2),
        ("damaged \ufffd here\n", "replacement_characters", 1),
        ("cafÃ© and naÃ¯ve\n", "mojibake", 2),
        ("<div class='x'>text</div><br/>\n" * 200, "html", 600),
        ("zero\u200bwidth\n", "invisible_characters", 1),
        ("".join(map(chr, range(0x4E00, 0x4E00 + 100))) + "\n", "rare_symbols", 100),
    ],
)
def test_an_odd_thing_is_found_and_counted(
    tmp_path: Path, extra: str, code: str, count: int
) -> None:
    report = look(tmp_path, PLAIN + extra)
    found = {finding.code: finding for finding in report.findings}
    assert found[code].count == count
    assert found[code].message in report.as_text()


def test_little_text_and_a_conversion_are_said(tmp_path: Path) -> None:
    report = look(tmp_path, ("春眠不觉晓，处处闻啼鸟。\n" * 10).encode("gb18030"))
    assert report.encoding == "gb18030"
    assert {"encoding", "little_text"} <= codes(report)


def test_documents_are_counted_as_such(tmp_path: Path) -> None:
    rows = "".join(
        json.dumps({"text": f"document {n % 50}\nsecond line"}) + "\n" for n in range(99)
    )
    report = look(tmp_path, rows, "jsonl")
    assert report.lines == 99
    assert report.duplicate_lines == 49
    assert "99 documents" in report.as_text()


def test_what_is_in_two_documents_is_found_in_both(tmp_path: Path) -> None:
    phones = "".join(json.dumps({"text": f"1381234{n:04}"}) + "\n" for n in range(60))
    mails = "".join(json.dumps({"text": f"{n}@example.org"}) + "\n" for n in range(40))
    report = look(tmp_path, phones + mails, "jsonl")
    assert report.personal_data == {"email": 40, "phone": 60}
    assert report.characters == 60 * 11 + sum(len(f"{n}@example.org") for n in range(40))


def test_long_documents_have_their_lengths(tmp_path: Path) -> None:
    sizes = [20] * 45 + [15_000] * 10 + [50_000] * 45
    rows = "".join(json.dumps({"text": f"{n} " + "ab" * (size // 2)}) + "\n"
                   for n, size in enumerate(sizes))  # fmt: skip
    lengths = look(tmp_path, rows, "jsonl").line_lengths
    assert 15_000 <= lengths["50"] <= 2**14
    assert lengths["90"] == lengths["99"] == 50_003  # no more than the longest


def test_answers_are_not_compared_with_counts_of_all_that_is_said(tmp_path: Path) -> None:
    rows = "".join(
        json.dumps({"prompt": f"Is {n} even?", "completion": "yes" if n % 2 else "no"}) + "\n"
        for n in range(3000)
    )
    path = tmp_path / "rows.jsonl"
    path.write_text(rows)
    assert examine(Source(path)).to_beat is None


def test_more_time_suggests_more_weights(tmp_path: Path) -> None:
    look(tmp_path, PLAIN)
    source = Source(tmp_path / "file-1")
    short, long = (examine(source, seconds, threads=2).suggestion for seconds in (10, 600))
    assert short.parameters < long.parameters
    assert short.memory_bytes < long.memory_bytes


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ("", "empty_file"),
        ("short", "corpus_too_small"),
        ("a" * 99, "one_symbol"),
        (b"\0\1", "binary_file"),
    ],
)
def test_what_training_refuses_is_refused_here(
    tmp_path: Path, content: str | bytes, code: str
) -> None:
    with pytest.raises(InvalidCorpus) as caught:
        look(tmp_path, content)
    assert caught.value.code == code


def test_lengths_and_kinds_of_characters(tmp_path: Path) -> None:
    report = look(tmp_path, "ab 1\n" * 98 + "中文，" * 4 + "\n" + "x" * 900 + "\n")
    assert report.line_lengths == {"50": 4, "90": 4, "99": 12}
    total = 98 * 5 + 13 + 901
    assert report.letters["letters"] == round((98 * 2 + 900) / total, 4)
    assert report.letters["Chinese characters"] == round(8 / total, 4)
    assert report.letters["digits"] == round(98 / total, 4)
    assert report.commonest["x"] == round(900 / total, 4)


def test_near_copies_of_rows_and_repeated_passages(tmp_path: Path) -> None:
    rows = [" ".join(f"word{n * k % 997}" for k in range(1, 40)) for n in range(1, 60)]
    lines = "\n".join([*rows, *(row + "!" for row in rows)])
    report = look(tmp_path, lines, "lines")
    assert (report.near_duplicates, report.repeated) == (59, None)
    assert "59 documents are nearly copies" in report.as_text()
    twice = look(tmp_path, "\n".join(rows) * 2)
    assert twice.near_duplicates is None
    assert twice.repeated == pytest.approx(0.5, abs=0.01)


@given(st.text(min_size=32))
def test_any_text_gets_a_report_or_a_declared_refusal(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        try:
            report = look(Path(folder), text)
        except InvalidCorpus:
            return
        assert report.characters <= len(text)
        assert report.as_text().startswith("story.txt")


@pytest.mark.parametrize("format", ["text", "lines"])
def test_it_says_what_counting_alone_gets(tmp_path: Path, format: CorpusFormat) -> None:  # noqa: A002
    path = tmp_path / "story.txt"
    path.write_text(PLAIN)
    report = examine(Source(path, format=format))
    found = report.to_beat
    assert found is not None
    # Only the numbers are hard to guess: about 4 digits in 53 characters.
    assert 0.02 < found.lower < 0.5
    cut = len(PLAIN) * 9 // 10
    train, rest, separate = [PLAIN[:cut]], [PLAIN[cut:]], format == "lines"
    if separate:  # as a training deals them out
        held = [document_hash(line) < 2**64 // 10 for line in PLAIN.splitlines()]
        train = [line for line, out in zip(PLAIN.splitlines(), held, strict=True) if not out]
        rest = [line for line, out in zip(PLAIN.splitlines(), held, strict=True) if out]
    for kind, nats in ((KneserNey, found.kneser_ney), (Ppm, found.ppm)):
        model = kind.learn(train, documents=separate)
        assert nats == model.nats_per_character(rest, ends=True)
    assert f"{found.lower:.2f} nats a character" in report.as_text()
    assert json.loads(json.dumps(report.as_dict()))["to_beat"]["ppm"] == found.ppm


def test_counting_is_left_out_where_nobody_asks_or_the_text_is_short(tmp_path: Path) -> None:
    assert look(tmp_path, PLAIN).to_beat is None
    (tmp_path / "short.txt").write_text(PLAIN[:900])
    assert examine(Source(tmp_path / "short.txt")).to_beat is None


def test_what_is_drawn_of_a_text(tmp_path: Path) -> None:
    lines = ["a" * 3, "ab" * 50, "a" * 3, "", "c" * 12_345]
    report = look(tmp_path, "\n".join(lines))

    assert report.length_counts[0] == (1, 1) and report.length_counts[2] == (4, 2)
    assert report.length_counts[-1] == (12_345, 1)
    assert sum(count for _, count in report.length_counts) == len(lines)
    assert report.covering == {"50": 1, "90": 1, "99": 1, "99.9": 3, "100": 4}


def test_a_recommended_time_reads_the_text_some_times(tmp_path: Path) -> None:
    report = look(tmp_path, PLAIN)

    assert [each.seconds for each in report.times] == sorted(each.seconds for each in report.times)
    chosen = next(t for t in report.times if t.seconds == report.recommended_seconds)
    assert chosen.passes >= 3
    assert all(each.passes < 3 for each in report.times if each.seconds < chosen.seconds)


def test_who_listens_can_end_it(tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_text(PLAIN * 3)
    told: list[int] = []

    def hear(lines: int) -> None:
        told.append(lines)
        if len(told) == 2:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        examine(Source(tmp_path / "long.txt"), count=False, on_lines=hear)
    assert told == [5000, 10_000]
