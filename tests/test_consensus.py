"""Quorums: what is asked, what agrees, what is said when nothing does."""

import asyncio
import warnings
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from stratum import (
    AuthenticationFailed,
    Budget,
    BudgetExceeded,
    ConditionError,
    DeclarationError,
    PreconditionFailed,
    QuorumFailed,
    Refused,
    Reply,
    SamplesAlike,
    ScriptedClient,
    contract,
    infer,
    opaque,
    race,
    using,
)
from stratum.clients.scripted import Scripted
from stratum.infer import Infer
from stratum.testing import stub
from tests.scripted import MODEL, answering, records


@contract
class Address(BaseModel):
    city: str


@contract
class Mood(BaseModel):
    label: Literal["good", "bad", "mixed"]
    why: str = ""
    address: Address | None = None
    counts: dict[str, int] = {}


def good(why: str = "", **more: Any) -> dict[str, Any]:
    return {"label": "good", "why": why, **more}


def bad(why: str = "", **more: Any) -> dict[str, Any]:
    return {"label": "bad", "why": why, **more}


def mood_of(**settings: Any) -> Infer[[str], Mood]:
    @infer(intent="Say the mood", retries=0, **settings)
    def mood(text: str) -> Mood: ...

    return mood


by_label = mood_of(quorum=3, agree_on="label")


def test_the_answer_is_that_of_the_lowest_sample_that_agrees() -> None:
    with answering(bad("a"), good("b"), good("c")):
        assert by_label.run(text="x").why == "b"


def test_it_stops_as_soon_as_enough_agree() -> None:
    async def late(request: Any) -> Any:
        return Scripted(good("late"), delay=30) if request.place.indices == (2,) else good("soon")

    with answering(late) as client:
        assert by_label.run(text="x").why == "soon"
    assert len(client.requests) == 2
    assert [each.outcome for each in records()] == ["ok", "ok", "cancelled", "ok"]


def test_it_stops_as_soon_as_none_can_agree() -> None:
    async def late(request: Any) -> Any:
        first = {0: good(), 1: bad(), 2: {"label": "mixed"}}
        at = request.place.indices[0]
        return Scripted(first.get(at), delay=30 if at > 2 else 0)

    with answering(late), pytest.raises(QuorumFailed, match="2 stopped: they could not change it"):
        mood_of(quorum=5, threshold=4, agree_on="label").run(text="x")


def test_it_stops_as_soon_as_too_many_have_failed() -> None:
    async def late(request: Any) -> Any:
        if request.place.indices == (2,):
            return Scripted(good("late"), delay=30)
        return Reply("no", outcome="refused")

    with answering(late), pytest.raises(QuorumFailed, match="1 stopped: they could not change it"):
        by_label.run(text="x")


def test_sample_n_has_the_index_n() -> None:
    with answering(good(), good(), good()) as client:
        mood_of(quorum=3, threshold=3).run(text="x")
    assert sorted(str(each.place) for each in client.requests) == ["0#0", "1#0", "2#0"]


def test_whole_answers_are_compared_as_data() -> None:
    with answering(good(counts={"a": 1, "b": 2}), bad(), good(counts={"b": 2, "a": 1})):
        assert mood_of(quorum=3).run(text="x").label == "good"


@pytest.mark.parametrize(
    ("agree_on", "answers"),
    [
        ("address.city", [{"address": {"city": "Rome"}}, {}, {"address": {"city": "Rome"}}]),
        (["label", "address.city"], [{}, {"address": {"city": "Rome"}}, {}]),
        ("counts.apples", [{"counts": {"apples": 2}}, {}, {"counts": {"apples": 2, "pears": 1}}]),
        (lambda mood: mood.why.lower(), [{"why": "Sun"}, {"why": "rain"}, {"why": "sun"}]),
    ],
    ids=["path", "several", "key", "function"],
)
def test_what_agree_on_names_is_compared(agree_on: Any, answers: list[Any]) -> None:
    with answering(*({"label": "good"} | each for each in answers)):
        mood_of(quorum=3, agree_on=agree_on).run(text="x")
    assert records()[-1].details["agreed"] == [0, 2]  # type: ignore[index]


