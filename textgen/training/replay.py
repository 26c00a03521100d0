"""Keeping what a model knows already: some rows of every batch read what it learnt before.

Rehearsal, as reviewed by Parisi et al. (2019, §3.4): docs/fine-tuning.md has what it costs here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from textgen.corpus.dataset import EncodedCorpus
from textgen.corpus.encode import encode_corpus
from textgen.corpus.sources import Source
from textgen.errors import InvalidCheckpoint, InvalidCorpus, InvalidOption
from textgen.events import Event, OnEvent
from textgen.options import Hyperparameters
from textgen.plan import Plan
from textgen.training.mixture import without_labels

DEFAULT_FRACTION = 0.2
_READING = (
    "deduplicate", "mask_personal_data", "shuffle", "validation_fraction", "test_fraction",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class OldText:
    """What the model to continue from was trained on.

    It is read with the ``options`` of that training: the same texts are held out, so that what is
    measured on them was never learnt, and what was masked is masked.
    """

    sources: Sequence[Source]
    validation_sources: Sequence[Source] = ()
    options: Hyperparameters = field(default_factory=Hyperparameters)


def encode_replay(
    old: OldText, corpus: EncodedCorpus, wanted: Hyperparameters, folder: Path, on_event: OnEvent
) -> EncodedCorpus:
    """The old text in the ids of ``corpus``, under ``folder``.

    Labels of the old text are left aside. InvalidOption where labels are all that is learnt,
    InvalidCorpus where its rows need marks that the tokenizer lacks: the model never read such.
    """
    objectives = without_labels(wanted.weights)
    if not objectives:
        raise InvalidOption(
            "Of an old text labels cannot be kept, and 'objectives' is classify alone. Add causal "
            "to it, or leave the old text out.",
            param="objectives",
        )
    reading = {name: getattr(old.options, name) for name in _READING}
    reading |= {"objectives": objectives, "label_column": None}

    def tell(event: Event) -> None:
        """As what it is: listeners take ``corpus`` for the text of the training."""
        if event.type == "corpus":
            message = f"To be kept, from before: {event.message[0].lower()}{event.message[1:]}"
            event = Event("replay", message, event.level, event.data)
        on_event(event)

    made = encode_corpus(
        old.sources,
        wanted.model_copy(update=reading),
        folder,
        validation_sources=old.validation_sources,
        on_event=tell,
        tokenizer=corpus.tokenizer,
        widen=False,
    )
    if made.tokenizer.vocab_size != corpus.tokenizer.vocab_size:
        raise InvalidCorpus(
            f"The old text has rows of {made.kind}, which the model to continue from never learnt. "
            "Give the files that it was trained on.",
            code="other_rows",
            param="replay_files",
        )
    return made


def check_replay(plan: Plan, replay: EncodedCorpus | None) -> None:
    """InvalidCheckpoint where a training would go on with another old text than it began with."""
    found = None if replay is None else replay.sha256
    if found != plan.replay:
        raise InvalidCheckpoint(
            "The training began with another old text to keep, or with none. Resume with the "
            "files that it was begun with, or start anew."
        )
