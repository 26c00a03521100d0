import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
MODULES = ("errors", "options", "events", "plan", "presets", "costs", "tokenizers",
           "corpus.encode", "corpus.sources", "corpus.dataset", "corpus.doctor",
           "corpus.personal_data", "corpus.duplicates",
           "bundles.header", "evaluation.options", "evaluation.report", "evaluation.page",
           )  # fmt: skip


@pytest.mark.parametrize("module", MODULES)
def test_it_is_imported_without_torch(module: str) -> None:
    code = f"import sys, textgen.{module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=REPO, check=False).returncode == 0