def test_a_failure_lists_groups_failures_and_the_remedy() -> None:
    refused = Reply("I cannot help", outcome="refused")
    with answering(good(), refused, bad()), pytest.raises(QuorumFailed) as caught:
        by_label.run(text="x")
    assert str(caught.value).endswith(
        "mood: no 2 of 3 samples agree on label:\n"
        '  - 1 said "good"\n'
        '  - 1 said "bad"\n'
        "  - 1 failed: Refused: mood_of.<locals>.mood: the model declined to answer: "
        "I cannot help\n"
        "  Say in intent or context how to decide such cases, compare less (agree_on), or lower "
        "threshold."
    )
    assert caught.value.groups == (('"good"', 1), ('"bad"', 1))
    assert [type(each) for each in caught.value.failures] == [Refused]


def test_samples_that_fail_count_against_it() -> None:
    with (
        answering(lambda request: Reply("no", outcome="refused")),
        pytest.raises(QuorumFailed, match="See why the samples failed"),
    ):
        by_label.run(text="x")
    assert [each.outcome for each in records()].count("refused") >= 2
    assert records()[-1].outcome == "rejected"


def test_each_sample_has_its_own_retries() -> None:
    @infer(intent="Say a number", quorum=2, ensure=lambda n: n > 5, retries=1)
    def number(text: str) -> int: ...

    def answer(request: Any) -> int:
        return 7 if request.attempt else 3

    with answering(answer) as client:
        assert number.run(text="x") == 7
    assert sorted((r.place.indices, r.attempt) for r in client.requests if r.place) == [
        ((0,), 0), ((0,), 1), ((1,), 0), ((1,), 1)
    ]  # fmt: skip


def test_what_no_sample_can_better_is_raised_at_once() -> None:
    with (
        answering(lambda request: AuthenticationFailed("no key")),
        pytest.raises(AuthenticationFailed, match="no key"),
    ):
        by_label.run(text="x")


def test_inputs_are_refused_as_in_a_plain_call() -> None:
    with answering(), pytest.raises(PreconditionFailed):
        mood_of(quorum=3, given=lambda text: bool(text)).run(text="")


def test_a_function_that_raises_is_a_condition_error() -> None:
    failing = mood_of(quorum=2, agree_on=lambda mood: 1 / 0)
    with (
        answering(good(), good()),
        pytest.raises(ConditionError, match=r"agree_on 1 / 0 raised ZeroDivisionError"),
    ):
        failing.run(text="x")


def test_a_function_that_gives_no_data_is_a_condition_error() -> None:
    failing = mood_of(quorum=2, agree_on=lambda mood: object())
    with answering(good(), good()), pytest.raises(ConditionError, match="plain data"):
        failing.run(text="x")


def test_the_budget_covers_all_samples() -> None:
    poor = mood_of(quorum=3, threshold=3, budget=Budget(tokens=100), max_tokens=100)
    with (
        using(client=ScriptedClient(lambda r: Scripted(good(), tokens=(0, 60))), model=MODEL),
        pytest.raises(BudgetExceeded),
    ):
        poor.run(text="x")
    assert records()[-1].kind == "quorum"


def test_a_budget_that_runs_out_after_an_agreement_does_not_matter() -> None:
    poor = mood_of(quorum=3, threshold=2, budget=Budget(tokens=150), max_tokens=100)
    with using(client=ScriptedClient(lambda r: Scripted(good(), tokens=(0, 60))), model=MODEL):
        assert poor.run(text="x").label == "good"


def test_a_budget_that_would_not_have_helped_is_listed() -> None:
    unpaid = BudgetExceeded("nothing is left", limit="usd")
    answers = [unpaid, good(), bad(), {"label": "mixed"}, good()]
    split = mood_of(quorum=5, threshold=4, agree_on="label")
    with (
        answering(lambda request: answers[request.place.indices[0]]),
        pytest.raises(QuorumFailed, match="1 failed: BudgetExceeded: nothing is left"),
    ):
        split.run(text="x")


def test_a_cancelled_quorum_leaves_its_record() -> None:
    async def slow(request: Any) -> Any:
        await asyncio.sleep(0 if request.prompt.text == "text: fast" else 30)
        return good()

    async def run() -> Any:
        return await race(by_label(text="slow"), mood_of()(text="fast"))

    with answering(slow):
        asyncio.run(run())
    kinds = [(each.kind, each.outcome) for each in records()]
    assert ("quorum", "cancelled") in kinds
    assert kinds.count(("infer", "cancelled")) == 3


def test_a_quorum_that_never_began_leaves_its_record() -> None:
    call = by_label(text="x")
    with pytest.raises(ValueError, match="over"):
        asyncio.run(call.take()(ValueError("over")))
    assert [(each.kind, each.error) for each in records()] == [("quorum", "ValueError: over")]


