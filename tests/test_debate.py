"""Agents argue in rounds; a synthesiser or a person draws the conclusion."""

import asyncio
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from stratum import (
    Budget,
    BudgetExceeded,
    ConditionError,
    DeclarationError,
    Request,
    contract,
    debate,
    flow,
    infer,
    using,
)
from tests.replaying import Recorded
from tests.scripted import answering, records


@contract
class Argument(BaseModel):
    side: Literal["for", "against"]
    why: str


@infer(intent="Argue for it")
def argue_for(topic: str, others: list[Argument]) -> Argument: ...


@infer(intent="Argue against it")
def argue_against(topic: str, own: Argument | None, others: list[Argument]) -> Argument: ...


@infer(intent="Conclude")
def conclude(topic: str, arguments: list[Argument], converged: bool) -> str: ...


AGENTS = [argue_for, argue_against]


def said(request: Request) -> Any:
    """Answer as agents that agree from the third round on."""
    if request.site.function == "conclude":
        return {"value": request.prompt.text}
    rounds = request.prompt.text.count("why")
    return {"side": "for" if rounds > 1 else request.prompt.system.split()[1], "why": f"{rounds}"}


def by_turns(*sides: str) -> Any:
    """Answer each round's two agents with these sides, in their order."""
    given = iter(sides)
    return lambda request: (
        {"value": "concluded"}
        if request.site.function == "conclude"
        else {"side": next(given), "why": "because"}
    )


async def test_each_agent_sees_what_the_others_said() -> None:
    with answering(by_turns("for", "against", "against", "for")) as client:
        assert await debate(AGENTS, "Rust?", rounds=2, synthesize=conclude) == "concluded"
    first, second, third, fourth, last = client.requests
    assert "others: []" in first.prompt.text
    assert '"side": "against"' in third.prompt.text or "against" in third.prompt.text
    assert "for" in fourth.prompt.text.partition("others:")[2]
    assert "converged: false" in last.prompt.text
    assert [str(r.place) for r in (first, second, third, fourth)] == [
        "0.0#0",
        "0.1#0",
        "1.0#0",
        "1.1#0",
    ]


async def test_a_debate_ends_when_no_argument_changes() -> None:
    with answering(by_turns("for", "against", "for", "against", "for", "against")) as client:
        await debate(AGENTS, "Rust?", rounds=5, synthesize=conclude)
    assert len(client.requests) == 5
    assert "converged: true" in client.requests[-1].prompt.text
    assert records()[-1].details == {"rounds": 2, "converged": True, "escalated": False}


async def test_a_debate_ends_when_all_agree_on_a_field() -> None:
    with answering(by_turns("for", "for")) as client:
        await debate(AGENTS, "Rust?", rounds=5, agree_on="side", synthesize=conclude)
    assert len(client.requests) == 3


async def test_a_function_may_say_what_convergence_is() -> None:
    seen: list[tuple[int, int]] = []

    def close(before: list[Argument], now: list[Argument]) -> bool:
        seen.append((len(before), len(now)))
        return len(before) == 2

    with answering(by_turns("for", "for", "against", "for")):
        await debate(AGENTS, "Rust?", rounds=5, converged=close, synthesize=conclude)
    assert seen == [(0, 2), (2, 2)]


async def test_a_debate_without_end_goes_to_a_person() -> None:
    asked: list[Any] = []

    def decide(review: Any) -> str:
        asked.append(review)
        return "we wait"

    with (
        answering(by_turns("for", "against")) as client,
        using(review_sink=decide),
    ):
        value = await debate(AGENTS, "Rust?", rounds=1, synthesize=conclude, escalate=True)
    assert value == "we wait"
    assert not [r for r in client.requests if r.site.function == "conclude"]
    assert "did not come to a conclusion" in str(asked[0])
    assert [r.kind for r in records()][-2:] == ["human", "debate"]
    assert records()[-1].details == {"rounds": 1, "converged": False, "escalated": True}


