"""Where and how numbers are computed: device, threads, kernels, and a name for all of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from textgen.errors import InvalidOption
from textgen.plan import Kernel


def pick_device(name: str) -> torch.device:
    """``auto`` is CUDA where there is one, else the CPU; never MPS, whose LSTM is not reliable."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise InvalidOption(
            f"'device' is {name!r}; it can be auto, cpu, cuda or cuda:N.", param="device"
        )
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InvalidOption(
            f"'device' is {name!r}, but this machine has {torch.cuda.device_count()} CUDA devices; "
            "use cpu.",
            param="device",
        )
    return device


def describe_numerics(device: torch.device, threads: int, kernel: Kernel) -> str:
    """All that the last bit of a result depends on, but for the plan itself."""
    if device.type == "cuda":
        where = f"{torch.cuda.get_device_name(device)} CUDA {torch.version.cuda}"
    else:
        where = f"CPU {torch.backends.cpu.get_cpu_capability()} threads {threads}"
    precision = "bfloat16" if multiplies_bfloat16(kernel) else "float32"
    return f"{where} {precision} torch {torch.__version__} kernel {kernel}"


@contextmanager
def use_kernel(kernel: Kernel) -> Iterator[None]:
    """Run the LSTM by oneDNN or by torch's own loops; only CPUs know the difference.

    What reads in bfloat16 is for ``reduced_precision`` to say.
    """
    # torch.backends.mkldnn.flags would do, but warns about Intel GPUs on every call.
    before = torch._C._get_mkldnn_enabled()
    torch._C._set_mkldnn_enabled(kernel != "native")
    try:
        yield
    finally:
        torch._C._set_mkldnn_enabled(before)


def multiplies_bfloat16(kernel: Kernel) -> bool:
    """Whether recurrent layers multiply in bfloat16: where ``kernel`` says so and the CPU can.

    Emulated it is a hundred times slower, so elsewhere such a training goes on in float32.
    """
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return kernel == "onednn-bf16" and any(getattr(torch.cpu, name, bool)() for name in names)


@contextmanager
def reduced_precision(kernel: Kernel) -> Iterator[None]:
    """Let recurrent layers multiply in bfloat16 if ``kernel`` does; sums stay float32."""
    if multiplies_bfloat16(kernel):
        with torch.autocast("cpu", torch.bfloat16):
            yield
    else:
        yield
