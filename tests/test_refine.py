"""`@refine`: what each turn is told, when it ends, and what it leaves behind."""

import asyncio
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stratum import (
    Budget,
    BudgetExceeded,
    ConditionError,
    ConvergenceFailure,
    DeclarationError,
    LiteLLMClient,
    PostconditionFailed,
    ScriptedClient,
    infer,
    opaque,
    parallel,
    refine,
    using,
)
from stratum.clients.messages import messages, tool_messages
from stratum.clients.scripted import Scripted
from stratum.prompts import Revision
from stratum.testing import stub
from stratum.testing.local_model import LocalModel
from tests.scripted import MODEL, answering, records
from tests.support import LIVE, clean_environment, project, run_bare


@refine(until=lambda text: len(text) < 5, feedback=lambda text: f"It has\n{len(text)} letters.")
@infer(intent="Say it short", retries=0)
def short(text: str) -> str: ...


def short_text(text: str) -> str | None:
    return None if len(text) < 5 else "too long"


def loud(text: str) -> None:
    if not text.isupper():
        raise AssertionError("shout")  # pytest adds to what an assert says


def refined(until: Any, **settings: Any) -> Any:
    @refine(until=until, **settings)
    @infer(intent="Say it", retries=0)
    def say(text: str) -> str: ...

    return say


def test_an_output_that_will_do_ends_it() -> None:
    with answering("long one", "tiny") as client:
        assert short.run(text="x") == "tiny"
    assert len(client.requests) == 2


def test_a_first_output_that_will_do_is_one_call() -> None:
    with answering("tiny"):
        assert short.run(text="x") == "tiny"
    assert [each.kind for each in records()] == ["infer", "refine"]


def test_a_turn_is_told_what_the_last_output_lacks() -> None:
    with answering("long one", "long two", "tiny") as client:
        short.run(text="x")
    first, second, third = (messages(each) for each in client.requests)
    assert third == [
        *first,
        {"role": "assistant", "content": "long two"},
        {
            "role": "user",
            "content": "Your last answer will not do yet:\n"
            '  - until: len(text) < 5 (actual: "long two")\n'
            "  - It has\n"
            "    8 letters.\n"
            "Improve it: keep what is right, and change what these points are about.",
        },
    ]
    assert len(second) == len(third)


def test_a_retry_in_a_turn_stands_after_what_the_turn_is_told() -> None:
    @refine(until=lambda n: n > 9)
    @infer(intent="Count", ensure=lambda n: n > 4, retries=1, wire="tool")
    def count(text: str) -> int: ...

    with answering(5, 3, 10) as client:
        assert count.run(text="x") == 10
    sent = messages(client.requests[2])
    assert [each["role"] for each in sent] == ["system", "user"] + ["assistant", "user"] * 2
    assert [each["content"].partition("\n")[0] for each in sent[2:]] == [
        "5", "Your last answer will not do yet:", "3", "Previous attempt failed:",
    ]  # fmt: skip


def test_on_the_tool_wire_every_call_has_a_result_of_its_own() -> None:
    @refine(until=lambda n: n > 9)
    @infer(intent="Count", ensure=lambda n: n > 4, retries=1)
    def count(text: str) -> int: ...

    with answering({"value": 5}, {"value": 3}, {"value": 10}) as client:
        count.run(text="x")
    sent = tool_messages(client.requests[2])
    assert [each["role"] for each in sent] == ["system", "user"] + ["assistant", "tool"] * 2
    made = [call["id"] for each in sent for call in each.get("tool_calls", ())]
    assert made == [each["tool_call_id"] for each in sent if each["role"] == "tool"]
    assert len(set(made)) == 2


def test_a_turn_has_a_key_of_its_own_unlike_a_retry() -> None:
    with answering("long one", "tiny") as client:
        short.run(text="x")
    first, second = client.requests
    assert first.key != second.key
    retried = first.prompt.again("long one", ("too long",))
    revised = replace(first.prompt, revision=Revision("long one", ("too long",)))
    assert len({first.prompt.hash, retried.hash, revised.hash}) == 3


def test_turn_n_has_the_index_n() -> None:
    with answering("long one", "long two", "tiny") as client:
        short.run(text="x")
    assert [str(each.place) for each in client.requests] == ["0#0", "1#0", "2#0"]


