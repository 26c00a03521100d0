"""Stateful truncated back-propagation through time: one optimizer step after another.

Each step reads T tokens of B streams, starts from the state that the step before left (detached;
Williams and Peng 1990), and predicts every one of them. All that a step depends on is the plan,
the step's number and what ``state`` holds, so that a training can stop and go on anywhere.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from textgen.errors import TrainingDiverged
from textgen.model import Hidden, TextGenerator
from textgen.numerics import autocast, use_kernel
from textgen.plan import Plan
from textgen.training.group import ALONE, Group, own_rows
from textgen.training.mixture import Mixture, Part
from textgen.training.optimizer import Optimizer
from textgen.training.optimizer_state import fitting, moment_shapes, moments, restore_moments
from textgen.training.output_loss import OutputLoss, output_loss
from textgen.training.sampled_classes import Classes, only
from textgen.training.schedule import learning_rate
from textgen.training.step_randomness import seeded_for_step
from textgen.training.streams import IGNORED, Batch

_SCALING = ("scale", "_growth_tracker")
_COUNTED = "losses.steps"
_MEAN_OVER = 50  # steps, for the running loss


class Trainer:
    """A model in training. The generators of the caller are left as they are.

    In a group each process has a trainer of the same plan and mixture, computes its rows of every
    batch, and takes the same steps. What is called on the leader's is called on the others, which
    ``textgen.training.follower`` sees to.
    """

    def __init__(
        self, plan: Plan, model: TextGenerator, mixture: Mixture, group: Group = ALONE
    ) -> None:
        self.plan = plan
        self.model = model
        self.step = 0
        self.losses: dict[str, float] = {}  # running means, nats per counted token
        self._counted = torch.zeros(len(mixture.parts))  # steps that each mean is over
        self.accuracy = math.nan  # of the last measured step
        self._device = next(model.parameters()).device
        self._weights = torch.tensor([part.weight for part in mixture.parts], device=self._device)
        self._hidden: Hidden | None = None
        self._mixture = mixture
        model.embedding.weight.requires_grad_(not plan.freeze_embeddings)
        self._optimizer = Optimizer(model, plan.learning_rate, plan.weight_decay)
        model.embedding.sparse = plan.sampled_classes > 0
        # Short gradients are multiplied, so that small ones do not vanish (Micikevicius et al.
        # 2018, §3.2); a step whose gradients overflow is left out.
        self._scaler = torch.amp.GradScaler(self._device.type, enabled=plan.precision == "float16")
        self._group = group
        self._rows = own_rows(group, plan.batch_size)
        model.part_of = None if group.size == 1 else (plan.batch_size, self._rows)
        group.tell("begin", plan=plan.model_dump(mode="json"), threads=torch.get_num_threads())
        group.copy(list(model.parameters()))

    @property
    def loss(self) -> float:
        """The mean of the parts' by their weights; NaN before the first target that counts."""
        known = [part for part in self._mixture.parts if part.label in self.losses]
        if not known:
            return math.nan
        total = sum(part.weight * self.losses[part.label] for part in known)
        return total / sum(part.weight for part in known)

    def advance(self, *, measure: bool = False) -> None:
        """One step; ``measure`` also sets ``accuracy``. TrainingDiverged where the loss is NaN."""
        self._group.tell("advance", measure=measure)
        batch, rows = self._mixture.batch(self.step), self._rows
        counts = self._counts(batch)  # (parts,)
        self.model.train()
        with use_kernel(self.plan.kernel), seeded_for_step(self.plan, self.step, self._device):
            x = batch.inputs[rows].to(self._device)  # (b, T)
            with autocast(self._device, self.plan.precision):
                features, (h, c) = self.model.features(x, self._before(batch))  # (b, T, H)
            features, h, c = features.float(), h.float(), c.float()
            found = self._outputs(features, batch.targets[rows])
            divisors = counts.clamp(min=1).to(self._device)
            losses = torch.stack([part.total for part in found]) / divisors  # (parts,)
            self._optimizer.zero_grad()
            self._scaler.scale((self._weights * losses).sum()).backward()  # type: ignore[no-untyped-call]
        losses = losses.detach()
        self._group.sum([losses, *self._gradients()])
        self._scaler.unscale_(self._optimizer)
        norm = self._optimizer.clip(self.plan.gradient_clip).item()
        rate = learning_rate(self.plan, self.step)
        self._check((self._weights * losses).sum().item(), norm, rate)
        if math.isfinite(norm):
            self._optimizer.advance(rate)
        self._scaler.update()
        self._hidden = (h.detach(), c.detach())
        self.step += 1
        self._average(losses, counts)
        if measure:
            right = torch.stack([part.right for part in found])
            self._group.sum([right])
            counted = counts.sum().item()
            self.accuracy = right.sum().item() / counted if counted else math.nan

    def progress(self) -> dict[str, float]:
        """The running loss."""
        return {} if math.isnan(self.loss) else {"train_loss": self.loss}

    def metrics(self) -> dict[str, float | None]:
        """The running loss, each objective's where there are several, and the accuracy."""
        accuracy = self.accuracy if math.isfinite(self.accuracy) else None
        found: dict[str, float | None] = {
            "train_loss": None if math.isnan(self.loss) else self.loss,
            "train_mean_token_accuracy": accuracy,
        }
        labels = [part.label for part in self._mixture.parts]
        if len(labels) > 1:
            found |= {f"train_{name}_loss": self.losses.get(name) for name in labels}
        return found

    def summary(self) -> str:
        """The running loss."""
        if math.isnan(self.loss):
            return "no target has counted so far"
        return f"training loss {self.loss:.3f}"

    def state(self) -> dict[str, Tensor]:
        """The tensors, beside the model's, that the next step depends on."""
        self._group.tell("state")
        tensors = moments(self._optimizer, self.model)
        if self.step:
            tensors[_COUNTED] = self._counted.clone()
        if self._hidden is not None:
            h, c = (self._whole(part) for part in self._hidden)
            self._group.sum([h, c])
            tensors |= {"hidden.h": h, "hidden.c": c}
        return tensors | self._scaling()

    def restore(
        self, step: int, losses: Mapping[str, float], tensors: Mapping[str, Tensor]
    ) -> None:
        """Go on from ``state`` after ``step`` steps; InvalidCheckpoint where it does not fit."""
        self._group.tell("restore", step=step)
        self.step, self.losses = step, dict(losses)
        if step == 0:
            return
        found = {
            name: fitting(tensors.get(name), shape, name, self._device)
            for name, shape in self._state_shapes().items()
        }
        # Checkpoints of before have not counted: as if each step had had targets.
        every = torch.full_like(self._counted, step)
        found[_COUNTED] = fitting(tensors.get(_COUNTED, every), every.shape, _COUNTED, self._device)
        scaling = {name: tensors.get(name, value) for name, value in self._scaling().items()}
        found |= {name: value.to(self._device) for name, value in scaling.items()}
        self._group.copy(list(found.values()))
        self._counted = found[_COUNTED].cpu()
        restore_moments(self._optimizer, self.model, found)
        scaled = {name.removeprefix("scaling."): found[name].item() for name in scaling}
        self._scaler.load_state_dict(self._scaler.state_dict() | scaled)
        h, c = (found[f"hidden.{name}"][:, self._rows].contiguous() for name in "hc")
        self._hidden = (h, c)

    def _before(self, batch: Batch) -> Hidden | None:
        """The state (L, b, H) that the rows go on from."""
        if self._hidden is None or batch.fresh is None:
            return self._hidden
        fresh = batch.fresh[self._rows].to(self._device)[None, :, None]
        h, c = self._hidden
        return h.masked_fill(fresh, 0.0), c.masked_fill(fresh, 0.0)

    def _outputs(self, features: Tensor, targets: Tensor) -> list[OutputLoss]:
        """The loss of each part over its targets (b, T) here, on the CPU, that count."""
        found, first = [], self._rows.start
        for part in self._mixture.parts:
            own = slice(max(part.rows.start - first, 0), max(part.rows.stop - first, 0))
            rows, wanted = features[own].flatten(0, 1), targets[own].flatten()
            places = (wanted != IGNORED).nonzero()[:, 0]
            if len(places) < len(wanted):
                rows, wanted = rows[places.to(self._device)], wanted[places]
            found.append(self._output_loss(rows, wanted, self._classes(part, wanted)))
        return found

    def _classes(self, part: Part, targets: Tensor) -> Classes | None:
        """The symbols among which a part predicts in this step; None: all."""
        if part.choices is not None:
            return only(part.choices, targets)
        sampled = self._mixture.classes
        return None if sampled is None else sampled.choose(targets, self.step)

    def _output_loss(
        self, features: Tensor, targets: Tensor, classes: Classes | None
    ) -> OutputLoss:
        """Over all symbols, or over few."""
        output = self.model.output
        if classes is None:
            return output_loss(features, output.weight, output.bias, targets.to(self._device))
        ids, sparse = classes.ids.to(self._device), self._mixture.classes is not None
        weight = functional.embedding(ids, output.weight, sparse=sparse)  # (K, H)
        bias = output.bias.index_select(0, ids) + classes.shift.to(self._device)
        return output_loss(features, weight, bias, classes.targets.to(self._device))

    def _scaling(self) -> dict[str, Tensor]:
        """The state of what scales short gradients; nothing where they are not short."""
        state = self._scaler.state_dict()
        return {f"scaling.{name}": torch.tensor(float(state[name])) for name in _SCALING if state}

    def restore_as_leader_does(self, step: int) -> None:
        """``restore`` in a process that follows: all comes from the leader."""
        zeros = {name: torch.zeros(shape) for name, shape in self._state_shapes().items()}
        self.restore(step, {}, zeros)

    def _state_shapes(self) -> dict[str, Sequence[int]]:
        """Of the tensors in ``state`` after any step."""
        lstm = self.model.lstm
        hidden = (lstm.num_layers, self.plan.batch_size, lstm.hidden_size)
        return moment_shapes(self.model) | {"hidden.h": hidden, "hidden.c": hidden}

    def _gradients(self) -> list[Tensor]:
        return [each.grad for each in self.model.parameters() if each.grad is not None]

    def _whole(self, part: Tensor) -> Tensor:
        """The states (L, b, H) of this process's rows among zeros (L, B, H) for the others'."""
        layers, _, width = part.shape
        whole = part.new_zeros(layers, self.plan.batch_size, width)
        whole[:, self._rows] = part
        return whole

    def _counts(self, batch: Batch) -> Tensor:
        """How many targets of each part (parts,) count in the whole batch, on the CPU."""
        counted = batch.targets != IGNORED
        return torch.stack([counted[part.rows].sum() for part in self._mixture.parts])

    def _average(self, losses: Tensor, counts: Tensor) -> None:
        """A step without a target that counts leaves a part's mean as it is."""
        self._counted += counts > 0
        found = zip(
            self._mixture.parts,
            losses.tolist(),
            counts.tolist(),
            self._counted.tolist(),
            strict=True,
        )
        for part, loss, count, steps in found:
            if not count:
                continue
            label, weight = part.label, max(1 / steps, 1 / _MEAN_OVER)
            before = self.losses.get(label, loss)
            self.losses[label] = before + weight * (loss - before)

    def _check(self, loss: float, norm: float, rate: float) -> None:
        if math.isfinite(loss) and (math.isfinite(norm) or self._scaler.is_enabled()):
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
