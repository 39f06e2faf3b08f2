"""SPEC section 19: people."""

import asyncio
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import Literal

import pytest

from stratum import (
    Budget,
    ConfigurationError,
    DeclarationError,
    FileSink,
    HumanAnswer,
    HumanReviewContext,
    HumanTimeout,
    PendingReview,
    RecordingMissing,
    ReviewError,
    ScriptedClient,
    ScriptedSink,
    await_human,
    flow,
    traces,
    using,
)
from stratum.settings import Settings
from stratum.sinks.folder import ReviewFolder
from tests.support import clean_environment
from tests.wrapped import recording, replaying, texts

Verdict = Literal["approve", "reject"]


class Sink:
    """Decides at once, or hangs at a step; notes what it was asked to do."""

    def __init__(self, said="approve", hangs_at=""):
        self.said = said
        self.hangs_at = hangs_at
        self.steps = []

    async def _step(self, name, *about):
        self.steps.append((name, *about))
        if name == self.hangs_at:
            await asyncio.sleep(60)

    async def submit(self, review):
        await self._step("submit", review.id)

    async def decision(self, review_id):
        await self._step("decision")
        return HumanAnswer(value=self.said, reviewer="anna")

    async def reject(self, review_id, problems):
        await self._step("reject", *problems)

    async def close(self, review_id, ending):
        await self._step("close", ending)


def refund(sink, **settings):
    return await_human("Pay?", **{"decision": Verdict, "sink": sink, **settings}).run()


def test_19_1_awaiting_gives_a_decision():
    decided = refund(Sink())
    assert (decided.value, decided.reviewer, decided.comment) == ("approve", "anna", None)
    assert decided.review_id
    assert decided.decided_at.tzinfo is not None
    assert decided.by_default is False


@pytest.mark.parametrize(
    "wrong",
    [{"options": ["perhaps"]}, {"default": "perhaps"}, {"timeout": "soon"}, {"timeout": -1}],
    ids=["options", "default", "words", "negative"],
)
def test_19_1_what_cannot_be_asked_is_refused_at_once(wrong):
    with pytest.raises(DeclarationError):
        await_human("Pay?", decision=Verdict, **wrong)
    with pytest.raises(DeclarationError):
        await_human("", decision=Verdict)


@pytest.mark.parametrize(("said", "options"), [("perhaps", None), ("reject", ["approve"])])
def test_19_2_a_decision_fits_its_contract_and_the_options(said, options):
    sink = ScriptedSink([said, "approve"])
    with using(review_sink=sink):
        assert refund(None, options=options).value == "approve"
    assert len(sink.reviews) == 2
    assert traces()[-1].attempts == 1


def test_19_3_a_person_is_shown_what_golden_files_and_traces_hide(tmp_path, monkeypatch):
    monkeypatch.setenv("PAYMENT_TOKEN", "tok-12345-secret")
    context = HumanReviewContext({"note": "tok-12345-secret"}, {"mail": "private mail"})
    shown, settings = [], Settings(root=tmp_path)
    with recording(settings):
        refund(lambda review: shown.append(review.context) or "approve", context=context)
    assert shown == [{"note": "tok-12345-secret", "mail": "private mail"}]
    for kept in (texts(settings), str(traces()[-1])):
        assert "tok-12345" not in kept
        assert "private mail" not in kept
    assert "<secret:PAYMENT_TOKEN>" in texts(settings)


@pytest.mark.parametrize("step", ["submit", "decision", "reject"])
def test_19_4_the_timeout_holds_when_a_sink_hangs(step):
    started = time.monotonic()
    with pytest.raises(HumanTimeout):
        refund(Sink("perhaps", hangs_at=step), timeout=0.1)
    assert time.monotonic() - started < 2


def test_19_4_the_default_is_the_decision_when_the_time_has_passed():
    decided = refund(Sink(hangs_at="decision"), timeout=0.05, default="reject")
    assert (decided.value, decided.by_default) == ("reject", True)


def test_19_4_budgets_do_not_run_while_a_person_is_waited_for():
    async def slowly(review):
        await asyncio.sleep(0.25)
        return "approve"

    @flow(budget=Budget(ms=50, usd=0, tokens=0))
    async def gate():
        return await await_human("Pay?", decision=Verdict, sink=slowly)

    assert gate.run().value == "approve"


def test_19_5_a_double_of_the_block_decides_before_every_sink():
    sink = Sink("reject")
    with using(client=ScriptedClient(["approve"])):
        assert refund(sink).value == "approve"
        with using(review_sink=ScriptedSink(["reject"])):
            assert refund(sink).value == "reject"
    assert sink.steps == []


def test_19_5_the_sink_of_the_call_comes_before_that_of_the_block():
    with using(review_sink=Sink("reject")):
        assert refund(Sink("approve")).value == "approve"
        assert refund(None).value == "reject"


def test_19_6_a_replayed_decision_touches_no_sink(tmp_path):
    settings, sink = Settings(root=tmp_path), Sink()
    with recording(settings):
        recorded = refund(sink)
    sink.steps.clear()
    with replaying(settings):
        assert refund(sink) == recorded
    assert sink.steps == []
    assert '"answered_by": "anna"' in texts(settings)


