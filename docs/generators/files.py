"""One line for each source file: the first sentence of its docstring."""

from __future__ import annotations

import ast

from docs.generators.sources import PACKAGES, ROOT, of_package


def table() -> str:
    """A table for each package."""
    lines = []
    for package in PACKAGES:
        lines += ["", f"### {package}", "", "| file | what |", "|---|---|"]
        for path in of_package(package):
            docstring = ast.get_docstring(ast.parse(path.read_text()))
            if docstring:
                first = docstring.split("\n\n")[0].replace("\n", " ").replace("|", "\\|")
                lines.append(f"| `{path.relative_to(ROOT)}` | {first} |")
    return "\n".join(lines)
