"""Whose turn it is, whatever comes and goes."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from textgen.engine.fair_queue import FairQueue

FLOWS = st.sampled_from("abcd")


def test_a_single_item_does_not_wait_for_the_thousand_of_another() -> None:
    queue: FairQueue[str] = FairQueue()
    for number in range(1000):
        queue.push("many", f"many-{number}", "many", 100)
    assert queue.pop() == "many"

    queue.push("one", "one-0", "one", 100)

    assert [queue.pop(), queue.pop()].count("one") == 1


def test_long_items_of_one_flow_stand_against_many_short_ones_of_another() -> None:
    queue: FairQueue[str] = FairQueue()
    for number in range(100):
        queue.push("long", f"l{number}", "long", 1000)
        queue.push("short", f"s{number}", "short", 100)

    taken = [queue.pop() for _ in range(55)]

    assert taken.count("short") == pytest.approx(50, abs=2)


def test_who_was_away_has_saved_nothing_up() -> None:
    queue: FairQueue[str] = FairQueue()
    for number in range(200):
        queue.push("busy", f"b{number}", "busy", 1)
    for _ in range(100):
        queue.pop()
    for number in range(100):
        queue.push("late", f"l{number}", "late", 1)

    assert 9 <= [queue.pop() for _ in range(20)].count("late") <= 11


@given(st.lists(st.integers(1, 50), min_size=30, max_size=30), st.integers(2, 4))
def test_backlogged_flows_get_equal_costs_through(costs: list[int], flows: int) -> None:
    """The bound of the paper: never further apart than the largest item of each."""
    queue: FairQueue[tuple[int, int]] = FairQueue()
    for flow in range(flows):
        for number, cost in enumerate(costs[flow:] + costs[:flow]):
            queue.push(str(flow), f"{flow}-{number}", (flow, cost), cost)
    served = [0] * flows
    taken = [0] * flows
    while max(taken) < len(costs):
        item = queue.pop()
        assert item is not None
        flow, cost = item
        served[flow] += cost
        taken[flow] += 1
        assert max(served) - min(served) <= 2 * max(costs)


class AgainstPlainLists(RuleBasedStateMachine):
    """Nothing is lost, doubled or out of order within its flow, and only what waits is taken."""

    @initialize()
    def begin(self) -> None:
        self.queue: FairQueue[str] = FairQueue()
        self.model: dict[str, deque[str]] = {flow: deque() for flow in "abcd"}
        self.number = 0

    @rule(flow=FLOWS, cost=st.integers(1, 100))
    def push(self, flow: str, cost: int) -> None:
        self.number += 1
        key = f"{flow}{self.number}"
        self.queue.push(flow, key, key, cost)
        self.model[flow].append(key)

    @rule()
    def pop(self) -> None:
        item = self.queue.pop()
        if item is None:
            assert not any(self.model.values())
        else:
            assert self.model[item[0]].popleft() == item

    @rule(flow=FLOWS, place=st.integers(0, 5))
    def remove(self, flow: str, place: int) -> None:
        items = self.model[flow]
        if place < len(items):
            key = items[place]
            del items[place]
            assert self.queue.remove(key)
        assert not self.queue.remove("unknown")

    @invariant()
    def sizes_agree(self) -> None:
        assert len(self.queue) == sum(map(len, self.model.values()))
        for flow, items in self.model.items():
            assert self.queue.waiting(flow) == len(items)


TestAgainstPlainLists = AgainstPlainLists.TestCase
