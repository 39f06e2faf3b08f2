"""An approval gate: a model drafts, a person decides, and a test replays both.

stratum local-model            # in another shell, or set the key of a real provider
python examples/06_human.py    # asks on this terminal
pytest examples/06_human.py --stratum-replay
"""

from typing import Literal

from stratum import (
    Budget,
    HumanReviewContext,
    ScriptedSink,
    StratumError,
    await_human,
    flow,
    infer,
    using,
)


@infer(intent="Draft a reply to this complaint, in one sentence")
def draft_reply(mail: str) -> str: ...


@flow(budget=Budget(ms=60_000, usd=0.01))  # the time does not run while the person thinks
async def answer(mail: str) -> str:
    draft = await draft_reply(mail=mail)
    decision = await await_human(
        "Send this reply?",
        decision=Literal["send", "discard"],
        context=HumanReviewContext(
            show={"mail": mail, "draft": draft},
            guidance="Send nothing that promises money.",
        ),
        timeout=3600,
        default="discard",
    )
    return draft if decision.value == "send" else "(a person takes over)"


def test_a_draft_is_sent_once_a_person_agrees(traces):
    assert "damaged" in answer.run(mail="The parcel came, but it was damaged")
    assert [record.kind for record in traces] == ["infer", "human", "flow"]


def test_a_scripted_person_may_discard_it():
    with using(review_sink=ScriptedSink(["discard"])):
        assert answer.run(mail="The parcel came, but it was damaged") == "(a person takes over)"


if __name__ == "__main__":
    try:
        print(answer.run(mail="My parcel is late"))
    except StratumError as error:
        raise SystemExit(f"{error}\n  Or replay: pytest {__file__} --stratum-replay") from None
