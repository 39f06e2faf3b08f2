"""Swap an LLM call for plain code, once its answers follow a rule; no caller changes.

python examples/02_migrate.py
pytest examples/02_migrate.py --stratum-replay
"""

from collections.abc import Awaitable, Callable
from typing import Literal

from stratum import StratumError, compute, flow, infer, parallel

Team = Literal["billing", "shipping", "technical"]

TICKETS = (
    "My billing statement is wrong",
    "The shipping of my order takes weeks",
    "A technical error appears when I log in",
)


@infer(intent="Say which team should get this support ticket")
def route(text: str) -> Team: ...


@compute
async def route_by_keyword(text: str) -> Team:
    words = text.lower().split()
    if "billing" in words:
        return "billing"
    return "shipping" if "shipping" in words else "technical"


@flow
async def assign(router: str, tickets: tuple[str, ...]) -> tuple[Team, ...]:
    step: Callable[..., Awaitable[Team]] = route if router == "model" else route_by_keyword
    return await parallel(*(step(text=ticket) for ticket in tickets))


def test_the_rule_agrees_with_the_recorded_model():
    by_model = assign.run(router="model", tickets=TICKETS)
    assert by_model == assign.run(router="keywords", tickets=TICKETS)


def test_the_rule_asks_no_model(traces):
    assign.run(router="keywords", tickets=TICKETS)
    assert {record.kind for record in traces} == {"flow", "parallel", "compute"}


if __name__ == "__main__":
    try:
        print(assign.run(router="model", tickets=TICKETS))
    except StratumError as error:
        raise SystemExit(f"{error}\n  Or replay: pytest {__file__} --stratum-replay") from None
