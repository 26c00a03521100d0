"""The models that an engine process has loaded, under a bound of memory.

A model is loaded by a thread, so that those that run go on; requests for it wait until it is
there. What an engine really takes (weights, tables, slots, buffers) is measured once it is made.
When memory runs short, the engine whose last request is the longest ago leaves; one that works
never does.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from textgen.bundles.bundle import load_bundle
from textgen.engine.engine import BURST_SECONDS, Delta, Engine
from textgen.engine.figures import EngineFigures
from textgen.engine.kernels.kernel import Weights
from textgen.errors import EngineFull, InvalidOption, TextgenError
from worker.contracts import GenerateRequest
from worker.generation.engine_requests import engine_requests
from worker.generation.engine_states import EngineState, LoadedModel
from worker.generation.held_bytes import held_bytes

LOG = logging.getLogger(__name__)

QUEUE = 8192  # choices of one tenant that may wait in one engine

Failures = list[tuple[str, dict[str, Any]]]  # request id, error


@dataclass(slots=True)
class _Loaded:
    """An engine and the bytes that it takes."""

    engine: Engine
    size: int
    artifact: str


@dataclass(slots=True)
class _Loading:
    """A model on its way, and the requests that wait for it."""

    engine: Future[Engine]
    artifact: str
    waiting: dict[str, tuple[GenerateRequest, bool]] = field(default_factory=dict)  # interactive?


class EngineHost:
    """Engines by the path of their model's file, the least recently used first.

    Not safe for threads, as an engine is not: one thread makes all calls.
    """

    def __init__(
        self,
        *,
        device: str,
        slots: int,
        cache_bytes: int,
        prefix_cache_bytes: int = 0,
        weights: Weights = "float32",
        threads: int | None = None,
    ) -> None:
        self._device = device
        self._slots = slots
        self._cache_bytes = cache_bytes
        self._prefix_cache_bytes = prefix_cache_bytes
        self._weights: Weights = weights
        self._threads = threads
        self._loaded: OrderedDict[str, _Loaded] = OrderedDict()
        self._loading: dict[str, _Loading] = {}
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="model-loader")
        self.figures = EngineFigures()  # of all engines, also of those that have left
        self._places: dict[str, tuple[str, int]] = {}  # request id → its model's path, its choices
        self._seconds: dict[str, float] = {}  # of ended requests whose engine has left

    @property
    def busy(self) -> bool:
        """Whether a step would do anything."""
        return any(each.engine.busy for each in self._loaded.values())

    @property
    def loading(self) -> bool:
        """Whether a model is on its way: call `settle` now and then."""
        return bool(self._loading)

    @property
    def models(self) -> dict[str, int]:
        """Bytes that each loaded model takes, by path, the least recently used first."""
        return {path: each.size for path, each in self._loaded.items()}

    @property
    def state(self) -> EngineState:
        """What people want to know of it."""
        engines = [each.engine for each in self._loaded.values()]
        waiting = sum(engine.waiting for engine in engines)
        for loading in self._loading.values():
            waiting += sum(_choices(request) for request, _ in loading.waiting.values())
        return EngineState(
            tuple(LoadedModel(each.artifact, each.size) for each in self._loaded.values()),
            running=sum(self._slots - engine.free_slots for engine in engines),
            waiting=waiting,
            slots=self._slots,
            cache_bytes=self._cache_bytes,
        )

    def submit(self, request: GenerateRequest, path: str, interactive: bool) -> None:
        """Queue every choice of a request, now or when its model is there.

        Raises TextgenError, and then queues none of it.
        """
        loaded = self._loaded.get(path)
        if loaded is not None:
            self._loaded.move_to_end(path)
            self._start(request, path, loaded.engine, interactive)
            return
        if path not in self._loading:
            self._loading[path] = _Loading(self._load(path), request.bundle.artifact)
        waiting = self._loading[path].waiting
        if len(waiting) >= QUEUE:
            raise EngineFull(
                f"{len(waiting)} requests wait for their model to be loaded, which is all that "
                "are taken. Send the request again in a moment."
            )
        waiting[request.id] = (request, interactive)

    def cancel(self, request_id: str) -> None:
        """Stop a request and free its slots at once; an unknown one is passed over."""
        for loading in self._loading.values():
            loading.waiting.pop(request_id, None)
        path, choices = self._places.pop(request_id, ("", 0))
        self._seconds.pop(request_id, None)
        if path in self._loaded:
            for index in range(choices):
                self._loaded[path].engine.cancel(f"{request_id}/{index}")

    def take_seconds(self, request_id: str) -> float:
        """A request's share of its engine's time since this was last asked for it."""
        path, choices = self._places.get(request_id, ("", 0))
        seconds = self._seconds.pop(request_id, 0.0)
        if path in self._loaded:
            engine = self._loaded[path].engine
            seconds += sum(engine.take_seconds(f"{request_id}/{each}") for each in range(choices))
        return seconds

    def ended(self, request_id: str) -> None:
        """Forget a request whose last delta has left."""
        self._places.pop(request_id, None)
        self._seconds.pop(request_id, None)

    def settle(self) -> Failures:
        """Put models in place that have been loaded, and begin what waited for them.

        Returns the requests that cannot be carried out.
        """
        failures: Failures = []
        for path in [path for path, each in self._loading.items() if each.engine.done()]:
            loading = self._loading.pop(path)
            failures += self._put_in_place(path, loading)
        return failures

    def step(self) -> list[Delta]:
        """Advance every engine that has work by one step, or several short ones."""
        deltas: list[Delta] = []
        for each in self._loaded.values():
            if each.engine.busy:
                deltas += each.engine.step(BURST_SECONDS)
        return deltas

    def tell(self, request_id: str) -> list[Delta]:
        """What has come of a request and was not among the deltas of a step."""
        path, choices = self._places.get(request_id, ("", 0))
        if path not in self._loaded:  # its last delta came before its engine left
            return []
        engine = self._loaded[path].engine
        told = (engine.tell(f"{request_id}/{index}") for index in range(choices))
        return [delta for delta in told if delta is not None]

    def _load(self, path: str) -> Future[Engine]:
        """Begin to load, unless the file alone says that there is no room."""
        future: Future[Engine] = Future()
        try:
            self._make_room(Path(path).stat().st_size)
        except (OSError, TextgenError) as error:
            future.set_exception(error)
            return future
        return self._loader.submit(self._make_engine, path)

    def _make_engine(self, path: str) -> Engine:
        """In the loader's thread."""
        bundle = load_bundle(Path(path), device=self._device)
        make = partial(
            Engine,
            bundle,
            slots=self._slots,
            queue=QUEUE,
            figures=self.figures,
            prefix_cache_bytes=self._prefix_cache_bytes,
            threads=self._threads,
        )
        try:
            return make(weights=self._weights)
        except InvalidOption as error:
            if error.param != "weights":
                raise
            # A setting for all models: one that it does not fit is served exactly.
            LOG.warning("%s is served with float32 weights: %s", path, error.message)
            return make(weights="float32")

    def _put_in_place(self, path: str, loading: _Loading) -> Failures:
        try:
            engine = loading.engine.result()
            size = held_bytes(engine)
            self._make_room(size)
        except (TextgenError, OSError, MemoryError, RuntimeError) as error:
            reason = _reason(path, error)
            return [(name, reason) for name in loading.waiting]
        self._loaded[path] = _Loaded(engine, size, loading.artifact)
        failures = []
        for name, (request, interactive) in loading.waiting.items():
            try:
                self._start(request, path, engine, interactive)
            except TextgenError as error:
                failures.append((name, error.as_dict()))
        return failures

    def _make_room(self, needed: int) -> None:
        """Let idle engines go, the least recently used first, until so many bytes fit."""
        if needed > self._cache_bytes:
            raise TextgenError(
                f"The model takes {needed:,} bytes of memory; TEXTGEN_MODEL_CACHE_BYTES allows "
                f"{self._cache_bytes:,} for all models together. Raise it, or use a smaller model.",
                code="model_too_large",
                param="model",
            )
        free = self._cache_bytes - sum(each.size for each in self._loaded.values())
        leaving = []
        for path, each in self._loaded.items():
            if free >= needed:
                break
            if not each.engine.busy:
                leaving.append(path)
                free += each.size
        if free < needed:
            raise EngineFull(
                f"The model takes {needed:,} bytes of memory, and models at work leave {free:,} of "
                f"the {self._cache_bytes:,} that TEXTGEN_MODEL_CACHE_BYTES allows. Send the "
                "request again in a moment."
            )
        for path in leaving:
            self._leave(path)

    def _leave(self, path: str) -> None:
        """Let an engine go. What its requests took is kept: not all may have been told yet."""
        for name, (place, _) in self._places.items():
            if place == path:
                self._seconds[name] = self.take_seconds(name)
        del self._loaded[path]

    def _start(
        self, request: GenerateRequest, path: str, engine: Engine, interactive: bool
    ) -> None:
        submitted: list[str] = []
        try:
            for piece in engine_requests(request, engine.tokenizer, interactive=interactive):
                engine.submit(piece)
                submitted.append(piece.id)
        except TextgenError:
            for name in submitted:
                engine.cancel(name)
            raise
        self._places[request.id] = (path, len(submitted))


def _choices(request: GenerateRequest) -> int:
    return len(request.prompts) * request.n


def _reason(path: str, error: Exception) -> dict[str, Any]:
    """Why a model is not there, for the requests that wait for it."""
    if isinstance(error, TextgenError):
        return error.as_dict()
    text = str(error) or type(error).__name__
    message = f"The model's file {Path(path).name} could not be loaded: {text}"
    return {"code": "model_not_loaded", "message": message, "param": "model"}
