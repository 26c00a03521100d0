"""Rows of a file on their way to a model, and sums over their scores."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textgen.errors import InvalidCorpus
from textgen.reading_options import ReadingOptions
from worker.children.sources import SourceFile
from worker.scoring.order import ScoringOrder, ScoringPlan
from worker.scoring.rows import Row, count, cut, read
from worker.scoring.summary import ScoredRow, ScoreSummary


def order(path: Path, **reading: str) -> ScoringOrder:
    return ScoringOrder(
        folder=path.parent,
        threads=1,
        model=path,
        file=SourceFile(path=path, name=path.name),
        reading=ReadingOptions.parse(reading),
        worst=3,
    )


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("a.log", "one\n\ntwo\r\nthree", [(1, "one"), (3, "two"), (4, "three")]),
        ("a.jsonl", '{"text": "one"}\n\n{"text": "two"}\n', [(1, "one"), (3, "two")]),
        ("b.jsonl", '{"prompt": "a", "completion": "b"}\n', [(1, "ab")]),
        ("a.csv", 'n,text\n1,"one\nmore"\n2,two\n', [(3, "one\nmore"), (4, "two")]),
    ],
)
def test_every_row_knows_its_line(
    tmp_path: Path, name: str, content: str, found: list[tuple[int, str]]
) -> None:
    (tmp_path / name).write_text(content)

    rows = list(read(order(tmp_path / name)))

    assert [(row.line, row.text) for row in rows] == found
    assert [row.index for row in rows] == list(range(len(found)))


def test_a_text_is_read_line_by_line_whatever_its_name(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("one,1\ntwo,2")

    assert [row.text for row in read(order(path, format="lines"))] == ["one,1", "two,2"]


def test_a_file_without_rows_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("\n\n")

    with pytest.raises(InvalidCorpus, match=r"a\.txt has no rows"):
        count(read(order(path)), "a.txt")


@given(
    texts=st.lists(st.text(min_size=1, max_size=9), min_size=1, max_size=60),
    rows=st.integers(1, 9),
    characters=st.integers(1, 40),
)
def test_shards_are_the_rows_and_each_is_as_full_as_may_be(
    texts: list[str], rows: int, characters: int
) -> None:
    given_rows = [Row(index, index + 1, text) for index, text in enumerate(texts)]
    plan = ScoringPlan(rows=0, characters=0, shard_rows=rows, shard_characters=characters)

    shards = list(cut(given_rows, plan))

    assert [row for shard in shards for row in shard.rows] == given_rows
    assert [shard.index for shard in shards] == list(range(len(shards)))
    for shard in shards:
        before_last = shard.rows[:-1]
        assert len(shard.rows) <= rows
        assert sum(len(row.text) for row in before_last) < characters
    for shard in shards[:-1]:
        size = sum(len(row.text) for row in shard.rows)
        assert len(shard.rows) == rows or size >= characters


Scored = st.builds(
    lambda nats, characters: (nats, characters), st.floats(0, 1e4), st.integers(1, 100)
)


@given(costs=st.lists(Scored, min_size=1, max_size=40), size=st.integers(1, 7))
def test_a_summary_of_parts_is_that_of_the_whole(costs: list[tuple[float, int]], size: int) -> None:
    rows = [
        ScoredRow(
            index=index,
            line=index + 1,
            text="x" * characters,
            characters=characters,
            tokens=characters,
            nats=round(nats, 6),
            nats_per_character=round(nats / characters, 6),
            most_surprising=0,
        )
        for index, (nats, characters) in enumerate(costs)
    ]

    parts = [ScoreSummary.of(rows[i : i + size], 5) for i in range(0, len(rows), size)]
    joined, whole = ScoreSummary.joined(parts, 5), ScoreSummary.of(rows, 5)

    assert joined.worst == whole.worst
    by_cost = sorted(rows, key=lambda row: (-row.nats_per_character, row.index))
    assert list(whole.worst) == by_cost[:5]
    assert (joined.rows, joined.characters) == (whole.rows, whole.characters)
    assert joined.nats == pytest.approx(whole.nats, abs=1e-4)
    if whole.perplexity is not None:
        assert math.log(whole.perplexity) == pytest.approx(whole.nats_per_token, abs=1e-4)
    json.loads(rows[0].as_line())
