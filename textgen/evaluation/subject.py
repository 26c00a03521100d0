"""What the parts of one evaluation share: a model, a text, the options."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from textgen.bundles.bundle import Bundle
from textgen.evaluation.options import EvaluationOptions
from textgen.evaluation.samples import draw, prompts_for
from textgen.evaluation.text import MeasuredText
from textgen.evaluation.token_scores import TokenScores, score_tokens
from textgen.evaluation.training_text import TrainingText
from textgen.options import SamplingOptions

_SAMPLE_TOKENS = 1000


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
    check: Callable[[], None]  # Stopped where the caller asked for an end

    @cached_property
    def scores(self) -> TokenScores:
        """Of every token that counts; read once for all parts."""
        return score_tokens(
            self.bundle.model, self.text.ids, self.text.counted, on_chunk=self.check
        )

    @cached_property
    def drawn(self) -> list[str]:
        """Texts of the model; drawn once for all parts."""
        options = self.options
        prompts = options.prompts or prompts_for(self.text, options.samples)
        sampling = SamplingOptions(max_tokens=self.sample_tokens, temperature=self.temperature)
        return draw(
            self.bundle,
            prompts,
            options.samples,
            sampling,
            seed=options.seed,
            on_step=self.check,
        )

    @property
    def sample_tokens(self) -> int:
        """Of each sample, at most."""
        if self.options.sample_tokens is not None:
            return self.options.sample_tokens
        return min(self.bundle.header.generation_defaults.max_tokens, _SAMPLE_TOKENS)

    @property
    def temperature(self) -> float:
        """Of the samples."""
        if self.options.temperature is not None:
            return self.options.temperature
        return self.bundle.header.generation_defaults.temperature
