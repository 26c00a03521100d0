"""The examination child: `python -m worker.examination.child`, started by a worker for one job."""

from __future__ import annotations

import sys
from typing import Any

from textgen.corpus.doctor import examine
from worker.children.parent import Parent, serve
from worker.examination.order import ExaminationOrder


def look(order: ExaminationOrder, parent: Parent) -> dict[str, Any]:
    """Read the text once; the report is small and goes into the closing message."""

    def on_lines(lines: int) -> None:
        parent.check()
        parent.show_life(lambda: {"lines": lines})

    report = examine(
        order.file.source(order.reading),
        order.seconds,
        threads=order.threads,
        device=order.device if order.device.startswith("cuda") else "cpu",
        on_lines=on_lines,
    )
    return {"report": report.as_dict()}


if __name__ == "__main__":
    sys.exit(serve(ExaminationOrder, look))
