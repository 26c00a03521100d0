"""Stateful truncated back-propagation through time: one optimizer step after another.

Each step reads T tokens of B streams, starts from the state that the step before left (detached;
Williams and Peng 1990), and predicts every one of them. All that a step depends on is the plan,
the step's number and what ``state`` holds, so that a training can stop and go on anywhere.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional

from textgen.errors import InvalidCheckpoint, TrainingDiverged
from textgen.model import Hidden, TextGenerator
from textgen.numerics import use_kernel
from textgen.options import ObjectiveName
from textgen.plan import Plan
from textgen.training.mixture import Mixture, Part
from textgen.training.schedule import learning_rate
from textgen.training.streams import IGNORED, Batch

_MOMENTS = ("exp_avg", "exp_avg_sq", "step")
_BETAS = (0.9, 0.99)
_MEAN_OVER = 50  # steps, for the running loss


class Trainer:
    """A model in training. The generators of the caller are left as they are."""

    def __init__(self, plan: Plan, model: TextGenerator, mixture: Mixture) -> None:
        self.plan = plan
        self.model = model
        self.step = 0
        self.losses: dict[ObjectiveName, float] = {}  # running means, nats per counted token
        self.accuracy = math.nan  # of the last measured step
        self._device = next(model.parameters()).device
        self._hidden: Hidden | None = None
        self._mixture = mixture
        self._optimizer = _optimizer(model, plan)

    @property
    def loss(self) -> float:
        """The objectives' running means, summed by their weights; NaN before the first step."""
        if not self.losses:
            return math.nan
        return sum(part.weight * self.losses[part.name] for part in self._mixture.parts)

    def advance(self, *, measure: bool = False) -> None:
        """One step; ``measure`` also sets ``accuracy``. TrainingDiverged where the loss is NaN."""
        batch = self._mixture.batch(self.step)
        x, y = batch.inputs.to(self._device), batch.targets.to(self._device)  # (B, T)
        rate = learning_rate(self.plan, self.step)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self.model.train()
        with use_kernel(self.plan.kernel), _generators(self.plan, self.step, self._device):
            logits, (h, c) = self.model(x, self._before(batch))  # (B, T, V)
            losses = self._losses(logits, y)
            loss = torch.stack(
                [part.weight * losses[part.name] for part in self._mixture.parts]
            ).sum()
            self._optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.plan.gradient_clip)
        self._check(loss.item(), norm.item(), rate)
        self._optimizer.step()
        self._hidden = (h.detach(), c.detach())
        self.step += 1
        self._average(losses)
        if measure:
            self.accuracy = self._accuracy(logits, y)

    def state(self) -> dict[str, Tensor]:
        """The tensors, beside the model's, that the next step depends on."""
        tensors: dict[str, Tensor] = {}
        for name, parameter in self.model.named_parameters():
            moments = self._optimizer.state.get(parameter, {})
            tensors |= {f"optimizer.{name}.{key}": moments[key] for key in moments}
        if self._hidden is not None:
            tensors |= {"hidden.h": self._hidden[0], "hidden.c": self._hidden[1]}
        return tensors

    def restore(
        self, step: int, losses: Mapping[ObjectiveName, float], tensors: Mapping[str, Tensor]
    ) -> None:
        """Go on from ``state`` after ``step`` steps; InvalidCheckpoint where it does not fit."""
        self.step, self.losses = step, dict(losses)
        if step == 0:
            return
        for name, parameter in self.model.named_parameters():
            moments = {key: tensors.get(f"optimizer.{name}.{key}") for key in _MOMENTS}
            shapes = {"exp_avg": parameter.shape, "exp_avg_sq": parameter.shape, "step": ()}
            self._optimizer.state[parameter] = {
                key: _fitting(moments[key], shapes[key], name, self._device) for key in _MOMENTS
            }
        lstm = self.model.lstm
        shape = (lstm.num_layers, self.plan.batch_size, lstm.hidden_size)
        h, c = (_fitting(tensors.get(f"hidden.{name}"), shape, name, self._device) for name in "hc")
        self._hidden = (h, c)

    def _before(self, batch: Batch) -> Hidden | None:
        """The state that the rows go on from."""
        if self._hidden is None or batch.fresh is None:
            return self._hidden
        fresh = batch.fresh.to(self._device)[None, :, None]
        h, c = self._hidden
        return h.masked_fill(fresh, 0.0), c.masked_fill(fresh, 0.0)

    def _accuracy(self, logits: Tensor, targets: Tensor) -> float:
        """Share of all targets that count which are the likeliest; NaN where none counts."""
        right = []
        for part in self._mixture.parts:
            scores, wanted = _predicted(part, logits, targets)
            right.append((scores.argmax(-1) == wanted)[wanted != IGNORED])
        found = torch.cat(right)
        return found.float().mean().item() if len(found) else math.nan

    def _losses(self, logits: Tensor, targets: Tensor) -> dict[ObjectiveName, Tensor]:
        """Mean loss of each objective over its targets that count; 0 where none does."""
        losses = {}
        for part in self._mixture.parts:
            scores, wanted = _predicted(part, logits, targets)
            found = functional.cross_entropy(scores, wanted, ignore_index=IGNORED, reduction="sum")
            losses[part.name] = found / (wanted != IGNORED).sum().clamp(min=1)
        return losses

    def _average(self, losses: Mapping[ObjectiveName, Tensor]) -> None:
        weight = max(1 / self.step, 1 / _MEAN_OVER)
        for name, tensor in losses.items():
            loss = tensor.item()
            before = self.losses.get(name, loss)
            self.losses[name] = before + weight * (loss - before)

    def _check(self, loss: float, norm: float, rate: float) -> None:
        if math.isfinite(loss) and math.isfinite(norm):
            return
        raise TrainingDiverged(
            f"The training diverged at step {self.step + 1} of {self.plan.total_steps}: its loss "
            f"is {loss}. The learning rate was {rate:.2g}; train again with a smaller one, for "
            f"example learning_rate {self.plan.learning_rate / 4:.2g}, or a smaller gradient_clip.",
            param="learning_rate",
        )


def _predicted(part: Part, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """A part's logits (N, C) and targets (N,) among its C choices, or among all ids."""
    scores, wanted = logits[part.rows].flatten(0, 1), targets[part.rows].flatten()
    if part.choices is None:
        return scores, wanted
    choices = part.choices.to(logits.device)
    here = wanted != IGNORED
    return scores[here][:, choices], torch.searchsorted(choices, wanted[here])


def new_model(plan: Plan) -> TextGenerator:
    """The untrained model of a plan: the same weights for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(plan.seed)  # a CUDA device's is not used here
        return TextGenerator.from_options(plan.vocab_size, plan.model)


def _optimizer(model: TextGenerator, plan: Plan) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter 2019); only matrices decay, not biases."""
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": plan.weight_decay},
        {"params": [p for p in parameters if p.ndim == 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=plan.learning_rate, betas=_BETAS, fused=True)


@contextmanager
def _generators(plan: Plan, step: int, device: torch.device) -> Iterator[None]:
    """Dropout's randomness follows from seed and step, so no generator has to be saved."""
    cuda = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        torch.manual_seed((plan.seed << 32) + step)
        yield


def _fitting(
    tensor: Tensor | None, shape: Sequence[int], name: str, device: torch.device
) -> Tensor:
    if tensor is None or tensor.shape != torch.Size(shape):
        found = None if tensor is None else tuple(tensor.shape)
        raise InvalidCheckpoint(
            f"The checkpoint belongs to another model: the state of {name!r} is {found}, "
            f"not {tuple(shape)}."
        )
    return tensor.to(device)
