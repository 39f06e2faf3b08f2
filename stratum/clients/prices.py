"""What a model costs, as far as somebody said so."""

from collections.abc import Mapping
from typing import Any

from stratum.calls import Quote, Usage
from stratum.settings import Price

# The stand-in behind `stratum local-model` really costs nothing; any other 0 is a gap in a table.
LOCAL_MODEL = "openai/stratum-local-rules"
MILLION = 1_000_000


def price_of(
    model: str, configured: Mapping[str, Price], table: Mapping[str, Mapping[str, Any]]
) -> Price | None:
    """Return a model's price: the project's own word first, then litellm's table.

    litellm gives unknown models the price 0, so a table's 0 counts as unknown.
    """
    if model in configured:
        return configured[model]
    if model == LOCAL_MODEL:
        return Price(0.0, 0.0)
    for name in (model, model.partition("/")[2]):
        found = _listed(table.get(name, {}))
        if found is not None:
            return found
    return None


def _listed(entry: Mapping[str, Any]) -> Price | None:
    match entry:
        case {
            "input_cost_per_token": int() | float() as i,
            "output_cost_per_token": int() | float() as o,
        }:
            return Price(i * MILLION, o * MILLION) if i or o else None
    return None


def quoted(price: Price | None, input_tokens: int) -> Quote:
    if price is None:
        return Quote(input_tokens)
    return Quote(input_tokens, price.input, price.output)


def cost_of(price: Price | None, usage: Usage, *, more: float = 0.0) -> float | None:
    """Return US dollars, None when the price is unknown.

    `more` is what a provider's prompt cache made dearer (or, below 0, cheaper), in millionths.
    """
    if price is None:
        return None
    total = usage.input * price.input + usage.output * price.output + more
    return round(total / MILLION, 12)
