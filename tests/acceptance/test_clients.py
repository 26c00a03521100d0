"""The examples of docs/clients.md, run as they stand (but for the port)."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.stack import ROOT, Stack

PAGE = (ROOT / "docs" / "clients.md").read_text()
BLOCKS = re.findall(r"## ([^\n]+)\n(?:(?!## ).)*?<!-- run: (\w+) -->\n```\w+\n(.*?)```", PAGE, re.S)
NEEDED = {"LangChain": "langchain_openai", "llm, the command line": "llm"}
# What each prints at the least: what the models were taught.
SAYS = {
    "The official Python client": ["128"],
    "curl": ['"role": "assistant"'],
    "llm, the command line": ["good day", "farewell"],
    "LangChain": ["good day", "128 2"],
}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(
    stack: Stack, model: str, speaker: str, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder of a fresh clone in which `make serve` runs, with the page's two models."""
    place = tmp_path_factory.mktemp("clone")
    (place / ".textgen").symlink_to(stack.home)
    with stack.http() as http:
        for name, target in (("verses", model), ("helper", speaker)):
            assert http.put(f"/v1/aliases/{name}", json={"model": target}).status_code == 200
    return place


def test_the_page_has_every_client() -> None:
    assert [name for name, _, _ in BLOCKS] == list(SAYS)


@pytest.mark.parametrize("number", range(len(BLOCKS)), ids=[name for name, _, _ in BLOCKS])
def test_an_example_runs(stack: Stack, folder: Path, number: int) -> None:
    name, kind, code = BLOCKS[number]
    package = NEEDED.get(name)
    if package is not None and find_spec(package) is None:
        pytest.skip(f"{package} is not installed: `make clients` does it")
    if kind == "shell" and shutil.which("curl") is None and "curl" in code:
        pytest.skip("there is no curl here")
    setup = re.findall(r"<!-- run: setup -->\n```sh\n(.*?)```", PAGE, re.S)[0]
    setup = setup.replace("127.0.0.1:8000", f"127.0.0.1:{stack.port}")
    command = f'{setup}\nexec {sys.executable} -c "$CODE"' if kind == "python" else setup + code
    environment = {
        **os.environ,
        "CODE": code,
        "LLM_USER_PATH": str(folder / "llm"),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    (folder / "llm").mkdir(exist_ok=True)

    run = subprocess.run(
        ["bash", "-euc", command], cwd=folder, env=environment, capture_output=True, text=True,
        timeout=120,
    )  # fmt: skip

    assert run.returncode == 0, run.stdout + run.stderr
    for said in SAYS[name]:
        assert said in run.stdout
