"""`python -m textgen.training.forecast_process`: a forecast by a process of its own.

For callers that must not load torch. Standard input holds the arguments as JSON: path, validation,
preset, hyperparameters, threads. Standard output gets the forecast, or ``{"error": …}``.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from textgen.corpus.sources import Source
from textgen.errors import TextgenError
from textgen.options import Hyperparameters


def main() -> None:
    """Read one order, print one answer."""
    began = time.perf_counter()
    order = json.loads(sys.stdin.read())
    try:
        answer = _forecast(order, began)
    except TextgenError as error:
        answer = {"error": error.as_dict()}
    sys.stdout.write(json.dumps(answer))


def _forecast(order: dict[str, Any], began: float) -> dict[str, Any]:
    from textgen.training.forecast import forecast  # late: loading torch is a part of the time

    wanted = Hyperparameters.parse(order["hyperparameters"])
    validation = order["validation"]
    return forecast(
        [Source(Path(order["path"]))],
        order["preset"],
        wanted,
        validation_sources=[] if validation is None else [Source(Path(validation))],
        threads=order["threads"],
        starting_seconds=time.perf_counter() - began,
    ).as_dict()


if __name__ == "__main__":
    main()
