"""Decisions of people are recorded once; a replayed test needs nobody."""

import json

import pytest

from tests.goldens import stratum
from tests.support import files_below, project, run_bare

APP = """
from typing import Literal
from stratum import Budget, HumanReviewContext, await_human, flow, parallel

@flow(budget=Budget(ms=2000))
async def refund(draft, timeout=None, **settings):
    context = HumanReviewContext(show={"draft": draft}, opaque={"mail": "hush hush"})
    return await await_human("Send this refund?", decision=Literal["approve", "reject"],
                             context=context, timeout=timeout, **settings)

@flow
async def twice():
    first, second = (await_human("Send it?", decision=bool) for _ in range(2))
    return await parallel(first, second)
"""

# In a record run a person decides; in replay a sink that is touched fails the test.
PERSON = """
import os, stratum
from stratum import HumanAnswer

class Person:
    said = iter(os.environ.get("SAID", "").split())

    async def submit(self, review):
        print("ASKED", review.question, review.id)

    async def decision(self, review_id):
        said = next(self.said)
        if said == "late":
            import asyncio
            await asyncio.sleep(60)
        value = {"yes": True, "no": False}.get(said, said)
        return HumanAnswer(value=value, reviewer="anna", comment="as agreed")

    async def reject(self, review_id, problems):
        pass

    async def close(self, review_id, ending):
        pass

stratum.configure(review_sink=Person())
"""

ONE = """
from app import refund

def test_refund(traces, capsys):
    decided = refund.run("Dear Anna")
    with capsys.disabled():
        print("NOTED", decided)
    assert (decided.value, decided.reviewer, decided.comment) == ("approve", "anna", "as agreed")
"""


def files(test=ONE, app=APP):
    return {"app.py": app, "conftest.py": PERSON, "test_app.py": test}


def record(folder, said, *more):
    done = run_bare(folder, "-q", "-s", "--stratum-record", *more, env={"SAID": said})
    assert done.returncode == 0, done.stdout
    return done.stdout


def replay(folder, *more):
    return run_bare(folder, "-q", "-s", "--stratum-replay", *more)


def calls(folder, function="refund"):
    path = folder / "golden" / "recordings" / "app.py" / f"{function}.json"
    return json.loads(path.read_text())["calls"]


def noted(printed):
    return [line for line in printed.splitlines() if "NOTED" in line]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    folder = project(tmp_path_factory.mktemp("refund"), files())
    return folder, record(folder, "maybe approve")


def test_a_replayed_decision_needs_nobody(recorded):
    folder, printed = recorded
    done = replay(folder)
    assert done.returncode == 0, done.stdout
    assert "ASKED" in printed
    assert "ASKED" not in done.stdout
    assert noted(done.stdout) == noted(printed), "id, time and all"


def test_a_recorded_decision_is_one_call_in_the_file_of_its_function(recorded):
    (call,) = calls(recorded[0])
    assert (call["reply"], call["answered_by"], call["cost"]) == ("approve", "anna", 0.0)
    assert call["wire"] == {"comment": "as agreed"}
    assert call["prompt"][0] == "Send this refund?"
    assert "draft: Dear Anna" in call["prompt"]


def test_opaque_values_are_recorded_as_their_size(recorded):
    golden = b"".join(files_below(recorded[0] / "golden").values())
    assert b"hush hush" not in golden
    assert b"<data: mail, 11 characters>" in golden


def test_recording_again_asks_nobody_and_changes_nothing(recorded):
    folder, _ = recorded
    before = files_below(folder / "golden")
    assert "ASKED" not in record(folder, "")
    assert files_below(folder / "golden") == before


def test_stratum_drift_leaves_decisions_to_the_tests(recorded):
    done = stratum(recorded[0], "drift")
    assert done.returncode == 0, done.stdout
    assert "only compared when tests run: refund" in done.stdout


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("Send this", "Really send this", "prompt drift · refund · app.py:8"),
        ("Send this", "Really send this", "+ Really send this refund?"),
        ('"reject"]', '"later"]', "contract drift · refund"),
        ('"reject"],', '"reject"], options=["approve"],', "params drift · refund"),
        ("context=context", "context=dict(letter=draft)", "these inputs are not recorded"),
    ],
    ids=["question", "its lines", "contract", "options", "what is shown"],
)
def test_a_changed_review_is_drift(tmp_path, recorded, before, after, said):
    folder = project(tmp_path, files(app=APP.replace(before, after)))
    (recorded[0] / "golden").rename(folder / "golden")
    try:
        done = replay(folder)
    finally:
        (folder / "golden").rename(recorded[0] / "golden")
    assert done.returncode == 1
    assert said in done.stdout
    assert "ASKED" not in done.stdout
    assert "accept: pytest --stratum-record" in done.stdout


