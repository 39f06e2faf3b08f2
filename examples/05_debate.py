"""A debate: two agents argue, a third call concludes, and a person decides if they cannot agree.

stratum local-model            # in another shell, or set the key of a real provider
python examples/05_debate.py
pytest examples/05_debate.py --stratum-replay
"""

from typing import Literal

from stratum import Budget, ScriptedSink, StratumError, contract, debate, flow, infer, using


@contract
class Position:
    choice: Literal["rewrite", "repair"]
    reason: str


@infer(intent="Argue for your side; give in to an argument of the others that is stronger")
def argue(question: str, side: str, others: list[Position]) -> Position: ...


async def bold(question: str, others: list[Position]) -> Position:
    return await argue(question=question, side="rewrite", others=others)


async def careful(question: str, others: list[Position]) -> Position:
    return await argue(question=question, side="repair", others=others)


@infer(intent="Conclude this debate", context="Weigh the arguments; do not count them.")
def judge(question: str, arguments: list[Position]) -> Position: ...


@flow(budget=Budget(ms=120_000, usd=0.05))
async def settle(question: str, rounds: int) -> Position:
    # A round shows the agents what the others said in the one before. If they do not agree
    # after the last, a person is asked for a Position on the terminal, instead of the judge.
    return await debate(
        [bold, careful], question, synthesize=judge, rounds=rounds, agree_on="choice", escalate=True
    )


def test_agents_that_come_to_agree_need_nobody(traces):
    assert settle.run(question="What about the parser?", rounds=3).choice == "rewrite"
    assert traces[-2].details == {"rounds": 2, "converged": True, "escalated": False}


def test_a_person_decides_what_the_agents_could_not():
    with using(review_sink=ScriptedSink([{"choice": "repair", "reason": "We ship on Monday."}])):
        assert settle.run(question="What about the parser?", rounds=1).reason.endswith("Monday.")


if __name__ == "__main__":
    try:
        print(settle.run(question="What about the old parser?", rounds=3))
    except StratumError as error:
        raise SystemExit(f"{error}\n  Or replay: pytest {__file__} --stratum-replay") from None
