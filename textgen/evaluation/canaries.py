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

_FEWEST_BELOW = 10  # fewer canaries that likely are too few to count

Scorer = Callable[[Iterable[str]], Iterable[float]]  # the nats of each text, in order


@dataclass(frozen=True)
class CanaryFormat:
    """A sentence with a hole, ``{}``, for ``length`` characters drawn from ``alphabet``."""

    template: str
    length: int
    alphabet: str = "0123456789"

    def __post_init__(self) -> None:
        if self.template.count("{}") != 1:
            raise InvalidOption(
                f"'template' is {self.template[:80]!r}; it needs {{}} once, where the secret goes.",
                param="template",
            )
        if self.length < 1:
            raise InvalidOption(
                f"'length' is {self.length}; a secret needs 1 character or more.", param="length"
            )
        if len(set(self.alphabet)) != len(self.alphabet) or len(self.alphabet) < 2:
            raise InvalidOption(
                f"'alphabet' is {self.alphabet[:80]!r}; give 2 or more characters, each once.",
                param="alphabet",
            )

    @property
    def size(self) -> int:
        """How many secrets there are."""
        size: int = len(self.alphabet) ** self.length
        return size

    def fill(self, secret: str) -> str:
        """The sentence with ``secret``, which must be one of this format."""
        if len(secret) != self.length or not set(secret) <= set(self.alphabet):
            raise InvalidOption(
                f"'secret' is {secret[:80]!r}; it must be {self.length} characters of "
                f"{self.alphabet[:80]!r}.",
                param="secret",
            )
        return self.template.replace("{}", secret)

    def all(self) -> Iterator[str]:
        """Every secret."""
        return map("".join, itertools.product(self.alphabet, repeat=self.length))

    def draw(self, generator: np.random.Generator, count: int) -> Iterator[str]:
        """``count`` secrets, each as likely as any other."""
        for _ in range(count):
            places = generator.integers(len(self.alphabet), size=self.length)
            yield "".join(self.alphabet[place] for place in places)


@dataclass(frozen=True, slots=True)
class Exposure:
    """How much sooner than by chance the model would let a secret be guessed."""

    bits: float  # 0: as by chance or worse; log2 of ``size``: the model's first guess
    size: int  # how many secrets the format has
    nats: float  # of the sentence with the secret
    method: Literal["exact", "sampled", "skew-normal"]


def exposure(
    scorer: Scorer, form: CanaryFormat, secret: str, *, samples: int = 10_000, seed: int = 0
) -> Exposure:
    """log2 of the number of secrets, less log2 of the rank of this one (Carlini et al. 2019, 4).

    Exact where the format has at most ``samples`` secrets. Else ``samples`` others are drawn: the
    share that is as likely as this one is counted, or, where fewer than 10 are, taken from a
    skew-normal distribution with the mean, variance and skewness of the drawn ones' nats; such
    a value is an extrapolation, at most log2 of the number of secrets.
    """
    if samples < 100:
        raise InvalidOption(
            f"'samples' is {samples}; 100 or more are needed to see a distribution.",
            param="samples",
        )
    sentence = form.fill(secret)
    most = form.length * math.log2(len(form.alphabet))
    if form.size <= samples:
        # Its nats come from the same pass as the others', so that rounding cannot part equals.
        nats = np.fromiter(scorer(map(form.fill, form.all())), np.float64, form.size)
        own = float(nats[next(i for i, other in enumerate(form.all()) if other == secret)])
        rank = 1 + int(np.count_nonzero(nats < own))
        return Exposure(most - math.log2(rank), form.size, own, "exact")
    drawn = form.draw(np.random.default_rng(seed), samples)
    scored = np.fromiter(
        scorer(itertools.chain([sentence], map(form.fill, drawn))), np.float64, samples + 1
    )
    own, nats = float(scored[0]), scored[1:]
    below = int(np.count_nonzero(nats <= own))
    if below >= _FEWEST_BELOW:
        return Exposure(-math.log2(below / samples), form.size, own, "sampled")
    bits = -_skew_normal_log_cdf(nats, own) / math.log(2)
    return Exposure(min(bits, most), form.size, own, "skew-normal")


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
