"""What a training begins with: its text in ids, its plan, what makes its steps.

A forecast begins with the same, so that it is one of the training that would run.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from textgen.bundles.bundle import Bundle
from textgen.bundles.checkpoint import Checkpoint
from textgen.corpus.dataset import EncodedCorpus
from textgen.corpus.sources import Source
from textgen.errors import InvalidOption
from textgen.events import OnEvent
from textgen.model import TextGenerator
from textgen.options import Hyperparameters
from textgen.plan import Plan
from textgen.training.fine_tuning import Base
from textgen.training.group import ALONE, Group
from textgen.training.mixture import make_mixture
from textgen.training.planning import make_plan
from textgen.training.private.documents import protected_documents
from textgen.training.private.planning import make_private_plan
from textgen.training.private.trainer import PrivateTrainer
from textgen.training.reading import read_corpus, with_objectives
from textgen.training.steps import Steps
from textgen.training.trainer import Trainer


def prepared_corpus(
    files: tuple[Sequence[Source], Sequence[Source], Sequence[Source]],
    wanted: Hyperparameters,
    folder: Path,
    on_event: OnEvent,
    start: Bundle | None = None,
    checkpoint: Checkpoint | None = None,
) -> tuple[EncodedCorpus, Hyperparameters]:
    """The texts to learn from, to validate on and to test on, read as ``wanted`` says, in ids.

    And ``wanted``, with what follows from the kind of their rows.
    """
    sources, validation_sources, test_sources = (
        [source.read_as(wanted) for source in part] for part in files
    )
    corpus = read_corpus(
        (sources, validation_sources, test_sources), wanted, folder, on_event, start, checkpoint
    )
    return corpus, with_objectives(wanted, corpus, on_event)


def prepared_plan(
    corpus: EncodedCorpus,
    preset: str,
    wanted: Hyperparameters,
    *,
    device: torch.device,
    threads: int,
    on_event: OnEvent,
    base: Base | None = None,
    replay: EncodedCorpus | None = None,
    group: Group = ALONE,
) -> Plan:
    """The plan of a training, private where ``wanted.privacy`` says so."""
    _check_patience(corpus, wanted)
    plan_it = make_plan if wanted.privacy is None else make_private_plan
    return plan_it(
        corpus,
        preset,
        wanted,
        device=device,
        threads=threads,
        on_event=on_event,
        base=base,
        replay=replay,
        group=group,
    )


def _check_patience(corpus: EncodedCorpus, wanted: Hyperparameters) -> None:
    """InvalidOption where nothing is held out by which a training could stop early."""
    if wanted.patience is not None and not corpus.splits["valid"].tokens:
        raise InvalidOption(
            f"'patience' is {wanted.patience} validations without improvement, but nothing is held "
            "out to validate on. Give a validation file or a validation_fraction, or leave it out.",
            param="patience",
        )


def prepared_steps(
    plan: Plan,
    model: TextGenerator,
    corpus: EncodedCorpus,
    replay: EncodedCorpus | None = None,
    group: Group = ALONE,
) -> Steps:
    """What makes the steps of a plan, before the first."""
    if plan.privacy is None:
        return Trainer(plan, model, make_mixture(plan, corpus, replay), group)
    documents = protected_documents(corpus, plan.sequence_length)
    return PrivateTrainer(plan, plan.privacy, model, documents)
