"""How this process's memory allocator treats what training frees."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # of glibc's mallopt(3)
_NEVER = 2**31 - 1


def keep_freed_memory() -> bool:
    """Let the process keep memory that is freed, for the next allocation; whether that was done.

    A training step frees as much as it allocates. glibc gives large blocks back to the system,
    which then hands them out as pages of zeros again at every step: up to a third of the time of
    a step at 2×512 (docs/experiments.md). The price is that the process stays as large as it once
    was. Where the C library is another, nothing happens.
    """
    if not sys.platform.startswith("linux"):
        return False
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "gnu_get_libc_version"):
        return False
    return bool(libc.mallopt(_TRIM_THRESHOLD, _NEVER)) and bool(libc.mallopt(_MMAP_MAX, 0))
