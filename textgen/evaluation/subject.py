"""What the parts of one evaluation share: a model, a text, the options."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from textgen.bundles.bundle import Bundle
from textgen.evaluation.options import EvaluationOptions
from textgen.evaluation.text import MeasuredText
from textgen.evaluation.token_scores import TokenScores, score_tokens
from textgen.evaluation.training_text import TrainingText


class Stopped(Exception):
    """The caller asked for an end."""


class NotMeasured(Exception):
    """Why a part cannot be measured, in a sentence for people."""


@dataclass(frozen=True)
class Subject:
    """One model on one text."""

    bundle: Bundle
    text: MeasuredText
    training: TrainingText
    options: EvaluationOptions
    should_stop: Callable[[], bool]

    def check(self) -> None:
        """Stopped where the caller asked for an end."""
        if self.should_stop():
            raise Stopped

    @cached_property
    def scores(self) -> TokenScores:
        """Of every token that counts; read once for all parts."""
        found = score_tokens(
            self.bundle.model, self.text.ids, self.text.counted, should_stop=self.should_stop
        )
        if found is None:
            raise Stopped
        return found