TWO_QUESTIONS = """
from stratum import await_human, flow

@flow
async def gate(second):
    if second:
        return await await_human("Is the tone right?", decision=bool)
    return await await_human("Send it?", decision=bool)

@flow
async def each(amount):
    return await await_human(f"Refund {amount}?", decision=bool)
"""

TWO_TESTS = """
import pytest
from app import each, gate

@pytest.mark.parametrize("second", [False, True])
def test_gate(second):
    assert gate.run(second=second).value is not second

@pytest.mark.parametrize("amount", [5, 10])
def test_each(amount):
    assert each.run(amount=amount).value is (amount == 5)
"""


def test_questions_of_one_function_do_not_displace_each_other(tmp_path):
    folder = project(tmp_path, files(TWO_TESTS, TWO_QUESTIONS))
    for number, said in (("gate[False]", "yes"), ("gate[True]", "no"), ("each[5]", "yes"),
                         ("each[10]", "no")):  # fmt: skip
        record(folder, said, f"test_app.py::test_{number}")
    done = replay(folder)
    assert done.returncode == 0, done.stdout


TWICE = """
from app import twice

def test_twice():
    first, second = twice.run()
    print("NOTED", first.value, second.value)
    assert first.review_id != second.review_id
"""


def test_two_identical_questions_keep_their_own_decisions(tmp_path):
    folder = project(tmp_path, files(TWICE))
    printed = record(folder, "yes no")
    assert noted(replay(folder).stdout) == noted(printed)
    assert sorted(call["reply"] for call in calls(folder, "twice")) == [False, True]


LATE = """
import pytest
from app import refund
from stratum import HumanTimeout

def test_late(traces):
    with pytest.raises(HumanTimeout, match="within 0.2 s"):
        refund.run("Dear", timeout=0.2)

def test_default():
    decided = refund.run("Sir", timeout=0.2, default="reject")
    assert (decided.value, decided.by_default) == ("reject", True)
"""


def test_a_timeout_is_replayed_at_once_unless_there_is_more_time_now(tmp_path):
    folder = project(tmp_path, files(LATE))
    record(folder, "late late")
    assert {call["outcome"] for call in calls(folder)} == {"expired"}
    assert replay(folder).returncode == 0
    project(folder, files(LATE.replace("timeout=0.2", "timeout=9")))
    done = replay(folder)
    assert done.returncode == 1
    assert "recorded as undecided within timeout=0.2, which it no longer has to be" in done.stdout


FAN_OUT = """
import asyncio, pytest
from app import refund
from stratum import flow, parallel

@flow
async def fails():
    await asyncio.sleep(0.1)
    raise LookupError

def test_lost():
    with pytest.raises(LookupError):
        parallel(refund("Dear"), fails()).run()
"""


def test_a_withdrawn_review_is_replayed_as_withdrawn(tmp_path):
    folder = project(tmp_path, files(FAN_OUT))
    record(folder, "late")
    assert calls(folder)[0]["outcome"] == "cancelled"
    done = replay(folder)
    assert done.returncode == 0, done.stdout


SECRET = """
import os
from app import refund

def test_refund():
    refund.run(os.environ["MY_TOKEN"])
"""


def test_a_secret_is_never_stored(tmp_path):
    folder = project(tmp_path, files(SECRET))
    env = {"SAID": "approve", "MY_TOKEN": "s3cr3t-value-of-mine"}
    done = run_bare(folder, "-q", "--stratum-record", env=env)
    assert done.returncode == 0, done.stdout
    golden = b"".join(files_below(folder / "golden").values())
    assert b"draft: <secret:MY_TOKEN>" in golden
    assert b"s3cr3t" not in golden
