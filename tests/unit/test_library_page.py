"""The code of docs/library.md, run as it stands but for a shorter training."""

import re
from pathlib import Path

import pytest
import torch

from textgen.bundles.bundle import load_bundle

PAGE = Path(__file__).parent.parent.parent / "docs/library.md"
BLOCKS = re.findall(r"<!-- run: python -->\n```python\n(.*?)```", PAGE.read_text(), re.S)


def test_the_page_trains_writes_and_uses_the_weights_without_us(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    Path("corpus.txt").write_text("The cat sat. Once a dog ran. " * 100, encoding="utf-8")
    names: dict[str, torch.Tensor] = {}

    exec(BLOCKS[0].replace("max_seconds=60", "max_steps=5"), names)  # noqa: S102 - our own page
    exec(BLOCKS[1], names)  # noqa: S102 - our own page

    assert "Trained 5 steps" in capsys.readouterr().out
    expected, _ = load_bundle(Path("training/model.safetensors")).model(torch.tensor([[0, 1, 2]]))
    assert torch.allclose(names["logits"], expected, atol=1e-6)
    assert len(BLOCKS) == 2
