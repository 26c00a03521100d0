"""The curves of a training as lines of blocks."""

from __future__ import annotations

from typing import Any

import httpx

from web.cli.api import Api, Server
from web.cli.losses import BLOCKS, COLUMNS, Losses, losses_of


def measured(step: int, **losses: float | None) -> dict[str, Any]:
    return {"id": step, "type": "metrics", "data": {"step": step, **losses}}


def told(*events: dict[str, Any]) -> dict[str, str]:
    losses = Losses()
    for event in events:
        losses.note(event)
    return losses.lines()


def test_a_falling_loss_falls_from_the_highest_block_to_the_lowest() -> None:
    lines = told(*(measured(step, train_loss=9.0 - step) for step in range(1, 9)))

    assert lines == {"training loss": f"{BLOCKS[::-1]}  8.000 → 1.000"}


def test_both_curves_have_one_scale_and_a_validation_lasts_until_the_next() -> None:
    lines = told(
        measured(1, train_loss=8.0),
        measured(2, train_loss=4.5, valid_loss=6.0),
        measured(3, train_loss=4.5),
        measured(4, train_loss=1.0, valid_loss=2.0),
    )

    assert lines["training loss"].startswith("█▅▅▁  8.000")
    assert lines["validation loss"].startswith(" ▆▆▂  6.000")


def test_the_lowest_is_told_where_a_loss_rose_again() -> None:
    lines = told(*(measured(s, valid_loss=v) for s, v in ((1, 3.0), (2, 1.0), (3, 1.5))))

    assert lines["validation loss"].endswith("3.000 → 1.500, lowest 1.000")


def test_many_points_share_the_columns() -> None:
    lines = told(*(measured(step, train_loss=1 / step) for step in range(1, 501)))

    shape, _, _ = lines["training loss"].partition("  ")
    assert len(shape) == COLUMNS
    assert (shape[0], shape[-1]) == (BLOCKS[-1], BLOCKS[0])


def test_steps_that_are_done_again_after_a_checkpoint_are_told_once() -> None:
    events = [measured(step, train_loss=float(9 - step)) for step in (1, 2, 3, 2, 3)]
    events[3]["data"]["train_loss"] = events[4]["data"]["train_loss"] = 6.5

    assert told(*events)["training loss"].endswith("8.000 → 6.500")


def test_nothing_is_drawn_of_what_is_not_measured_or_no_number() -> None:
    assert told(measured(1, train_loss=2.0)) == {}
    assert told(measured(1, train_loss=None), measured(2, train_loss=float("inf"))) == {}
    assert told({"id": 1, "type": "state", "data": {}}) == {}
    assert told(measured(1, train_loss=2.0), measured(2, train_loss=2.0)) == {
        "training loss": "▁▁  2.000 → 2.000"
    }


def test_every_page_of_a_jobs_events_is_read() -> None:
    events = [measured(step, valid_loss=10.0 - step) for step in range(1, 6)]

    def answer(request: httpx.Request) -> httpx.Response:
        after = int(request.url.params["after"])
        page = [event for event in events if event["id"] > after][:2]
        return httpx.Response(200, json={"data": page, "has_more": page[-1]["id"] < 5})

    api = Api(Server("http://server", "tg_1"), httpx.MockTransport(answer))

    assert losses_of(api, "ftjob-1").lines() == {"validation loss": "█▆▅▃▁  9.000 → 5.000"}
