"""Real corpora for tests, read where they lie; a test that needs one skips where it is missing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def corpus(name: str) -> Path:
    """The path of a corpus file; skips the test, with the reason, where there is none."""
    given = os.environ.get("TEXTGEN_TEST_DATA")
    folder = Path(given) if given else Path(__file__).parents[2] / "shared" / "data"
    path = folder / name
    if not path.exists():
        pytest.skip(f"{name} is not there: set TEXTGEN_TEST_DATA to a folder that holds it")
    return path
