"""The demo's corpus and prompts."""

from __future__ import annotations

from pathlib import Path

from web.cli.demo import prompts_of
from web.cli.demo_corpus import gather


def test_the_standard_library_is_gathered_up_to_the_bound(tmp_path: Path) -> None:
    target = tmp_path / "demo" / "text.txt"

    written = gather(target, most_bytes=400_000)

    assert target.stat().st_size == written
    assert 200_000 < written <= 400_000
    assert "def " in target.read_text(encoding="utf-8")
    assert not target.with_suffix(".part").exists()


def test_tests_packages_and_what_is_not_utf8_stay_out(tmp_path: Path) -> None:
    root = tmp_path / "library"
    for name in ("b.py", "a.py", "sub/c.py", "test/d.py", "site-packages/e.py", "notes.txt"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# {name}\n")
    (root / "latin.py").write_bytes(b"# \xe4\n")
    (root / "empty.py").write_text("\n")

    gather(tmp_path / "text.txt", root=root)

    assert (tmp_path / "text.txt").read_text() == "# a.py\n\n# b.py\n\n# sub/c.py\n\n"


def test_prompts_are_beginnings_of_lines_and_the_same_every_time(tmp_path: Path) -> None:
    corpus = tmp_path / "text.txt"
    corpus.write_text("\n".join(f"this is line number {i}" for i in range(50)) + "\nshort\n")

    prompts = prompts_of(corpus)

    assert len(prompts) == 100
    assert prompts == prompts_of(corpus)
    assert all(prompt.startswith("this is line") for prompt in prompts)


def test_a_text_without_lines_gives_prompts_too(tmp_path: Path) -> None:
    corpus = tmp_path / "text.txt"
    corpus.write_text("abc")
    assert set(prompts_of(corpus)) == {"abc"}
