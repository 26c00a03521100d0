"""Builds the C++ kernel with the machine's own compiler, once, and finds it again.

    python -m textgen.engine.kernels.build

puts a build for every instruction set beside the sources, for an image or a shared installation.
Without one, the first engine on a machine builds what that machine needs into the user's cache:
two to five seconds. The file's name holds a digest of sources and flags, so another version never
meets an old build. Without a compiler, or where a build fails, the engine computes with torch.
"""

from __future__ import annotations

import hashlib
import logging
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch

LOG = logging.getLogger(__name__)

SOURCES = Path(__file__).parent / "native"
_COMPILERS = ("c++", "g++", "clang++")
_SECONDS = 120  # for a build
_FLAGS = ("-std=c++17", "-O3", "-ffp-contract=off", "-fPIC", "-shared", "-pthread")
_AVX2 = ("-mavx2", "-mfma")
_AVX512 = (*_AVX2, "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl")
INSTRUCTION_SETS: Mapping[str, tuple[str, ...]] = {  # the best first
    "avx512vnni": (*_AVX512, "-mavx512vnni"),
    "avx512": _AVX512,
    "avxvnni": (*_AVX2, "-mavxvnni"),
    "avx2": _AVX2,
}
_NEEDS: Mapping[str, tuple[str, ...]] = {  # as torch names them
    "avx512vnni": ("avx512_f", "avx512_bw", "avx512_dq", "avx512_vl", "avx512_vnni", "fma3"),
    "avx512": ("avx512_f", "avx512_bw", "avx512_dq", "avx512_vl", "fma3"),
    "avxvnni": ("avx2", "fma3", "avx_vnni"),
    "avx2": ("avx2", "fma3"),
}


def able_sets() -> list[str]:
    """The instruction sets of this machine that the kernel has code for, the best first."""
    if sys.platform not in ("linux", "darwin") or platform.machine() not in ("x86_64", "AMD64"):
        return []
    able = torch.cpu.get_capabilities()
    return [name for name, needs in _NEEDS.items() if all(able.get(need) for need in needs)]


def find_or_build(instructions: str) -> Path | None:
    """The library for an instruction set, built if need be; None where that is not possible."""
    name = _file_name(instructions)
    for folder in (SOURCES, _cache()):
        if folder is not None and (folder / name).is_file():
            return folder / name
    folder = _cache()
    return None if folder is None else build(instructions, folder)


def build(instructions: str, folder: Path) -> Path | None:
    """Compile into ``folder``; None, with a line in the log, where that fails.

    Several processes may do so at the same time: each writes its own file, then renames it.
    """
    compiler = next(filter(None, map(shutil.which, _COMPILERS)), None)
    if compiler is None:
        LOG.info("no C++ compiler here: the engine computes with torch, some times slower")
        return None
    target = folder / _file_name(instructions)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".build-") as work:
            made = Path(work) / target.name
            flags = (*_FLAGS, *INSTRUCTION_SETS[instructions])
            subprocess.run(  # noqa: S603 (a compiler on our own sources)
                [compiler, *flags, "-o", str(made), str(SOURCES / "step.cpp")],
                check=True, capture_output=True, text=True, timeout=_SECONDS,
            )  # fmt: skip
            made.replace(target)
    except subprocess.CalledProcessError as error:
        LOG.warning("%s does not build the engine's kernel: %s", compiler, error.stderr[-2000:])
        return None
    except (OSError, subprocess.TimeoutExpired) as error:
        LOG.warning("the engine's kernel was not built: %s", error)
        return None
    return target


def _file_name(instructions: str) -> str:
    digest = hashlib.sha256(repr((_FLAGS, INSTRUCTION_SETS[instructions])).encode())
    for source in sorted(SOURCES.iterdir()):
        if source.suffix in (".cpp", ".h"):
            digest.update(source.name.encode() + source.read_bytes())
    return f"{instructions}-{digest.hexdigest()[:16]}.so"


def _cache() -> Path | None:
    """The folder of the user's builds; None for a user without a home."""
    try:
        return Path.home() / ".cache" / "textgen" / "kernels"
    except RuntimeError:
        return None


def main() -> None:
    """Build for every instruction set, beside the sources; sets that a compiler lacks are named."""
    for instructions in INSTRUCTION_SETS:
        path = build(instructions, SOURCES)
        print(f"{instructions}: {'not built' if path is None else path}")  # noqa: T201


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    main()
