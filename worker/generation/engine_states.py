"""What generation workers say of their engines, kept in Redis for as long as they live.

A worker's pulse carries it (`worker.generation.answers`), so it is a second or two old.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

import redis

from worker.contracts import INTERACTIVE
from worker.errors import BrokerUnavailable
from worker.redis_keys import worker_key


class LoadedModel(NamedTuple):
    """A model that an engine has in memory."""

    artifact: str
    bytes: int  # weights, slots, caches


class EngineState(NamedTuple):
    """An engine at one moment; texts are choices of requests, a batch's lines among them."""

    models: tuple[LoadedModel, ...] = ()  # the least recently used first
    running: int = 0  # texts that advance
    waiting: int = 0  # texts without a slot, or whose model is being loaded
    slots: int = 0  # of each model
    cache_bytes: int = 0  # that models may take together


def encode_state(state: EngineState) -> str:
    """As one line of JSON."""
    return json.dumps(state)


def decode_state(text: str | bytes) -> EngineState | None:
    """Back from `encode_state`; None for what a worker of an earlier version says."""
    values = json.loads(text)
    if not isinstance(values, list):
        return None
    models, *numbers = values[: len(EngineState._fields)]
    return EngineState(tuple(LoadedModel(*each[:2]) for each in models), *numbers)


class EngineStates:
    """Reads for people. Safe to share between threads."""

    def __init__(self, connection: redis.Redis) -> None:
        self._redis = connection

    def of(self, workers: Sequence[str]) -> dict[str, EngineState]:
        """By ``name.incarnation``, of those that have said something; BrokerUnavailable."""
        if not workers:
            return {}
        try:
            told = self._redis.mget([worker_key(worker) for worker in workers])
        except redis.RedisError as error:
            raise BrokerUnavailable(f"Redis does not answer: {error}.") from error
        states = {
            worker: decode_state(text)
            for worker, text in zip(workers, told, strict=True)
            if text is not None
        }
        return {worker: state for worker, state in states.items() if state is not None}

    def requests_waiting(self) -> int:
        """Interactive requests that no worker has taken yet; raises BrokerUnavailable."""
        try:
            return int(self._redis.llen(INTERACTIVE))
        except redis.RedisError as error:
            raise BrokerUnavailable(f"Redis does not answer: {error}.") from error
