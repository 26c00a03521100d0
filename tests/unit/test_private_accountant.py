import sys
from math import log

import pytest
from opacus.accountants import RDPAccountant
from opacus.accountants.utils import get_noise_multiplier

from textgen.errors import InvalidOption
from textgen.training.private.accountant import Accountant, least_noise

SETTINGS = [(0.01, 1.0, 1e-5, 1000), (0.04, 0.8, 1e-6, 300), (1.0, 20.0, 1e-5, 50)]


@pytest.mark.parametrize(("rate", "noise", "delta", "steps"), SETTINGS)
def test_it_is_what_opacus_says(rate: float, noise: float, delta: float, steps: int) -> None:
    theirs = RDPAccountant()
    theirs.history = [(noise, rate, steps)]
    assert Accountant(rate, noise, delta).epsilon(steps) == pytest.approx(
        theirs.get_epsilon(delta=delta), rel=1e-9
    )


def test_a_gaussian_mechanism_costs_what_is_known_in_closed_form() -> None:
    """Every document in every step: the Rényi divergence of order a is a / (2 σ²) a step,
    turned into an epsilon as by Balle et al. (2020).
    """
    noise, steps, delta = 30.0, 100, 1e-5
    mean = steps / (2 * noise**2)
    bounds = [
        order * mean + log((order - 1) / order) - (log(delta) + log(order)) / (order - 1)
        for order in (1 + x / 10 for x in range(1, 1000))
    ]
    assert Accountant(1.0, noise, delta).epsilon(steps) == pytest.approx(min(bounds), rel=1e-3)


def test_no_step_costs_nothing_and_every_step_costs_something() -> None:
    accountant = Accountant(0.02, 1.1, 1e-5)
    spent = [accountant.epsilon(steps) for steps in (0, 1, 10, 100, 1000)]
    assert spent[0] == 0
    assert spent == sorted(set(spent))


@pytest.mark.filterwarnings("ignore:Optimal order is the largest")
@pytest.mark.parametrize("epsilon", [0.3, 1.0, 3.0, 8.0])
def test_the_least_noise_keeps_to_the_budget_and_no_less_would(epsilon: float) -> None:
    noise = least_noise(epsilon, 1e-5, 0.02, 500)
    assert noise is not None
    assert Accountant(0.02, noise, 1e-5).epsilon(500) <= epsilon
    assert Accountant(0.02, noise * 0.998, 1e-5).epsilon(500) > epsilon
    theirs = get_noise_multiplier(
        target_epsilon=epsilon, target_delta=1e-5, sample_rate=0.02, steps=500,
        epsilon_tolerance=epsilon / 1000,
    )  # fmt: skip
    assert noise == pytest.approx(theirs, rel=0.01)


def test_a_budget_that_no_noise_can_keep_to() -> None:
    assert least_noise(1e-9, 1e-9, 1.0, 10**6) is None


def test_without_opacus_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opacus.accountants.analysis", None)
    with pytest.raises(InvalidOption, match="pip install opacus") as error:
        Accountant(0.01, 1.0, 1e-5)
    assert error.value.code == "not_installed"
