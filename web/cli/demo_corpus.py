"""A real text for the demo that is on every machine: the standard library's own sources."""

from __future__ import annotations

import sysconfig
from collections.abc import Iterator
from pathlib import Path

LEFT_OUT = frozenset(
    {"site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__", "lib2to3"}
)
MOST_BYTES = 12_000_000


def gather(target: Path, most_bytes: int = MOST_BYTES, root: Path | None = None) -> int:
    """Write the sources of the standard library one after another; return the bytes written.

    Tests and installed packages are left out; files that are not UTF-8 too. The order is that
    of the names, so the text is the same on every run.
    """
    written = 0
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_suffix(".part")
    with part.open("wb") as file:
        for path in sources(Path(sysconfig.get_path("stdlib")) if root is None else root):
            text = _text(path)
            if text is None:
                continue
            if written + len(text) > most_bytes:
                break
            file.write(text)
            written += len(text)
    part.replace(target)
    return written


def sources(root: Path) -> Iterator[Path]:
    """The .py files under ``root``, by name, without those left out."""
    for path in sorted(root.iterdir()):
        if path.name in LEFT_OUT or path.is_symlink():
            continue
        if path.is_dir():
            yield from sources(path)
        elif path.suffix == ".py":
            yield path


def _text(path: Path) -> bytes | None:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    return text.rstrip().encode() + b"\n\n" if text.strip() else None
