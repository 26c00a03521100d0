"""The kernel of torch's own operations: on every device, with no compiler."""

from __future__ import annotations

import torch

from textgen.cuda_graphs import CudaRecorder
from textgen.engine.folded import FoldedModel
from textgen.engine.kernels.row_measurement import measure_row_plan
from textgen.engine.kernels.torch_reader import TorchPromptReader
from textgen.engine.kernels.torch_rows import TorchRows


class TorchKernel:
    """Kernel of torch's operations. The number of torch threads must stay as it is now."""

    def __init__(self, model: FoldedModel) -> None:
        self._model = model
        self._plan = measure_row_plan(model)
        self._recorder = CudaRecorder(model.device) if model.device.type == "cuda" else None

    @property
    def name(self) -> str:
        """Which numbers of rows agree is measured, so it belongs to the name."""
        where = f" threads {torch.get_num_threads()}" if self._model.device.type == "cpu" else ""
        return f"torch{where} rows {','.join(map(str, self._plan.sizes))}"

    def rows(self, slots: int) -> TorchRows:
        """See Kernel."""
        return TorchRows(self._model, self._plan, slots, self._recorder)

    def reader(self) -> TorchPromptReader:
        """See Kernel."""
        return TorchPromptReader(self._model, self._plan)
