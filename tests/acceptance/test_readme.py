"""The README's code blocks."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pages import blocks_of, like_a_clone, run_block
from tests.stack import Stack

BLOCKS = blocks_of("README.md")


@pytest.fixture(scope="module")
def folder(stack: Stack, verses: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = like_a_clone(tmp_path_factory.mktemp("clone"), stack)
    (place / "corpus.txt").write_bytes(verses.read_bytes())
    return place


def test_the_readme_has_all_three_ways() -> None:
    assert [kind for kind, _ in BLOCKS] == ["shell", "python", "shell"]


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_a_block_runs(stack: Stack, folder: Path, number: int) -> None:
    printed = run_block(stack, folder, *BLOCKS[number])

    if number == 0:
        assert len((folder / "texts.jsonl").read_text().splitlines()) == 2
    if number == 2:
        assert printed.count('"finish_reason"') == 3
