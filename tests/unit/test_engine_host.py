"""Models loaded in the engine process, while their files come and go."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.random_models import BundleMaker
from textgen.bundles.bundle import save_bundle
from textgen.options import SamplingOptions
from worker.contracts import BundleReference, GenerateRequest
from worker.generation.engine_process import EngineHost


def stored(folder: Path, make_bundle: BundleMaker, seed: int) -> Path:
    bundle = make_bundle(seed=seed)
    path = folder / f"{seed}.safetensors"
    save_bundle(path, bundle.header, bundle.model.state_dict())
    return path


def write(host: EngineHost, path: Path) -> str:
    request = GenerateRequest(
        id="r",
        bundle=BundleReference(artifact="a", file="f"),
        prompts=("ab",),
        options=SamplingOptions(max_tokens=5),
        seed=1,
    )
    host.submit(request, str(path), True)
    text = ""
    while host.busy:
        text += "".join(delta.text for delta in host.step())
    return text


@pytest.mark.parametrize("cache_bytes", [1, 10**9])
def test_a_checkpoint_that_is_deleted_harms_no_other_model(
    tmp_path: Path, make_bundle: BundleMaker, cache_bytes: int
) -> None:
    host = EngineHost(device="cpu", slots=4, cache_bytes=cache_bytes)
    first, second = (stored(tmp_path, make_bundle, seed) for seed in (1, 2))
    assert write(host, first)

    first.unlink()

    assert write(host, second)
    if cache_bytes == 1:  # only one fits: the first has made room
        with pytest.raises(FileNotFoundError):
            write(host, first)
    else:
        assert write(host, first)