@pytest.mark.parametrize(
    ("until", "said"),
    [
        (short_text, "until: short_text: too long"),
        (loud, "until: loud: shout"),
        (("five letters at most", lambda text: len(text) < 5), "until: five letters at most"),
        (lambda output, text: text in output, "until: text in output (actual: text ="),
        ([loud, short_text], "until: loud: shout\n  - until: short_text: too long"),
    ],
    ids=["text", "assertion", "message", "input", "several"],
)
def test_conditions_take_the_forms_of_ensure(until: Any, said: str) -> None:
    with answering(*["long one"] * 2) as client, pytest.raises(ConvergenceFailure) as caught:
        refined(until, max_iterations=2).run(text="x")
    assert said.splitlines()[0] in str(caught.value)
    assert said in client.requests[1].prompt.turns[0].text


def test_a_failure_has_the_history_and_the_remedy() -> None:
    with answering("long one", "longer one", "long"), pytest.raises(ConvergenceFailure) as caught:
        refined(lambda text: len(text) < 4, feedback=str.upper).run(text="x")
    assert str(caught.value).endswith(
        "say was not good enough after 3 turns; the last output:\n"
        '  until: len(text) < 4 (actual: "long")\n'
        "  LONG\n"
        "  Raise max_iterations, say more in feedback, or let until take less."
    )
    outputs = [output for output, _ in caught.value.history]
    assert outputs == ["long one", "longer one", "long"]
    assert caught.value.history[0][1] == 'until: len(text) < 4 (actual: "long one")\nLONG ONE'


def test_its_record_has_the_turns_as_children() -> None:
    with answering("long one", "tiny"):
        short.run(text="x")
    *turns, whole = records()
    assert (whole.kind, whole.output) == ("refine", "tiny")
    assert whole.details == {"until": ["len(text) < 5"], "max_iterations": 3, "turns": 2}
    assert [(each.kind, each.parent) for each in turns] == [("infer", whole.id)] * 2


def test_a_failure_leaves_its_record() -> None:
    with answering("long", "long"), pytest.raises(ConvergenceFailure):
        refined(lambda text: False, max_iterations=2).run(text="x")
    assert (records()[-1].kind, records()[-1].outcome) == ("refine", "rejected")


def test_a_turn_that_fails_ends_it() -> None:
    @refine(until=lambda n: n > 9)
    @infer(intent="Count", ensure=lambda n: n > 4, retries=0)
    def count(text: str) -> int: ...

    with answering(5, 3), pytest.raises(PostconditionFailed):
        count.run(text="x")
    assert [each.outcome for each in records()] == ["ok", "rejected", "rejected"]


def test_one_that_never_began_leaves_its_record() -> None:
    with pytest.raises(ValueError, match="over"):
        asyncio.run(short(text="x").take()(ValueError("over")))
    assert [(each.kind, each.error) for each in records()] == [("refine", "ValueError: over")]


def test_the_budget_covers_all_turns() -> None:
    poor = refined(lambda text: False, max_iterations=9)
    poor = poor.with_(budget=Budget(tokens=100), params={"max_tokens": 60})
    with (
        using(client=ScriptedClient(lambda r: Scripted("x", tokens=(0, 50))), model=MODEL),
        pytest.raises(BudgetExceeded),
    ):
        poor.run(text="x")
    assert [each.outcome for each in records()] == ["ok", "ok", "over_budget", "over_budget"]


def test_a_time_limit_covers_all_turns() -> None:
    late = refined(lambda text: False, max_iterations=99).with_(budget=Budget(ms=60))
    with (
        using(client=ScriptedClient(lambda r: Scripted("x", delay=0.025)), model=MODEL),
        pytest.raises(BudgetExceeded, match="60 ms"),
    ):
        late.run(text="x")
    assert records()[-1].outcome == "over_budget"


def test_each_turn_of_a_quorum_is_one() -> None:
    @refine(until=lambda n: n > 9)
    @infer(intent="Count", quorum=3)
    def count(text: str) -> int: ...

    answers = {(0, 0): 3, (0, 1): 3, (1, 0): 12, (1, 1): 12}
    with answering(lambda request: answers.get(request.place.indices, 99)) as client:
        assert count.run(text="x") == 12
    assert {each.prompt.turns[0].answer for each in client.requests if each.prompt.turns} == {3}
    assert [each.kind for each in records() if each.kind != "infer"] == [
        "quorum", "quorum", "refine"
    ]  # fmt: skip


