"""SPEC 16: quorums, and answers that may differ."""

from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from stratum import (
    Budget,
    BudgetExceeded,
    QuorumFailed,
    Reply,
    Request,
    ScriptedClient,
    VarianceIgnored,
    contract,
    infer,
    using,
)
from stratum.clients.scripted import Scripted
from tests.replaying import Recorded
from tests.scripted import answering, records


@contract
class Mood(BaseModel):
    label: Literal["good", "bad", "mixed"]
    why: str = ""


@infer(intent="Say the mood", quorum=3, agree_on="label")
def mood(text: str) -> Mood: ...


@infer(intent="Say a number", quorum=5, agree_on=lambda n: n % 2)
def number(text: str) -> int: ...


@infer(intent="Say the mood", stable=False, samples=3)
def moods(text: str) -> Mood: ...


GOOD, BAD, MIXED = ({"label": label} for label in ("good", "bad", "mixed"))


def by_sample(*answers: Any) -> Any:
    return lambda request: answers[request.place.indices[0]]


def test_16_1_1_the_value_is_an_answer_that_enough_agree_on() -> None:
    with answering(by_sample(BAD, {**GOOD, "why": "a"}, {**GOOD, "why": "b"})):
        assert mood.run(text="x") == Mood(label="good", why="a")


def test_16_1_1_more_than_half_must_agree_unless_declared() -> None:
    @infer(intent="Say a number", quorum=4)
    def four(text: str) -> int: ...

    with answering(by_sample(1, 1, 2, 2)), pytest.raises(QuorumFailed, match="no 3 of 4"):
        four.run(text="x")


def test_16_1_3_it_ends_as_soon_as_enough_agree() -> None:
    def answer(request: Request) -> Scripted:
        return Scripted(GOOD, delay=0 if request.place and request.place.indices < (2,) else 60)

    with answering(answer):
        mood.run(text="x")
    assert [each.outcome for each in records()] == ["ok", "ok", "cancelled", "ok"]


def test_16_1_3_it_ends_as_soon_as_enough_can_no_longer_agree() -> None:
    @infer(intent="Say the mood", quorum=3, threshold=3)
    def all_three(text: str) -> Mood: ...

    def answer(request: Request) -> Scripted:
        delays = {(0,): 0, (1,): 0}
        assert request.place is not None
        at = request.place.indices
        return Scripted([GOOD, BAD, GOOD][at[0]], delay=delays.get(at, 60))

    with answering(answer), pytest.raises(QuorumFailed, match="1 stopped"):
        all_three.run(text="x")


def test_16_1_3_a_replay_ends_alike(tmp_path: Path) -> None:
    async def ask() -> Any:
        return await number(text="x")

    def at_random(request: Request, chance: Any) -> Any:
        return {"value": chance.randrange(100)}

    recorded = Recorded(tmp_path, ask, at_random, seed=1)
    assert all(recorded.replay(again) == recorded.first for again in range(10))


def test_16_1_4_without_agreement_it_lists_what_was_said() -> None:
    refused = Reply("I cannot help", outcome="refused")
    with answering(by_sample(GOOD, refused, MIXED)), pytest.raises(QuorumFailed) as caught:
        mood.run(text="x")
    lines = str(caught.value).splitlines()[1:4]
    assert lines[:2] == ['  - 1 said "good"', '  - 1 said "mixed"']
    assert lines[2].startswith("  - 1 failed: Refused: ")


def test_16_1_4_a_budget_that_kept_it_from_agreeing_is_named() -> None:
    poor = mood.with_(budget=Budget(tokens=40), params={"max_tokens": 40})
    client = ScriptedClient(lambda request: Scripted(GOOD, tokens=(0, 40)))
    with using(client=client, model="any/model"), pytest.raises(BudgetExceeded):
        poor.run(text="x")


def test_16_1_7_it_leaves_a_record_above_those_of_its_samples() -> None:
    with answering(by_sample(GOOD, GOOD, GOOD)):
        mood.run(text="x")
    *samples, whole = records()
    assert (whole.kind, {each.parent for each in samples}) == ("quorum", {whole.id})


def test_16_2_2_all_samples_are_asked_to_their_end() -> None:
    with answering(by_sample(GOOD, GOOD, BAD)):
        assert len(moods.run(text="x").samples) == 3


@pytest.mark.parametrize(
    "use",
    [lambda m: m.label, bool, list, lambda m: m[0], str.format, lambda m: m == m.samples[0]],
    ids=["attribute", "truth", "iteration", "item", "text", "equality"],
)
def test_16_2_4_it_does_not_pass_for_an_answer(use: Any) -> None:
    with answering(by_sample(GOOD, GOOD, BAD)):
        found = moods.run(text="x")
    with pytest.raises(VarianceIgnored, match="most_likely"):
        use(found) if use is not str.format else f"{found}"
