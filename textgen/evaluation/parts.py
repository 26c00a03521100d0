"""The parts of a report, each from one model and one text."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from textgen.corpus.documents import Document, Labelled
from textgen.errors import InvalidCorpus
from textgen.evaluation import prediction
from textgen.evaluation.baselines import KneserNey, Ppm
from textgen.evaluation.bias import measure_bias
from textgen.evaluation.canaries import exposure
from textgen.evaluation.classes import evaluate_classifier
from textgen.evaluation.context_length import loss_by_context
from textgen.evaluation.memorisation import CorpusIndex
from textgen.evaluation.options import PartName
from textgen.evaluation.report import (
    Baselines,
    Bias,
    Calibration,
    CanaryExposure,
    Classes,
    ContextLoss,
    Memorisation,
    Prediction,
    Samples,
    TaskScores,
    Traces,
    WorstRow,
)
from textgen.evaluation.samples import alike, diversity, limited, overlaps
from textgen.evaluation.scoring import score_rows
from textgen.evaluation.subject import NotMeasured, Subject
from textgen.evaluation.tasks import evaluate_tasks, sample_tasks, score_answers
from textgen.evaluation.traces import trace
from textgen.objectives import OBJECTIVES, Passages
from textgen.options import ObjectiveName

_SHOWN_SAMPLES = 5


def _prediction(subject: Subject) -> Prediction:
    return prediction.predicted(subject.text, subject.scores, subject.options.top_k)


def _context(subject: Subject) -> tuple[ContextLoss, ...]:
    text = subject.text
    fitting = 1 << ((text.ids.size - 1).bit_length() - 1)  # the greatest with a whole segment
    return loss_by_context(
        subject.bundle.model,
        text.ids,
        longest=min(subject.options.longest_context, fitting),
        counted=text.counted,
        on_segments=subject.check,
    )


def _calibration(subject: Subject) -> Calibration:
    return prediction.calibration(subject.scores, subject.options.bins)


def _rows(subject: Subject) -> tuple[WorstRow, ...]:
    tokenizer, count = subject.bundle.tokenizer, subject.options.worst_rows
    return prediction.worst(subject.text, subject.scores, tokenizer, count)


def _tasks(subject: Subject) -> dict[ObjectiveName, TaskScores]:
    bundle, text = subject.bundle, subject.text
    learnt = [name for name in bundle.header.objectives if name in OBJECTIVES]
    if not learnt:
        raise NotMeasured("the model has learnt none of the objectives that make tasks")
    passages = Passages(text.ids, bundle.tokenizer, documents=bundle.header.documents)
    scores: dict[ObjectiveName, TaskScores] = {}
    for name in learnt:
        objective = OBJECTIVES[name](bundle.tokenizer)
        tasks = sample_tasks(objective, passages, subject.options.tasks)
        subject.check()
        if not tasks:
            continue
        metrics = evaluate_tasks(bundle.model, tasks, on_batch=subject.check)
        end = bundle.tokenizer.end_id
        answers = score_answers(bundle.model, tasks, end, on_batch=subject.check)
        scores[name] = TaskScores(
            tasks=len(tasks),
            loss=metrics.loss,
            accuracy=metrics.accuracy,
            precision=answers.precision,
            recall=answers.recall,
            f1=answers.f1,
            exact=answers.exact,
        )
    if not scores:
        raise NotMeasured(f"no task of {', '.join(learnt)} can be made of this text")
    return scores


def _classes(subject: Subject) -> Classes:
    """Of the texts that have a label."""
    rows = [each for each in subject.text.documents if isinstance(each, Labelled)]
    if not rows:
        raise NotMeasured("the text has no labels")

    pairs = ((row.text, row.label) for row in rows)
    try:
        found = evaluate_classifier(subject.bundle, pairs, on_chunk=subject.check)
        return Classes.parse(found.as_dict())
    except InvalidCorpus as error:
        raise NotMeasured(str(error)) from None


def _samples(subject: Subject) -> Samples:
    drawn = subject.drawn
    return Samples(
        count=len(drawn),
        temperature=subject.temperature,
        max_tokens=subject.sample_tokens,
        characters=sum(map(len, drawn)),
        diversity=tuple(diversity(drawn, alike(drawn, subject.text))),
        texts=tuple(drawn[:_SHOWN_SAMPLES]),
    )


def _memorisation(subject: Subject) -> Memorisation:
    separate = subject.bundle.header.documents
    most = subject.options.index_characters
    texts, left_out = limited(_learnt(subject), most, separate=separate)
    index = CorpusIndex(texts)
    subject.check()
    found = overlaps(index, subject.drawn, subject.check)
    if found is None:  # cannot be: there is a sample
        raise NotMeasured("there are no samples")
    return Memorisation(
        characters=sum(map(len, texts)),
        left_out_characters=left_out,
        samples=found,
        text=overlaps(index, alike(subject.drawn, subject.text), subject.check),
    )


def _canaries(subject: Subject) -> tuple[CanaryExposure, ...]:
    options = subject.options
    if not options.canaries:
        raise NotMeasured("'canaries' names no secret that was put into the training text")

    def nats(texts: Iterable[str]) -> Iterator[float]:
        for score in score_rows(subject.bundle, texts, on_step=subject.check):
            yield score.nats

    found: list[CanaryExposure] = []
    for canary in options.canaries:
        known = exposure(nats, canary, samples=options.canary_samples, seed=options.seed)
        found.append(
            CanaryExposure(
                template=canary.template,
                secret=canary.secret,
                bits=known.bits,
                most_bits=math.log2(known.size),
                method=known.method,
            )
        )
    return tuple(found)


def _baselines(subject: Subject) -> Baselines:
    """On the same characters as the model, whose ends of documents are not counted here."""
    text, scores, most = subject.text, subject.scores, subject.options.baseline_characters
    separate = subject.bundle.header.documents
    learnt, left_out = limited(_learnt(subject), most, separate=separate)
    if not any(learnt):
        raise NotMeasured("the training text is empty")
    inside = text.ids[scores.places] != subject.bundle.tokenizer.end_id
    if separate:
        pieces, stop = text.first_documents(most)
    else:
        stop = min(len(text.ids), max(1, len(text.ids) * most // max(len(text.text), 1)))
        pieces = [text.text[: len(subject.bundle.tokenizer.decode(text.ids[:stop]))]]
    nats = scores.nats[inside & (scores.places < stop)].sum(dtype=np.float64)
    characters = sum(map(len, pieces))
    if characters == 0:
        raise NotMeasured(f"the first document has more than {most:,} characters")
    subject.check()
    kneser_ney = KneserNey.learn(learnt, documents=separate).nats_per_character(pieces)
    subject.check()
    ppm = Ppm.learn(learnt, documents=separate).nats_per_character(pieces)
    return Baselines(
        learnt_characters=sum(map(len, learnt)),
        left_out_characters=left_out,
        characters=characters,
        model=float(nats) / characters / math.log(2),
        kneser_ney=kneser_ney / math.log(2),
        ppm=ppm / math.log(2),
    )


def _bias(subject: Subject) -> tuple[Bias, ...]:
    text, options = subject.text, subject.options
    if not options.terms:
        raise NotMeasured("'terms' names no words to exchange")
    documents: Iterable[Document] = text.documents or [*filter(None, text.text.split("\n"))]
    return tuple(
        measure_bias(
            subject.bundle,
            documents,
            terms,
            rows=options.bias_rows,
            shown=options.worst_rows,
            resamples=options.resamples,
            seed=options.seed,
            on_step=subject.check,
        )
        for terms in options.terms
    )


def _traces(subject: Subject) -> Traces:
    bundle, options = subject.bundle, subject.options
    return trace(
        bundle.model,
        subject.text.ids[: options.trace_tokens],
        bundle.tokenizer,
        most=options.trace_units,
        units=options.units,
        on_token=subject.check,
    )


def _learnt(subject: Subject) -> Iterator[Document]:
    """The training text. NotMeasured where none was given."""
    if not subject.training.sources:
        raise NotMeasured("'training_sources' is empty: the training text is needed for it")
    return subject.training.learnt()


def measure(part: PartName, subject: Subject) -> Any:
    """What goes under the part's name in the report; NotMeasured where it cannot be.

    All but tasks and classes are of next-token prediction.
    """
    learnt = subject.bundle.header.objectives
    if part == "classes" and "classify" not in learnt:
        raise NotMeasured("the model has learnt no labels")
    if part not in ("tasks", "classes") and "causal" not in learnt:
        raise NotMeasured(
            f"the model has learnt {', '.join(learnt)} alone, not to predict the next token"
        )
    return _MEASURES[part](subject)


_MEASURES: Mapping[PartName, Callable[[Subject], Any]] = MappingProxyType(
    {
        "prediction": _prediction,
        "context": _context,
        "calibration": _calibration,
        "rows": _rows,
        "tasks": _tasks,
        "classes": _classes,
        "samples": _samples,
        "memorisation": _memorisation,
        "canaries": _canaries,
        "baselines": _baselines,
        "bias": _bias,
        "traces": _traces,
    }
)
