"""AdamW (Loshchilov and Hutter 2019), of whole tables or of the rows that a step has used."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

MOMENTS = ("exp_avg", "exp_avg_sq", "step")
_BETAS = (0.9, 0.99)
_EPSILON = 1e-8


class Optimizer(torch.optim.AdamW):
    """Fused AdamW; only matrices decay, not biases.

    Of a matrix with a sparse gradient only the rows move that the gradient names; the others stay
    as they are, moments included ("lazy"). So a table of 33,000 rows is not walked through for the
    few thousand that a step has used.
    """

    def __init__(self, model: nn.Module, rate: float, weight_decay: float) -> None:
        parameters = list(model.parameters())
        groups = [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
            {"params": [p for p in parameters if p.ndim == 1], "weight_decay": 0.0},
        ]
        super().__init__(groups, lr=rate, betas=_BETAS, eps=_EPSILON, fused=True)

    def clip(self, largest: float) -> Tensor:
        """Scale all gradients so that their norm is at most ``largest``; the norm before."""
        values = []
        for parameter in self._parameters():
            if parameter.grad is not None and parameter.grad.is_sparse:
                parameter.grad = parameter.grad.coalesce()
                values.append(parameter.grad.values())
            elif parameter.grad is not None:
                values.append(parameter.grad)
        norm = nn.utils.get_total_norm(values)
        scale = torch.clamp(largest / (norm + 1e-6), max=1.0)
        torch._foreach_mul_(values, scale)
        return norm

    def advance(self, rate: float) -> None:
        """One step, after ``clip``; what had a sparse gradient has none afterwards."""
        for group in self.param_groups:
            group["lr"] = rate
            for parameter in group["params"]:
                if parameter.grad is not None and parameter.grad.is_sparse:
                    self._move_rows(parameter, group)
                    parameter.grad = None
        self.step()

    @torch.no_grad()
    def _move_rows(self, parameter: Tensor, group: dict[str, float]) -> None:
        assert parameter.grad is not None  # noqa: S101 - looked at by advance
        rows = parameter.grad.indices()[0]
        state = self.state[parameter]
        if not state:
            state["step"] = torch.zeros((), device=parameter.device)
            state |= {name: torch.zeros_like(parameter) for name in MOMENTS[:2]}
        whole = (parameter, state["exp_avg"], state["exp_avg_sq"])
        values, average, square = (table.index_select(0, rows) for table in whole)
        adamw(
            [values],
            [parameter.grad.values()],
            [average],
            [square],
            [],
            [state["step"]],
            fused=True,
            amsgrad=False,
            beta1=_BETAS[0],
            beta2=_BETAS[1],
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=_EPSILON,
            maximize=False,
        )
        for table, moved in zip(whole, (values, average, square), strict=True):
            table.index_copy_(0, rows, moved)

    def _parameters(self) -> list[Tensor]:
        return [parameter for group in self.param_groups for parameter in group["params"]]