def test_of_a_distribution_the_most_likely_answer_is_judged() -> None:
    @refine(until=lambda n: n > 9)
    @infer(intent="Count", stable=False, samples=3)
    def count(text: str) -> int: ...

    def answer(request: Any) -> int:
        turn, sample = request.place.indices
        return (20 if sample == 1 else 12) if turn else (20 if sample == 1 else 3)

    with answering(answer):
        assert count.run(text="x").samples == (12, 20, 12)
    assert records()[-1].output == 12


def test_its_samples_can_be_chosen() -> None:
    @refine(until=lambda n: n > 9)
    @infer(intent="Count", stable=False)
    def count(text: str) -> int: ...

    with answering(12, 12):
        assert count.with_(samples=2).run(text="x").samples == (12, 12)


def test_remembered_turns_are_not_asked_again() -> None:
    remembered = short.with_(cache="session")
    with answering("long one", "tiny") as client:
        assert remembered.run(text="x") == remembered.run(text="x") == "tiny"
    assert len(client.requests) == 2


def test_methods_and_parallel_go_with_it() -> None:
    class Speaker:
        @refine(until=lambda text: len(text) < 5)
        @infer(intent="Say it")
        def say(self, text: str) -> str: ...

    async def both() -> Any:
        return await parallel(Speaker().say(text="a"), Speaker().say("b"))

    def answer(request: Any) -> str:
        return f"ok {request.prompt.text[-1]}" if request.prompt.turns else "too long"

    with answering(answer):
        assert asyncio.run(both()) == ("ok a", "ok b")


def test_a_stub_stands_for_all_turns() -> None:
    with stub(short, "this one is long"):
        assert short.run(text="x") == "this one is long"


def test_opaque_parts_of_an_output_are_not_in_what_it_lacks() -> None:
    @refine(until=lambda note: len(note) < 3, max_iterations=2)
    @infer(intent="Note")
    def note(text: str) -> opaque[str]: ...

    with answering("my secret", "my secret") as client, pytest.raises(ConvergenceFailure) as caught:
        note.run(text="x")
    assert "secret" not in str(caught.value)
    assert "secret" not in client.requests[1].prompt.turns[0].text


@pytest.mark.parametrize(
    ("declare", "said"),
    [
        (lambda: refine(until=loud)(loud), "@refine was put on loud, which is no @infer function"),
        (lambda: refine(short), "@refine was put on <@infer short> without a condition"),  # type: ignore[arg-type]
        (lambda: refine(until=loud)(short), "short has @refine twice"),
        (lambda: refined([]), "@refine has no condition"),
        (lambda: refined(None), "@refine has no condition"),
        (lambda: refined(lambda r: r.labl), "until condition 1 reads r.labl, but str has no labl"),
        (lambda: refined(lambda r, txt: r), "until condition 1 .*takes txt, which .*mean text"),
        (lambda: refined(lambda r: short.run(text=r)), "until condition 1 calls short"),
        (lambda: refined(3), "until condition 1 is of type int"),
        (lambda: refined(loud, max_iterations=0), "max_iterations=0; it takes a whole number"),
        (lambda: refined(loud, max_iterations=True), "max_iterations=True"),
        (lambda: refined(loud, feedback="better"), "feedback='better'; it takes a function"),
        (lambda: refined(loud, feedback=lambda r: short.run(text=r)), "feedback calls short"),
        (lambda: refined(loud, feedback=asyncio.sleep), "feedback is an async function"),
    ],
)
def test_what_cannot_work_is_refused(declare: Any, said: str) -> None:
    with pytest.raises(DeclarationError, match=said):
        declare()


def test_a_refusal_says_where_the_function_is() -> None:
    with pytest.raises(DeclarationError, match=rf"\n  at {__file__}:\d+$"):
        refined(loud, max_iterations=0)


def test_the_wrong_order_is_refused_with_the_right_one() -> None:
    with pytest.raises(DeclarationError, match=r"Write @refine\(...\) in the line above @infer"):

        @infer(intent="Say it")
        @refine(until=loud)  # type: ignore[arg-type]
        def say(text: str) -> str: ...


def test_feedback_that_raises_is_a_condition_error() -> None:
    failing = refined(lambda r: False, feedback=lambda r: r.nothing)
    with answering("x"), pytest.raises(ConditionError, match="feedback raised AttributeError"):
        failing.run(text="x")


def test_feedback_that_gives_no_text_is_a_condition_error() -> None:
    with answering("x"), pytest.raises(ConditionError, match="feedback returned a int"):
        refined(lambda r: False, feedback=len).run(text="x")


