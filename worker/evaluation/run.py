"""One claimed evaluation, from the parent's side: its order and its two result files.

It keeps nothing on the way, so one that is taken from its worker begins again.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from typing import Any

from sqlalchemy.engine import Connection

from textgen.evaluation.options import EvaluationOptions
from textgen.reading_options import ReadingOptions
from worker.children.run import ChildRun
from worker.evaluation.order import EvaluationOrder
from worker.evaluation.result import PAGE_FILE, REPORT_FILE, summary_of
from worker.processes.results import RESULTS_PURPOSE, Result, store_result


class EvaluationRun(ChildRun):
    """The report is published as JSON and as a page."""

    module = "worker.evaluation.child"
    work = "evaluation"
    main_file = "file"

    def _order(self) -> EvaluationOrder:
        spec, file = self._job.spec, self._job.spec["input_file"]
        return EvaluationOrder(
            folder=self._folder,
            device=self._settings.device,
            threads=self._threads(),
            model=self._local(spec["model_artifact"]),
            file=None if file is None else self._source(file),
            reading=ReadingOptions.parse(spec["reading"]),
            training_files=tuple(map(self._source, spec["training_files"])),
            training_reading=ReadingOptions.parse(spec["training_reading"]),
            options=EvaluationOptions.parse(spec["options"]),
            title=f"Evaluation of {spec['model']}",
        )

    def _write_progress(self) -> None:
        self._count_seconds()
        super()._write_progress()

    def _publish(self, closing: Mapping[str, Any]) -> None:  # noqa: ARG002
        files = {
            "report_file_id": self._stored(REPORT_FILE),
            "page_file_id": self._stored(PAGE_FILE),
        }
        report = json.loads((self._folder / REPORT_FILE).read_text(encoding="utf-8"))
        result = {name: file.id for name, file in files.items()} | {"summary": summary_of(report)}

        def publish(connection: Connection) -> None:
            now = self._backend.database.now(connection)
            for file in files.values():
                file.publish(connection, self._job.tenant, now)

        self._lease.write(lambda: self._jobs.succeed(self._job, result, publish))

    def _stored(self, name: str) -> Result:
        self._lease.keep()
        with (
            store_result(self._backend, f"{self._job.id}_{name}", RESULTS_PURPOSE) as result,
            (self._folder / name).open("rb") as file,
        ):
            shutil.copyfileobj(file, result.stream)
        return result
