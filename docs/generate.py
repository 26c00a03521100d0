"""Makes the parts of the documentation that follow from the code.

python docs/generate.py            writes them
python docs/generate.py --check    exits 1 where one is out of date
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
BEGIN, END = "<!-- files: begin (made by docs/generate.py) -->", "<!-- files: end -->"
PACKAGES = ("textgen", "worker", "web")


def settings_page() -> str:
    """Every setting with its default and meaning."""
    sys.path.insert(0, str(ROOT))
    from worker.settings import Settings

    rows = []
    for name, field in Settings.model_fields.items():
        variable = "PORT" if name == "port" else f"TEXTGEN_{name.upper()}"
        default = "" if str(field.default) in ("**********", "None", "") else f"`{field.default}`"
        rows.append(f"| `{variable}` | {default} | {field.description} |")
    return "\n".join(
        [
            "# Settings",
            "",
            "Read from the environment when a process starts. Times are seconds, sizes bytes.",
            "",
            "| name | default | meaning |",
            "|---|---|---|",
            *rows,
            "",
        ]
    )


def sources(package: str) -> list[Path]:
    """The sources that belong to the project, in order."""
    listed = subprocess.run(  # noqa: S603
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", f"{package}/*.py"],  # noqa: S607
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    return [ROOT / name for name in sorted(listed.split())]


def file_map() -> str:
    """One line a file: the first sentence of its docstring."""
    lines = []
    for package in PACKAGES:
        lines += ["", f"### {package}", "", "| file | what |", "|---|---|"]
        for path in sources(package):
            docstring = ast.get_docstring(ast.parse(path.read_text()))
            if docstring:
                first = docstring.split("\n\n")[0].replace("\n", " ").replace("|", "\\|")
                lines.append(f"| `{path.relative_to(ROOT)}` | {first} |")
    return "\n".join(lines)


def pages() -> dict[Path, str]:
    """Each generated page with its present content."""
    architecture = ROOT / "docs" / "architecture.md"
    head, rest = architecture.read_text().split(BEGIN)
    tail = rest.split(END)[1]
    return {
        ROOT / "docs" / "settings.md": settings_page(),
        architecture: f"{head}{BEGIN}{file_map()}\n\n{END}{tail}",
    }


def main() -> int:
    """Write the pages, or with --check only compare them."""
    stale = [
        path for path, text in pages().items() if not path.exists() or path.read_text() != text
    ]
    if "--check" in sys.argv:
        for path in stale:
            print(f"{path.relative_to(ROOT)} is out of date: run python docs/generate.py")
        return 1 if stale else 0
    for path, text in pages().items():
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
