"""From text files to a trained model in one call."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from textgen.allocator import keep_freed_memory
from textgen.bundles.bundle import Bundle, count_parameters, load_bundle, save_bundle
from textgen.bundles.checkpoint import Checkpoint, load_checkpoint
from textgen.bundles.header import BundleHeader, GenerationDefaults
from textgen.corpus.dataset import EncodedCorpus
from textgen.corpus.encode import encode_corpus
from textgen.corpus.sources import Source
from textgen.errors import InvalidCheckpoint, InvalidOption
from textgen.evaluation.measures import tune_temperature
from textgen.evaluation.validation import beginning, validate
from textgen.events import Event, OnEvent, choice, ignore
from textgen.model import TextGenerator
from textgen.numerics import computes_in, describe_numerics, pick_device
from textgen.options import AUTO_PRESET, Hyperparameters
from textgen.plan import Plan
from textgen.tokenizers import Tokenizer, load_tokenizer
from textgen.training.fine_tuning import Base
from textgen.training.group import Group
from textgen.training.local_group import local_group, workers_here
from textgen.training.mixture import make_mixture
from textgen.training.planning import announce, make_plan
from textgen.training.private.documents import protected_documents
from textgen.training.private.planning import make_private_plan
from textgen.training.private.trainer import PrivateTrainer
from textgen.training.replay import OldText, check_replay, encode_replay
from textgen.training.run import Run
from textgen.training.steps import Steps
from textgen.training.trainer import Trainer, new_model
from textgen.training.transfer import fitted_to

_DEFAULT_CHARACTERS = 400
TEMPERATURE_LOGITS = 1 << 21  # enough tokens to tell two temperatures apart, few enough to keep


def never() -> bool:
    """Do not stop."""
    return False


def train_files(
    sources: Sequence[Source],
    *,
    folder: Path,
    validation_sources: Sequence[Source] = (),
    test_sources: Sequence[Source] = (),
    preset: str = AUTO_PRESET,
    hyperparameters: Hyperparameters | None = None,
    base: Path | None = None,
    replay: OldText | None = None,
    plan: Plan | None = None,
    resume: Path | None = None,
    device: str = "auto",
    threads: int = 1,
    on_event: OnEvent = ignore,
    should_stop: Callable[[], bool] = never,
    checkpoint_seconds: tuple[float, float] = (10, 300),
    group: Group | None = None,
) -> Path | None:
    """Train on ``sources`` and return the finished bundle's path; all files lie under ``folder``.

    None where ``should_stop`` asked for an end; the ``checkpoint`` event came before. With that
    checkpoint as ``resume`` and the ``plan`` that was told, the training goes on and ends with
    the same weights, bit for bit, as one that never stopped, on equal numerics.

    ``test_sources`` are measured once, at the end: nothing is chosen by them.

    ``base`` is a bundle to continue from: its shape stays, and its tokenizer but for characters
    that it does not know yet. ``replay`` is what it learnt before and is not to forget. Torch's
    number of threads in this process becomes ``threads``, or less where that is faster, and the
    process keeps the memory that it frees (``textgen.allocator``). Checkpoints are as far apart
    as the first of ``checkpoint_seconds`` or 50 times what one takes, but not farther than the
    second.

    With ``workers`` among the hyperparameters as many processes share the threads and every
    batch; this one starts and ends them (docs/distributed.md). ``group`` is for processes that
    were started otherwise; ``threads`` is then for each of them. WorkerLost where one dies.
    """
    wanted = Hyperparameters() if hyperparameters is None else hyperparameters
    torch.set_num_threads(threads)
    keep_freed_memory()
    where = pick_device(device)
    checkpoint = None if resume is None else load_checkpoint(resume)
    if checkpoint is not None and plan is None:
        plan = checkpoint.header.plan
    if plan is not None and wanted.objectives is None:
        wanted = wanted.model_copy(update={"objectives": dict(plan.objectives)})
    start = None if base is None else load_bundle(base)
    corpus = _encode(
        (sources, validation_sources, test_sources), wanted, folder, on_event, start, checkpoint
    )
    wanted = _with_objectives(wanted, corpus, on_event)
    old = None
    if replay is not None:
        old = encode_replay(replay, corpus, wanted, folder / "replay", on_event)
    with ExitStack() as stack:
        if group is None:
            workers = workers_here(wanted, plan, where, threads)
            group = stack.enter_context(local_group(workers, where, folder))
            threads //= workers
        read = [corpus] if old is None else [corpus, old]
        group.tell("read", corpora=[(str(each.folder.resolve()), each.sha256) for each in read])
        if plan is None:
            known = None if base is None or start is None else Base(start.header, _sha256(base))
            plan_it = make_plan if wanted.privacy is None else make_private_plan
            plan = plan_it(
                corpus,
                preset,
                wanted,
                device=where,
                threads=threads,
                on_event=on_event,
                base=known,
                replay=old,
                group=group,
            )
            announce(plan, on_event)
        threads = min(threads, plan.threads)
        torch.set_num_threads(threads)
        here = _as_here(plan, where, threads, group.size, on_event)
        run = _run(plan, here, corpus, old, start, checkpoint, where, folder, on_event, group)
        finished = run.train(should_stop, checkpoint_seconds)
        group.tell("end")
    if not finished:
        return None
    return _finish(run, corpus, folder, on_event)


def _with_objectives(
    wanted: Hyperparameters, corpus: EncodedCorpus, on_event: OnEvent
) -> Hyperparameters:
    """What is learnt of labelled rows where nothing is said: their labels."""
    if wanted.objectives is not None or corpus.kind != "labels":
        return wanted
    on_event(choice("objectives", "classify", "the rows have labels"))
    return wanted.model_copy(update={"objectives": {"classify": 1.0}})


def _encode(
    files: tuple[Sequence[Source], Sequence[Source], Sequence[Source]],
    wanted: Hyperparameters,
    folder: Path,
    on_event: OnEvent,
    start: Bundle | None,
    checkpoint: Checkpoint | None,
) -> EncodedCorpus:
    """The corpus in ids, by a tokenizer of its own or by the base's."""
    tokenizer = None
    if start is not None:
        tokenizer = _kept_tokenizer(start.tokenizer, wanted)
    elif checkpoint is not None and checkpoint.header.base is not None:
        tokenizer = load_tokenizer(checkpoint.header.tokenizer)
    elif wanted.privacy is not None and wanted.tokenizer is None:
        on_event(choice("tokenizer", "byte", "the others are learnt from the text"))
        wanted = wanted.model_copy(update={"tokenizer": "byte"})
    sources, validation_sources, test_sources = files
    return encode_corpus(
        sources,
        wanted,
        folder / "corpus",
        validation_sources=validation_sources,
        test_sources=test_sources,
        on_event=on_event,
        tokenizer=tokenizer,
        resumed=None if checkpoint is None else checkpoint.training.corpus_hash,
        widen=wanted.privacy is None,
    )


