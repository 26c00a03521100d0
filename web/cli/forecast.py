"""How long a training would take here, by a process that begins it: this one loads no torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from textgen.errors import InvalidInput
from textgen.options import Hyperparameters


def forecast_apart(
    path: Path,
    preset: str,
    hyperparameters: Hyperparameters,
    *,
    threads: int,
    validation: Path | None = None,
) -> dict[str, Any]:
    """``Forecast.as_dict`` for a training on the file; InvalidInput where it would be refused."""
    order = {
        "path": str(path),
        "validation": None if validation is None else str(validation),
        "preset": preset,
        "hyperparameters": hyperparameters.model_dump(mode="json", exclude_unset=True),
        "threads": threads,
    }
    # As a worker starts the process that trains
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}
    done = subprocess.run(
        [sys.executable, "-m", "textgen.training.forecast_process"],
        input=json.dumps(order).encode(),
        stdout=subprocess.PIPE,
        env=environment,
        check=True,
    )
    answer: dict[str, Any] = json.loads(done.stdout)
    if error := answer.get("error"):
        raise InvalidInput(error["message"], code=error["code"], param=error["param"])
    return answer
