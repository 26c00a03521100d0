"""The generation engine as a process of its own: `python -m worker.generation.engine_process FD`.

Commands come in and reports go out over one socket, JSON both ways, at most one report a step;
beside them, at most once a second, what the engine's state is now.
It knows model files and token ids; Redis and jobs are its parent's business. When the socket
closes, the parent is gone and the process ends.
"""

from __future__ import annotations

import json
import select
import sys
import time
from contextlib import suppress
from itertools import islice
from multiprocessing.connection import Connection
from typing import Any

import torch

from textgen.errors import TextgenError
from textgen.numerics import pick_device
from worker.contracts import GenerateRequest, encode
from worker.errors import Unavailable
from worker.generation.engine_host import EngineHost
from worker.generation.engine_metrics import EngineMetrics
from worker.generation.engine_states import encode_state
from worker.generation.gathering import Gathering, Report
from worker.logs import set_up_logging
from worker.metrics.exposition import to_text
from worker.tracing import start_exporting

LOADING_PATIENCE = 0.01  # seconds between two looks at a model that is being loaded
STATE_SECONDS = 1.0  # between two words about the engine's state and figures
BATCH_REQUESTS = 16  # taken in between two steps


class EngineServer:
    """Carries out a parent's commands and reports what comes of them.

    Interactive requests are taken in at once; of a batch's a few each step, since to take them in
    takes time in which nobody's text goes on.
    """

    def __init__(self, connection: Connection, host: EngineHost) -> None:
        self._connection = connection
        self._host = host
        self._metrics = EngineMetrics()
        self._metrics.watch(host)
        self._due = 0.0  # when the engine's state is told next
        self._told = False  # whether nothing has happened since it was
        self._gathering = Gathering(host.tell, self._metrics)
        self._batch: dict[str, tuple[GenerateRequest, str]] = {}  # not taken in yet, by id
        self._refusals: list[Report] = []
        self._poller = select.poll()
        self._poller.register(connection.fileno(), select.POLLIN)

    def serve(self) -> None:
        """Work until the parent closes the connection."""
        while self._hear():
            self._take_in_batch()
            for request_id, error in self._host.settle():
                self._refuse(request_id, error)
            for delta in self._host.step():
                self._gathering.add(delta)
            self._report()
            self._tell_state()

    def _hear(self) -> bool:
        """Take all commands that have come; False when the parent is gone."""
        while self._poller.poll(self._patience()):
            self._told = False
            try:
                commands = json.loads(self._connection.recv_bytes())
            except EOFError:
                return False
            for operation, *arguments in commands:
                if operation == "submit":
                    self._submit(*arguments)
                else:
                    self._cancel(*arguments)
        return True

    def _patience(self) -> float | None:
        """Milliseconds to wait for a command; None: there is nothing else to do."""
        if self._host.busy or self._batch or self._refusals:
            return 0
        if self._host.loading:
            return 1000 * LOADING_PATIENCE
        if self._told:
            return None
        return 1000 * max(0.0, self._due - time.monotonic())

    def _submit(self, values: dict[str, Any], path: str, interactive: bool) -> None:
        try:
            request = GenerateRequest.received(values)
        except Unavailable as error:
            self._refuse(values["id"], error.as_dict())
            return
        if interactive:
            self._begin(request, path, interactive)
        else:
            self._batch[request.id] = (request, path)

    def _take_in_batch(self) -> None:
        for name in list(islice(self._batch, BATCH_REQUESTS)):
            self._begin(*self._batch.pop(name), interactive=False)

    def _begin(self, request: GenerateRequest, path: str, interactive: bool) -> None:
        self._gathering.begin(request, interactive=interactive)
        try:
            self._host.submit(request, path, interactive)
        except TextgenError as error:
            self._refuse(request.id, error.as_dict())

    def _cancel(self, request_id: str) -> None:
        if self._batch.pop(request_id, None) is None:
            self._host.cancel(request_id)
            self._gathering.forget(request_id)

    def _report(self) -> None:
        """Send what is due, if anything is."""
        due = self._gathering.due(time.monotonic(), at_rest=not self._host.busy)
        reports = self._refusals + due
        self._refusals = []
        if not reports:
            return
        timed = [(*report, self._host.take_seconds(report[0])) for report in reports]
        for name, _, usage, _ in reports:
            if usage is not None:
                self._host.ended(name)
        self._connection.send_bytes(encode(timed).encode())

    def _tell_state(self) -> None:
        """Say each second how the engine is, and what it measured; at rest once more, then not."""
        now = time.monotonic()
        if now < self._due:
            return
        self._due = now + STATE_SECONDS
        self._told = not (self._host.busy or self._batch or self._host.loading)
        state, metrics = encode_state(self._host.state), to_text([self._metrics.registry])
        with suppress(OSError):  # the parent is gone, which the next look finds
            self._connection.send_bytes(encode({"state": state, "metrics": metrics}).encode())

    def _refuse(self, request_id: str, error: dict[str, Any]) -> None:
        self._metrics.refused(str(error["code"]))
        self._gathering.drop(request_id, str(error["code"]))
        self._refusals.append((request_id, (), None, error))


def main() -> None:
    """Serve the parent whose socket is the given file descriptor."""
    options = json.loads(sys.argv[2])
    set_up_logging(options["log_format"], "engine")
    start_exporting(options["traces"], "engine")
    # The native kernel waits for no thread without a core; torch's operations do.
    torch.set_num_threads(max(1, options["threads"] // 2))
    host = EngineHost(
        device=str(pick_device(options["device"])),
        slots=options["slots"],
        cache_bytes=options["cache_bytes"],
        prefix_cache_bytes=options["prefix_cache_bytes"],
        weights=options["weights"],
        threads=options["threads"],
    )
    EngineServer(Connection(int(sys.argv[1])), host).serve()


if __name__ == "__main__":
    main()