def _kept_tokenizer(tokenizer: Tokenizer, wanted: Hyperparameters) -> Tokenizer:
    """The base's tokenizer; a wish for another is refused."""
    for option, value, kept in (
        ("tokenizer", wanted.tokenizer, tokenizer.name),
        ("vocab_size", wanted.vocab_size, tokenizer.vocab_size),
        ("normalization", wanted.normalization, tokenizer.normalization),
    ):
        if value not in (None, kept):
            raise InvalidOption(
                f"{option!r} is {value}, but the model to continue from has {kept}. Leave it out, "
                "or train from scratch.",
                param=option,
            )
    return tokenizer


def _as_here(
    plan: Plan, device: torch.device, threads: int, workers: int, on_event: OnEvent
) -> Plan:
    """The plan as this machine can follow it; a difference in numerics is told."""
    precision = plan.precision if computes_in(device, plan.precision) else "float32"
    now = describe_numerics(device, threads, plan.kernel, workers, precision)
    if now != plan.numerics:
        message = (
            f"The training began on {plan.numerics!r} and goes on on {now!r}: it will end with "
            "slightly different weights than it would have there"
        )
        data = {"was": plan.numerics, "now": now}
        on_event(Event("numerics_changed", message, "warn", data))
    return plan.model_copy(update={"precision": precision})


