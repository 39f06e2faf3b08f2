"""Decisions of people: what may be asked, who answers, and how it ends."""

import asyncio
import threading
import time
from enum import Enum
from typing import Literal

import pytest

from stratum import (
    Budget,
    ConfigurationError,
    ContractViolated,
    DeclarationError,
    HumanAnswer,
    HumanReviewContext,
    HumanTimeout,
    InputError,
    NotAwaited,
    PendingReview,
    PostconditionFailed,
    ScriptedClient,
    ScriptedSink,
    StratumWarning,
    await_human,
    configure,
    contract,
    flow,
    infer,
    opaque,
    parallel,
    using,
)
from stratum.scope import process
from tests.scripted import records

Verdict = Literal["approve", "reject"]


@contract
class Refund:
    amount: int
    note: opaque[str]


class Team(Enum):
    BILLING = "billing"
    SHIPPING = "shipping"


class HangingSink:
    """Hangs where it is told to, and notes how its reviews ended."""

    def __init__(self, at="decision"):
        self.at = at
        self.endings = []

    async def submit(self, review):
        await self._hang("submit")

    async def decision(self, review_id):
        await self._hang("decision")
        return HumanAnswer(value="maybe")

    async def reject(self, review_id, problems):
        await self._hang("reject")

    async def close(self, review_id, ending):
        self.endings.append(ending)

    async def _hang(self, here):
        if here == self.at:
            await asyncio.sleep(60)


def ask(said, **settings):
    """Ask a scripted person, and return the sink and the decision."""
    sink = ScriptedSink([said] if not isinstance(said, list) else said)
    with using(review_sink=sink):
        return sink, await_human("Send it?", **{"decision": Verdict, **settings}).run()


@pytest.mark.parametrize(
    ("decision", "said", "value"),
    [
        (Verdict, "approve", "approve"),
        (bool, True, True),
        (str, "do it", "do it"),
        (Team, "billing", Team.BILLING),
        (Team, Team.BILLING, Team.BILLING),
        (list[int], [1, 2], [1, 2]),
        (int | None, None, None),
    ],
    ids=["literal", "bool", "text", "enum as data", "enum", "list", "optional"],
)
def test_a_decision_is_typed(decision, said, value):
    assert ask([said], decision=decision)[1].value == value


def test_a_decision_may_be_of_a_contract_class():
    _, decided = ask({"amount": 5, "note": "ok"}, decision=Refund)
    assert isinstance(decided.value, Refund)
    assert decided.value.amount == 5


def test_a_decision_says_by_whom_and_why():
    _, decided = ask(HumanAnswer(value="reject", reviewer="anna", comment="too much"))
    assert (decided.reviewer, decided.comment, decided.by_default) == ("anna", "too much", False)


def test_a_person_is_shown_question_values_guidance_and_options():
    context = HumanReviewContext(show={"n": 1}, opaque={"mail": "x"}, guidance="Up to $100")
    sink, _ = ask("approve", context=context, options=["approve"], timeout=60)
    (review,) = sink.reviews
    assert (review.question, review.guidance) == ("Send it?", "Up to $100")
    assert review.context == {"n": 1, "mail": "x"}
    assert review.options == ["approve"]
    assert review.contract["enum"] == ["approve", "reject"]
    assert (review.function, review.source.rpartition(":")[0]) == (
        "ask",
        "tests/test_await_human.py",
    )
    assert (review.expires_at - review.asked_at).total_seconds() == 60


@pytest.mark.parametrize("wrong", ["maybe", 7, None, {"value": "x"}], ids=str)
def test_a_decision_that_does_not_fit_is_asked_for_again(wrong):
    sink, decided = ask([wrong, "approve"])
    assert decided.value == "approve"
    assert len(sink.reviews) == 2
    assert records()[-1].attempts == 1, "a slip is no attempt"


def test_a_person_is_told_what_was_wrong():
    told = []

    class Telling(ScriptedSink):
        async def reject(self, review_id, problems):
            told.extend(problems)

    with using(review_sink=Telling(["reject", "approve"])):
        await_human("Send it?", decision=Verdict, options=["approve"]).run()
    assert told == ['choose one of "approve"']


def test_true_is_not_the_option_one():
    sink, decided = ask([True, 1], decision=bool | int, options=[1])
    assert decided.value == 1
    assert decided.value is not True
    assert len(sink.reviews) == 2


def test_a_sink_that_never_fits_ends():
    with using(review_sink=ScriptedSink(lambda review: "maybe")), pytest.raises(ContractViolated):
        await_human("Send it?", decision=Verdict).run()


