"""The way of one training from its first step to its last: steps, measurements, checkpoints."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path

from textgen.bundles.bundle import save_bundle
from textgen.bundles.checkpoint import Checkpoint, save_checkpoint
from textgen.bundles.header import BundleHeader, TrainingState
from textgen.corpus.dataset import EncodedCorpus
from textgen.corpus.splits import SplitName
from textgen.engine.preview import preview
from textgen.evaluation.validation import Validation, validate
from textgen.events import Event, OnEvent
from textgen.plan import Plan
from textgen.signs_of_life import SignsOfLife
from textgen.training.best_weights import BestWeights
from textgen.training.steps import Steps

KEPT_CHECKPOINTS = 3
BEST_FILE = "best.safetensors"
_PROGRESS_SECONDS = 1.0
_CHECKPOINT_SHARE = 50  # a checkpoint may take one part in so many of the time
_TIME_CAP = 1.25  # of max_seconds
_METRICS = 100  # measurements of the training loss in a training
_SAMPLE_EVERY = 4  # validations
_SAMPLE_TOKENS = 200


class Run:
    """One training; ``header`` is what its bundle will say of model, tokenizer and corpus.

    ``replay`` is the text of an earlier one, which it is not to forget.
    """

    def __init__(
        self,
        plan: Plan,
        trainer: Steps,
        corpus: EncodedCorpus,
        header: BundleHeader,
        folder: Path,
        on_event: OnEvent,
        replay: EncodedCorpus | None = None,
    ) -> None:
        self.plan = plan
        self.trainer = trainer
        self.header = header
        self.best = BestWeights(trainer.model)
        self.metrics: dict[str, float | None] = {}  # the latest of each
        self._corpus = corpus
        self._replay = replay
        self._folder = folder
        self._on_event = on_event
        self._seconds = 0.0  # of training, through all restarts
        self._step_seconds = math.nan  # running mean
        self._told = time.monotonic()
        self._saved_step = -1

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint of the same plan and corpus."""
        state = checkpoint.training
        self.trainer.restore(state.step, state.train_losses, checkpoint.tensors)
        self.best.restore(state, checkpoint.best)
        self.metrics = dict(checkpoint.header.metrics)
        self._seconds = state.seconds
        self._saved_step = state.step

    def train(
        self, should_stop: Callable[[], bool], checkpoint_seconds: tuple[float, float]
    ) -> bool:
        """Train to the end of the plan; False where ``should_stop`` came first.

        Either way there is a checkpoint of the last step when it returns.
        """
        shortest, longest = checkpoint_seconds
        if self.trainer.step == 0 and self.trainer.state():
            self._save()  # what it holds would be another's if it were started again
        next_save = time.monotonic() + shortest
        self._measure_base()
        while not self._is_over():
            if should_stop():
                self._tell_the_end()
                self._save()
                return False
            self._step()
            if time.monotonic() >= next_save:
                took = self._save_if_there_is_room()
                pause = min(max(shortest, _CHECKPOINT_SHARE * took), longest)
                next_save = time.monotonic() + pause
        self._tell_the_end()
        self._save()
        return True

    def validate(self, *, whole: bool) -> tuple[Validation | None, dict[str, float | None]]:
        """How the model does on the validation text, and all figures, of the old text too."""
        valid = self._validated(
            "measuring on the validation text", self._corpus, "valid", whole=whole
        )
        figures = {} if valid is None else valid.named("valid")
        if self._replay is not None:
            old = self._validated(
                "measuring on the earlier text", self._replay, "valid", whole=whole
            )
            figures |= {} if old is None else old.named("valid_replay")
        return valid, figures

    def test(self) -> Validation | None:
        """How the model does on the whole test text; None where there is none."""
        return self._validated("measuring on the test text", self._corpus, "test", whole=True)

    def _validated(
        self, doing: str, corpus: EncodedCorpus, split: SplitName, *, whole: bool
    ) -> Validation | None:
        """One validation, which says that it goes on where it takes long."""
        alive = SignsOfLife(self._on_event)
        still = alive.still(doing)
        found = validate(self.trainer.model, corpus, self.plan, split, whole=whole, on_chunk=still)
        alive.end()
        return found

    def _measure_base(self) -> None:
        """The weights to continue from are the first candidate for the best."""
        if self.plan.base is None or self.trainer.step > 0 or self.best.step is not None:
            return
        valid, figures = self.validate(whole=False)
        if valid is None:
            return
        self.best.compare(valid.loss, 0, figures)
        self.metrics |= {f"base_{name}": value for name, value in figures.items()}
        message = f"Before the first step the validation loss is {valid.loss:.3f} nats per token"
        self._on_event(Event("base", message, data={"step": 0, **figures}))

    def _is_over(self) -> bool:
        plan, step = self.plan, self.trainer.step
        if step >= plan.total_steps:
            return True
        if plan.patience is not None and self.best.validations_without_gain >= plan.patience:
            reason = f"{plan.patience} validations in a row brought no lower loss"
            data = {"step": step, "reason": reason}
            self._on_event(Event("stopped_early", f"Stopped at step {step:,}: {reason}", data=data))
            return True
        if plan.max_seconds is not None and self._seconds >= _TIME_CAP * plan.max_seconds:
            message = (
                f"Stopped at step {step:,} of {plan.total_steps:,}: training took "
                f"{self._seconds:.0f} s, {_TIME_CAP} times the {plan.max_seconds:g} s it was given"
            )
            self._on_event(Event("time_cap", message, "warn", {"step": step}))
            return True
        return False

    def _step(self) -> None:
        """One step and what is due after it."""
        plan, done = self.plan, self.trainer.step + 1
        validation_due = done % plan.validate_every == 0 or done == plan.total_steps
        measure = validation_due or done % max(plan.total_steps // _METRICS, 1) == 0
        started = time.perf_counter()
        self.trainer.advance(measure=measure)
        took = time.perf_counter() - started
        self._seconds += took
        mean = took if math.isnan(self._step_seconds) else self._step_seconds
        self._step_seconds = mean + 0.1 * (took - mean)
        if measure:
            self._measure(validation_due)
        if time.monotonic() - self._told >= _PROGRESS_SECONDS:
            self._told = time.monotonic()
            self._progress()

    def _measure(self, validation_due: bool) -> None:
        trainer, plan = self.trainer, self.plan
        metrics = trainer.metrics()
        message = f"Step {trainer.step:,} of {plan.total_steps:,}: {trainer.summary()}"
        if validation_due:
            valid, figures = self.validate(whole=False)
            metrics |= figures
            if valid is not None:
                message += f", validation loss {valid.loss:.3f} nats per token"
                if valid.classes is not None:
                    message += f", accuracy {valid.classes.accuracy:.3f}"
                self.best.compare(valid.loss, trainer.step, figures)
        self.metrics |= metrics
        at = {"step": trainer.step, "total_steps": plan.total_steps}
        data = {**at, "seconds": round(self._seconds, 3), **metrics}
        self._on_event(Event("metrics", message, data=data))
        writes = tuple(plan.objectives) != ("classify",)
        if writes and validation_due and trainer.step % (_SAMPLE_EVERY * plan.validate_every) == 0:
            self._sample()

    def _sample(self) -> None:
        step = self.trainer.step
        text = preview(
            self.trainer.model,
            self._corpus.tokenizer,
            _SAMPLE_TOKENS,
            temperature=0.8,
            documents=self._corpus.documents,
            rows=self._corpus.kind,
            seed=self.plan.seed + step,
        )
        self._on_event(Event("sample", text, data={"text": text, "step": step}))

    def _tell_the_end(self) -> None:
        """Where it has come to; unless nothing was done since it went on."""
        if not math.isnan(self._step_seconds):
            self._progress()

    def _progress(self) -> None:
        plan, step = self.plan, self.trainer.step
        data = {
            "step": step,
            "total_steps": plan.total_steps,
            **self.trainer.progress(),
            "tokens_per_second": round(plan.tokens_per_step / self._step_seconds),
            "seconds_left": round((plan.total_steps - step) * self._step_seconds, 1),
            "seconds": round(self._seconds, 1),
        }
        message = f"Step {step:,} of {plan.total_steps:,}, {self.trainer.summary()}"
        self._on_event(Event("progress", message, data=data))

    def _save_if_there_is_room(self) -> float:
        """A full disk costs a checkpoint, not the training: the one before still holds."""
        try:
            return self._save()
        except OSError as error:
            message = f"The checkpoint could not be written, the one before is kept: {error}"
            self._on_event(Event("checkpoint_failed", message, "warn", {"step": self.trainer.step}))
            return 0.0

    def _save(self) -> float:
        """Write a checkpoint, tell it, delete those before the last three; seconds it took."""
        started, step = time.monotonic(), self.trainer.step
        if step == self._saved_step:
            return 0.0
        path = self._folder / f"step-{step}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        update = {"training": self._state(), "metrics": self.metrics, "created": int(time.time())}
        header = self.header.model_copy(update=update)
        weights = self.trainer.model.state_dict()
        save_checkpoint(path, header, weights, self.trainer.state(), self.best.other_than(step))
        best = self._save_best()
        self._saved_step = step
        data = {"path": str(path), "step": step, "metrics": self.metrics, "best": best}
        took = time.monotonic() - started
        self._on_event(Event("checkpoint", f"Checkpoint at step {step:,}", data=data))
        made = [each for each in checkpoints(self._folder) if step_of(each) <= step]
        for old in made[:-KEPT_CHECKPOINTS]:
            old.unlink(missing_ok=True)
        return took

    def _save_best(self) -> str | None:
        """Write a model of the best weights where those of the checkpoint are others; its path."""
        weights = self.best.other_than(self.trainer.step)
        if weights is None:
            return None
        path = self._folder / BEST_FILE
        others = {k: value for k, value in self.metrics.items() if not k.startswith("valid_")}
        metrics = {**others, "valid_loss": self.best.loss, **self.best.figures}
        update = {"metrics": metrics, "created": int(time.time())}
        save_bundle(path, self.header.model_copy(update=update), weights)
        return str(path)

    def _state(self) -> TrainingState:
        return TrainingState(
            step=self.trainer.step,
            seconds=self._seconds,
            train_losses=dict(self.trainer.losses),
            best_step=self.best.step,
            best_valid_loss=self.best.loss,
            best_figures=self.best.figures,
            validations_without_gain=self.best.validations_without_gain,
            plan_hash=self.plan.digest(),
            corpus_hash=self._corpus.sha256,
        )


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in a folder, oldest step first."""
    return sorted(folder.glob("step-*.safetensors"), key=step_of)


def step_of(checkpoint: Path) -> int:
    """The step after which a checkpoint was made, as its name says."""
    return int(checkpoint.stem.removeprefix("step-"))


def forget_checkpoints(folder: Path) -> None:
    """Delete what an earlier training left in a folder: it would be taken for this one's."""
    for old in (*checkpoints(folder), folder / BEST_FILE):
        old.unlink(missing_ok=True)