def test_19_6_a_changed_question_is_prompt_drift(tmp_path):
    settings, sink = Settings(root=tmp_path), Sink()

    def ask(asked):
        return asked(sink).run()

    with recording(settings):
        ask(_pay)
    with replaying(settings) as root, pytest.raises(RecordingMissing) as missed:
        ask(_really_pay)
    root.misses.clear()
    assert [drift.kind for drift in missed.value.drifts] == ["prompt"]
    assert missed.value.drifts[0].lines == ("- Pay?", "+ Really pay?")


def _pay(sink):
    return await_human("Pay?", decision=bool, sink=lambda review: True)


def _really_pay(sink):
    return await_human("Really pay?", decision=bool, sink=lambda review: True)


_really_pay.__code__ = _really_pay.__code__.replace(co_name="_pay", co_qualname="_pay")


def test_19_6_a_timeout_is_replayed_unless_there_is_more_time(tmp_path):
    settings = Settings(root=tmp_path)
    with recording(settings):
        refund(Sink(hangs_at="decision"), timeout=0.05, default="reject")
    with replaying(settings):
        assert refund(Sink(), timeout=0.05, default="reject").by_default is True
    with replaying(settings) as root, pytest.raises(RecordingMissing, match="undecided within"):
        refund(Sink(), timeout=60, default="reject")
    root.misses.clear()


def test_19_7_a_sink_is_told_how_a_review_ends():
    sink = Sink()
    review_id = refund(sink).review_id
    assert sink.steps == [("submit", review_id), ("decision",), ("close", "decided")]
    late = Sink(hangs_at="decision")
    refund(late, timeout=0.05, default="reject")
    assert late.steps[-1] == ("close", "expired")


async def test_19_7_a_cancelled_call_withdraws_its_review():
    sink = Sink(hangs_at="decision")
    task = asyncio.ensure_future(await_human("Pay?", decision=Verdict, sink=sink))
    await asyncio.sleep(0.02)
    task.cancel()
    await asyncio.wait([task])
    assert sink.steps[-1] == ("close", "withdrawn")
    assert traces()[-1].outcome == "cancelled"


def _review():
    return PendingReview(id="5f0c2b4e-8b0f-5c53-9d0e-1c2d3e4f5a6b", question="Pay?")


async def test_19_7_a_second_submit_changes_nothing(tmp_path):
    sink, folder, review = FileSink(tmp_path), ReviewFolder(tmp_path), _review()
    await sink.submit(review)
    await sink.submit(review.model_copy(update={"question": "Other?"}))
    assert folder.read(review.id).review.question == "Pay?"
    folder.decide(review.id, HumanAnswer(value=True))
    await sink.submit(review)
    assert (await sink.decision(review.id)).value is True


def test_19_8_the_same_question_of_two_runs_has_two_ids(monkeypatch):
    from stratum.scope import process

    monkeypatch.setattr(process, "root", None)
    assert refund(Sink()).review_id != refund(Sink()).review_id


@contextmanager
def _open_pipe(*lines, **environment):
    """Run a program whose stdin is a pipe that nobody writes to."""
    head = ["import asyncio, threading, time", "from stratum import *"]
    program = subprocess.Popen(
        [sys.executable, "-c", "\n".join([*head, *lines])],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8",
        env=clean_environment(environment), start_new_session=True,
    )  # fmt: skip
    try:
        program.wait(20)
        yield program.returncode, program.stdout.read(), program.stderr.read()
    finally:
        program.kill()
        program.communicate()


def test_19_9_a_review_that_ends_otherwise_leaves_no_reader():
    asked = 'await_human("Pay?", decision=bool, timeout=0.2, default=False)'
    async_main = f"print(asyncio.run(asyncio.wait_for({asked}, 5)).value, threading.active_count())"
    with _open_pipe(async_main) as (code, printed, errors):
        assert (code, printed) == (0, "False 1\n"), errors


def test_19_9_where_nobody_sits_it_raises_instead_of_waiting():
    asked = 'await_human("Pay?", decision=bool).run()'
    with _open_pipe(asked, CI="true") as (code, _, errors):
        assert code == 1
        assert f"{ConfigurationError.__name__}: nobody can be asked on a terminal in CI" in errors


def test_19_10_only_one_can_end_a_review(tmp_path):
    folder, review = ReviewFolder(tmp_path), _review()
    folder.publish(review)
    folder.decide(review.id, HumanAnswer(value=True, reviewer="anna"))
    folder.close(review.id, "withdrawn")
    with pytest.raises(ReviewError, match=r"already decided: true by anna\."):
        folder.decide(review.id, HumanAnswer(value=False))
    assert folder.read(review.id).ended.answer.value is True


def test_19_11_a_decision_leaves_a_record():
    refund(Sink())
    assert (traces()[-1].kind, traces()[-1].outcome) == ("human", "ok")
