"""The training child: `python -m worker.training.child`, started by a training worker for one job.

Reads its order as the first line of standard input, trains, and reports each event as a line of
JSON. Events that must be safe before training goes on (the plan, a checkpoint) wait for the
parent's acknowledgement. When standard input closes, the parent is gone and so are we, at once:
what was not published does not count.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import traceback
from typing import IO, Any

from textgen.errors import TextgenError
from textgen.events import Event
from worker.training.child_process import SourceFile, TrainingOrder

NICENESS = 10  # interactive requests on the same machine come first
NEEDS_ACKNOWLEDGEMENT = ("plan", "checkpoint")


class Parent:
    """The line to the parent: events out, acknowledgements and the wish to stop in."""

    def __init__(self, incoming: IO[bytes], outgoing: IO[bytes]) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self._acknowledged = threading.Event()
        self._stop = threading.Event()

    def listen(self) -> None:
        """Read what the parent says, for as long as it lives."""
        threading.Thread(target=self._listen, name="parent-listener", daemon=True).start()

    def should_stop(self) -> bool:
        """Whether the parent wants a checkpoint and an end."""
        return self._stop.is_set()

    def report(self, event: Event) -> None:
        """Send an event; for some wait until the parent has made it safe."""
        needs_acknowledgement = event.type in NEEDS_ACKNOWLEDGEMENT
        self._acknowledged.clear()
        self.send({"kind": "event", "event": event.as_dict()})
        if needs_acknowledgement:
            self._acknowledged.wait()

    def send(self, message: dict[str, Any]) -> None:
        """One line of JSON."""
        self._outgoing.write(json.dumps(message).encode() + b"\n")
        self._outgoing.flush()

    def _listen(self) -> None:
        for line in self._incoming:
            message = json.loads(line)
            if message.get("stop"):
                self._stop.set()
            if message.get("acknowledge"):
                self._acknowledged.set()
        os._exit(1)  # no cleaning up: the lease is another worker's now


def main() -> int:
    """Train one order; the last line says how it ended."""
    incoming, outgoing = _own_pipes()
    parent = Parent(incoming, outgoing)
    order = TrainingOrder.model_validate_json(incoming.readline())
    parent.listen()
    os.nice(NICENESS)
    try:
        parent.send(_train(order, parent))
    except TextgenError as error:
        parent.send({"kind": "failed", "error": error.as_dict(), "transient": False})
    except (OSError, MemoryError) as error:
        traceback.print_exc()
        message = f"{type(error).__name__}: {error}"
        reason = {"code": "resources_exhausted", "message": message, "param": None}
        parent.send({"kind": "failed", "error": reason, "transient": True})
    return 0


def _train(order: TrainingOrder, parent: Parent) -> dict[str, Any]:
    """Run the training; returns the closing message."""
    from textgen.corpus.sources import (
        Source,  # late, so that a broken order fails before torch loads
        source_of,
    )
    from textgen.options import Hyperparameters
    from textgen.plan import Plan
    from textgen.training.train import train_files

    hyperparameters = Hyperparameters.parse(order.hyperparameters, within="hyperparameters")

    def source(file: SourceFile) -> Source:
        return source_of(file.path, hyperparameters, file.name)

    bundle = train_files(
        [source(file) for file in order.sources],
        validation_sources=[source(file) for file in order.validation_sources],
        test_sources=[source(file) for file in order.test_sources],
        preset=order.preset,
        hyperparameters=hyperparameters,
        folder=order.folder,
        base=order.base,
        plan=None if order.plan is None else Plan.parse(order.plan),
        resume=order.resume,
        device=order.device,
        threads=order.threads,
        on_event=parent.report,
        should_stop=parent.should_stop,
        checkpoint_seconds=order.checkpoint_seconds,
    )
    if bundle is None:
        return {"kind": "stopped"}
    return {"kind": "finished", "bundle": str(bundle)}


def _own_pipes() -> tuple[IO[bytes], IO[bytes]]:
    """Keep the two pipes for ourselves; what a library prints goes to standard error."""
    outgoing = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return sys.stdin.buffer, outgoing


if __name__ == "__main__":
    sys.exit(main())
