"""The keys in Redis by which web processes and workers know of each other.

All of them expire.
"""

from __future__ import annotations


def answers_key(reader: str) -> str:
    """The Redis stream that carries all answers for one reading process."""
    return f"textgen:answers:{reader}"


def reader_key(reader: str) -> str:
    """Exists while that process lives; without it workers stop what they do for it."""
    return f"textgen:reader:{reader}"


def stops_key(worker: str) -> str:
    """The Redis stream of the requests that a worker is to stop."""
    return f"textgen:stops:{worker}"


def stopped_key(request_id: str) -> str:
    """Exists when a request was given up before any worker had taken it."""
    return f"textgen:stopped:{request_id}"


def worker_key(name: str) -> str:
    """Exists while a generation worker lives; its expiry is how readers learn of a death.

    It holds what the worker says of its engine (`worker.generation.engine_states`).
    """
    return f"textgen:worker:{name}"


def metrics_key(worker: str) -> str:
    """The figures of a worker, in Prometheus' text format."""
    return f"textgen:metrics:{worker}"


ANY_WORKER_KEY = "textgen:worker:any"
