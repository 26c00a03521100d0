"""Metering of interactive requests: counted as their text is made, written each second.

A request is no job and has no row, so a worker that is killed loses what it has not written yet:
at most a second of usage, which nobody is billed for. A write whose COMMIT nobody knows of is
repeated under the same id and counts once.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from worker.contracts import ChoiceDelta, GenerateRequest
from worker.errors import DatabaseUnavailable
from worker.generation.engine_link import Update
from worker.storage.database import Database, insert_into
from worker.storage.ids import new_id
from worker.usage.characters import characters_by_prompt
from worker.usage.quantities import NAMES, Quantities
from worker.usage.tables import usage

LOG = logging.getLogger(__name__)

FLUSH_SECONDS = 1.0
MOST_UNWRITTEN = 100_000  # rows kept while the database is away; the oldest go first
Place = tuple[str, str, str]  # tenant, API key, model


@dataclass(slots=True)
class _Open:
    """A request that is being answered, and what came of it since the last writing."""

    place: Place
    n: int  # texts of each prompt
    unheard: list[int]  # characters by prompt, 0 where a text of it has come
    heard: bool = False
    counted: bool = False  # the request itself
    characters_in: int = 0
    characters_out: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    seconds: float = 0.0

    def collect(self) -> Quantities:
        """What is not written yet; from here on it counts as written."""
        first = self.heard and not self.counted
        self.counted = self.counted or first
        used = Quantities(
            requests=int(first),
            characters_in=self.characters_in,
            characters_out=self.characters_out,
            tokens_in=self.tokens_in,
            tokens_out=self.tokens_out,
            compute_seconds=self.seconds,
        )
        self.characters_in = self.characters_out = self.tokens_in = self.tokens_out = 0
        self.seconds = 0.0
        return used

    def add(self, delta: ChoiceDelta) -> None:
        """Count what was written, and with a prompt's first text the prompt."""
        self.heard = True
        prompt = delta.index // self.n
        self.characters_in += self.unheard[prompt]
        self.unheard[prompt] = 0
        self.characters_out += delta.characters
        self.tokens_in += delta.prompt_tokens
        self.tokens_out += delta.tokens


class InteractiveMeter:
    """Counts what one generation worker makes for whom. Safe to share between threads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._open: dict[str, _Open] = {}
        self._ended: list[_Open] = []
        self._unwritten: list[dict[str, object]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="meter", daemon=True)

    def start(self) -> None:
        """Write from now on, each second."""
        self._thread.start()

    def stop(self) -> None:
        """Write what is left, then no more."""
        self._stop.set()
        self._thread.join(10)
        self.flush()

    def begin(self, request: GenerateRequest) -> None:
        """Note for whom a request is; one without an owner is not counted."""
        owner = request.owner
        if owner is None:
            return
        place = (owner.tenant, owner.api_key, owner.model)
        with self._lock:
            self._open[request.id] = _Open(place, request.n, characters_by_prompt(request))

    def take(self, updates: Sequence[Update]) -> None:
        """Count what one step of the engine brought; quick, since every step calls it."""
        with self._lock:
            for update in updates:
                found = self._open.get(update.id)
                if found is None:
                    continue
                for delta in update.deltas:
                    found.add(delta)
                if update.error is None:
                    found.seconds += update.seconds
                if update.last:
                    self._ended.append(self._open.pop(update.id))

    def forget(self, request_id: str) -> None:
        """A request was stopped: what was made until now counts, what may come still does not."""
        with self._lock:
            stopped = self._open.pop(request_id, None)
            if stopped is not None:
                self._ended.append(stopped)

    def flush(self) -> None:
        """Write what was counted; while the database is away it is kept."""
        now = time.time()
        self._unwritten += [
            _values(place, used, now)
            for place, used in self._collected().items()
            if used != Quantities()
        ]
        del self._unwritten[:-MOST_UNWRITTEN]
        if not self._unwritten:
            return
        # Sums are locked by tenant until the end: in one order, nobody waits in a circle.
        rows = sorted(self._unwritten, key=lambda row: str(row["tenant"]))
        try:
            with self._database.write() as connection:
                connection.execute(insert_into(connection, usage).on_conflict_do_nothing(), rows)
        except DatabaseUnavailable as error:
            LOG.warning("usage is kept for later: %s", error.message)
            return
        self._unwritten.clear()

    def _collected(self) -> dict[Place, Quantities]:
        counted: dict[Place, Quantities] = {}
        with self._lock:
            ended, self._ended = self._ended, []
            for found in (*self._open.values(), *ended):
                before = counted.get(found.place, Quantities())
                counted[found.place] = before + found.collect()
        return counted

    def _run(self) -> None:
        while not self._stop.wait(FLUSH_SECONDS):
            try:
                self.flush()
            except Exception:
                LOG.exception("usage could not be written; it is tried again")


def _values(place: Place, used: Quantities, now: float) -> dict[str, object]:
    tenant, api_key, model = place
    return {
        "id": new_id("use_"),
        "tenant": tenant,
        "kind": "completions",
        "model": model,
        "api_key": api_key,
        "job_id": None,
        "outcome": "succeeded",
        "billable": True,
        "at": now,
        **{name: getattr(used, name) for name in NAMES},
    }
