"""Who may import whom: the contracts of pyproject.toml, and what the web process really loads."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def test_import_contracts() -> None:
    found = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert found.returncode == 0, found.stdout + found.stderr


@pytest.mark.parametrize("module", ["web.app", "web.server", "web.cli", "textgen", "worker.client"])
def test_loads_without_torch(module: str) -> None:
    """Imports that a linter cannot see, such as importlib's, show up here, and late ones do not."""
    program = (
        f"import sys, {module}; "
        "heavy = {'torch', 'pandas', 'tokenizers'}; "
        "print(sorted({name.partition('.')[0] for name in sys.modules} & heavy))"
    )
    found = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60
    )

    assert found.returncode == 0, found.stderr
    assert found.stdout.strip() == "[]"


@pytest.mark.slow
def test_every_module_can_be_the_first_that_is_imported() -> None:
    """No two modules need each other while they load, in whatever order they come."""
    program = """
import os, pathlib, celery, flask, numpy, redis, sqlalchemy, torch
for package in ("textgen", "worker", "web"):
    for path in sorted(pathlib.Path(package).rglob("*.py")):
        module = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
        if module.endswith(".__main__") or module == "worker.migrations.env":  # both run at once
            continue
        if (child := os.fork()) == 0:
            __import__(module)
            os._exit(0)
        if os.waitpid(child, 0)[1]:
            raise SystemExit(module)
"""
    found = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=400
    )

    assert found.returncode == 0, found.stderr


# They hand the environment on to a child process, as it is.
HAND_ON = {
    "textgen/corpus/parquet.py",
    "textgen/training/local_group.py",
    "worker/children/process.py",
    "worker/generation/running_engine.py",
}
# What torchrun tells the processes that it starts stands there alone.
STARTED_BY_TORCHRUN = {"textgen/training/distributed.py"}


def test_only_the_settings_read_the_environment() -> None:
    readers = {
        str(path.relative_to(ROOT))
        for package in ("textgen", "worker", "web")
        for path in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
        and node.attr in ("environ", "getenv")
        and ast.unparse(node.value) == "os"
    }

    assert {reader for reader in readers if not reader.startswith("web/cli/")} <= (
        HAND_ON | STARTED_BY_TORCHRUN
    )
