"""Processes that train one model together, each on its rows of every batch.

One leads: it decides, measures, tells and saves. The others do what it says, step by step, so that
nothing which depends on a clock or on a wish to stop can divide them. Their weights and optimizers
are equal, because all start from the leader's and apply the same summed gradients.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Protocol

import torch
from torch import Tensor, distributed

from textgen.errors import WorkerLost

LEADER = 0
# One that is dead is noticed at once, by its connections; these are for one that only hangs, or
# whose machine went without a word. Within a step all have the same to do. Between two orders the
# leader may read a large text, or measure on one, while the others wait.
_PATIENCE = timedelta(minutes=30)
_PATIENCE_FOR_ORDERS = timedelta(days=1)


class Group(Protocol):
    """What a training needs of the processes that share it. Raises WorkerLost where one is gone."""

    @property
    def rank(self) -> int:
        """The number of this process; 0 leads."""

    @property
    def size(self) -> int:
        """How many there are."""

    def tell(self, do: str, **facts: Any) -> None:
        """Say to those who follow what comes next; only what JSON knows. Followers say nothing."""

    def sum(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over all processes: the same bits in every one of them."""

    def copy(self, tensors: Sequence[Tensor]) -> None:
        """Overwrite each tensor by the leader's."""


class Alone:
    """One process: all rows are its own."""

    rank = LEADER
    size = 1

    def tell(self, do: str, **facts: Any) -> None:
        """Nobody listens."""

    def sum(self, tensors: Sequence[Tensor]) -> None:
        """They are the sums already."""

    def copy(self, tensors: Sequence[Tensor]) -> None:
        """They are the leader's already."""


ALONE = Alone()


class Processes:
    """Several processes, connected by torch.distributed: gloo between CPUs, NCCL between GPUs."""

    def __init__(
        self, rank: int, size: int, orders: distributed.ProcessGroup | None = None
    ) -> None:
        self.rank = rank
        self.size = size
        self._orders = orders  # the same processes with more patience

    def tell(self, do: str, **facts: Any) -> None:
        """The length of the order, then the order."""
        if self.rank != LEADER:
            return
        order = torch.frombuffer(
            bytearray(json.dumps({"do": do, **facts}).encode()), dtype=torch.uint8
        )
        with _noticing_losses():
            distributed.broadcast(torch.tensor([len(order)]), LEADER, self._orders)
            distributed.broadcast(order, LEADER, self._orders)

    def hear(self) -> dict[str, Any]:
        """The leader's next order, waited for as long as reading a large text may take."""
        length = torch.zeros(1, dtype=torch.int64)
        with _noticing_losses():
            distributed.broadcast(length, LEADER, self._orders)
            order = torch.empty(int(length), dtype=torch.uint8)
            distributed.broadcast(order, LEADER, self._orders)
        found: dict[str, Any] = json.loads(bytes(order.tolist()))
        return found

    def sum(self, tensors: Sequence[Tensor]) -> None:
        """One message for all of them; they have one dtype and device."""
        whole = torch.cat([tensor.reshape(-1) for tensor in tensors])
        with _noticing_losses():
            distributed.all_reduce(whole)
        _spread(whole, tensors)

    def copy(self, tensors: Sequence[Tensor]) -> None:
        """One message for all of them; they have one dtype and device."""
        whole = torch.cat([tensor.reshape(-1) for tensor in tensors])
        with _noticing_losses():
            distributed.broadcast(whole, LEADER)
        _spread(whole, tensors)


@contextmanager
def joined(rank: int, size: int, device: torch.device, meeting: str) -> Iterator[Processes]:
    """The group that meets at a URL that torch.distributed knows; all of it must join."""
    backend = "gloo" if device.type == "cpu" else "cpu:gloo,cuda:nccl"
    with _noticing_losses():
        distributed.init_process_group(
            backend, init_method=meeting, rank=rank, world_size=size, timeout=_PATIENCE
        )
        orders = distributed.new_group(timeout=_PATIENCE_FOR_ORDERS, backend="gloo")
    try:
        yield Processes(rank, size, orders)
    finally:
        distributed.destroy_process_group()


def own_rows(group: Group, batch_size: int) -> slice:
    """Which rows of a batch are this process's: neighbours, as evenly shared as can be."""
    first, last = (batch_size * rank // group.size for rank in (group.rank, group.rank + 1))
    return slice(first, last)


@torch.no_grad()
def _spread(whole: Tensor, tensors: Sequence[Tensor]) -> None:
    parts = torch.split(whole, [tensor.numel() for tensor in tensors])
    for tensor, part in zip(tensors, parts, strict=True):
        tensor.copy_(part.view_as(tensor))


@contextmanager
def _noticing_losses() -> Iterator[None]:
    """torch.distributed raises RuntimeError alone, whatever happened."""
    try:
        yield
    except RuntimeError as error:
        raise WorkerLost(
            f"One of the processes that train together is gone or out of reach: {error}"
        ) from error
