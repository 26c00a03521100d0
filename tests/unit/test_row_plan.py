from __future__ import annotations

import pytest

from textgen.engine.kernels.row_plan import GPU_BLOCKS, RowPlan, cpu_blocks


@pytest.mark.parametrize("sizes", [[1], [4], [128], [4, 8, 16], [2, 4, *range(8, 129, 8)]])
def test_blocks_cover_every_row_once_and_the_buffers_hold_them(sizes: list[int]) -> None:
    plan = RowPlan(sizes)
    for rows in range(1, 300):
        blocks = plan.blocks(rows)
        assert [first for first, _ in blocks] == [
            sum(size for _, size in blocks[:index]) for index in range(len(blocks))
        ]
        assert {size for _, size in blocks} <= set(sizes)
        assert rows <= plan.capacity(rows)
        assert all(plan.capacity(fewer) <= plan.capacity(rows) for fewer in range(1, rows))


def test_only_the_last_block_is_padded_and_as_little_as_possible() -> None:
    plan = RowPlan([4, 8, 16])
    assert plan.blocks(3) == [(0, 4)]
    assert plan.blocks(5) == [(0, 8)]
    assert plan.blocks(16) == [(0, 16)]
    assert plan.blocks(37) == [(0, 16), (16, 16), (32, 8)]


@pytest.mark.parametrize("threads", [1, 2, 3, 4, 6, 8, 24, 64])
def test_candidates_let_every_thread_end_with_a_row(threads: int) -> None:
    blocks = cpu_blocks(threads)
    assert blocks.sizes[:5] == (1, 2, 4, 8, 12)
    assert all(size % threads == 0 and size % 8 == 0 for size in blocks.sizes[5:])
    assert blocks.largest <= 128


def test_slowness_prefers_sizes_that_fit_small_and_large_numbers() -> None:
    everything = RowPlan([2, 4, *range(8, 129, 8)])
    only_small, only_large = RowPlan([4, 12, 16, 24]), RowPlan([40, 48, 64, 96, 128])
    slow = [plan.slowness(cpu_blocks(2)) for plan in (everything, only_small, only_large)]
    assert 1 < slow[0] < slow[1] < slow[2]


def test_on_a_gpu_padding_is_cheap_and_many_blocks_are_not() -> None:
    large, small = RowPlan([128, 256, 512, 1024, 2048]), RowPlan([1, 2, 4, 8, 16, 32])
    assert large.slowness(GPU_BLOCKS) < 1.5 < small.slowness(GPU_BLOCKS)
    assert large.slowness(cpu_blocks(2)) > small.slowness(cpu_blocks(2))
