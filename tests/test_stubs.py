"""`stub`: a function that answers with given values."""

import asyncio
import threading
from datetime import date
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field

from stratum import (
    Budget,
    ConfigurationError,
    DeclarationError,
    PostconditionFailed,
    PreconditionFailed,
    carry,
    compute,
    flow,
    infer,
    parallel,
    using,
)
from stratum.testing import SchemaClient, ScriptedClient, Stub, stub
from tests.scripted import answering, records
from tests.support import project, run_bare


class Verdict(BaseModel):
    label: Literal["good", "bad"]
    confidence: float = Field(default=1.0, ge=0, le=1)
    note: str = Field(default="", exclude=True)


@infer(intent="Judge", given=lambda text: text != "", ensure=lambda r: r.confidence > 0.5)
def judge(text: str) -> Verdict: ...


@infer(intent="Say what day it is", cache="session")
def day(text: str) -> date: ...


@infer(intent="List the words")
def words(text: str) -> list[str]: ...


@infer(intent="Count")
def count(text: str) -> dict[str, int]: ...


@compute
def double(n: int) -> int:
    return 2 * n


@compute
async def shout(text: str) -> str:
    return text.upper()


@flow(budget=Budget(usd=0.01))
async def handle(text: str) -> str:
    verdict = await judge(text=text)
    return f"{verdict.label}: {await shout(text)}"


class Desk:
    @infer(intent="Route")
    def route(self, text: str) -> str: ...

    @compute
    def sign(self, text: str) -> str:
        return text

    @flow
    async def work(self, text: str) -> str:
        return self.sign(await self.route(text=text))


quick = handle.with_(budget=Budget(usd=0.02))
cheaper = judge.with_(model="other/model", retries=0)
aliased = judge  # as `from app import judge` makes one


def test_a_stubbed_function_answers_with_a_value_and_asks_nobody() -> None:
    with stub(judge, Verdict(label="good")):
        assert judge.run(text="fine") == Verdict(label="good")


def test_json_data_is_read_through_the_contract() -> None:
    with stub(judge, {"label": "bad"}), stub(day, "2026-01-02"):
        assert judge.run(text="fine").label == "bad"
        assert day.run(text="today") == date(2026, 1, 2)


def test_a_stub_needs_no_model_and_no_client() -> None:
    with stub(day, date(2026, 1, 2)):
        day.run(text="today")
    assert records()[0].model


def test_a_field_that_is_left_out_of_dumps_is_kept() -> None:
    with stub(judge, Verdict(label="good", note="kept")):
        assert judge.run(text="fine").note == "kept"


def test_a_stubbed_call_is_traced_as_scripted_with_its_inputs() -> None:
    with stub(judge, {"label": "good"}):
        judge.run(text="fine")
    (record,) = records()
    assert (record.kind, record.origin, record.inputs) == ("infer", "scripted", {"text": "fine"})


def test_copies_and_other_names_of_the_function_answer_alike() -> None:
    with stub(judge, {"label": "good"}) as stubbed:
        assert aliased.run(text="a").label == cheaper.run(text="b").label == "good"
    assert stubbed.calls == [{"text": "a"}, {"text": "b"}]


def test_a_copy_stands_for_the_function_too() -> None:
    with stub(cheaper, {"label": "good"}), stub(quick, "quick"):
        assert judge.run(text="a").label == "good"
        assert handle.run(text="a") == "quick"


def test_a_list_answers_in_order_and_says_when_it_is_used_up() -> None:
    with stub(words, [["a"], ["b", "c"]]):
        assert [words.run(text="x"), words.run(text="y")] == [["a"], ["b", "c"]]
        with pytest.raises(ConfigurationError) as caught:
            words.run(text="z")
    assert "stub(words, [...]) has no answer left: all 2 are given.\n  Add one" in str(caught.value)


def test_a_list_has_an_answer_for_each_attempt() -> None:
    with stub(judge, [{"label": "bad", "confidence": 0.1}, {"label": "good"}]) as stubbed:
        assert judge.run(text="fine").label == "good"
    assert len(stubbed.calls) == 1
    assert records()[0].retry_reasons == ("ensure: r.confidence > 0.5 (actual: 0.1)",)


def test_an_exception_is_raised_and_traced() -> None:
    with stub(judge, [{"label": "good"}, ValueError("no luck")]):
        judge.run(text="a")
        with pytest.raises(ValueError, match="no luck"):
            judge.run(text="b")
    assert [record.outcome for record in records()] == ["ok", "error"]


