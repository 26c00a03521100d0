"""Which numbers of rows agree to the bit, measured when an engine starts.

It differs between machines, threads and shapes, so nothing is assumed: the candidates run on the
model's own weights, and one group of those that give the same bits stays.
"""

from __future__ import annotations

import torch
from torch import Tensor

from textgen.engine.folded import FoldedModel
from textgen.engine.kernels.row_plan import GPU_BLOCKS, RowPlan, cpu_blocks
from textgen.engine.kernels.torch_rows import RowBlock
from textgen.engine.rows import RowState


def measure_row_plan(model: FoldedModel) -> RowPlan:
    """The plan for this model on this machine with the present number of threads.

    Of the groups of candidates whose rows have the same bits, the one that pads and cuts least.
    Some tens of milliseconds for 2×512.
    """
    groups: list[tuple[Tensor, list[int]]] = []
    on_cpu = model.device.type == "cpu"
    blocks = cpu_blocks(torch.get_num_threads()) if on_cpu else GPU_BLOCKS
    state = RowState(model.shape, blocks.largest)
    for size in blocks.sizes:
        result = _one_step(model, state, size)
        if not bool((result == result[:1]).all()):
            continue  # not even the rows of one block agree
        for reference, sizes in groups:
            if torch.equal(reference, result[0]):
                sizes.append(size)
                break
        else:
            groups.append((result[0].clone(), [size]))
    # One row always agrees with itself, so there is a group.
    plans = [RowPlan(sizes) for _, sizes in groups]
    return min(plans, key=lambda plan: plan.slowness(blocks))


@torch.inference_mode()
def _one_step(model: FoldedModel, state: RowState, size: int) -> Tensor:
    """Step ``size`` equal rows; (size, columns + 2·L·H): logits and new states."""
    generator = torch.Generator().manual_seed(0)
    shape = (2, model.layers, 1, model.hidden)
    start = torch.rand(shape, generator=generator).mul_(2).sub_(1).to(model.device)
    gates = torch.empty(size, 4 * model.hidden, device=model.device)
    block = RowBlock(model, state, gates, 0)
    state.hidden[:, :size] = start[0]
    state.cell[:, :size] = start[1]
    state.tokens[:size] = model.vocab_size - 1
    block.step()
    parts = [state.logits[:size], *state.hidden[:, :size], *state.cell[:, :size]]
    return torch.cat(parts, dim=1)
