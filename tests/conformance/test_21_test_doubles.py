"""SPEC 21: stubs, and values that fit a contract."""

import asyncio
import subprocess
import sys
from typing import Annotated, Any

import pytest
from pydantic import AfterValidator, BaseModel, Field

from stratum import (
    Budget,
    ConfigurationError,
    Contract,
    PreconditionFailed,
    compute,
    flow,
    infer,
    parallel,
    using,
)
from stratum.scope import current
from stratum.testing import SchemaClient, ScriptedClient, example_of, examples_of, stub
from tests.support import clean_environment


class Verdict(BaseModel):
    label: str = Field(min_length=2, max_length=30)
    score: float = Field(ge=0, le=1)


GOOD = Verdict(label="good", score=1)


@infer(intent="Judge", given=lambda text: text != "", cache="session")
def judge(text: str) -> Verdict: ...


@compute
def double(n: int) -> int:
    return 2 * n


@flow(budget=Budget(usd=0, tokens=0))
async def label(text: str) -> str:
    return (await judge(text=text)).label


class Desk:
    @infer(intent="Route")
    def route(self, text: str) -> str: ...


strict = judge.with_(retries=0)


def refuse(text: str) -> str:
    raise ValueError("never good")


def test_21_1_a_stub_answers_with_values_errors_and_functions() -> None:
    with stub(double, [1, ValueError("no")]), stub(judge, lambda text: GOOD) as judged:
        assert double(5) == 1
        with pytest.raises(ValueError, match="no"):
            double(5)
        assert judge.run(text="x") == GOOD
    assert judged.calls == [{"text": "x"}]


@stub(label, ["once"])
def test_21_1_a_stub_decorates_a_test() -> None:
    assert label.run(text="x") == "once"


def test_21_2_a_stub_stands_for_copies_methods_and_branches() -> None:
    async def both() -> Any:
        return await parallel(strict(text="x"), Desk().route(text="y"))

    with stub(judge, GOOD), stub(Desk.route, "there"):
        assert asyncio.run(both()) == (GOOD, "there")


def test_21_2_leaving_the_block_gives_the_function_back() -> None:
    with stub(double, 1):
        with pytest.raises(KeyError), stub(double, 7):
            raise KeyError(double(5))
        assert double(5) == 1
    assert double(5) == 10


async def test_21_2_a_task_that_outlives_the_block_gets_the_function_back() -> None:
    async def later() -> int:
        await asyncio.sleep(0)
        return double(5)

    with stub(double, 1):
        task = asyncio.create_task(later())
    assert await task == 10


@pytest.mark.parametrize(("function", "answer"), [(judge, {"label": "x"}), (double, "two")])
def test_21_3_what_the_contract_does_not_take_is_an_error(function: Any, answer: Any) -> None:
    with pytest.raises(ConfigurationError, match="could not be its answer"):
        stub(function, answer)
    with stub(function, lambda: answer), pytest.raises(ConfigurationError, match="could not be"):
        function.run("x")


def test_21_4_a_stubbed_call_asks_nobody_and_needs_no_budget() -> None:
    client = ScriptedClient([])
    with using(client=client), stub(judge, GOOD):
        assert label.run(text="fine") == "good"
    assert client.requests == []


def test_21_4_a_stubbed_call_is_traced_as_scripted() -> None:
    with stub(judge, GOOD):
        judge.run(text="fine")
    assert [each.origin for each in current().root.records] == ["scripted"]


def test_21_4_a_stubbed_answer_is_not_remembered() -> None:
    with stub(judge, [GOOD, Verdict(label="bad", score=0)]):
        assert [judge.run(text="x").label, judge.run(text="x").label] == ["good", "bad"]


def test_21_4_given_conditions_hold_as_ever() -> None:
    with stub(judge, GOOD), pytest.raises(PreconditionFailed):
        judge.run(text="")


def test_21_5_the_same_seed_gives_the_same_value_in_every_process() -> None:
    text = "import stratum.testing as t; print(t.examples_of(dict[str, float], 5))"
    done = subprocess.run(
        [sys.executable, "-c", text], env=clean_environment(), capture_output=True, text=True
    )
    assert done.stdout.strip() == str(examples_of(dict[str, float], 5))


def test_21_5_a_value_has_been_read_through_the_contract() -> None:
    assert all(0 <= each.score <= 1 for each in examples_of(Verdict, 50))
    assert isinstance(example_of(Contract.of(Verdict, where="spec")), Verdict)
    picky = Annotated[int, AfterValidator(lambda n: n if n % 3 == 0 else refuse(str(n)))]
    assert {each % 3 for each in examples_of(picky, 20)} == {0}


def test_21_5_where_no_value_can_be_made_the_error_says_why() -> None:
    with pytest.raises(ConfigurationError, match="never good"):
        example_of(Annotated[str, AfterValidator(refuse)])


def test_21_6_the_schema_client_answers_every_call() -> None:
    with using(client=SchemaClient(4), model="any/model"):
        first, again, other = (judge.run(text=text) for text in ("a", "a", "b"))
    assert first == again != other