def test_a_function_gets_the_inputs_that_it_names() -> None:
    with stub(judge, lambda text: {"label": "good" if "love" in text else "bad"}):
        assert judge.run(text="I love it").label == "good"
    with stub(judge, lambda **inputs: {"label": "bad"}), stub(day, lambda: "2026-01-01"):
        assert judge.run(text="x").label == "bad"
        assert day.run(text="x").year == 2026


async def test_a_function_may_be_async() -> None:
    async def later(text: str) -> Any:
        await asyncio.sleep(0)
        return {"label": "bad"}

    with stub(judge, later):
        assert (await judge(text="x")).label == "bad"


def test_given_conditions_are_checked() -> None:
    with stub(judge, {"label": "good"}) as stubbed, pytest.raises(PreconditionFailed):
        judge.run(text="")
    assert stubbed.calls == []


def test_an_answer_that_breaks_a_condition_is_no_answer() -> None:
    low = stub(judge, {"label": "good", "confidence": 0.2})
    with low, pytest.raises(PostconditionFailed, match=r"actual: 0\.2"):
        judge.run(text="fine")


@pytest.mark.parametrize(
    ("function", "answer", "said"),
    [
        pytest.param(
            judge, {"label": "god"}, "stub(judge, ...): {'label': 'god'} could", id="enum"
        ),
        pytest.param(judge, "good", "could not be its answer", id="no-object"),
        pytest.param(words, ["a", "b"], "(a list holds one answer for each call)", id="bare-list"),
        pytest.param(double, "two", "could not be its answer", id="compute"),
        pytest.param(handle, 3, "Give what fits str", id="flow"),
        pytest.param(len, 3, "takes a function under @infer, @flow or @compute", id="other"),
    ],
)
def test_what_could_not_be_an_answer_is_an_error_at_once(
    function: Any, answer: Any, said: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        stub(function, answer)
    assert said in str(caught.value)


def test_what_a_function_gives_is_held_to_the_contract_and_not_asked_for_again() -> None:
    wrong = stub(judge, lambda text: {"label": "god"})
    with wrong, pytest.raises(ConfigurationError, match="could not be its answer"):
        judge.run(text="fine")
    assert len(wrong.calls) == 1


def test_steps_and_flows_are_replaced_and_traced() -> None:
    with stub(double, 7), stub(shout, ["A", "B"]), stub(judge, {"label": "good"}):
        assert double(1) == double.run(2) == 7
        assert handle.run("x") == "good: A"
    with stub(handle, "done"):
        assert handle.run(text="y") == "done"
    assert [r.function for r in records() if r.kind == "flow"] == ["handle", "handle"]
    assert double(1) == 2


def test_a_synchronous_flow_is_replaced_too() -> None:
    @flow
    def worked(text: str) -> str:
        return text + str(double(1))

    with stub(double, 7):
        assert worked(text="a") == "a7"
    with stub(worked, lambda text: text.upper()) as stubbed:
        assert worked(text="a") == worked.run("a") == "A"
    assert stubbed.calls == [{"text": "a"}, {"text": "a"}]


def test_a_step_is_called_with_the_arguments_that_it_takes() -> None:
    with stub(double, lambda n: n + 1) as stubbed:
        assert double(1) == 2
        with pytest.raises(TypeError, match="double: missing a required argument: 'n'"):
            double()
    assert stubbed.calls == [{"n": 1}]


def test_a_synchronous_step_takes_no_async_function() -> None:
    async def later(n: int) -> int:
        return n

    with pytest.raises(ConfigurationError, match="double is synchronous"):
        stub(double, later)


def test_methods_are_stubbed_for_every_instance() -> None:
    with stub(Desk.route, "a"), stub(Desk().sign, lambda text: f"{text} signed") as stubbed:
        assert Desk().work.run(text="x") == "a signed"
    assert stubbed.calls == [{"text": "a"}]


def test_the_innermost_stub_answers_and_others_go_on() -> None:
    with answering("live"), stub(judge, {"label": "good"}):
        with stub(judge, {"label": "bad"}):
            assert judge.run(text="x").label == "bad"
        assert judge.run(text="x").label == "good"
        assert Desk().route.run(text="x") == "live"


def test_a_block_of_using_inside_leaves_it_alone() -> None:
    other = ScriptedClient(["scripted"])
    with stub(judge, {"label": "good"}), using(client=other):
        assert judge.run(text="x").label == "good"
    assert other.requests == []


def test_an_error_in_the_block_restores_the_function() -> None:
    with pytest.raises(KeyError), stub(double, 7):
        raise KeyError
    assert double(1) == 2


async def test_it_holds_in_branches_tasks_and_threads() -> None:
    with stub(judge, {"label": "good"}):
        both = await parallel(judge(text="a"), judge(text="b"))
        task = await asyncio.create_task(judge(text="c"))
        thread = await asyncio.to_thread(judge.run, text="d")
    assert {each.label for each in (*both, task, thread)} == {"good"}


def test_a_carried_thread_sees_it() -> None:
    seen: list[Any] = []
    with stub(double, 7):
        thread = threading.Thread(target=carry(lambda: seen.append(double(1))))
        thread.start()
        thread.join()
    assert seen == [7]


def test_a_task_that_outlives_the_block_gets_the_function_back() -> None:
    async def later() -> int:
        await asyncio.sleep(0.01)
        return double(1)

    async def outlive() -> int:
        with stub(double, 7):
            task = asyncio.create_task(later())
            await asyncio.sleep(0)
        return await task

    assert asyncio.run(outlive()) == 2


def test_a_budget_is_left_alone() -> None:
    tight = judge.with_(budget=Budget(usd=0, tokens=0))
    with stub(judge, {"label": "good"}):
        assert tight.run(text="x").label == "good"
        assert asyncio.run(tight.estimate(text="x")).usd == 0


def test_a_stubbed_answer_is_not_remembered() -> None:
    with stub(day, ["2026-01-01", "2026-01-02"]):
        assert [day.run(text="x").day, day.run(text="x").day] == [1, 2]
    with answering("2026-01-03"):
        assert day.run(text="x").day == 3


@stub(double, [7, 8])
def test_as_a_decorator_it_leaves_fixtures_alone(tmp_path: Any) -> None:
    assert (double(1), double(1), tmp_path.exists()) == (7, 8, True)


@pytest.mark.parametrize("time", [1, 2])
@stub(judge, [{"label": "good"}])
async def test_as_a_decorator_it_is_entered_anew_for_each_run(time: int) -> None:
    assert (await judge(text="x")).label == "good"


def test_a_fixture_or_a_class_is_no_test() -> None:
    def fixture() -> Any:
        yield

    async def later() -> Any:
        yield

    for wrong in (fixture, Desk, later):
        with pytest.raises(DeclarationError, match=r"stub\(double, ...\) was put on .*"):
            stub(double, 7)(wrong)


@pytest.fixture
def calm() -> Any:
    with stub(judge, {"label": "good"}) as stubbed:
        yield stubbed


def test_in_a_fixture_it_reaches_the_test(calm: Stub) -> None:
    judge.run(text="x")
    assert calm.calls == [{"text": "x"}]
    assert repr(calm) == "<stub of judge>"


async def test_in_a_fixture_it_reaches_a_coroutine_test(calm: Stub) -> None:
    await judge(text="x")
    assert calm.calls == [{"text": "x"}]


def test_an_answer_that_has_the_wrappers_shape_is_not_unwrapped() -> None:
    with stub(count, {"value": 3}):
        assert count.run(text="x") == {"value": 3}


def test_a_client_may_answer_by_the_schema_around_a_stub() -> None:
    with using(client=SchemaClient(), model="any/model"), stub(judge, {"label": "good"}):
        assert isinstance(Desk().route.run(text="x"), str)
        assert judge.run(text="x").label == "good"


APP = {
    "pyproject.toml": "[tool.stratum]\n",  # no model
    "app.py": """
        from stratum import infer

        @infer(intent="Answer")
        def ask(text: str) -> str: ...
        """,
    "test_app.py": """
        from app import ask
        from stratum.testing import stub

        def test_stubbed():
            with stub(ask, "stubbed"):
                assert ask.run(text="a") == "stubbed"
        """,
}


@pytest.mark.parametrize("mode", ["--stratum-record", "--stratum-replay"])
def test_stubbed_calls_are_neither_recorded_nor_missing(tmp_path: Any, mode: str) -> None:
    folder = project(tmp_path, APP)
    done = run_bare(folder, "-q", mode)
    assert done.returncode == 0, done.stdout
    assert not list((folder / "golden").rglob("*.json"))
