"""Where and how numbers are computed: device, threads, kernels, and a name for all of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch

from textgen.errors import InvalidOption
from textgen.options import Auto, Precision
from textgen.plan import Kernel

_DTYPES: Mapping[Precision, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


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


def describe_numerics(
    device: torch.device,
    threads: int,
    kernel: Kernel,
    workers: int = 1,
    precision: Precision = "float32",
) -> str:
    """All that the last bit of a result depends on, but for the plan itself."""
    where = _machine(device) if device.type == "cuda" else f"{_machine(device)} threads {threads}"
    together = f" workers {workers}" if workers > 1 else ""
    return f"{where}{together} {precision} torch {torch.__version__} kernel {kernel}"


def describe_generation(device: torch.device, kernel: str) -> str:
    """All that a generated text depends on beside the model and the request.

    ``kernel`` is the name of the engine's kernel; torch turns the logits into chances.
    """
    return f"{_machine(device)} torch {torch.__version__} kernel {kernel}"


def _machine(device: torch.device) -> str:
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)} CUDA {torch.version.cuda}"
    return f"CPU {torch.backends.cpu.get_cpu_capability()}"


def computes_in(device: torch.device, precision: Precision) -> bool:
    """Whether the device has instructions for it; a CPU without is many times slower."""
    if precision == "float32":
        return True
    if device.type == "cuda":
        return precision == "float16" or torch.cuda.is_bf16_supported(including_emulation=False)
    able = torch.cpu.get_capabilities()
    return precision == "bfloat16" and bool(able.get("avx512_bf16") or able.get("amx_bf16"))


def precisions(wanted: Precision | Auto | None, device: torch.device) -> tuple[Precision, ...]:
    """What to choose from, the likeliest first; InvalidOption where the device cannot do it.

    A GPU is faster with the shorter numbers. On a CPU it depends on the shape, so that is measured.
    None is auto on a CPU; on a GPU, where nobody has compared the losses yet, it is float32.
    """
    if wanted is None:
        wanted = "auto" if device.type == "cpu" else "float32"
    if wanted == "auto":
        if device.type == "cuda":
            return ("bfloat16",) if computes_in(device, "bfloat16") else ("float16",)
        return ("float32", "bfloat16") if computes_in(device, "bfloat16") else ("float32",)
    if not computes_in(device, wanted):
        raise InvalidOption(
            f"'precision' is {wanted!r}, but this {device.type} device has no instructions for it, "
            "so it would be slower, not faster. Leave it out, or give auto, which takes what is "
            "fastest here.",
            param="precision",
        )
    return (wanted,)


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """Within it recurrent layers multiply in that precision; sums and weights stay float32."""
    return torch.autocast(device.type, _DTYPES[precision], enabled=precision != "float32")


@contextmanager
def use_kernel(kernel: Kernel) -> Iterator[None]:
    """Run the LSTM by oneDNN or by torch's own loops; only CPUs know the difference."""
    # torch.backends.mkldnn.flags would do, but warns about Intel GPUs on every call.
    before = torch._C._get_mkldnn_enabled()
    torch._C._set_mkldnn_enabled(kernel == "onednn")
    try:
        yield
    finally:
        torch._C._set_mkldnn_enabled(before)
