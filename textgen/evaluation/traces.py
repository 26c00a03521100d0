"""What single units do while a model reads: Karpathy et al. (2015), §4.2.

The state of an LSTM has units that follow something in the text: a line that grows long, an open
quotation. They are looked for by what their cells have in common with kinds of characters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from textgen.engine.textless import likeliest
from textgen.errors import InvalidOption
from textgen.evaluation.character_kinds import kinds_of
from textgen.evaluation.options import TracedUnit
from textgen.evaluation.report import LikelyToken, TokenTrace, Traces, UnitTrace
from textgen.model import Hidden, TextGenerator
from textgen.tokenizers import Ids, Tokenizer

_ALTERNATIVES = 3
_FEWEST = 5  # tokens that differ from most, to compare them
_DIGITS = 4
Values = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Reading:
    """Of N tokens, each read after all before it, the first from a state of zeros."""

    nats: Values  # (N,) of each token before it was read; NaN for the first
    likely: tuple[tuple[LikelyToken, ...], ...]  # (N,) the likeliest in its place
    h: Values  # (N, L, H) after each token
    c: Values  # (N, L, H) the cells through tanh, as h has them


@torch.inference_mode()
def read_along(
    model: TextGenerator, ids: Ids, tokenizer: Tokenizer, on_token: Callable[[], None]
) -> Reading:
    """Read ``ids`` (N,), at least one, and keep the state after each: 16·N·L·H bytes."""
    device = next(model.parameters()).device
    hidden: Hidden | None = None
    states: list[npt.NDArray[np.float32]] = []
    nats, likely = [float("nan")], [tuple[LikelyToken, ...]()]
    was_training = model.training
    model.eval()
    try:
        for place, token in enumerate(ids.tolist()):
            on_token()
            logits, hidden = model(torch.tensor([[token]], device=device), hidden)
            h, c = hidden
            states.append(torch.stack([h[:, 0], c[:, 0].tanh()]).cpu().numpy())  # (2, L, H)
            if place + 1 < len(ids):
                chances = logits[0, 0].double().log_softmax(0)
                nats.append(-float(chances[int(ids[place + 1])]))
                likely.append(_likely(logits[0, 0], tokenizer))
    finally:
        model.train(was_training)
    h_values, c_values = np.stack(states, 1).astype(np.float64)
    return Reading(np.array(nats), tuple(likely), h_values, c_values)


def trace(
    model: TextGenerator,
    ids: Ids,
    tokenizer: Tokenizer,
    *,
    most: int,
    units: Sequence[TracedUnit] = (),
    on_token: Callable[[], None] = lambda: None,
) -> Traces:
    """Each token with its surprise, and units: those asked for, for each kind of character the
    cell that follows it best, and ``most`` of those whose cells vary most.

    InvalidOption for a unit that the model has not.
    """
    check_units(units, model.lstm.num_layers, model.lstm.hidden_size)
    reading = read_along(model, ids, tokenizer, on_token)
    decoder = tokenizer.decoder()
    texts = [decoder.push(token) for token in ids.tolist()]
    follow = _best_correlations(reading.c, kinds_of(texts))
    spread = reading.c.std(0)  # (L, H)
    varied = np.argsort(-spread, axis=None, kind="stable")[:most]
    names = [*units, *follow, *(_name("c", *divmod(int(each), spread.shape[1])) for each in varied)]
    return Traces(
        tokens=tuple(
            TokenTrace(
                text=tokenizer.token_name(token),
                nats=None if np.isnan(cost) else round(float(cost), _DIGITS),
                likeliest=likely,
            )
            for token, cost, likely in zip(ids.tolist(), reading.nats, reading.likely, strict=True)
        ),
        units=tuple(
            _unit_trace(name, reading, follow.get(name, {})) for name in dict.fromkeys(names)
        ),
    )


def check_units(units: Sequence[TracedUnit], layers: int, hidden_size: int) -> None:
    """InvalidOption for a unit that the model has not."""
    for name in units:
        _, layer, unit = _place(name)
        if layer not in range(layers) or unit >= hidden_size:
            raise InvalidOption(
                f"'units' has {name!r}; the model has layers 1 to {layers} of {hidden_size} units, "
                f"0 to {hidden_size - 1}.",
                param="units",
            )


def _place(name: TracedUnit) -> tuple[str, int, int]:
    """The part of the state, h or c, and from 0 the layer and the unit in it."""
    return name[0], int(name[1]) - 1, int(name[3:])


def _best_correlations(
    cells: Values, kinds: dict[str, Values]
) -> dict[TracedUnit, dict[str, float]]:
    """For each kind that the text has enough of the cell (N, L, H) that goes with it most."""
    width = cells.shape[2]
    flat = cells.reshape(len(cells), -1)
    flat = flat - flat.mean(0)
    norms = np.maximum(np.sqrt(np.square(flat).sum(0)), 1e-9)
    found: dict[TracedUnit, dict[str, float]] = {}
    for kind, values in kinds.items():
        _, counts = np.unique(values, return_counts=True)
        if len(values) - counts.max() < _FEWEST:
            continue
        wanted = values - values.mean()
        correlations = wanted @ flat / (norms * np.sqrt(np.square(wanted).sum()))
        best = int(np.abs(correlations).argmax())
        name = _name("c", *divmod(best, width))
        found.setdefault(name, {})[kind] = round(float(correlations[best]), _DIGITS)
    return found


def _unit_trace(name: TracedUnit, reading: Reading, kinds: dict[str, float]) -> UnitTrace:
    part, layer, unit = _place(name)
    values = reading.h if part == "h" else reading.c
    found = values[:, layer, unit]
    return UnitTrace(
        unit=name,
        spread=round(float(found.std()), _DIGITS),
        kinds=kinds,
        values=tuple(round(float(each), _DIGITS) for each in found),
    )


def _likely(logits: torch.Tensor, tokenizer: Tokenizer) -> tuple[LikelyToken, ...]:
    return tuple(
        LikelyToken(
            text=tokenizer.token_name(each.token), probability=round(each.probability, _DIGITS)
        )
        for each in likeliest(logits, _ALTERNATIVES, tokenizer)
    )


def _name(part: str, layer: int, unit: int) -> TracedUnit:
    return f"{part}{layer + 1}:{unit}"
