"""The file of plans and prices, and what quantities cost."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textgen.errors import InvalidOption
from worker.billing.estimate import estimate
from worker.billing.months import bounds, month_of
from worker.billing.plans_file import load_terms
from worker.billing.prices import Prices
from worker.errors import InvalidSetting
from worker.usage.quantities import Quantities

SHEET = """
[plans.free]
requests_per_minute = 60
running_jobs = 1

[[prices]]
currency = "USD"
valid_from = 2026-01-01
trainings.compute_hour = "0.50"
completions.million_characters_out = 2.5

[[prices]]
currency = "USD"
valid_from = 2026-07-01
trainings.compute_hour = "1.00"
storage.gigabyte_month = "0.10"
"""


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.fixture
def prices(tmp_path: Path) -> Prices:
    return terms(tmp_path, SHEET)


def terms(folder: Path, text: str) -> Prices:
    (folder / "plans.toml").write_text(text)
    return load_terms(folder / "plans.toml").prices


def test_a_price_holds_from_its_day_on(prices: Prices) -> None:
    hour = Quantities(compute_seconds=3600)

    def cost(day: str) -> Decimal:
        return prices.cost("USD", "trainings", hour, at(day))

    assert cost("2025-12-31T23:59:59") == 0
    assert cost("2026-06-30T23:59:59") == Decimal("0.50")
    assert cost("2026-07-01T00:00:00") == Decimal("1.00")
    assert prices.cost("EUR", "trainings", hour, at("2026-08-01")) == 0
    spans = list(prices.periods("USD", at("2026-06-15"), at("2026-07-15")))
    assert spans == [
        (at("2026-06-15"), at("2026-07-01")),
        (at("2026-07-01"), at("2026-07-15")),
    ]


def test_decimals_are_exact(prices: Prices) -> None:
    written = Quantities(characters_out=1)

    assert prices.cost("USD", "completions", written, at("2026-02-01")) == Decimal("0.0000025")


@given(st.integers(0, 10**12), st.integers(0, 10**12))
def test_a_sum_costs_the_sum(first: int, second: int) -> None:
    from worker.billing.prices import KindPrices, PriceList

    sheet = Prices(
        [
            PriceList(
                currency="USD",
                valid_from=datetime(2026, 1, 1).date(),
                batches=KindPrices(million_characters_in=Decimal("0.3")),
            )
        ]
    )

    def cost(count: int) -> Decimal:
        return sheet.cost("USD", "batches", Quantities(characters_in=count), at("2026-02-01"))

    assert cost(first) + cost(second) == cost(first + second)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[[prices]\n", "cannot be read"),
        ("[price]\n", "'price'"),
        ("[[prices]]\nvalid_from = 2026-01-01\n", "prices[0].currency"),
        ('[[prices]]\ncurrency = "USD"\nvalid_from = "soon"\n', "prices[0].valid_from"),
        (SHEET + 'trainings.compute_hours = "1"\n', "prices[1].trainings"),
        (SHEET + 'batches.compute_hour = "-1"\n', "prices[1].batches"),
        (SHEET.replace("2026-07-01", "2026-01-01"), "same currency"),
        (SHEET.replace("running_jobs = 1", "running_jobs = 0"), "plans.free.running_jobs"),
        (SHEET.replace("running_jobs", "runing_jobs"), "running_jobs"),
        ("plans = 3\n", "plans"),
    ],
)
def test_what_is_wrong_in_the_file_is_named(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(InvalidSetting) as caught:
        terms(tmp_path, text)

    assert "TEXTGEN_PLANS_FILE" in caught.value.message
    assert named in caught.value.message


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidSetting):
        load_terms(tmp_path / "none.toml")


def test_months_are_those_of_the_time_zone() -> None:
    start, end = bounds("2026-11", "Asia/Shanghai")

    assert start == at("2026-10-31T16:00:00")
    assert end == at("2026-11-30T16:00:00")
    assert month_of(start, "Asia/Shanghai") == "2026-11"
    assert month_of(start, "UTC") == "2026-10"
    assert bounds("2026-12", "UTC")[1] == at("2027-01-01")
    with pytest.raises(InvalidOption):
        bounds("2026-13", "UTC")


def test_an_estimate_follows_what_was_asked() -> None:
    timed = estimate("training", {"hyperparameters": {"max_seconds": 90}}, 10**9)
    steps = {"preset": "lstm-tiny", "hyperparameters": {"max_steps": 1000}}
    small, large = (
        estimate("training", {**steps, "hyperparameters": {"max_steps": count}}, 10**9)
        for count in (1000, 2000)
    )

    assert timed.compute_seconds == 90
    # A short text is read as often as there is time, unless the passes are counted.
    short = estimate("training", {"hyperparameters": {"max_seconds": 90}}, 1000)
    once = estimate("training", {"hyperparameters": {"max_seconds": 90, "n_epochs": 1}}, 1000)
    assert short.tokens_in == timed.tokens_in > once.tokens_in == 1000
    assert large.compute_seconds == pytest.approx(2 * small.compute_seconds)
    assert estimate("batch", {}, 500).characters_in == 500
    assert estimate("scoring", {"input": ["abc", "d"]}, 0).characters_in == 4
