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
from torch import Tensor
from torch.nn import functional

from textgen.errors import InvalidCheckpoint, TrainingDiverged
from textgen.model import Hidden, TextGenerator
from textgen.numerics import reduced_precision, use_kernel
from textgen.plan import Plan
from textgen.training.mixture import Mixture
from textgen.training.optimizer import MOMENTS, Optimizer
from textgen.training.output_loss import OutputLoss, output_loss
from textgen.training.schedule import learning_rate
from textgen.training.streams import IGNORED

_MEAN_OVER = 50  # steps, for the running loss


class Trainer:
    """A model in training. The generators of the caller are left as they are."""

    def __init__(self, plan: Plan, model: TextGenerator, mixture: Mixture) -> None:
        self.plan = plan
        self.model = model
        self.step = 0
        self.losses: dict[str, float] = {}  # running means, nats per counted token
        self.accuracy = math.nan  # of the last measured step
        self._device = next(model.parameters()).device
        self._hidden: Hidden | None = None
        self._mixture = mixture
        self._optimizer = Optimizer(model, plan.learning_rate, plan.weight_decay)
        model.embedding.sparse = plan.sampled_classes > 0

    @property
    def loss(self) -> float:
        """The parts' running means, summed by their weights; NaN before the first step."""
        if not self.losses:
            return math.nan
        return sum(part.weight * self.losses[part.label] for part in self._mixture.parts)

    def advance(self, *, measure: bool = False) -> None:
        """One step; ``measure`` also sets ``accuracy``. TrainingDiverged where the loss is NaN."""
        batch = self._mixture.batch(self.step)
        self.model.train()
        with use_kernel(self.plan.kernel), _generators(self.plan, self.step, self._device):
            x = batch.inputs.to(self._device)  # (B, T)
            with reduced_precision(self.plan.kernel):
                features, (h, c) = self.model.features(x, self._hidden)  # (B, T, H)
            features, h, c = features.float(), h.float(), c.float()
            found = self._outputs(features, batch.targets)
            losses = {name: part.mean for name, part in found.items()}
            loss = torch.stack(
                [part.weight * losses[part.label] for part in self._mixture.parts]
            ).sum()
            self._optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
        norm = self._optimizer.clip(self.plan.gradient_clip)
        rate = learning_rate(self.plan, self.step)
        self._check(loss.item(), norm.item(), rate)
        self._optimizer.advance(rate)
        self._hidden = (h.detach(), c.detach())
        self.step += 1
        self._average(losses)
        if measure:
            counted = sum(part.count for part in found.values())
            right = sum(int(part.right.item()) for part in found.values())
            self.accuracy = right / counted if counted else math.nan

    def progress(self) -> dict[str, float]:
        """The running loss."""
        return {"train_loss": self.loss}

    def metrics(self) -> dict[str, float | None]:
        """The running loss, each objective's where there are several, and the accuracy."""
        accuracy = self.accuracy if math.isfinite(self.accuracy) else None
        found: dict[str, float | None] = {
            "train_loss": self.loss,
            "train_mean_token_accuracy": accuracy,
        }
        if len(self.losses) > 1:
            found |= {f"train_{name}_loss": loss for name, loss in self.losses.items()}
        return found

    def summary(self) -> str:
        """The running loss."""
        return f"training loss {self.loss:.3f}"

    def state(self) -> dict[str, Tensor]:
        """The tensors, beside the model's, that the next step depends on."""
        tensors = moments(self._optimizer, self.model)
        if self._hidden is not None:
            tensors |= {"hidden.h": self._hidden[0], "hidden.c": self._hidden[1]}
        return tensors

    def restore(
        self, step: int, losses: Mapping[str, float], tensors: Mapping[str, Tensor]
    ) -> None:
        """Go on from ``state`` after ``step`` steps; InvalidCheckpoint where it does not fit."""
        self.step, self.losses = step, dict(losses)
        if step == 0:
            return
        restore_moments(self._optimizer, self.model, tensors)
        lstm = self.model.lstm
        shape = (lstm.num_layers, self.plan.batch_size, lstm.hidden_size)
        h, c = (_fitting(tensors.get(f"hidden.{name}"), shape, name, self._device) for name in "hc")
        self._hidden = (h, c)

    def _outputs(self, features: Tensor, targets: Tensor) -> dict[str, OutputLoss]:
        """The loss of each part over its targets (B, T), on the CPU, that count."""
        found = {}
        for part in self._mixture.parts:
            rows, wanted = features[part.rows].flatten(0, 1), targets[part.rows].flatten()
            places = (wanted != IGNORED).nonzero()[:, 0]
            if len(places) < len(wanted):
                rows, wanted = rows[places.to(self._device)], wanted[places]
            found[part.label] = self._output_loss(rows, wanted)
        return found

    def _output_loss(self, features: Tensor, targets: Tensor) -> OutputLoss:
        """Over all symbols, or over the few that stand for them in this step."""
        output, sampled = self.model.output, self._mixture.classes
        if sampled is None:
            return output_loss(features, output.weight, output.bias, targets.to(self._device))
        classes = sampled.choose(targets, self.step)
        ids = classes.ids.to(self._device)
        weight = functional.embedding(ids, output.weight, sparse=True)  # (K, H)
        bias = output.bias.index_select(0, ids) + classes.shift.to(self._device)
        return output_loss(features, weight, bias, classes.targets.to(self._device))

    def _average(self, losses: Mapping[str, Tensor]) -> None:
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


def new_model(plan: Plan) -> TextGenerator:
    """The untrained model of a plan: the same weights for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(plan.seed)  # a CUDA device's is not used here
        return TextGenerator.from_options(plan.vocab_size, plan.model)


def moments(optimizer: torch.optim.Optimizer, model: TextGenerator) -> dict[str, Tensor]:
    """What the optimizer keeps of each parameter; nothing before its first step."""
    return {
        f"optimizer.{name}.{key}": value
        for name, parameter in model.named_parameters()
        for key, value in optimizer.state.get(parameter, {}).items()
    }


def restore_moments(
    optimizer: torch.optim.Optimizer, model: TextGenerator, tensors: Mapping[str, Tensor]
) -> None:
    """As ``moments`` told them; InvalidCheckpoint where they are not of this model."""
    for name, parameter in model.named_parameters():
        shapes = {"exp_avg": parameter.shape, "exp_avg_sq": parameter.shape, "step": ()}
        found = {key: tensors.get(f"optimizer.{name}.{key}") for key in MOMENTS}
        optimizer.state[parameter] = {
            key: _fitting(found[key], shapes[key], name, parameter.device) for key in MOMENTS
        }


@contextmanager
def _generators(plan: Plan, step: int, device: torch.device) -> Iterator[None]:
    """Dropout's randomness follows from seed and step, so no generator has to be saved."""
    cuda = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        # A CPU's generator takes 32 bits of a seed; the factor keeps the steps of two apart.
        seed = (plan.seed * 2654435761 + step) % 2**32
        # torch.manual_seed would format three stack traces for devices that are not there, every
        # step: a third of a millisecond.
        torch.default_generator.manual_seed(seed)
        for each in cuda:
            with torch.cuda.device(each):
                torch.cuda.manual_seed(seed)
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
