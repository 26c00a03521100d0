"""A step that is recorded once for each padded number of rows, and then replayed.

A small step on a GPU takes longer to start, kernel by kernel, than to compute; a recorded one is
started whole. A recording reads and writes the buffers that it was made with, so it holds for rows
that stay where they are. It is used only where it gives the bits of the step that it was made of:
so no text depends on which steps have been recorded.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

import torch

from textgen.engine.rows import RowState

LOG = logging.getLogger(__name__)

Step = Callable[[], None]


class Recorder(Protocol):
    """Makes recordings on one device."""

    def record(self, step: Step) -> Step:
        """What does as ``step`` does, on the same buffers; RuntimeError where there is no way.

        ``step`` may run some times on the way.
        """


class StepGraphs:
    """Recordings of the steps of one ``RowState`` by their number of rows.

    The first one that fails, or gives other bits than its step, ends recording: ``fault`` says why,
    and every step from then on is run as it is.
    """

    def __init__(self, state: RowState, recorder: Recorder) -> None:
        self.fault: str | None = None
        self._state = state
        self._recorder = recorder
        self._replays: dict[int, Step] = {}

    def __len__(self) -> int:
        return len(self._replays)

    def step(self, rows: int, eager: Step) -> None:
        """Advance the first ``rows`` rows, padding included, as ``eager`` does."""
        replay = self._replays.get(rows)
        if replay is not None:
            replay()
        elif self.fault is not None:
            eager()
        else:
            self._record(rows, eager)

    def _record(self, rows: int, eager: Step) -> None:
        """One step of ``eager``, and a recording of it that has been compared with it."""
        before = self._copy(rows)
        eager()
        wanted = self._copy(rows)
        try:
            replay = self._recorder.record(eager)
            self._put(rows, before)
            replay()
            got = self._copy(rows)
        except RuntimeError as error:
            self._give_up(f"a step of {rows} rows cannot be recorded: {error}")
        else:
            if all(map(torch.equal, got, wanted)):
                self._replays[rows] = replay
                return
            self._give_up(f"a recorded step of {rows} rows gives other bits")
        self._put(rows, wanted)

    def _give_up(self, fault: str) -> None:
        self.fault = fault
        self._replays.clear()
        LOG.warning("the engine runs its steps unrecorded, which is slower and as right: %s", fault)

    def _copy(self, rows: int) -> list[torch.Tensor]:
        """Hidden state, cell and logits of the first rows."""
        state = self._state
        views = (state.hidden[:, :rows], state.cell[:, :rows], state.logits[:rows])
        return [each.clone() for each in views]

    def _put(self, rows: int, copies: list[torch.Tensor]) -> None:
        state = self._state
        state.hidden[:, :rows], state.cell[:, :rows], state.logits[:rows] = copies
