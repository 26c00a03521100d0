"""What can be asked of private training, and what of other options does not go with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from textgen.errors import InvalidOption
from textgen.option_model import Options

if TYPE_CHECKING:
    from textgen.options import Hyperparameters

_DROPOUT = "the noise of private training does what dropout is for, and more"
DROPOUTS = (
    "dropout",
    "output_dropout",
    "input_dropout",
    "embedding_dropout",
    "weight_dropout",
)
_REFUSED_IN_PRIVATE = {
    "sequence_length": "documents are read whole, up to privacy.max_document_tokens",
    "gradient_clip": "each document's gradient is cut by itself, to privacy.max_gradient_norm",
    "replay_fraction": "an old text is not protected",
    "copy_index": "an index tells which passages are in the text",
    "vocab_size": "a vocabulary is learnt from the text",
}


_REFUSED_VALUES = {
    ("deduplicate", "near"): "one document more could push out many others; exact does go",
    ("precision", "bfloat16"): "a gradient must not come out longer than it is cut to",
    ("precision", "float16"): "a gradient must not come out longer than it is cut to",
    ("softmax", "sampled"): "gradients are those of the exact one",
}


Epsilon = Annotated[float, Field(gt=0, le=100)]


class PrivacyOptions(Options):
    """Differential privacy of each document; what is left open is chosen when a training starts."""

    epsilon: Epsilon = Field(description="the most privacy that may be lost")
    delta: float | None = Field(
        None, gt=0, lt=1, description="chance of losing more; 1 / (10 · documents) where not given"
    )
    max_gradient_norm: float = Field(
        0.1, gt=0, le=1000, description="to which the gradient of each document is cut"
    )
    max_document_tokens: int = Field(
        256, ge=4, le=1024, description="a longer document is cut, and only its beginning learnt"
    )
    documents_per_step: int | None = Field(
        None, ge=1, le=100_000, description="drawn for a step, on average"
    )


def check_private(wanted: Hyperparameters) -> None:
    """InvalidOption where something would give documents away, or makes no sense in private."""
    for option in (*_REFUSED_IN_PRIVATE, *DROPOUTS):
        if getattr(wanted, option):
            raise InvalidOption(
                f"{option!r} does not go with 'privacy': "
                f"{_REFUSED_IN_PRIVATE.get(option, _DROPOUT)}. Leave one of them out.",
                param=option,
            )
    for (option, value), reason in _REFUSED_VALUES.items():
        if getattr(wanted, option) == value:
            raise InvalidOption(
                f"{option!r} is {value}, which does not go with 'privacy': {reason}.", param=option
            )
    if wanted.tokenizer not in (None, "byte"):
        raise InvalidOption(
            f"'tokenizer' is {wanted.tokenizer}, which is learnt from the text: what is rare "
            "in it could be read from the model, in spite of 'privacy'. Take byte, or go "
            "on from a base model, whose tokenizer is kept.",
            param="tokenizer",
        )
    if set(wanted.weights) != {"causal"}:
        raise InvalidOption(
            f"'objectives' is {', '.join(wanted.weights)}; with 'privacy' only causal can be "
            "learnt, since a task of the others is no whole document.",
            param="objectives",
        )