def test_a_function_that_does_not_fit_is_told_so_at_once():
    call = await_human("Send it?", decision=Verdict, sink=lambda review: "maybe")
    with pytest.raises(ConfigurationError, match=r'"approve" or "reject".*\n.*one of the review'):
        call.run()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"options": ["approve", "maybe"]}, "options=...) has 'maybe', which is no Literal"),
        ({"options": "approve"}, "takes a list"),
        ({"options": []}, "takes a list"),
        ({"default": "maybe"}, "default=...) has 'maybe'"),
        ({"options": ["approve"], "default": "reject"}, "which is none of the options"),
        ({"timeout": 0}, "more than 0"),
        ({"timeout": True}, "more than 0"),
        ({"timeout": float("nan")}, "more than 0"),
        ({"decision": object}, "object is no contract"),
        ({"context": ["draft"]}, 'such as {"draft": draft}'),
        ({"context": HumanReviewContext({"a": 1}, {"a": 2})}, "both in show and opaque"),
    ],
    ids=str,
)
def test_what_cannot_be_asked_is_refused_at_once(settings, said):
    with pytest.raises(DeclarationError) as raised:
        await_human("Send it?", **{"decision": Verdict, **settings})
    assert said in str(raised.value)


def test_an_empty_question_is_refused():
    with pytest.raises(DeclarationError, match="ask in words"):
        await_human(" ", decision=bool)


def test_what_cannot_be_shown_is_refused():
    with pytest.raises(InputError, match="draft"):
        ask("approve", context={"draft": object()})


@pytest.mark.parametrize("sink", [3, ScriptedSink], ids=["a number", "a class"])
def test_what_is_no_sink_is_refused(sink):
    with pytest.raises(ConfigurationError, match="it takes a ReviewSink"):
        await_human("Send it?", decision=bool, sink=sink)
    with pytest.raises(ConfigurationError, match="configure"):
        configure(review_sink=sink)
    with pytest.raises(ConfigurationError, match="using"), using(review_sink=sink):
        pass


# Who answers


def test_a_scripted_client_decides_too():
    with using(client=ScriptedClient(["reject"])) as _:
        assert await_human("Send it?", decision=Verdict).run().value == "reject"


def test_a_scripted_client_is_held_to_the_options():
    with (
        using(client=ScriptedClient(["reject"])),
        pytest.raises(PostconditionFailed, match="one of"),
    ):
        await_human("Send it?", decision=Verdict, options=["approve"]).run()


def test_a_double_in_a_block_stands_in_for_the_sink_of_the_call():
    with using(review_sink=ScriptedSink(["reject"])):
        call = await_human("Send it?", decision=Verdict, sink=lambda review: "approve")
        assert call.run().value == "reject"


def test_the_sink_of_the_call_wins_over_the_one_of_the_block():
    with using(review_sink=lambda review: "reject"):
        call = await_human("Send it?", decision=Verdict, sink=lambda review: "approve")
        assert call.run().value == "approve"


def test_the_configured_sink_is_asked_where_nothing_nearer_is():
    configure(review_sink=lambda review: "approve")
    try:
        assert await_human("Send it?", decision=Verdict).run().value == "approve"
        with using(review_sink=lambda review: "reject"):
            assert await_human("Send it?", decision=Verdict).run().value == "reject"
    finally:
        process.sink = None


def test_a_live_client_is_never_asked_for_a_decision():
    class Model(ScriptedClient):
        live = True

    model = Model(["approve"])
    with using(client=model, review_sink=lambda review: "reject"):
        assert await_human("Send it?", decision=Verdict).run().value == "reject"
    assert model.requests == []


def test_a_coroutine_function_may_decide():
    async def decide(review: PendingReview) -> str:
        return "approve"

    assert await_human("Send it?", decision=Verdict, sink=decide).run().value == "approve"


def test_the_error_of_a_function_that_decides_is_raised():
    def decide(review):
        raise LookupError("nobody is in")

    with pytest.raises(LookupError, match="nobody is in"):
        await_human("Send it?", decision=Verdict, sink=decide).run()
    assert records()[-1].outcome == "error"


def test_a_script_that_has_ended_says_so():
    with pytest.raises(ConfigurationError, match="no decision left for 'Send it"):
        ask([])


def test_a_text_is_no_script():
    with pytest.raises(ConfigurationError, match="Put a single decision into a list"):
        ScriptedSink("approve")


def test_no_person_is_asked_while_live_calls_are_off():
    process.no_live_calls = "calls are off."
    try:
        with pytest.raises(ConfigurationError, match=r"calls are off\."):
            await_human("Send it?", decision=Verdict, sink=lambda review: "approve").run()
        assert ask("approve")[1].value == "approve", "but a double may decide"
    finally:
        process.no_live_calls = None


# Time


@pytest.mark.parametrize("at", ["submit", "decision", "reject"])
def test_the_timeout_covers_all_that_a_sink_does(at):
    sink = HangingSink(at)
    started = time.perf_counter()
    with pytest.raises(HumanTimeout) as raised:
        await_human("Send it?", decision=Verdict, sink=sink, timeout=0.1).run()
    assert time.perf_counter() - started < 2
    assert sink.endings == ["expired"]
    assert "nobody decided within 0.1 s: Send it?" in str(raised.value)
    assert "default=..." in str(raised.value)


def test_the_timeout_covers_a_function_that_blocks():
    release = threading.Event()
    try:
        with pytest.raises(HumanTimeout):
            await_human("?", decision=bool, sink=lambda review: release.wait(30), timeout=0.1).run()
    finally:
        release.set()


