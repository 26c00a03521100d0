"""The child's side: its order, its line to the parent, and how it ends.

A child reads its order as the first line of standard input, works, and reports each event as a
line of JSON. Events that must be safe before the work goes on wait for the parent's
acknowledgement. When standard input closes, the parent is gone and so are we, at once: what was
not published does not count.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import IO, Any, TypeVar

from textgen.errors import TextgenError, WorkerLost
from textgen.events import Event
from worker import logs
from worker.children.process import MADE_SAFE, Order
from worker.logs import set_up_logging

LOG = logging.getLogger(__name__)

NICENESS = 10  # interactive requests on the same machine come first
PROGRESS_SECONDS = 0.5

AnyOrder = TypeVar("AnyOrder", bound=Order)


class Stopped(Exception):
    """The parent wants an end, and what is under way is not worth keeping."""


class Parent:
    """The line to the parent: events out, acknowledgements and the wish to stop in."""

    def __init__(self, incoming: IO[bytes], outgoing: IO[bytes]) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self._acknowledged = threading.Event()
        self._stop = threading.Event()
        self._progress_due = 0.0

    def listen(self) -> None:
        """Read what the parent says, for as long as it lives."""
        threading.Thread(target=self._listen, name="parent-listener", daemon=True).start()

    def should_stop(self) -> bool:
        """Whether the parent wants an end."""
        return self._stop.is_set()

    def check(self) -> None:
        """Raise Stopped if the parent wants an end."""
        if self._stop.is_set():
            raise Stopped

    def report(self, event: Event) -> None:
        """Send an event; for some wait until the parent has made it safe."""
        self._acknowledged.clear()
        self.send({"kind": "event", "event": event.as_dict()})
        if event.type in MADE_SAFE:
            self._acknowledged.wait()

    def show_life(self, progress: Callable[[], Mapping[str, Any]] = dict) -> None:
        """Send how far the work is, at most twice a second; to be called often.

        A parent that hears nothing for long takes its child for hung.
        """
        now = time.monotonic()
        if now >= self._progress_due:
            self._progress_due = now + PROGRESS_SECONDS
            self.report(Event("progress", "", data=progress()))

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


def serve(order_type: type[AnyOrder], work: Callable[[AnyOrder, Parent], dict[str, Any]]) -> int:
    """Work on one order; the last line says how it ended. Returns the exit status.

    ``work`` returns what the closing message says beside its kind, or raises Stopped.
    """
    incoming, outgoing = _own_pipes()
    parent = Parent(incoming, outgoing)
    order = order_type.model_validate_json(incoming.readline())
    set_up_logging(order.log_format, "child")
    logs.begin(**order.about)
    parent.listen()
    os.nice(NICENESS)
    try:
        parent.send({"kind": "finished", **work(order, parent)})
    except Stopped:
        parent.send({"kind": "stopped"})
    except WorkerLost as error:
        LOG.error("%s", error.message)
        os._exit(1)  # without a last word: this counts as the loss of a process, which it is
    except TextgenError as error:
        parent.send({"kind": "failed", "error": error.as_dict(), "transient": False})
    except (OSError, MemoryError) as error:
        LOG.exception("the work broke off")
        message = f"{type(error).__name__}: {error}"
        reason = {"code": "resources_exhausted", "message": message, "param": None}
        parent.send({"kind": "failed", "error": reason, "transient": True})
    return 0


def _own_pipes() -> tuple[IO[bytes], IO[bytes]]:
    """Keep the two pipes for ourselves; what a library prints goes to standard error."""
    outgoing = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return sys.stdin.buffer, outgoing
