"""A model's price is what somebody said, and unknown rather than zero."""

from typing import Any

import pytest

from stratum.calls import Quote, Usage
from stratum.clients.prices import cost_of, price_of, quoted
from stratum.settings import Price

CHEAP = {"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6}
FREE = {"input_cost_per_token": 0.0, "output_cost_per_token": 0.0}


@pytest.mark.parametrize(
    ("model", "table", "price"),
    [
        ("a/m", {"a/m": CHEAP}, Price(1.0, 2.0)),
        ("a/m", {"m": CHEAP}, Price(1.0, 2.0)),
        ("a/b/m", {"b/m": CHEAP}, Price(1.0, 2.0)),
        ("a/m", {"a/m": FREE, "m": CHEAP}, Price(1.0, 2.0)),
        ("a/m", {"a/m": FREE}, None),
        ("a/m", {"a/m": {"input_cost_per_token": 1e-6}}, None),
        ("a/m", {"a/m": {"input_cost_per_token": "1", "output_cost_per_token": "2"}}, None),
        ("a/m", {}, None),
        ("openai/stratum-local-rules", {}, Price(0.0, 0.0)),
    ],
    ids=["listed", "bare", "routed", "zero-then-bare", "zero", "half", "texts", "unlisted",
         "local"],
)  # fmt: skip
def test_a_price_is_looked_up(model: str, table: Any, price: Price | None) -> None:
    assert price_of(model, {}, table) == price


@pytest.mark.parametrize("model", ["a/m", "openai/stratum-local-rules"])
def test_the_projects_own_price_comes_first(model: str) -> None:
    for own in (Price(7.0, 8.0), Price(0.0, 0.0)):
        assert price_of(model, {model: own}, {"a/m": CHEAP}) == own


def test_a_cost_is_in_dollars() -> None:
    assert cost_of(Price(2.0, 10.0), Usage(1_000_000, 100_000)) == 3.0
    assert cost_of(Price(0.0, 0.0), Usage(10, 10)) == 0.0
    assert cost_of(None, Usage(10, 10)) is None


def test_a_quote_without_a_price_is_unpriced() -> None:
    assert quoted(None, 9) == Quote(9, None, None)
    assert quoted(Price(1.0, 2.0), 9) == Quote(9, 1.0, 2.0)
