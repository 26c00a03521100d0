"""The locks against pyproject.toml, and what must not be in them."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCKS = {"requirements.lock": ("dev",), "requirements-image.lock": ("s3", "parquet")}


def pinned(lock: str) -> dict[str, Requirement]:
    """The requirements of a lock by name."""
    text = (ROOT / lock).read_text().replace("\\\n", " ")
    lines = [re.sub(r"--hash=\S+", "", line) for line in text.splitlines()]
    found = [Requirement(line.strip()) for line in lines if line.strip() and line[0] not in " #"]
    return {requirement.name.lower(): requirement for requirement in found}


@pytest.mark.parametrize("lock", LOCKS)
def test_every_dependency_is_pinned_within_its_bounds_and_condition(lock: str) -> None:
    found = pinned(lock)
    extras = PROJECT["optional-dependencies"]
    asked = [*PROJECT["dependencies"], *(line for name in LOCKS[lock] for line in extras[name])]
    for line in asked:
        wanted = Requirement(line)
        if wanted.name == "torch":
            continue
        there = found[wanted.name.lower()]
        (pin,) = there.specifier
        assert pin.operator == "=="
        assert wanted.specifier.contains(pin.version), line
        assert str(there.marker) == str(wanted.marker), line


@pytest.mark.parametrize("lock", LOCKS)
def test_torch_and_what_only_a_gpu_needs_stay_out(lock: str) -> None:
    names = set(pinned(lock))
    assert not [name for name in names if re.match(r"torch$|nvidia|cuda|triton", name)]
    assert {"sympy", "networkx", "filelock"} <= names  # torch's own needs are pinned


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_address_and_no_path(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert "://" not in text
    assert not re.search(r"^\s*(-|/|\.)(?!-hash)", text, re.MULTILINE)


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_has_hashes(lock: str) -> None:
    blocks = re.split(r"^(?=[a-z0-9])", (ROOT / lock).read_text(), flags=re.MULTILINE)
    assert all("--hash=sha256:" in block for block in blocks if block.strip())


def test_both_locks_agree() -> None:
    work, image = pinned("requirements.lock"), pinned("requirements-image.lock")
    for name in work.keys() & image.keys():
        assert work[name].specifier == image[name].specifier, name


def test_the_tools_stay_out_of_the_image() -> None:
    tools = {Requirement(line).name for line in PROJECT["optional-dependencies"]["dev"]}
    tools.remove("pyyaml")  # huggingface-hub needs it, and tokenizers that
    tools.remove("pyarrow")  # an extra of its own, which the image has
    assert not tools & set(pinned("requirements-image.lock"))
