"""Each tutorial, from its first block to its last."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pages import blocks_of, like_a_clone, run_block
from tests.stack import ROOT, Stack

PAGES = sorted(path.stem for path in (ROOT / "docs" / "tutorials").glob("*.md"))
SAYS = {  # what a page promises, however short the training
    "names": "new-names.csv",
    "log-lines": "\n1235 ",
    "private-data": "email 3,000",
    "quick-start.zh-CN": "您是不是想用 'temperature'？",
}


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_a_tutorial_runs(stack: Stack, tmp_path: Path, page: str) -> None:
    folder = like_a_clone(tmp_path, stack)
    blocks = blocks_of(f"docs/tutorials/{page}.md")
    assert {kind for kind, _ in blocks} == {"python", "shell"}

    printed = [run_block(stack, folder, kind, code) for kind, code in blocks]

    assert SAYS.get(page, "Done: ft:") in "".join(printed)
    if page == "names":
        written = printed[-1].split()
        assert "prompt" not in written
        assert sum(len(name) > 2 for name in written) > len(written) / 2
