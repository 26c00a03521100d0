"""The generation engine as a process of its own: `python -m worker.generation.engine_process FD`.

Commands come in and reports go out over one socket, JSON both ways, at most one report a step.
It knows model files and token ids; Redis and jobs are its parent's business. When the socket
closes, the parent is gone and the process ends.
"""

from __future__ import annotations

import json
import select
import sys
import time
from itertools import islice
from multiprocessing.connection import Connection
from typing import Any

import torch

from textgen.errors import TextgenError
from textgen.numerics import pick_device
from worker.contracts import GenerateRequest, encode
from worker.generation.engine_host import EngineHost
from worker.generation.gathering import Gathering, Report

LOADING_PATIENCE = 0.01  # seconds between two looks at a model that is being loaded
BATCH_REQUESTS = 16  # taken in between two steps


class EngineServer:
    """Carries out a parent's commands and reports what comes of them.

    Interactive requests are taken in at once; of a batch's a few each step, since to take them in
    takes time in which nobody's text goes on.
    """

    def __init__(self, connection: Connection, host: EngineHost) -> None:
        self._connection = connection
        self._host = host
        self._gathering = Gathering()
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

    def _hear(self) -> bool:
        """Take all commands that have come; False when the parent is gone."""
        while self._poller.poll(self._patience()):
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
        return 1000 * LOADING_PATIENCE if self._host.loading else None

    def _submit(self, values: dict[str, Any], path: str, interactive: bool) -> None:
        request = GenerateRequest.model_validate(values)
        if interactive:
            self._begin(request, path, interactive)
        else:
            self._batch[request.id] = (request, path)

    def _take_in_batch(self) -> None:
        for name in list(islice(self._batch, BATCH_REQUESTS)):
            self._begin(*self._batch.pop(name), interactive=False)

    def _begin(self, request: GenerateRequest, path: str, interactive: bool) -> None:
        self._gathering.begin(request)
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
        reports = self._refusals + self._gathering.due(time.monotonic())
        self._refusals = []
        if not reports:
            return
        for name, _, usage, _ in reports:
            if usage is not None:
                self._host.ended(name)
        self._connection.send_bytes(encode(reports).encode())

    def _refuse(self, request_id: str, error: dict[str, Any]) -> None:
        self._gathering.forget(request_id)
        self._refusals.append((request_id, (), None, error))


def main() -> None:
    """Serve the parent whose socket is the given file descriptor."""
    options = json.loads(sys.argv[2])
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
