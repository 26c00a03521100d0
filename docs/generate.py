"""Makes the parts of the documentation that follow from the code.

python docs/generate.py            writes them
python docs/generate.py --check    exits 1 where one is out of date
"""

from __future__ import annotations

import sys
from pathlib import Path

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS.parent))

from docs.generators import commands, errors, files, http, settings  # noqa: E402

BEGIN, END = "<!-- files: begin (made by docs/generate.py) -->", "<!-- files: end -->"


def pages() -> dict[Path, str]:
    """Each generated page with its present content."""
    architecture = DOCS / "architecture.md"
    head, rest = architecture.read_text().split(BEGIN)
    tail = rest.split(END)[1]
    return {
        DOCS / "settings.md": settings.page(),
        DOCS / "command-line.md": commands.page(),
        DOCS.parent / "web" / "cli" / "summaries.json": commands.summaries(),
        DOCS / "http.md": http.page(),
        DOCS / "errors.md": errors.page(),
        DOCS.parent / "web" / "error_reference.json": errors.data(),
        architecture: f"{head}{BEGIN}{files.table()}\n\n{END}{tail}",
    }


def main() -> int:
    """Write the pages, or with --check only compare them."""
    present = pages()
    stale = [
        path for path, text in present.items() if not path.exists() or path.read_text() != text
    ]
    if "--check" in sys.argv:
        for path in stale:
            print(f"{path.relative_to(DOCS.parent)} is out of date: run python docs/generate.py")
        return 1 if stale else 0
    for path in stale:
        path.write_text(present[path])
    return 0


if __name__ == "__main__":
    sys.exit(main())
