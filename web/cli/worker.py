"""``textgen worker``: one worker process, for machines where the parts run apart."""

from __future__ import annotations

import click

from worker.logs import set_up_logging
from worker.processes.service import run_worker
from worker.settings import load_settings
from worker.tracing import set_up_tracing


@click.group()
def worker() -> None:
    """Run one worker process; `textgen up` starts all that one machine needs."""


def _run(role: str) -> int:
    settings = load_settings()
    set_up_logging(settings.log_format, role)
    set_up_tracing(settings, role)
    return run_worker(role, settings)


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
