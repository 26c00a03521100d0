"""Freed memory stays with a process that asks for it."""

import json
import subprocess
import sys

import pytest

PROGRAM = """
import json, resource, sys
from textgen.allocator import keep_freed_memory
kept = keep_freed_memory() if sys.argv[1] == "keep" else None
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
block = bytearray(64 << 20); del block
before = faults()
for _ in range(8):
    block = bytearray(64 << 20); del block
print(json.dumps([kept, faults() - before]))
"""


def run(mode: str) -> tuple[bool | None, int]:
    found = subprocess.run(
        [sys.executable, "-c", PROGRAM, mode], capture_output=True, text=True, check=True
    )
    kept, faults = json.loads(found.stdout)
    return kept, faults


def test_blocks_that_are_freed_are_used_again_without_page_faults():
    kept, faults = run("keep")
    if not kept:
        pytest.skip("the C library is not glibc")
    _, without = run("leave")
    pages = (64 << 20) // 4096
    assert without >= pages  # given back and taken anew each time, if only in huge pages
    assert faults < pages / 16
