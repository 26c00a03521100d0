"""The generation engine as a process of its own: `python -m worker.generation.engine_process FD`.

Commands come in and reports go out over one socket, JSON both ways, at most one report a step.
It knows model files and token ids; requests, Redis and jobs are its parent's business. When the
socket closes, the parent is gone and the process ends.
"""

from __future__ import annotations

import base64
import json
import sys
import time
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import asdict
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch

from textgen.bundles.bundle import load_bundle
from textgen.corpus.documents import Turn
from textgen.engine.context import TokenIds, conversation_ids
from textgen.engine.engine import Delta, Engine, Request
from textgen.errors import InvalidOption, TextgenError
from textgen.numerics import pick_device
from textgen.tokenizers import Tokenizer
from worker.contracts import Conversation, GenerateRequest

QUEUE = 8192  # choices that may wait in one engine
PULSE_SECONDS = 1.0  # a busy engine reports at least this often, also during a long prompt


class EngineHost:
    """The loaded models, least recently used first, each with its engine."""

    def __init__(
        self, *, device: str, slots: int, cache_bytes: int, prefix_cache_bytes: int = 0
    ) -> None:
        self._device = device
        self._slots = slots
        self._cache_bytes = cache_bytes
        self._prefix_cache_bytes = prefix_cache_bytes
        self._engines: OrderedDict[str, Engine] = OrderedDict()
        self._sizes: dict[str, int] = {}  # of their files, which may be gone: checkpoints are

    @property
    def busy(self) -> bool:
        """Whether any engine has work."""
        return any(engine.busy for engine in self._engines.values())

    def submit(self, request: GenerateRequest, path: str, interactive: bool) -> None:
        """Queue every choice of a request; raises TextgenError and then queues none of it."""
        engine = self._engine(path)
        submitted = []
        try:
            for index, piece in enumerate(_choices(request, engine, interactive)):
                engine.submit(piece)
                submitted.append(f"{request.id}/{index}")
        except TextgenError:
            for name in submitted:
                engine.cancel(name)
            raise

    def cancel(self, request_id: str, choices: int, path: str) -> None:
        """Stop a request and free its slots; choices that have ended already are passed over."""
        if path in self._engines:
            for index in range(choices):
                self._engines[path].cancel(f"{request_id}/{index}")

    def step(self) -> list[Delta]:
        """Advance every engine that has work by one step."""
        deltas: list[Delta] = []
        for engine in self._engines.values():
            if engine.busy:
                deltas += engine.step()
        return deltas

    def _engine(self, path: str) -> Engine:
        if path not in self._engines:
            size = Path(path).stat().st_size
            bundle = load_bundle(Path(path), device=self._device)
            self._make_room(size)
            self._sizes[path] = size
            self._engines[path] = Engine(
                bundle,
                slots=self._slots,
                queue=QUEUE,
                prefix_cache_bytes=self._prefix_cache_bytes,
            )
        self._engines.move_to_end(path)
        return self._engines[path]

    def _make_room(self, needed: int) -> None:
        """Let idle models go, the least recently used first, until the new one fits."""
        for path in list(self._engines):
            if sum(self._sizes.values()) + needed <= self._cache_bytes:
                return
            if not self._engines[path].busy:
                del self._engines[path], self._sizes[path]


def _choices(request: GenerateRequest, engine: Engine, interactive: bool) -> list[Request]:
    """The engine's requests: every prompt ``n`` times, ids checked against the vocabulary."""
    size = engine.tokenizer.vocab_size
    suffix = None if request.suffix is None else engine.tokenizer.encode(request.suffix)
    pieces = []
    for number, prompt in enumerate(request.prompts):
        ids = _prompt_ids(prompt, engine.tokenizer)
        if ids.size and int(ids.max()) >= size:
            raise InvalidOption(
                f"'prompt' has the token id {int(ids.max())}; this model knows 0 to {size - 1}.",
                param="prompt",
            )
        pieces += [
            Request(
                id=f"{request.id}/{number * request.n + choice}",
                prompt=ids,
                options=request.options,
                seed=request.seed,
                choice=choice,
                echo=request.echo,
                interactive=interactive,
                suffix=suffix,
                task=request.task,
                logprobs=request.logprobs,
                ranked=request.ranked,
            )
            for choice in range(request.n)
        ]
    return pieces


def _prompt_ids(prompt: str | tuple[int, ...] | Conversation, tokenizer: Tokenizer) -> TokenIds:
    if isinstance(prompt, Conversation):
        turns = [Turn(each.text, mark=each.role) for each in prompt.turns]
        return conversation_ids(tokenizer, turns)
    return tokenizer.encode(prompt) if isinstance(prompt, str) else np.asarray(prompt)


def serve(connection: Connection, host: EngineHost) -> None:
    """Handle commands and step until the parent closes the connection."""
    reported = time.monotonic()
    while True:
        errors: list[tuple[str, dict[str, Any]]] = []
        while connection.poll(0 if host.busy or errors else None):
            try:
                command = json.loads(connection.recv_bytes())
            except EOFError:
                return
            _handle(host, command, errors)
        deltas = host.step()
        now = time.monotonic()
        if deltas or errors or now - reported >= PULSE_SECONDS:
            connection.send_bytes(_report(deltas, errors))
            reported = now


def _handle(host: EngineHost, command: dict[str, Any], errors: list[Any]) -> None:
    if command["op"] == "cancel":
        host.cancel(command["id"], command["choices"], command["path"])
        return
    request = GenerateRequest.model_validate(command["request"])
    try:
        host.submit(request, command["path"], command["interactive"])
    except TextgenError as error:
        errors.append((request.id, error.as_dict()))
    except (OSError, MemoryError, RuntimeError) as error:
        reason = {"code": "model_not_loaded", "message": str(error), "param": "model"}
        errors.append((request.id, reason))


def _report(deltas: list[Delta], errors: list[Any]) -> bytes:
    rows = []
    for delta in deltas:
        request_id, _, index = delta.id.rpartition("/")
        row = [request_id, int(index), delta.text, delta.tokens, delta.finish_reason]
        rows.append([*row, delta.prompt_tokens, *_results(delta)])
    return json.dumps({"deltas": rows, "errors": errors}).encode()


def _results(delta: Delta) -> Iterator[dict[str, Any]]:
    """What a task gives beside text, by the names of `ChoiceDelta`; for most deltas nothing."""
    if delta.chances is not None:
        yield {"chances": delta.chances}
    if delta.vector is not None:
        raw = delta.vector.astype("<f4").tobytes()
        yield {"vector": base64.b64encode(raw).decode()}
    if delta.logprobs:
        yield {"logprobs": [asdict(each) for each in delta.logprobs]}
    if delta.mean_logprob is not None:
        yield {"mean_logprob": delta.mean_logprob}


def main() -> None:
    """Serve the parent whose socket is the given file descriptor."""
    options = json.loads(sys.argv[2])
    torch.set_num_threads(options["threads"])
    host = EngineHost(
        device=str(pick_device(options["device"])),
        slots=options["slots"],
        cache_bytes=options["cache_bytes"],
        prefix_cache_bytes=options["prefix_cache_bytes"],
    )
    serve(Connection(int(sys.argv[1])), host)


if __name__ == "__main__":
    main()
