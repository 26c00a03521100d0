"""CUDA graphs: work on a GPU that is recorded once and started as a whole.

All that a recorded step reads and writes must stay where it is, and nothing in it may wait for the
GPU; https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs has the rules.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

_WARM_UP_STEPS = 3  # in which libraries choose their kernels and take their work space


class CudaRecorder:
    """Records on one CUDA device. One stream warms up and records, one pool serves all graphs.

    The graphs must be replayed one at a time, and what is to outlast a replay must lie in buffers
    that were there before.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._pool = torch.cuda.graph_pool_handle()

    def record(self, step: Callable[[], None]) -> Callable[[], None]:
        """What replays ``step`` on the same buffers; RuntimeError where it cannot be recorded.

        ``step`` runs some times on the way.
        """
        graph = torch.cuda.CUDAGraph()
        before = torch.cuda.current_stream(self._device)
        # The outer context puts the caller's stream back where a recording fails midway.
        with torch.cuda.device(self._device), torch.cuda.stream(self._stream):
            self._stream.wait_stream(before)
            for _ in range(_WARM_UP_STEPS):
                step()
            # Other threads may load models meanwhile: only this one's calls are looked at.
            with torch.cuda.graph(
                graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"
            ):
                step()
        torch.cuda.synchronize(self._device)
        return graph.replay
