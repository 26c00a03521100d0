"""How well a model knows a secret that was put into its training text."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from textgen.errors import InvalidOption
from textgen.evaluation.options import Canary

_FEWEST_BELOW = 10  # fewer secrets that likely are too few to count

Scorer = Callable[[Iterable[str]], Iterable[float]]  # the nats of each text, in order


@dataclass(frozen=True, slots=True)
class Exposure:
    """How much sooner than by chance the model would let a secret be guessed."""

    bits: float  # 0: as by chance or worse; log2 of ``size``: the model's first guess
    size: int  # how many secrets the format has
    nats: float  # of the sentence with the secret
    method: Literal["exact", "sampled", "skew-normal"]


def exposure(scorer: Scorer, canary: Canary, *, samples: int = 10_000, seed: int = 0) -> Exposure:
    """log2 of the number of secrets, less log2 of the rank of this one by its nats.

    That is the exposure of Carlini et al., "The Secret Sharer" (USENIX Security 2019). Secrets are
    as long as the canary's, of its alphabet. Where there are at most ``samples`` all are ranked.
    Else ``samples`` are drawn, and the exposure is, as they approximate it, minus log2 of the
    chance that one is as likely as the canary's: the share that was drawn, or, where fewer than 10
    were, that chance under a skew-normal distribution of the nats, an extrapolation that is cut at
    log2 of the number of secrets. Ours are the limit of 10, the cut, and that the distribution is
    the one with the mean, variance and skewness of the drawn nats.
    """
    if samples < 100:
        raise InvalidOption(
            f"'samples' is {samples}; 100 or more are needed to see a distribution.",
            param="samples",
        )
    length, letters = len(canary.secret), canary.alphabet
    size, most = len(letters) ** length, length * math.log2(len(letters))
    if size <= samples:
        # Its nats come from the same pass as the others', so that rounding cannot part equals.
        secrets = ["".join(each) for each in itertools.product(letters, repeat=length)]
        nats = np.fromiter(scorer(map(canary.fill, secrets)), np.float64, size)
        own = float(nats[secrets.index(canary.secret)])
        rank = 1 + int(np.count_nonzero(nats < own))
        return Exposure(most - math.log2(rank), size, own, "exact")
    drawn = map(canary.fill, _drawn(canary, np.random.default_rng(seed), samples))
    sentences = itertools.chain([canary.fill(canary.secret)], drawn)
    scored = np.fromiter(scorer(sentences), np.float64, samples + 1)
    own, nats = float(scored[0]), scored[1:]
    below = int(np.count_nonzero(nats <= own))
    if below >= _FEWEST_BELOW:
        return Exposure(-math.log2(below / samples), size, own, "sampled")
    bits = -_skew_normal_log_cdf(nats, own) / math.log(2)
    return Exposure(min(bits, most), size, own, "skew-normal")


def _drawn(canary: Canary, generator: np.random.Generator, count: int) -> Iterator[str]:
    """``count`` secrets, each as likely as any other."""
    for _ in range(count):
        places = generator.integers(len(canary.alphabet), size=len(canary.secret))
        yield "".join(canary.alphabet[place] for place in places)


def _skew_normal_log_cdf(values: npt.NDArray[np.float64], x: float) -> float:
    """Log of the chance of at most ``x`` under the skew-normal of the moments of ``values``."""
    mean, deviation = float(values.mean()), float(values.std())
    if deviation == 0:
        return -math.inf if x < mean else 0.0
    skew = float((((values - mean) / deviation) ** 3).mean())
    power = min(abs(skew), 0.99) ** (2 / 3)  # no skew-normal has a skewness of 1 (Azzalini 1985)
    delta = math.copysign(
        math.sqrt(math.pi / 2 * power / (power + ((4 - math.pi) / 2) ** (2 / 3))), skew
    )
    shape = delta / math.sqrt(1 - delta**2)
    scale = deviation / math.sqrt(1 - 2 * delta**2 / math.pi)
    z = (x - mean) / scale + delta * math.sqrt(2 / math.pi)
    # The integral of the density from far below to z, in logarithms: far out it is below any float.
    steps = torch.logspace(-9, 2, 4001, dtype=torch.float64)
    steps = torch.cat([torch.zeros(1, dtype=torch.float64), steps])
    at = z - steps
    density = (
        math.log(2) - at**2 / 2 - math.log(2 * math.pi) / 2 + torch.special.log_ndtr(shape * at)
    )
    areas = torch.logaddexp(density[1:], density[:-1]) + torch.log(steps.diff() / 2)
    return min(torch.logsumexp(areas, 0).item(), 0.0)
