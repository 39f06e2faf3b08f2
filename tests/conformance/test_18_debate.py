"""SPEC section 18: debate."""

from typing import Any, Literal

import pytest

from stratum import (
    Budget,
    BudgetExceeded,
    ConditionError,
    DeclarationError,
    contract,
    debate,
    infer,
    using,
)
from tests.scripted import answering, records


@contract
class Position:
    side: Literal["for", "against"]
    why: str


@infer(intent="Argue for it")
def pro(
    topic: str,
    own: Position | None,
    others: list[Position],
    round: int,  # noqa: A002
) -> Position: ...


@infer(intent="Argue against it")
def con(question: str, others: list[Position]) -> Position: ...


@infer(intent="Weigh it")
def weigh(arguments: list[Position], history: list[list[Position]], converged: bool) -> str: ...


BOTH = [pro, con]


def sides(*given: str) -> Any:
    """Answer agents with these sides, in order, and the synthesiser with what it was told."""
    left = iter(given)

    def answer(request: Any) -> Any:
        if request.site.function == "weigh":
            return "told converged" if "converged: true" in request.prompt.text else "told not"
        return {"side": next(left), "why": "because"}

    return answer


def argued(*given: str, **settings: Any) -> tuple[Any, list[str]]:
    with answering(sides(*given)) as client:
        value = debate(BOTH, "Ship?", **{"synthesize": weigh, **settings}).run()
    return value, [request.site.function for request in client.requests]


def test_18_1_an_agent_takes_by_name_what_it_needs() -> None:
    with answering(sides("for", "against", "for", "for")) as client:
        debate(BOTH, "Ship?", rounds=2, agree_on="side", synthesize=weigh).run()
    first, second, third, fourth, _ = (request.prompt.text for request in client.requests)
    assert ("others: []" in first, "own: null" in first, "round: 1" in first) == (True,) * 3
    assert "question: Ship?" in second
    assert "against" in third
    assert "round: 2" in third
    assert "for" in fourth
    places = [str(request.place) for request in client.requests[:4]]
    assert places == ["0.0#0", "0.1#0", "1.0#0", "1.1#0"]


@pytest.mark.parametrize(
    ("given", "settings"),
    [
        pytest.param(["for", "for"], {"agree_on": "side"}, id="agree-on"),
        pytest.param(["for", "against"] * 2, {}, id="no-argument-changed"),
        pytest.param(
            ["for", "against"], {"converged": lambda before, now: not before}, id="function"
        ),
    ],
)
def test_18_2_a_debate_that_has_converged_holds_no_further_round(
    given: list[str], settings: Any
) -> None:
    value, asked = argued(*given, rounds=9, **settings)
    assert asked == [*["pro", "con"] * (len(given) // 2), "weigh"]
    assert value == "told converged"


def test_18_2_no_debate_holds_more_than_its_rounds() -> None:
    _, asked = argued(*["for", "against", "against", "for"] * 3, rounds=3)
    assert len(asked) == 2 * 3 + 1


def test_18_3_the_synthesiser_is_told_when_it_has_not_converged() -> None:
    value, _ = argued("for", "against", "against", "for", rounds=2, agree_on="side")
    assert value == "told not"


def test_18_4_what_has_not_converged_is_escalated_and_not_synthesised() -> None:
    async def toss(arguments: list[Position], converged: bool) -> str:
        return f"{len(arguments)} {converged}"

    value, asked = argued("for", "against", rounds=1, escalate=toss)
    assert (value, asked) == ("2 False", ["pro", "con"])


def test_18_4_a_person_is_asked_for_what_synthesize_returns() -> None:
    with using(review_sink=lambda review: "we wait"):
        value, asked = argued("for", "against", rounds=1, escalate=True)
    assert (value, asked) == ("we wait", ["pro", "con"])


def test_18_4_what_has_converged_is_not_escalated() -> None:
    value, _ = argued("for", "for", agree_on="side", escalate=lambda topic: "tossed")
    assert value == "told converged"


@pytest.mark.parametrize(
    ("agents", "settings"),
    [
        pytest.param([pro], {}, id="one-agent"),
        pytest.param(BOTH, {"rounds": 0}, id="no-round"),
        pytest.param(BOTH, {"agree_on": "side", "converged": lambda a, b: True}, id="two-judges"),
        pytest.param([pro, lambda a, b: 1], {}, id="two-topics"),
        pytest.param(
            BOTH, {"synthesize": lambda topic: 1, "escalate": True}, id="undeclared-return"
        ),
    ],
)
def test_18_5_what_cannot_be_debated_is_refused_at_once(agents: Any, settings: Any) -> None:
    with pytest.raises(DeclarationError, match="debate"):
        debate(agents, "Ship?", **{"synthesize": weigh, **settings})


def test_18_5_an_argument_without_the_field_is_an_error() -> None:
    with pytest.raises(ConditionError, match="mood"):
        argued("for", "for", agree_on="mood")


@pytest.mark.parametrize("converged", [True, False])
def test_18_6_a_debate_leaves_a_record_with_its_rounds(converged: bool) -> None:
    argued("for", "for" if converged else "against", rounds=1, agree_on="side")
    around = records()[-1]
    assert (around.kind, around.outcome, around.parent) == ("debate", "ok", None)
    assert around.details == {"rounds": 1, "converged": converged, "escalated": False}
    assert [r.kind for r in records() if r.parent == around.id] == ["parallel", "infer"]


def test_18_6_one_budget_bounds_the_whole_debate() -> None:
    script = sides("for", "against", "against", "for")
    with answering(script, tokens=(10, 20)) as client, pytest.raises(BudgetExceeded):
        debate(BOTH, "Ship?", synthesize=weigh, budget=Budget(tokens=100)).run()
    assert len(client.requests) < 5
    assert (records()[-1].kind, records()[-1].outcome) == ("debate", "over_budget")
