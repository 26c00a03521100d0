"""The examples of docs/clients.md, run as they stand (but for the port)."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import openai
import pytest
import torch

from tests.acceptance.conftest import VERSES, train
from tests.stack import ROOT, Stack
from textgen.bundles.bundle import Bundle, load_bundle

PAGE = (ROOT / "docs" / "clients.md").read_text()
BLOCKS = re.findall(r"## ([^\n]+)\n(?:(?!## ).)*?<!-- run: (\w+) -->\n```\w+\n(.*?)```", PAGE, re.S)
NEEDED = {
    "LangChain": "langchain_openai",
    "llm, the command line": "llm",
    "An evaluation harness": "lm_eval",
}
# What each prints at the least: what the models were taught.
SAYS = {
    "The official Python client": ["128"],
    "textgen.client": [
        "6000 characters",
        "metrics Step 30 of 30",
        " and the queen ",
        "oddest: The kxng",
        "succeeded",
        "model_not_found",
        "['A ",
    ],
    "Hugging Face datasets": [
        '{"text": "My crown is heavy, says the queen.", "label": "queen"}',
        "{'king': 100, 'queen': 100}",
    ],
    "curl": ['"role": "assistant"'],
    "Node": ["good day", "succeeded ft:lstm-tiny:", "404 model_not_found"],
    "LiteLLM": ["good day", "128"],
    "llm, the command line": ["good day", "farewell"],
    "LangChain": ["good day", "128 2"],
    "An evaluation harness": ["('The king', ' speaks to')"],
}

# Where `make clients` puts what cannot be installed beside the tests' own tools.
NODE = ROOT / "build" / "node"
PYTHONS = {
    "LiteLLM": ROOT / "build" / "litellm" / "bin" / "python",
    "Hugging Face datasets": ROOT / "build" / "datasets" / "bin" / "python",
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


@pytest.mark.parametrize("name", list(SAYS))
def test_an_example_runs(stack: Stack, folder: Path, name: str) -> None:
    printed = run_example(stack, folder, name)
    for said in SAYS[name]:
        assert said in printed


def run_example(stack: Stack, folder: Path, name: str) -> str:
    """What it prints; skips the test where its client is not installed."""
    kind, code = next((kind, code) for each, kind, code in BLOCKS if each == name)
    package = NEEDED.get(name)
    if package is not None and find_spec(package) is None:
        pytest.skip(f"{package} is not installed: `make clients` does it")
    python = PYTHONS.get(name, Path(sys.executable))
    if not python.exists():
        pytest.skip(f"{name} is not installed: `make clients` does it")
    if kind == "shell" and shutil.which("curl") is None and "curl" in code:
        pytest.skip("there is no curl here")
    if kind == "node" and not (shutil.which("node") and (NODE / "node_modules/openai").exists()):
        pytest.skip("there is no Node.js here, or `make clients` could not install its packages")
    setup = re.findall(r"<!-- run: setup -->\n```sh\n(.*?)```", PAGE, re.S)[0]
    setup = setup.replace("127.0.0.1:8000", f"127.0.0.1:{stack.port}")
    command = (
        setup
        + {
            "python": f'exec {python} -c "$CODE"',
            # The packages are looked for from the folder that a script of no file runs in.
            "node": f'cd "{NODE}"; exec node --input-type=module -e "$CODE"',
            "shell": code,
        }[kind]
    )
    environment = {
        **os.environ,
        "CODE": code,
        "PYTHONPATH": str(ROOT),  # textgen.client, also for a Python of another environment
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(folder / "huggingface"),
        "LLM_USER_PATH": str(folder / "llm"),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    (folder / "llm").mkdir(exist_ok=True)

    run = subprocess.run(
        ["bash", "-euc", command], cwd=folder, env=environment, capture_output=True, text=True,
        timeout=120,
    )  # fmt: skip

    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def nats(bundle: Bundle, ids: list[int], first: int) -> tuple[float, bool]:
    """Of the ids from ``first`` on, after the others; and whether each is the likeliest."""
    with torch.no_grad():
        chances = torch.log_softmax(bundle.model(torch.tensor([ids]))[0][0].double(), -1)
    rows = range(first - 1, len(ids) - 1)
    found = sum(float(chances[row, ids[row + 1]]) for row in rows)
    return found, all(int(chances[row].argmax()) == ids[row + 1] for row in rows)


@pytest.mark.parametrize("learnt_from", ["one text", "lines"])
def test_the_harness_gets_the_models_own_likelihoods(
    stack: Stack, folder: Path, client: openai.OpenAI, model: str, learnt_from: str
) -> None:
    """Against a full forward pass of the model's file, by this process."""
    if learnt_from == "lines":
        name = train(client, "lines.txt", VERSES * 4, format="lines", max_steps=60)
        with stack.http() as http:
            assert http.put("/v1/aliases/verses", json={"model": name}).status_code == 200
    printed = run_example(stack, folder, "An evaluation harness").splitlines()
    with stack.http() as http:
        described = http.get("/v1/models/verses").json()
    (path,) = stack.home.rglob(f"{described['job_id']}/*/model/model.safetensors")
    bundle = load_bundle(path)
    before = [bundle.tokenizer.end_id] if bundle.header.documents else []
    prefix = before if before else bundle.tokenizer.encode("\n").tolist()

    def ids(text: str) -> list[int]:
        return [int(token) for token in bundle.tokenizer.encode(text)]

    wanted = []
    for context, continuation in (("The king", " speaks to"), ("The king", " of Spain")):
        asked = before + ids(context)
        wanted.append(nats(bundle, asked + ids(continuation), len(asked)))
    wanted.append(nats(bundle, prefix + ids("The king"), len(prefix)))
    for line, (value, likeliest) in zip(printed, wanted, strict=False):
        found, greedy, _ = line.split(" ", 2)
        assert float(found) == pytest.approx(value, abs=1e-3)
        assert greedy == str(likeliest)
    whole = nats(bundle, prefix + ids("The king speaks to the sea."), len(prefix))
    assert float(printed[-1]) == pytest.approx(whole[0], abs=1e-3)
