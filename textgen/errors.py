"""Every error that textgen raises on purpose.

    TextgenError
    ├── InvalidInput            what the caller gave cannot be used
    │   ├── InvalidOption       an option is unknown, of the wrong type or out of bounds
    │   ├── InvalidCorpus       a text file cannot be read or is not worth training on
    │   ├── InvalidBundle       a model file is damaged, foreign or of an unknown version
    │   └── InvalidCheckpoint   a checkpoint is damaged or belongs to another training
    ├── TrainingDiverged        the loss left the finite numbers
    ├── WorkerLost              one of the processes that train together is gone
    └── EngineFull              the generation engine takes no more requests just now

Each carries a ``code`` for programs, a ``message`` for people that names the value and the way
out, and, where one field is to blame, its ``param``. They survive a trip through JSON.
"""

from __future__ import annotations

from typing import Any, ClassVar


class TextgenError(Exception):
    """Base of all errors raised on purpose; ``code`` is stable, ``message`` may change."""

    default_code: ClassVar[str] = "textgen_error"

    def __init__(self, message: str, *, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = self.default_code if code is None else code
        self.param = param

    def as_dict(self) -> dict[str, Any]:
        """The three fields that clients see."""
        return {"code": self.code, "message": self.message, "param": self.param}


class InvalidInput(TextgenError):
    """What the caller gave cannot be used; giving the same again fails again."""

    default_code = "invalid_value"


class InvalidOption(InvalidInput):
    """An option is unknown, of the wrong type or out of bounds."""


class InvalidCorpus(InvalidInput):
    """A text file cannot be read or is not worth training on."""

    default_code = "invalid_corpus"


class InvalidBundle(InvalidInput):
    """A model file is damaged, foreign or of an unknown version."""

    default_code = "invalid_bundle"


class InvalidCheckpoint(InvalidInput):
    """A checkpoint is damaged or belongs to another training."""

    default_code = "invalid_checkpoint"


class TrainingDiverged(TextgenError):
    """The loss left the finite numbers; a smaller learning rate is the usual way out."""

    default_code = "training_diverged"


class WorkerLost(TextgenError):
    """One of the processes that train together is gone; go on from the last checkpoint."""

    default_code = "worker_lost"


class EngineFull(TextgenError):
    """The generation engine takes no more requests just now; try again shortly."""

    default_code = "engine_full"