def test_the_record_says_what_agreed() -> None:
    with answering(good("a"), bad("b"), good("c")):
        by_label.run(text="x")
    *samples, whole = records()
    assert (whole.kind, whole.output["why"]) == ("quorum", "a")
    assert whole.details == {"samples": 3, "threshold": 2, "agree_on": "label", "agreed": [0, 2]}
    assert {each.parent for each in samples} == {whole.id}


def test_a_stub_stands_for_all_samples() -> None:
    with stub(by_label, good("stubbed")) as stubbed:
        assert by_label.run(text="x").why == "stubbed"
    assert stubbed.calls == [{"text": "x"}]


def test_the_agreed_answer_is_remembered_not_a_sample() -> None:
    remembered = mood_of(quorum=3, agree_on="label", cache="session")
    with answering(good("a"), bad("b"), good("c")) as client:
        first = remembered.run(text="x")
        assert remembered.run(text="x") == first
    assert (first.why, len(client.requests)) == ("a", 3)
    assert records()[-1].details["cached"] is True  # type: ignore[index]


def test_another_quorum_remembers_for_itself() -> None:
    with answering(*[good()] * 5) as client:
        mood_of(quorum=3, threshold=3, cache="session").run(text="x")
        mood_of(quorum=2, cache="session").run(text="x")
    assert len(client.requests) == 5


def test_an_estimate_is_for_all_samples() -> None:
    client = ScriptedClient([], tokens=(10, 0), price=(1, 2))
    with using(client=client, model=MODEL):
        once = asyncio.run(mood_of(max_tokens=50).estimate(text="x"))
        all_ = asyncio.run(mood_of(max_tokens=50, quorum=3).estimate(text="x"))
    assert (all_.input_tokens, all_.output_tokens) == (30, 150)
    assert (once.usd, all_.usd) == pytest.approx((0.00011, 0.00033))


def test_opaque_parts_are_not_in_the_message() -> None:
    @contract
    class Note(BaseModel):
        text: opaque[str]

    @infer(intent="Note", quorum=2)
    def note(text: str) -> Note: ...

    with (
        answering({"text": "my secret life"}, {"text": "another one"}),
        pytest.raises(QuorumFailed) as caught,
    ):
        note.run(text="x")
    assert "secret" not in str(caught.value)
    assert '1 said {"text": {"opaque": 14}}' in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"quorum": 1}, "quorum=1; it takes the number of samples, from 2 up"),
        ({"quorum": True}, "quorum=True"),
        ({"quorum": 3, "threshold": 4}, "threshold=4; it takes how many of the 3 samples"),
        ({"quorum": 3, "threshold": 0}, "threshold=0"),
        ({"threshold": 2}, "threshold=2 without quorum"),
        ({"agree_on": "label"}, "agree_on='label' without quorum"),
        ({"quorum": 3, "agree_on": "lable"}, r"Mood has no lable \(did you mean label\?\)"),
        ({"quorum": 3, "agree_on": "address.town"}, "Address has no town"),
        ({"quorum": 3, "agree_on": "label.x"}, "str has no x"),
        ({"quorum": 3, "agree_on": []}, r"agree_on=\[\]; it takes a field's name"),
        ({"quorum": 3, "agree_on": ["label", 3]}, "agree_on lists 3"),
        ({"quorum": 3, "agree_on": lambda m: by_label.run(text=m.why)}, "calls by_label"),
        ({"quorum": 3, "stable": False}, "a quorum settles on one answer"),
        ({"quorum": 3, "samples": 5}, "samples=5 with quorum=3"),
        ({"samples": 5}, "samples=5 without stable=False"),
        ({"stable": "no"}, "stable='no'; it takes True or False"),
    ],
    ids=lambda each: None if isinstance(each, str) else "+".join(each),
)
def test_what_does_not_go_together_is_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(DeclarationError, match=said) as caught:
        mood_of(**settings)
    assert f"\n  at {__file__}:" in str(caught.value)


def test_an_async_function_is_refused() -> None:
    async def compare(mood: Mood) -> str:
        return mood.label

    with pytest.raises(DeclarationError, match="async"):
        mood_of(quorum=3, agree_on=compare)


def test_a_quorum_at_temperature_0_is_warned_of_where_it_stands() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")

        @infer(intent="Say the mood", quorum=3, temperature=0)
        def mood(text: str) -> Mood: ...

    assert [each.category for each in caught] == [SamplesAlike]
    assert "pays 3 times for what is nearly one opinion" in str(caught[0].message)
    assert caught[0].filename == __file__
