"""A model measured in every way there is, in one call."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from textgen.bundles.bundle import Bundle, load_bundle
from textgen.corpus.cleaning import Cleaning
from textgen.corpus.documents import Document
from textgen.corpus.sources import Source
from textgen.evaluation.options import PARTS, EvaluationOptions
from textgen.evaluation.parts import measure
from textgen.evaluation.report import ModelFacts, Report, TextFacts
from textgen.evaluation.subject import NotMeasured, Stopped, Subject
from textgen.evaluation.text import encode_text, read_as_taught
from textgen.evaluation.traces import check_units
from textgen.evaluation.training_text import TrainingText
from textgen.events import Event, OnEvent, ignore
from textgen.numerics import pick_device, use_kernel


def never() -> bool:
    """Do not stop."""
    return False


def evaluate_bundle(
    bundle: Bundle | Path,
    *,
    sources: Sequence[Source] = (),
    training_sources: Sequence[Source] = (),
    options: EvaluationOptions | None = None,
    on_event: OnEvent = ignore,
    should_stop: Callable[[], bool] = never,
    device: str = "auto",
    threads: int | None = None,
) -> Report | None:
    """Measure a model on the text of ``sources``; None where ``should_stop`` asked for an end.

    Without ``sources`` it is measured on what was held out of ``training_sources``, the files that
    it learnt from. Those are also what samples are compared with, and what counting models learn
    from; without them these parts are among the report's ``missing``. ``device`` is for a bundle
    that is given as a path; ``threads`` sets torch's number of threads in this process. The same
    arguments give the same report but for its ``seconds``. Each part is told as a ``progress``
    event: part, step, total_steps, seconds. InvalidCorpus where there is nothing to measure on.
    """
    wanted = EvaluationOptions() if options is None else options
    started = time.monotonic()
    if threads is not None:
        torch.set_num_threads(threads)
    if isinstance(bundle, Path):
        bundle = load_bundle(bundle, str(pick_device(device)))
    try:
        subject = _subject(bundle, sources, training_sources, wanted, should_stop)
        plan = bundle.header.plan
        with use_kernel("native" if plan is None else plan.kernel):
            found = _measured(subject, on_event, started)
    except Stopped:
        return None
    return Report(
        model=_model_facts(bundle),
        text=_text_facts(subject, sources),
        options=wanted,
        seconds=round(time.monotonic() - started, 3),
        **found,
    )


def _subject(
    bundle: Bundle,
    sources: Sequence[Source],
    training_sources: Sequence[Source],
    options: EvaluationOptions,
    should_stop: Callable[[], bool],
) -> Subject:
    """The text read and in ids."""

    def check() -> None:
        if should_stop():
            raise Stopped

    if "traces" in options.parts:
        model = bundle.header.model
        check_units(options.units, model.layers, model.hidden_size)
    training = TrainingText(training_sources, bundle.header, check)
    documents = _given(sources, bundle, check) if sources else training.held_out()
    text = encode_text(
        documents,
        bundle.tokenizer,
        separate=bundle.header.documents,
        limit=options.max_tokens,
    )
    return Subject(bundle, text, training, options, check)


def _given(
    sources: Sequence[Source], bundle: Bundle, on_document: Callable[[], None]
) -> Iterator[Document]:
    """What is in the files, in the normal form that the model was taught."""
    cleaning = Cleaning(bundle.tokenizer.normalization)
    clean = cleaning.documents if bundle.header.documents else cleaning.pieces
    return clean(read_as_taught(sources, bundle.header, on_document))


def _measured(subject: Subject, on_event: OnEvent, started: float) -> dict[str, Any]:
    """The parts of the report, and why others are missing."""
    parts = [part for part in PARTS if part in subject.options.parts]
    found: dict[str, Any] = {}
    missing: dict[str, str] = {}
    for step, part in enumerate(parts):
        subject.check()
        data = {
            "part": part,
            "step": step,
            "total_steps": len(parts),
            "seconds": round(time.monotonic() - started, 1),
        }
        on_event(Event("progress", f"Measuring: {part}", data=data))
        try:
            found[part] = measure(part, subject)
        except NotMeasured as reason:
            missing[part] = str(reason)
    return {**found, "missing": missing}


def _model_facts(bundle: Bundle) -> ModelFacts:
    header = bundle.header
    return ModelFacts(
        parameters=header.parameters,
        layers=header.model.layers,
        hidden_size=header.model.hidden_size,
        tokenizer=bundle.tokenizer.name,
        vocab_size=header.vocab_size,
        objectives=header.objectives,
        rows=header.rows,
    )


def _text_facts(subject: Subject, sources: Sequence[Source]) -> TextFacts:
    text, tokenizer = subject.text, subject.bundle.tokenizer
    unknown = tokenizer.unknown_id
    return TextFacts(
        files=tuple(source.shown for source in sources or subject.training.sources),
        origin="given" if sources else "held out",
        documents=len(text.starts),
        tokens=text.tokens(),
        characters=len(text.text),
        bytes=text.bytes,
        unknown=0 if unknown is None else int((text.ids == unknown).sum()),
        left_out_characters=text.left_out,
    )
