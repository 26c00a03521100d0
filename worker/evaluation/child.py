"""The evaluation child: `python -m worker.evaluation.child`, started by a worker for one job."""

from __future__ import annotations

import json
import sys
from typing import Any

from worker.children.parent import Parent, Stopped, serve
from worker.evaluation.order import EvaluationOrder
from worker.evaluation.result import PAGE_FILE, REPORT_FILE


def evaluate(order: EvaluationOrder, parent: Parent) -> dict[str, Any]:
    """Measure the model and write the report, as JSON and as a page."""
    from textgen.evaluation.evaluate import (
        evaluate_bundle,  # late, so that a broken order fails before torch loads
    )

    def should_stop() -> bool:
        parent.show_life()  # the parts are long, and ask often
        return parent.should_stop()

    report = evaluate_bundle(
        order.model,
        sources=[] if order.file is None else [order.file.source(order.reading)],
        training_sources=[file.source(order.training_reading) for file in order.training_files],
        options=order.options,
        on_event=parent.report,
        should_stop=should_stop,
        device=order.device,
        threads=order.threads,
    )
    if report is None:
        raise Stopped
    found = json.dumps(report.as_dict(), ensure_ascii=False, indent=1)
    (order.folder / REPORT_FILE).write_text(found, encoding="utf-8")
    (order.folder / PAGE_FILE).write_text(report.as_html(title=order.title), encoding="utf-8")
    return {}


if __name__ == "__main__":
    sys.exit(serve(EvaluationOrder, evaluate))
