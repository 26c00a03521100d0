"""The documentation agrees with the code: generated parts, links, the free distribution name."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def test_generated_parts_are_current() -> None:
    run = subprocess.run(
        [sys.executable, "docs/generate.py", "--check"], cwd=ROOT, capture_output=True, text=True
    )

    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_links_within_the_project_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        if not target.startswith(("http:", "https:")):
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_no_page_installs_the_stranger_with_our_name(page: Path) -> None:
    assert not re.search(r"pip install\s+(-\S+\s+)*textgen\b", page.read_text())


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_the_tests_that_a_page_names_are_there(page: Path) -> None:
    """Also the classes that stand in parentheses behind a file."""
    text = page.read_text()
    for path in re.findall(r"\btests/[\w/]+(?:\.py)?", text):
        assert (ROOT / path).exists(), path
    for path, named in re.findall(r"`(tests/[\w/]+\.py)`\s*\(([^)]*)\)", text):
        for name in re.findall(r"`(\w+)`", named):
            code = (ROOT / path).read_text()
            assert re.search(rf"^\s*(class|def) {name}\b", code, re.M), f"{name} in {path}"


def test_the_chinese_readme_shows_the_same_code() -> None:
    """Which `tests/acceptance/test_readme.py` runs."""
    english, chinese = ((ROOT / name).read_text() for name in ("README.md", "README.zh-CN.md"))

    blocks = re.findall(r"```.*?```", english, re.S)
    assert len(blocks) == 4
    assert re.findall(r"```.*?```", chinese, re.S) == blocks


def test_the_chinese_readme_has_every_row_of_the_tables() -> None:
    """What stands in code there, commands and names, is the same."""
    english, chinese = (
        [re.findall(r"`[^`]+`|\(docs/[^)]+\)", row) for row in re.findall(r"^\|.*", text, re.M)]
        for text in ((ROOT / name).read_text() for name in ("README.md", "README.zh-CN.md"))
    )

    assert chinese == english


@pytest.mark.slow
def test_the_site_builds_without_a_broken_link(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip

    assert run.returncode == 0, run.stderr
    assert "job_not_found" in (tmp_path / "errors" / "index.html").read_text()
