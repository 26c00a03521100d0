"""What is chosen for a training that goes on from a model; docs/fine-tuning.md has the figures."""

from __future__ import annotations

from dataclasses import dataclass

from textgen.bundles.bundle import Bundle
from textgen.bundles.checkpoint import Checkpoint
from textgen.bundles.header import BundleHeader
from textgen.corpus.dataset import EncodedCorpus
from textgen.errors import InvalidOption
from textgen.events import Event, OnEvent, choice
from textgen.options import PRESETS, SHAPE_OPTIONS, Hyperparameters, Preset
from textgen.training.replay import DEFAULT_FRACTION

_RATE = 0.3  # of the peak from scratch: the weights are good already


@dataclass(frozen=True, slots=True)
class Base:
    """The bundle that a training starts from."""

    header: BundleHeader
    sha256: str


def preset_of(base: Base, wanted: Hyperparameters, on_event: OnEvent) -> Preset:
    """What trained the base, gentler; its shape stays, and a wish for another is refused."""
    model = base.header.model
    for option in SHAPE_OPTIONS:
        value = getattr(wanted, option)
        if value is not None and value != getattr(model, option):
            raise InvalidOption(
                f"{option!r} is {value}, but the model to continue from has "
                f"{getattr(model, option)}. Leave it out, or train from scratch.",
                param=option,
            )
    plan = base.header.plan
    near = PRESETS["lstm-small"]
    for preset in PRESETS.values():
        if preset.model.layers <= model.layers and preset.model.hidden_size <= model.hidden_size:
            near = preset
    rate = near.learning_rate * _RATE
    if wanted.learning_rate is None and wanted.learning_rate_multiplier == "auto":
        reason = f"{_RATE:g} of what a training from scratch is given: the weights are good already"
        on_event(choice("learning_rate", round(rate, 6), reason))
    return Preset(
        description="as the model to continue from",
        model=model,
        batch_size=near.batch_size if plan is None else plan.batch_size,
        sequence_length=near.sequence_length if plan is None else plan.sequence_length,
        learning_rate=rate,
        weight_decay=near.weight_decay if plan is None else plan.weight_decay,
        gradient_clip=near.gradient_clip if plan is None else plan.gradient_clip,
    )


def say_what_is_not_practised(base: Base, wanted: Hyperparameters, on_event: OnEvent) -> None:
    """An objective that is learnt no more will be forgotten, and the new model does not offer it.

    Nobody should learn that from an error later.
    """
    left_out = [name for name in base.header.objectives if name not in wanted.weights]
    if left_out:
        reason = (
            f"the model to continue from has learnt {', '.join(left_out)} too, which the new one "
            "will not know; name it in objectives to keep it"
        )
        on_event(choice("objectives", list(wanted.weights), reason))


def licence_of(wanted: Hyperparameters, before: Bundle | Checkpoint | None) -> str | None:
    """The licence of the new model: as given, else that of what it goes on from."""
    if wanted.licence is not None or before is None:
        return wanted.licence
    return before.header.licence


def say_licence(base: Base, wanted: Hyperparameters, on_event: OnEvent) -> None:
    """An inherited licence is told, and one that takes the place of another."""
    inherited = base.header.licence
    if inherited is None:
        return
    if wanted.licence is None:
        on_event(choice("licence", inherited, "the model to continue from has it"))
    elif wanted.licence != inherited:
        message = (
            f"The model to continue from has the licence {inherited!r}, the new one "
            f"{wanted.licence!r}: see to it that the first allows the second"
        )
        on_event(Event("licence", message, "warn", {"was": inherited, "now": wanted.licence}))


def kept_of_old(
    wanted: Hyperparameters, replay: EncodedCorpus | None, on_event: OnEvent
) -> dict[str, object]:
    """How much of each batch the old text gets."""
    fraction = wanted.replay_fraction
    if replay is None:
        if fraction is not None:
            raise InvalidOption(
                f"'replay_fraction' is {fraction}, but there is no old text to keep. Continue from "
                "a model whose training files are still there, or leave it out.",
                param="replay_fraction",
            )
        return {}
    if fraction is None:
        fraction = DEFAULT_FRACTION
        on_event(choice("replay_fraction", fraction, "an old text is to be kept"))
    return {"replay": replay.sha256, "replay_fraction": fraction}
