"""The lines of a batch that are with the engine, and those that are next.

Enough are with the engine that its slots stay full while a shard is stored, and no more, so that
batches share its queue. A line that finds the queue full waits and is sent again; one whose engine
died begins anew, as does, a few times, one whose model could not be loaded just then.
"""

from __future__ import annotations

import queue
import time
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path

from worker.batches.shard import LineRequest, Shard
from worker.generation.engine_errors import PASSING_FAULTS
from worker.generation.engine_link import LOST, EngineLink, Update
from worker.storage.artifacts import ArtifactStore

MOST_CHOICES = 2048  # texts of one batch that are with the engine
FULL_SECONDS = 0.2  # before a line is sent again that found no room
PASSING_SECONDS = 1.0  # before one is that met a fault which may pass
MOST_TRIES = 3  # more that such a line gets


class LinesInFlight:
    """Sends lines to the engine and brings what comes of them to their shards."""

    def __init__(self, link: EngineLink, store: ArtifactStore) -> None:
        self._link = link
        self._store = store
        self._updates: queue.SimpleQueue[Sequence[Update]] = queue.SimpleQueue()
        self._next: deque[tuple[Shard, LineRequest]] = deque()
        self._open: dict[str, tuple[Shard, LineRequest]] = {}  # request id → its line
        self._choices = 0  # of the lines that are open
        self._not_before = 0.0
        self._paths: dict[tuple[str, str], Path] = {}  # of models, by artifact and file
        self._models = ExitStack()  # holds the files of all that lines have named
        self._held: set[tuple[str, str]] = set()
        self._hopeless: set[tuple[str, str]] = set()  # models whose fault has not passed

    def take(self, updates: Sequence[Update]) -> None:
        """Called by the engine's reader thread."""
        self._updates.put(updates)

    def add(self, shard: Shard, lines: Iterable[LineRequest]) -> None:
        """Send these lines in their turn. FileNotFoundError, CorruptArtifact."""
        self._paths.clear()  # a model's file is looked at anew for each shard
        self._next += [(shard, line) for line in lines]
        self._send()

    def hear(self, seconds: float) -> bool:
        """Take in what comes within so many seconds; whether an engine died."""
        try:
            updates = list(self._updates.get(timeout=seconds))
            while not self._updates.empty():
                updates += self._updates.get()
        except queue.Empty:
            updates = []
        died = False
        for update in updates:
            if update.id in self._open:
                died |= self._note(update)
        self._send()
        return died

    def cancel(self) -> None:
        """Stop everything, and let go of the models' files."""
        for request_id in self._open:
            self._link.cancel(request_id)
        self._open.clear()
        self._next.clear()
        self._models.close()
        self._held.clear()

    def _note(self, update: Update) -> bool:
        """Take in an update; whether it is of a dead engine's."""
        shard, line = self._open[update.id]
        if update.last:
            del self._open[update.id]
            self._choices -= line.choices
        if update.error is LOST:
            shard.restart(line)
            self._next.appendleft((shard, line))
            return True
        if update.error is not None and update.error["code"] == "engine_full":
            self._next.appendleft((shard, line))
            self._not_before = time.monotonic() + FULL_SECONDS
        elif update.error is not None and self._may_pass(line, update.error["code"]):
            shard.restart(line)
            self._next.appendleft((shard, line))
            self._not_before = time.monotonic() + PASSING_SECONDS
        else:
            if update.usage is not None:
                self._hopeless.discard(_model(line))
            shard.add(line, update)
        return False

    def _may_pass(self, line: LineRequest, code: str) -> bool:
        """Whether a line is to be sent again; not where another has waited for long already."""
        if code not in PASSING_FAULTS:
            return False
        line.tries += 1
        if line.tries > MOST_TRIES:
            self._hopeless.add(_model(line))
        return _model(line) not in self._hopeless

    def _send(self) -> None:
        """Send lines while there is room for them; one line always may."""
        if time.monotonic() < self._not_before:
            return
        while self._next:
            shard, line = self._next[0]
            if self._open and self._choices + line.choices > MOST_CHOICES:
                return
            self._next.popleft()
            self._open[line.request.id] = (shard, line)
            self._choices += line.choices
            self._link.submit(line.request, self._path(line), self, interactive=False)

    def _path(self, line: LineRequest) -> Path:
        key = _model(line)
        if key not in self._held:
            self._models.enter_context(self._store.held(*key))
            self._held.add(key)
        if key not in self._paths:
            self._paths[key] = self._store.local_path(*key)
        return self._paths[key]


def _model(line: LineRequest) -> tuple[str, str]:
    """Its model's artifact and file."""
    return line.request.bundle.artifact, line.request.bundle.file
