"""How many cores this process really has: affinity and container quota considered."""

from __future__ import annotations

import math
import os
from pathlib import Path

CGROUP_2 = Path("/sys/fs/cgroup/cpu.max")
CGROUP_1 = Path("/sys/fs/cgroup/cpu")


def available_cores() -> int:
    """Whole cores that may be kept busy, at least 1."""
    visible = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    quota = _quota()
    return visible if quota is None else max(1, min(visible, math.floor(quota)))


def _quota() -> float | None:
    """Cores that a control group (version 2, else 1) grants, or None where it sets no bound."""
    try:
        quota, period = CGROUP_2.read_text().split()
    except (OSError, ValueError):
        try:
            quota = (CGROUP_1 / "cpu.cfs_quota_us").read_text().strip()
            period = (CGROUP_1 / "cpu.cfs_period_us").read_text().strip()
        except OSError:
            return None
    if quota == "max" or int(quota) <= 0:
        return None
    return int(quota) / int(period)