def test_feedback_that_has_nothing_to_say_adds_nothing() -> None:
    with answering("long one", "tiny") as client:
        refined(lambda r: len(r) < 5, feedback=lambda r: None).run(text="x")
    assert len(client.requests[1].prompt.turns[0].text.splitlines()) == 3


def test_a_turn_goes_over_http_as_messages() -> None:
    @refine(until=lambda confidence: confidence > 0.9)
    @infer(intent="Say how sure you are", model="openai/rules", retries=0)
    def confidence(text: str) -> float: ...

    answers = iter([{"value": 0.5}, {"value": 0.95}])
    with LocalModel(answer=lambda body: next(answers)) as server:
        client = LiteLLMClient(params={"api_base": server.base_url, "api_key": "none"})
        with using(client=client):
            assert confidence.run(text="x") == 0.95
    *_, answer, told = server.requests[1]["messages"]
    assert answer == {"role": "assistant", "content": '{"value": 0.5}'}
    assert told["content"].startswith("Your last answer will not do yet:\n  - until: confidence")


CONFTEST = f"""\
{LIVE}

def answer(request):
    turns = request.shown.turns
    return {{"value": "tiny" if turns and turns[-1].answer["value"] == "long 2"
                      else "long 2" if turns else "long 1"}}
"""

APP = """\
from stratum import infer, refine

@refine(until=lambda text: len(text) < 5, feedback=lambda text: f"It is {text!r}")
@infer(intent="Say it short")
def say(text: str) -> str: ...
"""

TEST = """\
from app import say

def test_it_is_short():
    assert say.run(text="x") == "tiny"

def test_it_is_short_again():
    assert say.run(text="x") == "tiny"
"""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("refined")
    project(folder, {"conftest.py": CONFTEST, "app.py": APP, "test_app.py": TEST})
    done = run_bare(folder, "--stratum-record")
    assert "2 passed" in done.stdout, done.stdout
    return folder


def test_a_recorded_loop_is_replayed(recorded: Path) -> None:
    done = run_bare(recorded, "--stratum-replay")
    assert "2 passed" in done.stdout, done.stdout


def test_recording_it_again_changes_nothing(recorded: Path) -> None:
    golden = recorded / "golden" / "recordings" / "app.py" / "say.json"
    before = golden.read_bytes()
    assert "2 passed" in run_bare(recorded, "--stratum-record").stdout
    assert golden.read_bytes() == before


@pytest.mark.parametrize(
    ("old", "new", "lines"),
    [
        (
            "len(text) < 5",
            "len(text) < 6",
            ["-   - until: len(text) < 5", "+   - until: len(text) < 6"],
        ),
        ("It is", "This is", ["-   - It is 'long 1'", "+   - This is 'long 1'"]),
    ],
    ids=["until", "feedback"],
)
def test_a_changed_condition_is_drift_of_the_later_turns(
    recorded: Path, old: str, new: str, lines: list[str]
) -> None:
    app = recorded / "app.py"
    app.write_text(APP.replace(old, new))
    try:
        done = run_bare(recorded, "--stratum-replay", "--tb=no")
    finally:
        app.write_text(APP)
    assert "1 cause, 2 tests" in done.stdout, done.stdout
    assert "condition drift" in done.stdout
    assert "a turn of @refine tells the model something else" in done.stdout
    assert all(line in done.stdout for line in lines), done.stdout


def test_a_changed_condition_is_drift_without_a_test(recorded: Path) -> None:
    app = recorded / "app.py"
    app.write_text(APP.replace("< 5", "< 6"))
    try:
        done = run_stratum(recorded, "drift")
    finally:
        app.write_text(APP)
    assert "condition drift in say (app.py:5): the conditions changed" in done
    assert "- until: len(text) < 5\n    + until: len(text) < 6" in done


def test_a_recorded_turn_is_shown_as_it_was_sent(recorded: Path) -> None:
    golden = recorded / "golden" / "recordings" / "app.py" / "say.json"
    key = next(call["key"] for call in json.loads(golden.read_text())["calls"] if "turn" in call)
    shown = run_stratum(recorded, "show", key[:12])
    assert "| text: x\n    |\n    | (the output of turn 1)\n" in shown
    assert '    |   - until: len(text) < 5 (actual: "long 1")\n' in shown


def run_stratum(folder: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "stratum.cli", *arguments]
    done = subprocess.run(
        command, cwd=folder, env=clean_environment(), capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr
