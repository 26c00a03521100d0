"""Outlives a killed supervisor by a moment, to end what it has left running.

``python -m worker.stack.warden LEDGER`` waits until its standard input closes, which the
supervisor's end brings about however it comes, then kills the process groups of the ledger and
exits. It holds the home's lock with the supervisor, so the next start finds clean ground.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from worker.stack.ledger import sweep


def main(ledger: Path) -> None:
    """Wait for the end of the supervisor, then sweep."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # it ends with the supervisor, not before
    while sys.stdin.buffer.read(1):
        pass
    sweep(ledger)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
