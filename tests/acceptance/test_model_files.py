"""A model goes out as a file and comes back as another model, on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import openai
from safetensors.numpy import load_file

from tests.stack import Stack


def test_a_model_that_came_back_writes_the_same(
    stack: Stack, client: openai.OpenAI, model: str, tmp_path: Path
) -> None:
    file = tmp_path / "out.safetensors"
    exported = stack.cli("models", "export", model, "--out", str(file))
    assert exported.returncode == 0, exported.stderr
    assert exported.stdout.strip() == str(file)
    assert "model.output.weight" in load_file(file)

    imported = stack.cli(
        "models", "import", str(file), "--name", "back", "--suffix", "v2", "--json"
    )
    assert imported.returncode == 0, imported.stderr
    made = json.loads(imported.stdout)
    assert made["id"].startswith("ft:imported:default:v2:") and made["job_id"] is None

    def write(name: str) -> str:
        return client.completions.create(
            model=name, prompt="The king", max_tokens=40, seed=3
        ).choices[0].text  # fmt: skip

    assert write("back") == write(model) != ""


def test_a_file_that_is_cut_short_is_refused(stack: Stack, model: str, tmp_path: Path) -> None:
    file = tmp_path / "short.safetensors"
    assert stack.cli("models", "export", model, "--out", str(file)).returncode == 0
    file.write_bytes(file.read_bytes()[:-8])

    refused = stack.cli("models", "import", str(file))

    assert refused.returncode == 1
    assert "short.safetensors is not a model file that can be used" in refused.stderr
