"""``textgen worker``: one worker process, for machines where the parts run apart."""

from __future__ import annotations

import logging

import click

from worker.processes.service import run_worker
from worker.settings import load_settings


@click.group()
def worker() -> None:
    """Run one worker process; `textgen up` starts all that one machine needs."""


def _run(role: str) -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    return run_worker(role, load_settings())


@worker.command(epilog="Example: TEXTGEN_BROKER_URL=redis://… textgen worker train")
def train() -> int:
    """Train the jobs of the queue, TEXTGEN_TRAIN_WORKERS at once."""
    return _run("train")


@worker.command(epilog="Example: TEXTGEN_DEVICE=cuda textgen worker generate")
def generate() -> int:
    """Answer completions and work through batches."""
    return _run("generate")


@worker.command(epilog="Example: textgen worker reconcile")
def reconcile() -> int:
    """Wake workers, free the leases of dead ones, end what is over; run one or several."""
    return _run("reconcile")
