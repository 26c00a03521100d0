"""One claimed examination, from the parent's side. Its report is small enough for the job's row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from textgen.reading_options import ReadingOptions
from worker.children.run import ChildRun
from worker.examination.order import ExaminationOrder


class ExaminationRun(ChildRun):
    """It keeps nothing on the way, so one that is taken from its worker begins again."""

    module = "worker.examination.child"
    work = "examination"
    main_file = "file"

    def _order(self) -> ExaminationOrder:
        spec = self._job.spec
        return ExaminationOrder(
            folder=self._folder,
            device=self._settings.device,
            threads=self._threads(),
            file=self._source(spec["input_file"]),
            reading=ReadingOptions.parse(spec["reading"]),
            seconds=spec["seconds"],
        )

    def _write_progress(self) -> None:
        self._count_seconds()
        super()._write_progress()

    def _publish(self, closing: Mapping[str, Any]) -> None:
        result = {"report": closing["report"]}
        self._lease.write(lambda: self._jobs.succeed(self._job, result))
