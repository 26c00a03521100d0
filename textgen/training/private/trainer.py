"""Differentially private training (Abadi et al. 2016, §3), one optimizer step after another.

Each step draws documents at random, cuts the gradient of each to a largest norm, adds them up,
adds noise and divides by the number of documents that are drawn on average. AdamW makes a step of
that, as of any gradient. Nothing else of the documents gets out: no loss, no count.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from textgen.errors import InvalidCheckpoint, TrainingDiverged
from textgen.model import TextGenerator
from textgen.plan import Plan, PrivacyPlan
from textgen.training.optimizer import Optimizer
from textgen.training.optimizer_state import moments, restore_moments
from textgen.training.private.accountant import Accountant
from textgen.training.private.documents import Documents
from textgen.training.private.gradients import Gradients, clipped_sum
from textgen.training.private.randomness import KEY_BYTES, SecretRandomness
from textgen.training.schedule import learning_rate

_KEY = "private.key"


class PrivateTrainer:
    """A model in training; ``randomness`` is fresh unless a checkpoint's is restored."""

    def __init__(
        self,
        plan: Plan,
        privacy: PrivacyPlan,
        model: TextGenerator,
        documents: Documents,
        randomness: SecretRandomness | None = None,
    ) -> None:
        self.plan = plan
        self.model = model
        self.step = 0
        self.losses: Mapping[str, float] = {}
        self._privacy = privacy
        self._documents = documents
        self._randomness = SecretRandomness() if randomness is None else randomness
        self._optimizer = Optimizer(model, plan.learning_rate, plan.weight_decay)
        self._accountant = Accountant(privacy.sample_rate, privacy.noise_multiplier, privacy.delta)

    def advance(self, *, measure: bool = False) -> None:  # noqa: ARG002 - nothing may be measured
        """One step. TrainingDiverged where the weights leave the finite numbers."""
        noisy = self._noisy(self._sum())
        for name, parameter in self.model.named_parameters():
            parameter.grad = noisy[name].to(parameter)
        self._optimizer.advance(learning_rate(self.plan, self.step))
        self._check()
        self.step += 1

    def progress(self) -> dict[str, float]:
        """The privacy spent so far."""
        return {"epsilon_spent": self._accountant.epsilon(self.step)}

    def metrics(self) -> dict[str, float | None]:
        """The privacy spent so far, and the chance of spending more."""
        return {**self.progress(), "delta": self._privacy.delta}

    def summary(self) -> str:
        """The privacy spent so far."""
        spent = self._accountant.epsilon(self.step)
        return f"epsilon {spent:.2f} of {self._privacy.epsilon:g} spent"

    def state(self) -> dict[str, Tensor]:
        """The optimizer's moments, and the secret key: whoever has it can take the noise away."""
        key = torch.frombuffer(bytearray(self._randomness.key), dtype=torch.uint8)
        return {**moments(self._optimizer, self.model), _KEY: key}

    def restore(
        self, step: int, losses: Mapping[str, float], tensors: Mapping[str, Tensor]
    ) -> None:
        """Go on from ``state`` after ``step`` steps; InvalidCheckpoint where it does not fit."""
        key = tensors.get(_KEY)
        if key is None or key.shape != (KEY_BYTES,) or losses:
            raise InvalidCheckpoint("The checkpoint is not one of a private training.")
        self._randomness = SecretRandomness(bytes(key.tolist()))
        self.step = step
        if step > 0:
            restore_moments(self._optimizer, self.model, tensors)

    def _sum(self) -> Gradients:
        """Of the documents drawn for this step, in the order of the model's parameters."""
        drawn = self._randomness.draw(self.step, len(self._documents), self._privacy.sample_rate)
        total = {name: torch.zeros_like(each) for name, each in self.model.named_parameters()}
        for batch in self._documents.batches(drawn, self.plan.batch_size):
            found = clipped_sum(self.model, batch, self._privacy.max_gradient_norm)
            for name, value in found.items():
                total[name] += value
        return total

    def _noisy(self, total: Gradients) -> Gradients:
        """With noise, in double precision, and divided by what is not known to be the count."""
        size = sum(each.numel() for each in total.values())
        scale = self._privacy.noise_multiplier * self._privacy.max_gradient_norm
        noise = scale * self._randomness.noise(self.step, size)
        noisy, first = {}, 0
        for name, each in total.items():
            part = noise[first : first + each.numel()].view(each.shape).to(each.device)
            noisy[name] = (each.double() + part) / self._privacy.documents_per_step
            first += each.numel()
        return noisy

    def _check(self) -> None:
        if all(bool(each.isfinite().all()) for each in self.model.parameters()):
            return
        raise TrainingDiverged(
            f"The training diverged at step {self.step + 1} of {self.plan.total_steps}. Train "
            f"again with a smaller learning rate, for example {self.plan.learning_rate / 4:.2g}.",
            param="learning_rate",
        )
