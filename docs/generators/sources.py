"""The project's own sources."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PACKAGES = ("textgen", "worker", "web")


def of_package(package: str) -> list[Path]:
    """The Python files of a package, in order; those not yet added to git too."""
    listed = subprocess.run(  # noqa: S603
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", f"{package}/*.py"],  # noqa: S607
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    return [path for name in sorted(listed.split()) if (path := ROOT / name).exists()]
