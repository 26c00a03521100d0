"""Which labels a corpus may have: what is wrong is refused with the way out."""

from __future__ import annotations

from collections.abc import Collection

from textgen.corpus.documents import MOST_LABELS
from textgen.corpus.sources import Source
from textgen.errors import InvalidCorpus, InvalidOption
from textgen.options import Hyperparameters


def labels_are_wanted(options: Hyperparameters) -> bool:
    """Whether labels are learnt where rows have them; a private training learns texts alone.

    InvalidOption where their column is named and nothing would learn them.
    """
    wanted = options.objectives is None or "classify" in options.objectives
    wanted = wanted and options.privacy is None
    if options.label_column is not None and not wanted:
        raise InvalidOption(
            f"'label_column' is {options.label_column!r}, but 'objectives' has no 'classify' that "
            "would learn the labels. Add it, or leave the column out.",
            param="label_column",
        )
    return wanted


def check_there_may_be_none(objectives: Collection[str] | None, source: Source) -> None:
    """InvalidCorpus where labels were asked for; ``source`` has none."""
    if objectives is not None and "classify" in objectives:
        raise InvalidCorpus(
            f"'objectives' has 'classify', but {source.shown} has no labels: give rows "
            '{"text": "...", "label": "..."}, or a csv or parquet file with columns text and '
            "label, or name its columns in the options 'column' and 'label_column'.",
            code="no_labels",
            param="objectives",
        )


def check_labels(labels: Collection[str]) -> None:
    """InvalidCorpus where there is nothing to tell apart, or too much."""
    if len(labels) == 1:
        raise InvalidCorpus(
            f"All rows have the label {next(iter(labels))!r}; to tell classes apart, rows of at "
            "least two are needed. To learn the texts alone, train with the objective causal.",
            code="one_label",
        )
    if len(labels) > MOST_LABELS:
        some = ", ".join(map(repr, sorted(labels)[:3]))
        raise InvalidCorpus(
            f"The rows have more than {MOST_LABELS:,} different labels, {some} among them. Give "
            "fewer classes, or train with the objective causal, which leaves labels aside.",
            code="too_many_labels",
        )


def check_known(label: str, known: Collection[str], source: Source, number: int) -> None:
    """InvalidCorpus where the label of text ``number`` is in no training file."""
    if label in known:
        return
    shown = ", ".join(map(repr, list(known)[:20]))
    raise InvalidCorpus(
        f"{source.shown}, text {number}: the label {label!r} is in no training file, so it "
        f"cannot be learnt; those there are: {shown}. Correct it, or add rows with it to the "
        "training file.",
        code="unknown_label",
        param="label",
    )
