"""The end of a training: the best weights are measured on all that was held out, and written."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from textgen.bundles.bundle import count_parameters, save_bundle
from textgen.bundles.header import BundleHeader, GenerationDefaults
from textgen.corpus.copy_index import CopyIndex
from textgen.corpus.dataset import EncodedCorpus
from textgen.engine.kernels.int8_loss import METRIC, int8_loss_difference
from textgen.evaluation.measures import Flags, tune_temperature
from textgen.evaluation.validation import beginning
from textgen.events import Event, OnEvent
from textgen.model import TextGenerator
from textgen.plan import Plan
from textgen.tokenizers import Ids
from textgen.training.run import Run

_DEFAULT_CHARACTERS = 400
_TUNING_LOGITS = 1 << 21  # enough tokens to tell two temperatures apart, and soon computed
_TUNING_TOKENS = 256  # that count, where not all do


def new_header(
    plan: Plan, corpus: EncodedCorpus, model: TextGenerator, licence: str | None = None
) -> BundleHeader:
    """What the files of a training say about it, before anything was measured."""
    return BundleHeader(
        model=plan.model,
        tokenizer=corpus.tokenizer.to_dict(),
        vocab_size=plan.vocab_size,
        parameters=count_parameters(model),
        base=plan.base,
        plan=plan,
        # Its hash and sizes would tell whether a text is among those of a private training.
        corpus=corpus.as_dict() if plan.privacy is None else {},
        documents=corpus.documents,
        objectives=tuple(plan.objectives),
        rows=corpus.kind,
        labels=corpus.labels if "classify" in plan.objectives else (),
        licence=licence,
        generation_defaults=_defaults(plan, corpus),
    )


def _defaults(plan: Plan, corpus: EncodedCorpus, temperature: float = 0.8) -> GenerationDefaults:
    train, length = corpus.splits["train"], _DEFAULT_CHARACTERS
    if plan.privacy is None:
        length = max(1, round(length * train.tokens / max(train.characters, 1)))
    return GenerationDefaults(max_tokens=length, temperature=temperature)


def tuning_text(corpus: EncodedCorpus, plan: Plan) -> tuple[Ids, Flags | None]:
    """The part of the validation text that the temperature is chosen on, and what of it counts."""
    length = max(2, _TUNING_LOGITS // plan.vocab_size)
    return beginning(corpus, "valid", length, min(length, _TUNING_TOKENS))


def finish(
    run: Run,
    corpus: EncodedCorpus,
    folder: Path,
    on_event: OnEvent,
    copies: CopyIndex | None = None,
) -> Path:
    """Measure the best weights on all that was held out, and write the bundle."""
    plan, model = run.plan, run.trainer.model
    model.load_state_dict(run.best.weights())
    defaults = _defaults(plan, corpus)
    metrics = dict(run.metrics)
    valid, figures = run.validate(whole=True)
    metrics |= figures
    if valid is not None:
        metrics |= valid.named("full_valid")
    if valid is not None and valid.text is not None:
        few, counted = tuning_text(corpus, plan)
        temperature = tune_temperature(model, few, counted)
        defaults = _defaults(plan, corpus, temperature)
        if plan.privacy is None:
            metrics[METRIC] = int8_loss_difference(model, few)
    test = run.test()
    if test is not None:
        metrics |= test.named("test")
    classes = None if valid is None or valid.classes is None else valid.classes.as_dict()
    on_event(_final_metrics(run, metrics, classes))
    if run.best.step == 0:
        on_event(_no_gain(run))
    update: dict[str, Any] = {
        "steps": run.trainer.step,
        "metrics": metrics,
        "classification": classes,
        "generation_defaults": defaults,
        "copy_index": None if copies is None else copies.window - 1,
        "created": int(time.time()),
    }
    header = run.header.model_copy(update=update)
    path = folder / "model.safetensors"
    save_bundle(path, header, model.state_dict(), copies)
    return path


def _final_metrics(
    run: Run, metrics: dict[str, float | None], classes: dict[str, Any] | None
) -> Event:
    step = run.trainer.step
    message = f"Trained {step:,} steps"
    loss = metrics.get("full_valid_loss")
    if loss is not None:
        message += f"; loss on all validation text {loss:.4f} nats per token"
        if run.best.step not in (None, step):
            message += f" (weights of step {run.best.step:,}, the best)"
    data: dict[str, Any] = {"step": step, "total_steps": run.plan.total_steps, **metrics}
    if classes is not None:
        message += f"; accuracy {classes['accuracy']:.3f}, macro F1 {classes['macro']['f1']:.3f}"
        data["classification"] = classes
    return Event("metrics", message, data=data)


def _no_gain(run: Run) -> Event:
    message = (
        "No step of this training brought a lower validation loss than the model to continue from "
        f"has ({run.best.loss:.4f} nats per token): its weights are kept. More text would help, "
        "or a smaller learning_rate."
    )
    return Event("no_gain", message, "warn", {"valid_loss": run.best.loss})
