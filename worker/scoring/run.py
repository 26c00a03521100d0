"""One claimed scoring, from the parent's side: its order, its shards, its two result files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy.engine import Connection

from textgen.reading_options import ReadingOptions
from worker.children.run import ChildRun
from worker.jobs.shards import ShardRow
from worker.processes.results import RESULTS_PURPOSE, store_joined, store_result
from worker.scoring.order import ScoringOrder, ScoringPlan
from worker.scoring.summary import ROWS_FILE, SUMMARY_FILE, ScoreSummary

WORST_IN_ANSWER = 20  # the summary's file has all that were asked for


@dataclass(frozen=True, slots=True)
class ShardCounts:
    """As shards of batches have them; a row that could not be scored would end the job."""

    completed: int
    prompt_tokens: int
    characters_in: int
    failed: int = 0
    completion_tokens: int = 0
    characters_out: int = 0
    compute_seconds: float = 0.0  # of the whole job, in its progress


class ScoringRun(ChildRun):
    """Shards are stored as artifacts; the first that is not there is where a scoring goes on."""

    module = "worker.scoring.child"
    work = "scoring"
    main_file = "file"

    def _order(self) -> ScoringOrder:
        spec, file = self._job.spec, self._job.spec["input_file"]
        plan = self._job.plan
        return ScoringOrder(
            folder=self._folder,
            device=self._settings.device,
            threads=self._threads(),
            model=self._local(spec["model_artifact"]),
            file=None if file is None else self._source(file),
            reading=ReadingOptions.parse(spec["reading"]),
            texts=tuple(spec["input"]),
            worst=spec["worst"],
            plan=None if plan is None else ScoringPlan.parse(plan),
            done=len(self._jobs.shards_done(self._job)),
        )

    def _make_safe(self, kind: str, data: dict[str, Any]) -> bool:
        if kind == "plan":
            sizes = data.pop("sizes")
            self._lease.write(lambda: self._jobs.plan_shards(self._job, data["plan"], sizes))
            return True
        index, folder = data["index"], Path(data["folder"])
        name = f"jobs/{self._job.id}/{self._job.token}/shard-{index}"
        with self._backend.store.create(name) as staging:
            for file in (ROWS_FILE, SUMMARY_FILE):
                staging.add(folder / file, file)
            staging.commit()
        counts = ShardCounts(
            completed=data["rows"],
            prompt_tokens=data["tokens"],
            characters_in=data["characters"],
        )
        self._lease.write(lambda: self._jobs.finish_shard(self._job, index, name, counts))
        self._count_seconds()
        shutil.rmtree(folder)
        return False

    def _publish(self, closing: Mapping[str, Any]) -> None:  # noqa: ARG002
        """Put the shards together and end the job with the file of rows and the summary."""
        backend, job = self._backend, self._job
        shards = self._lease.write(lambda: backend.jobs.shards_done(job))
        rows = store_joined(
            backend, self._lease, shards, ROWS_FILE, f"{job.id}_{ROWS_FILE}", RESULTS_PURPOSE
        )
        found = self._summary(shards).model_dump(mode="json")
        summary_name = f"{job.id}_{SUMMARY_FILE}"
        with store_result(backend, summary_name, RESULTS_PURPOSE) as summary:
            content = {"model": job.spec["model"], **found}
            summary.stream.write(json.dumps(content, ensure_ascii=False, indent=1).encode())
        few = {**found, "worst": found["worst"][:WORST_IN_ANSWER]}
        result = {"scores_file_id": rows.id, "summary_file_id": summary.id, "summary": few}

        def publish(connection: Connection) -> None:
            now = backend.database.now(connection)
            for file in (rows, summary):
                file.publish(connection, job.tenant, now)

        self._lease.write(lambda: backend.jobs.succeed(job, result, publish))

    def _summary(self, shards: Sequence[ShardRow]) -> ScoreSummary:
        parts = []
        for shard in shards:
            self._lease.keep()
            with self._backend.store.open(shard.artifact, SUMMARY_FILE) as stream:
                parts.append(ScoreSummary.model_validate_json(stream.read()))
        return ScoreSummary.joined(parts, self._job.spec["worst"])

    def _clean_up(self) -> None:
        super()._clean_up()
        self._lease.try_write(self._drop_shards)

    def _drop_shards(self) -> None:
        for shard in self._jobs.shards_done(self._job):
            self._backend.store.delete(shard.artifact)