async def test_any_step_may_take_a_debate_over() -> None:
    def toss(arguments: list[Argument], history: list[Any]) -> str:
        return f"{len(arguments)} of {len(history)}"

    with answering(by_turns("for", "against", "against", "for")):
        value = await debate(AGENTS, "Rust?", synthesize=conclude, escalate=toss)
    assert value == "2 of 2"


async def test_a_debate_that_converged_is_not_escalated() -> None:
    with answering(by_turns("for", "for")):
        value = await debate(
            AGENTS, "Rust?", agree_on="side", synthesize=conclude, escalate=lambda topic: "never"
        )
    assert value == "concluded"


async def test_the_records_are_a_tree() -> None:
    with answering(by_turns("for", "for")):
        await debate(AGENTS, "Rust?", agree_on="side", synthesize=conclude)
    around = records()[-1]
    steps = [r.kind for r in records() if r.parent == around.id]
    assert (around.kind, steps) == ("debate", ["parallel", "infer"])
    assert around.inputs == {
        "topic": "Rust?",
        "agents": ["argue_for", "argue_against"],
        "rounds": 2,
    }


async def test_an_agent_that_fails_ends_the_debate_and_is_traced() -> None:
    async def broken(topic: str) -> str:
        raise ValueError("no opinion")

    async def calm(topic: str) -> str:
        return "yes"

    with pytest.raises(ValueError, match="no opinion"):
        await debate([calm, broken], "Rust?", synthesize=conclude)
    assert (records()[-1].kind, records()[-1].outcome) == ("debate", "error")


async def test_a_budget_bounds_the_whole_debate() -> None:
    script, said = by_turns("for", "against", "against", "for"), r"\(debate\)"
    with answering(script, tokens=(10, 5)) as client, pytest.raises(BudgetExceeded, match=said):
        await debate(AGENTS, "Rust?", synthesize=conclude, budget=Budget(tokens=40))
    assert len(client.requests) < 4


async def test_a_cancelled_debate_is_traced() -> None:
    task = asyncio.create_task(debate(AGENTS, "Rust?", synthesize=conclude))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [(r.kind, r.outcome) for r in records()] == [("debate", "cancelled")]


def test_it_runs_in_synchronous_code_and_flows() -> None:
    @flow
    def decide() -> Any:
        return debate(AGENTS, "Rust?", agree_on="side", synthesize=conclude)

    with answering(by_turns("for", "for", "for", "for")):
        assert debate(AGENTS, "Go?", agree_on="side", synthesize=conclude).run() == "concluded"
        assert decide() == "concluded"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        pytest.param({"agents": [argue_for]}, "takes two or more", id="one-agent"),
        pytest.param({"agents": [argue_for, 3]}, "agent 2 is 3", id="no-step"),
        pytest.param({"rounds": 0}, "from 1 up", id="no-round"),
        pytest.param({"agree_on": "side", "converged": lambda a, b: True}, "one of", id="both"),
        pytest.param({"synthesize": lambda a, b: 1}, "only one of them can be", id="parameters"),
        pytest.param(
            {"synthesize": lambda topic: 1, "escalate": True}, "Annotate", id="undeclared"
        ),
    ],
)
def test_what_cannot_be_debated_is_refused(given: Any, message: str) -> None:
    parts = {"agents": AGENTS, "topic": "Rust?", "synthesize": conclude, **given}
    with pytest.raises(DeclarationError, match=message):
        debate(**parts)


async def test_an_argument_without_the_field_is_an_error() -> None:
    with answering(by_turns("for", "for")), pytest.raises(ConditionError, match="no field mood"):
        await debate(AGENTS, "Rust?", agree_on="mood", synthesize=conclude)


def test_a_replay_ends_as_its_recording(tmp_path: Path) -> None:
    async def argued() -> Any:
        return await debate(AGENTS, "Rust?", rounds=4, agree_on="side", synthesize=conclude)

    def answer(request: Request, chance: Any) -> Any:
        if request.site.function == "conclude":
            return {"value": str(chance.random())}
        return {"side": chance.choice(["for", "against"]), "why": str(chance.random())}

    for seed in range(5):
        recorded = Recorded(tmp_path / str(seed), argued, answer, seed=seed)
        for again in range(5):
            assert recorded.replay(again) == recorded.first