def _run(
    plan: Plan,
    here: Plan,
    corpus: EncodedCorpus,
    replay: EncodedCorpus | None,
    start: Bundle | None,
    checkpoint: Checkpoint | None,
    device: torch.device,
    folder: Path,
    on_event: OnEvent,
    group: Group,
) -> Run:
    """The training at its first step, or where the checkpoint left it."""
    check_replay(plan, replay)
    if checkpoint is not None:
        _check_belongs(checkpoint, plan, corpus)
        model = checkpoint.model
    elif start is not None:
        model = fitted_to(start.model, plan.model, start.tokenizer, corpus.tokenizer)
        model.set_dropouts(plan.model)
    else:
        model = new_model(plan)
    trainer = _trainer(here, model.to(device), corpus, replay, group)
    header = _header(plan, corpus, model)
    run = Run(plan, trainer, corpus, header, folder / "checkpoints", on_event, replay)
    if checkpoint is not None:
        run.restore(checkpoint)
    return run


def _trainer(
    plan: Plan,
    model: TextGenerator,
    corpus: EncodedCorpus,
    replay: EncodedCorpus | None,
    group: Group,
) -> Steps:
    if plan.privacy is None:
        return Trainer(plan, model, make_mixture(plan, corpus, replay), group)
    documents = protected_documents(corpus, plan.sequence_length)
    return PrivateTrainer(plan, plan.privacy, model, documents)


def _check_belongs(checkpoint: Checkpoint, plan: Plan, corpus: EncodedCorpus) -> None:
    state = checkpoint.training
    for what, has, needs in (
        ("plan", state.plan_hash, plan.digest()),
        ("text", state.corpus_hash, corpus.sha256),
    ):
        if has != needs:
            raise InvalidCheckpoint(
                f"The checkpoint of step {state.step} belongs to a training with another {what}. "
                "Resume with the files, options and plan that it was made with, or start anew."
            )


def _header(plan: Plan, corpus: EncodedCorpus, model: TextGenerator) -> BundleHeader:
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
        generation_defaults=_defaults(plan, corpus),
    )


def _defaults(plan: Plan, corpus: EncodedCorpus, temperature: float = 0.8) -> GenerationDefaults:
    train, length = corpus.splits["train"], _DEFAULT_CHARACTERS
    if plan.privacy is None:
        length = max(1, round(length * train.tokens / max(train.characters, 1)))
    return GenerationDefaults(max_tokens=length, temperature=temperature)


def _finish(run: Run, corpus: EncodedCorpus, folder: Path, on_event: OnEvent) -> Path:
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
        few = beginning(corpus, "valid", max(2, TEMPERATURE_LOGITS // plan.vocab_size))
        temperature = tune_temperature(model, few, corpus.counted("valid"))
        defaults = _defaults(plan, corpus, temperature)
    test = validate(model, corpus, plan, "test", whole=True)
    if test is not None:
        metrics |= test.named("test")
    classes = None if valid is None or valid.classes is None else valid.classes.as_dict()
    on_event(_final_metrics(run, metrics, classes))
    if run.best.step == 0:
        on_event(_no_gain(run))
    update: dict[str, Any] = {
        "metrics": metrics,
        "classification": classes,
        "generation_defaults": defaults,
        "created": int(time.time()),
    }
    header = _header(plan, corpus, model).model_copy(update=update)
    path = folder / "model.safetensors"
    save_bundle(path, header, model.state_dict())
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


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
