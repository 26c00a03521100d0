"""What a long piece of work tells while it runs.

    duplicates       documents were left out: copies, near
    personal_data    personal data was masked: masked, the count of each kind, never a value
    overlap          much of the validation text stands in the training text: overlap, a share
    corpus           a text was read: encoding, characters, tokens, symbols, unknown, coverage
    classes          of labelled rows: labels, rows of each in each part, rare (too few to learn)
    word_vectors     what a file of them has for the text: vectors, size, found, and the shares of
                     the vocabulary's and of the training text's words that it has
    replay           the text of an earlier training was read, to be kept: as ``corpus``
    base             how the model to continue from does on the new text: step 0, valid_loss
    no_gain          no step did better on it than that model, whose weights are kept: valid_loss
    licence          the model to continue from has another: was, now
    choice           an option was chosen for the user: option, value, reason
    privacy          what a private training promises: epsilon, delta, noise_multiplier,
                     max_gradient_norm, documents, documents_per_step, cut_documents
    plan             the training's plan, before its first step: plan
    progress         about once a second: step, total_steps, train_loss, tokens_per_second,
                     seconds_left, seconds; while something long makes no steps (reading, measuring)
                     only doing, in words, and None when that is over; of an evaluation, before
                     each part: part, step, total_steps, seconds
    metrics          a measurement: step, total_steps, the seconds that the steps have taken,
                     train_loss, train_mean_token_accuracy, and where the validation text was run
                     valid_loss, valid_mean_token_accuracy, valid_bits_per_character,
                     valid_perplexity; at the end full_valid_loss and
                     full_valid_mean_token_accuracy. Losses are nats per token. Of classes
                     valid_accuracy, valid_precision, valid_recall, valid_f1, valid_weighted_f1,
                     valid_calibration_error, and at the end classification, class by class.
                     What is measured on an earlier text is valid_replay_loss and so on.
                     A private training tells epsilon_spent and delta in place of what is measured
                     on the training text, here and in progress.
    sample           a text drawn from the model: text, step
    checkpoint       a checkpoint is safe on disk: path, step, metrics, and best, where the best
                     weights are others, the path of a model of them
    time_cap         the training took 1.25 times the seconds it was given
    numerics_changed a training goes on under other numerics: was, now
    stopped_early    the validation loss stopped improving: step, reason

The data of an event is plain JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Level = Literal["info", "warn", "error"]


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened: ``message`` for people, ``type`` and ``data`` for programs."""

    type: str
    message: str
    level: Level = "info"
    data: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The event as plain JSON values."""
        return {
            "type": self.type,
            "message": self.message,
            "level": self.level,
            "data": dict(self.data),
        }


# Called in the thread that works, which goes on only after the call returned: so a plan is
# committed before the first step, and a checkpoint before an older one is deleted.
OnEvent = Callable[[Event], None]


def ignore(event: Event) -> None:
    """Do nothing: the listener of callers who want no events."""


def choice(option: str, value: Any, reason: str) -> Event:
    """Say that ``option`` was set to ``value`` on the user's behalf, and why."""
    return Event(
        "choice",
        f"{option} = {value}: {reason}",
        data={"option": option, "value": value, "reason": reason},
    )
