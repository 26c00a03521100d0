from __future__ import annotations

import pytest

from textgen.engine.kernels.row_plan import LARGEST_BLOCK, RowPlan, candidate_sizes


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
    sizes = candidate_sizes(threads)
    assert sizes[:5] == [1, 2, 4, 8, 12]
    assert all(size % threads == 0 and size % 8 == 0 for size in sizes[5:])
    assert max(sizes) <= LARGEST_BLOCK


def test_slowness_prefers_sizes_that_fit_small_and_large_numbers() -> None:
    everything = RowPlan([2, 4, *range(8, 129, 8)])
    only_small, only_large = RowPlan([4, 12, 16, 24]), RowPlan([40, 48, 64, 96, 128])
    assert 1 < everything.slowness() < only_small.slowness() < only_large.slowness()
