"""The scoring child: `python -m worker.scoring.child`, started by a worker for one job."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

from textgen.events import Event
from worker.children.pace import Pace
from worker.children.parent import Parent, serve
from worker.scoring.order import ScoringOrder, ScoringPlan
from worker.scoring.rows import Row, Shard, count, cut, read
from worker.scoring.summary import ROWS_FILE, SUMMARY_FILE, ScoredRow, ScoreSummary

Scorer = Callable[[Shard], list[ScoredRow]]


def score(order: ScoringOrder, parent: Parent) -> dict[str, Any]:
    """Score every shard that is not safe yet; each is reported when it is whole."""
    plan = order.plan if order.plan is not None else _plan(order, parent)
    pace = Pace(plan.rows, "rows")

    def on_step() -> None:
        parent.check()
        parent.show_life(pace.as_progress)

    scored = _scorer(order, on_step)
    for shard in cut(_heard(order, parent), plan):
        if shard.index < order.done:
            pace.skip(len(shard.rows))
            continue
        rows = scored(shard)
        pace.advance(len(rows))
        parent.report(_written(order, shard, rows))
    parent.report(Event("progress", "", data=pace.as_progress()))
    return {}


def _plan(order: ScoringOrder, parent: Parent) -> ScoringPlan:
    """Read all rows once, so that a bad one is found before the work and the end can be told."""
    name = "'input'" if order.file is None else order.file.name
    plan, sizes = count(_heard(order, parent), name)
    message = f"{plan.rows:,} rows, {plan.characters:,} characters"
    parent.report(Event("plan", message, data={"plan": plan.model_dump(), "sizes": sizes}))
    return plan


def _heard(order: ScoringOrder, parent: Parent) -> Iterator[Row]:
    """The rows, for as long as the parent wants them; raises Stopped."""
    for row in read(order):
        parent.check()
        yield row


def _scorer(order: ScoringOrder, on_step: Callable[[], None]) -> Scorer:
    """The model, loaded once."""
    import torch  # late, so that rows that cannot be read are found before torch loads

    from textgen.bundles.bundle import load_bundle
    from textgen.evaluation.scoring import score_rows
    from textgen.numerics import pick_device

    torch.set_num_threads(order.threads)
    bundle = load_bundle(order.model, str(pick_device(order.device)))

    def scored(shard: Shard) -> list[ScoredRow]:
        scores = score_rows(bundle, [row.text for row in shard.rows], on_step=on_step)
        return [
            ScoredRow.of(row.index, row.line, score)
            for row, score in zip(shard.rows, scores, strict=True)
        ]

    return scored


def _written(order: ScoringOrder, shard: Shard, rows: list[ScoredRow]) -> Event:
    """Write a shard's two files; the event that says where."""
    folder = order.folder / f"shard-{shard.index}"
    folder.mkdir(exist_ok=True)
    summary = ScoreSummary.of(rows, order.worst)
    with (folder / ROWS_FILE).open("wb") as file:
        file.writelines(row.as_line() for row in rows)
    (folder / SUMMARY_FILE).write_text(summary.model_dump_json())
    data = {"index": shard.index, "folder": str(folder), "tokens": summary.tokens}
    data["characters"] = summary.characters
    return Event("shard", "", data={**data, "rows": len(rows)})


if __name__ == "__main__":
    sys.exit(serve(ScoringOrder, score))