def test_the_default_holds_when_nobody_decides():
    call = await_human("?", decision=Verdict, sink=HangingSink(), timeout=0.05, default="reject")
    decided = call.run()
    assert (decided.value, decided.by_default, decided.reviewer) == ("reject", True, None)


def test_the_time_of_a_budget_stands_still_while_a_person_thinks():
    async def slowly(review):
        await asyncio.sleep(0.3)
        return True

    @flow(budget=Budget(ms=100))
    async def gate() -> bool:
        return (await await_human("Send it?", decision=bool, sink=slowly)).value

    assert gate.run() is True


def test_a_person_costs_nothing():
    @flow(budget=Budget(usd=0, tokens=0))
    async def gate() -> bool:
        return (await await_human("?", decision=bool, sink=lambda review: True)).value

    assert gate.run() is True
    assert records()[0].cost_usd == 0


def test_an_error_of_a_sink_that_is_a_timeout_is_raised_as_it_is():
    async def decide(review):
        raise TimeoutError("the chat server")

    with pytest.raises(TimeoutError, match="the chat server"):
        await_human("Send it?", decision=bool, sink=decide, timeout=60).run()


# Ends


async def test_a_cancelled_review_is_withdrawn_and_leaves_a_record():
    sink = HangingSink()
    task = asyncio.ensure_future(await_human("Send it?", decision=bool, sink=sink))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sink.endings == ["withdrawn"]
    (record,) = records()
    assert (record.kind, record.outcome) == ("human", "cancelled")


async def test_a_lost_branch_withdraws_its_review():
    sink = HangingSink()

    async def fails():
        await asyncio.sleep(0.05)
        raise LookupError("no")

    with pytest.raises(LookupError):
        await parallel(await_human("Send it?", decision=bool, sink=sink), fails())
    assert sink.endings == ["withdrawn"]


def test_a_sink_that_cannot_close_loses_no_decision():
    class Stuck(HangingSink):
        async def decision(self, review_id):
            return HumanAnswer(value=True)

        async def close(self, review_id, ending):
            raise OSError("disk full")

    with pytest.warns(StratumWarning, match=r"still shown as open .*disk full"):
        assert await_human("Send it?", decision=bool, sink=Stuck()).run().value is True


def test_a_review_that_is_forgotten_is_caught():
    call = await_human("Send it?", decision=bool)
    with pytest.raises(NotAwaited, match="truth value"):
        bool(call)
    with pytest.raises(NotAwaited, match=r"await_human\(\.\.\.\) at .*test_await_human"):
        call.value  # noqa: B018
    call.close()


# Ids, traces


async def test_two_identical_questions_have_ids_of_their_own():
    sink = ScriptedSink([True, False])
    with using(review_sink=sink):
        first, second = await parallel(
            await_human("Send it?", decision=bool), await_human("Send it?", decision=bool)
        )
    assert {first.value, second.value} == {True, False}
    assert first.review_id != second.review_id
    assert {first.review_id, second.review_id} == {review.id for review in sink.reviews}
    assert {review.place for review in sink.reviews} == {"0#0", "1#0"}


def test_the_same_question_of_another_run_has_another_id(monkeypatch):
    monkeypatch.setattr(process, "root", None)
    ids = {ask("approve")[1].review_id for _ in range(3)}
    assert len(ids) == 3, "a decision must not be taken for another one"


def test_a_decision_is_traced():
    ask("approve", context={"draft": "Dear"})
    (record,) = records()
    assert (record.kind, record.function, record.model) == ("human", "ask", "human")
    assert record.inputs == {"question": "Send it?", "context": {"draft": "Dear"}}
    assert record.output["value"] == "approve"


def test_opaque_values_are_traced_as_their_size():
    shown = {
        "refunds": [Refund(amount=3, note="my secret")],
        "by_id": {"7": Refund(amount=4, note="hush")},
    }
    sink, _ = ask("approve", context=HumanReviewContext(show=shown, opaque={"mail": "Dear"}))
    assert "my secret" in str(sink.reviews[0].context)
    (record,) = records()
    assert "my secret" not in str(record)
    assert "hush" not in str(record)
    assert record.inputs["context"]["mail"] == {"opaque": 4}
    assert record.inputs["context"]["refunds"] == [{"amount": 3, "note": {"opaque": 9}}]


def test_an_opaque_decision_is_traced_as_its_size():
    ask({"amount": 3, "note": "my secret"}, decision=Refund)
    assert records()[0].output["value"] == {"amount": 3, "note": {"opaque": 9}}


def test_a_flow_may_mix_models_and_people():
    @infer(intent="Draft", model="any/model")
    def draft(text: str) -> str: ...

    @flow
    async def answer(text: str) -> str:
        letter = await draft(text=text)
        decided = await await_human("Send it?", decision=Verdict, context={"letter": letter})
        return letter if decided.value == "approve" else "(nothing)"

    with using(client=ScriptedClient(["Dear Anna", "approve"])):
        assert answer.run(text="hi") == "Dear Anna"
    assert [record.kind for record in records()] == ["infer", "human", "flow"]
