"""One claimed training, from the parent's side: its order, its checkpoints, its model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from textgen.bundles.header import read_header
from worker.children.run import ChildRun
from worker.children.sources import SourceFile
from worker.errors import CorruptArtifact, DiskFull
from worker.training.order import ReplayOrder, TrainingOrder
from worker.training.result import describe, new_model, publish_model

CHECKPOINT_FILE = "checkpoint.safetensors"
BEST_FILE = "best.safetensors"  # beside it, where the best weights are others


class TrainingRun(ChildRun):
    """Checkpoints are stored as artifacts; the newest is where a training goes on."""

    module = "worker.training.child"
    work = "training"
    main_file = "training_file"

    def _order(self) -> TrainingOrder:
        spec = self._job.spec
        base = spec.get("base_artifact")
        return TrainingOrder(
            sources=tuple(map(self._source, spec["files"])),
            validation_sources=self._held_out("validation_file"),
            test_sources=self._held_out("test_file"),
            preset=spec["preset"],
            hyperparameters={"seed": spec["seed"], **spec["hyperparameters"]},
            folder=self._folder,
            base=self._local(base) if base else None,
            replay=self._replay(),
            embeddings=self._embeddings(),
            plan=self._job.plan,
            resume=self._resume_point(),
            device=self._settings.device,
            threads=self._threads(),
            checkpoint_seconds=(
                self._settings.checkpoint_min_seconds,
                self._settings.checkpoint_max_seconds,
            ),
        )

    def _held_out(self, field: str) -> tuple[SourceFile, ...]:
        """The file in ``field`` of the job, where one was given."""
        file = self._job.spec.get(field)
        return (self._source(file),) if file else ()

    def _embeddings(self) -> SourceFile | None:
        file = self._job.spec.get("embeddings_file")
        return self._source(file) if file else None

    def _replay(self) -> ReplayOrder | None:
        replay = self._job.spec.get("replay")
        if replay is None:
            return None
        validation = [replay["validation_file"]] if replay["validation_file"] else []
        return ReplayOrder(
            sources=tuple(map(self._source, replay["files"])),
            validation_sources=tuple(map(self._source, validation)),
            hyperparameters=replay["hyperparameters"],
        )

    def _resume_point(self) -> Path | None:
        """The newest checkpoint that is whole; damaged ones are said and passed over."""
        for pointer in self._job.checkpoint_history:
            try:
                return self._local({"artifact": pointer["artifact"], "file": CHECKPOINT_FILE})
            except (CorruptArtifact, FileNotFoundError) as error:
                self._event(
                    "checkpoint_damaged",
                    f"The checkpoint of step {pointer['step']} is damaged and not used: {error}",
                    "warn",
                )
        return None

    def _make_safe(self, kind: str, data: dict[str, Any]) -> bool:
        if kind == "plan":
            self._lease.write(lambda: self._jobs.save_plan(self._job, data["plan"]))
        elif kind == "checkpoint":
            path, best = Path(data.pop("path")), data.pop("best", None)
            best_path = None if best is None else Path(best)
            return self._store_checkpoint(path, best_path, data["step"], data["metrics"])
        return True

    def _store_checkpoint(
        self, path: Path, best: Path | None, step: int, metrics: dict[str, Any]
    ) -> bool:
        """Publish a checkpoint; False where it cannot be stored: the one before stays in force."""
        name = f"jobs/{self._job.id}/{self._job.token}/step-{step}"
        try:
            with self._backend.store.create(name) as staging:
                staging.add(path, CHECKPOINT_FILE)
                if best is not None:
                    staging.add(best, BEST_FILE)
                staging.commit()
        except FileExistsError:
            return True  # stopped and asked again at the same step
        except (OSError, DiskFull) as error:
            message = f"The checkpoint of step {step} could not be stored: {error}"
            self._event("checkpoint_failed", message, "warn")
            return False
        model = new_model(self._job, read_header(path), name, CHECKPOINT_FILE, step)
        if best is not None:
            told = {"file": BEST_FILE, **describe(read_header(best))}
            model = replace(model, header={**model.header, "best": told})
        dropped = self._lease.write(
            lambda: self._jobs.save_checkpoint(
                self._job,
                artifact=name,
                file=CHECKPOINT_FILE,
                step=step,
                metrics=metrics,
                publish_model=model if step > 0 else None,
            )
        )
        for artifact in dropped:
            self._backend.store.delete(artifact)
        return True

    def _publish(self, closing: Mapping[str, Any]) -> None:
        publish_model(self._backend, self._lease, self._job, Path(closing["bundle"]))
