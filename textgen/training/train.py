"""From text files to a trained model in one call."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import torch

from textgen.allocator import keep_freed_memory
from textgen.bundles.bundle import Bundle, load_bundle
from textgen.bundles.checkpoint import Checkpoint, load_checkpoint
from textgen.corpus.dataset import EncodedCorpus
from textgen.corpus.sources import Source
from textgen.corpus.word_vectors import WordVectors
from textgen.errors import InvalidCheckpoint
from textgen.events import Event, OnEvent, ignore
from textgen.model import TextGenerator
from textgen.numerics import computes_in, describe_numerics, pick_device
from textgen.options import AUTO_PRESET, Hyperparameters
from textgen.plan import Plan
from textgen.training.copies import check_copy_index, copy_index
from textgen.training.fine_tuning import Base, licence_of, say_licence
from textgen.training.finish import finish, new_header
from textgen.training.frequencies import begin_with_frequencies
from textgen.training.group import Group
from textgen.training.local_group import local_group, workers_here
from textgen.training.preparation import prepared_corpus, prepared_plan, prepared_steps
from textgen.training.replay import OldText, check_replay, encode_replay
from textgen.training.run import Run, forget_checkpoints
from textgen.training.trainer import new_model
from textgen.training.transfer import fitted_to
from textgen.training.word_vectors import begin_with_vectors, with_word_vectors


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
    embeddings: WordVectors | None = None,
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

    What a source does not say of how it is read (its format, its column) the hyperparameters say.

    None where ``should_stop`` asked for an end; the ``checkpoint`` event came before. With that
    checkpoint as ``resume`` and the ``plan`` that was told, the training goes on and ends with
    the same weights, bit for bit, as one that never stopped, on equal numerics; InvalidCheckpoint
    where it belongs to another text or plan. Without ``resume`` it begins anew, and before the
    first step deletes the checkpoints that an earlier training has left under ``folder``.

    ``test_sources`` are measured once, at the end: nothing is chosen by them.

    ``base`` is a bundle to continue from: its shape stays, and its tokenizer but for characters
    that it does not know yet. ``replay`` is what it learnt before and is not to forget.
    ``embeddings`` are what the embedding of a new model begins with. Torch's
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
    wanted = with_word_vectors(wanted, embeddings, start, on_event)
    files = (sources, validation_sources, test_sources)
    corpus, wanted = prepared_corpus(files, wanted, folder, on_event, start, checkpoint)
    check_copy_index(wanted, corpus, start)
    if checkpoint is not None and start is None:
        _check_base(checkpoint, wanted, corpus)
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
            if known is not None:
                say_licence(known, wanted, on_event)
            plan = prepared_plan(
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
            if embeddings is not None:
                plan = plan.model_copy(update={"embeddings": embeddings.sha256()})
            # Training starts when the listener has returned.
            on_event(Event("plan", plan.summary(), data={"plan": plan.model_dump(mode="json")}))
        threads = min(threads, plan.threads)
        torch.set_num_threads(threads)
        here = _as_here(plan, where, threads, group.size, on_event)
        licence = licence_of(wanted, checkpoint or start)
        if checkpoint is None:
            model = _first_model(plan, start, corpus, embeddings, on_event)
        else:
            model = checkpoint.model
        run = _run(
            plan, here, model, corpus, old, checkpoint, where, folder, on_event, group, licence
        )
        finished = run.train(should_stop, checkpoint_seconds)
        group.tell("end")
    if not finished:
        return None
    return finish(run, corpus, folder, on_event, copy_index(wanted, corpus, start, on_event))


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


def _first_model(
    plan: Plan,
    start: Bundle | None,
    corpus: EncodedCorpus,
    embeddings: WordVectors | None,
    on_event: OnEvent,
) -> TextGenerator:
    """The model before the first step."""
    if start is not None:
        model = fitted_to(start.model, plan.model, start.tokenizer, corpus.tokenizer)
        model.set_dropouts(plan.model)
        return model
    model = new_model(plan)
    begin_with_frequencies(model, plan, corpus)
    begin_with_vectors(model, plan, corpus, embeddings, on_event)
    return model


def _run(
    plan: Plan,
    here: Plan,
    model: TextGenerator,
    corpus: EncodedCorpus,
    replay: EncodedCorpus | None,
    checkpoint: Checkpoint | None,
    device: torch.device,
    folder: Path,
    on_event: OnEvent,
    group: Group,
    licence: str | None,
) -> Run:
    """The training at its first step, or where the checkpoint left it."""
    check_replay(plan, replay)
    if checkpoint is not None:
        _check_belongs(checkpoint, plan, corpus)
    trainer = prepared_steps(here, model.to(device), corpus, replay, group)
    header = new_header(plan, corpus, model, licence)
    saved = folder / "checkpoints"
    run = Run(plan, trainer, corpus, header, saved, on_event, replay)
    if checkpoint is None:
        forget_checkpoints(saved)
    else:
        run.restore(checkpoint)
    return run


def _check_base(checkpoint: Checkpoint, wanted: Hyperparameters, corpus: EncodedCorpus) -> None:
    """InvalidCheckpoint where a training can only go on with the model that it began from."""
    if checkpoint.header.base is None:
        return
    other = checkpoint.training.corpus_hash != corpus.sha256  # with further characters, perhaps
    if wanted.copy_index is not None or other:
        raise InvalidCheckpoint(
            f"The checkpoint of step {checkpoint.training.step} belongs to a training that goes on "
            "from a model, and needs that model again: give it as 'base'. If that does not help, "
            "the text is another than that which the checkpoint was made with."
        )


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


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
