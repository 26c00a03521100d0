"""How much privacy steps cost: Rényi differential privacy of the sampled Gaussian mechanism.

The bounds are Opacus's (Mironov et al. 2019; Abadi et al. 2016 for the way of training). Two sets
of documents are neighbours where one has a document more.
"""

from __future__ import annotations

import warnings
from types import ModuleType
from typing import cast

from textgen.errors import InvalidOption

# Opacus's orders, and larger ones for small budgets.
_ORDERS = [1 + x / 10 for x in range(1, 100)] + [*range(11, 65), 80, 96, 128, 192, 256, 512, 1024]
_MOST_NOISE = 1e6  # nothing is learnt long before
_PRECISION = 1e-3  # of the noise


class Accountant:
    """What training steps of one kind have cost.

    ``sample_rate`` is the chance of a document to be in a step, ``noise_multiplier`` the standard
    deviation of the noise in units of the largest gradient of a document.
    """

    def __init__(self, sample_rate: float, noise_multiplier: float, delta: float) -> None:
        self._delta = delta
        self._costs = _analysis().compute_rdp(
            q=sample_rate, noise_multiplier=noise_multiplier, steps=1, orders=_ORDERS
        )

    def epsilon(self, steps: int) -> float:
        """That ``steps`` steps have spent, an upper bound; 0 where there were none."""
        if steps == 0:
            return 0.0
        with warnings.catch_warnings():
            # It warns where another order would be better still; the bound holds all the same.
            warnings.filterwarnings("ignore", message="Optimal order is the")
            spent, _ = _analysis().get_privacy_spent(
                orders=_ORDERS, rdp=self._costs * steps, delta=self._delta
            )
        return max(float(spent), 0.0)


def least_noise(epsilon: float, delta: float, sample_rate: float, steps: int) -> float | None:
    """The smallest noise multiplier that keeps to the budget; None where none does.

    Less than a thousandth larger than it would have to be, and never smaller.
    """

    def spent(noise: float) -> float:
        return Accountant(sample_rate, noise, delta).epsilon(steps)

    enough = 1.0
    while spent(enough) > epsilon:
        enough *= 2
        if enough > _MOST_NOISE:
            return None
    too_little = 0.0
    while enough - too_little > _PRECISION * enough:
        middle = (too_little + enough) / 2
        if spent(middle) > epsilon:
            too_little = middle
        else:
            enough = middle
    return enough


def _analysis() -> ModuleType:
    """Opacus's analysis; InvalidOption with the command that installs it where it is missing."""
    try:
        from opacus.accountants.analysis import rdp
    except ImportError:
        raise InvalidOption(
            "'privacy' needs the package opacus, which is not installed on the worker. Install "
            "it there: pip install opacus",
            code="not_installed",
            param="privacy",
        ) from None
    return cast(ModuleType, rdp)
