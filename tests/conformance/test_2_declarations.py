"""SPEC 2.6 to 2.9: what is refused or warned of at decoration."""

import warnings
from typing import Any

import pytest
from pydantic import AfterValidator, BaseModel
from typing_extensions import Annotated  # noqa: UP035 (as pydantic's own)

from stratum import (
    Budget,
    BudgetTooSmall,
    DeclarationError,
    SequentialAwaits,
    compute,
    flow,
    infer,
)


class Inner(BaseModel):
    price: float


class Answer(BaseModel):
    label: str
    inner: Inner | None = None
    several: list[Inner] = []
    made: Annotated[str, AfterValidator(str.split)] = ""


@infer(intent="Answer", budget=Budget(usd=0.01))
def ask(text: str) -> str: ...


@compute
async def look(text: str) -> str:
    return text


def with_condition(**conditions: Any) -> Any:
    @infer(intent="Answer", **conditions)
    def answer(text: str) -> Answer: ...

    return answer


def warnings_of(function: Any, budget: Budget | None = None) -> list[type[Warning]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        flow(budget=budget)(function)
    return [each.category for each in caught]


def test_2_6_the_message_ends_with_file_and_line() -> None:
    with pytest.raises(DeclarationError) as caught:
        infer(intent="Answer", retries=-1)(ask.__wrapped__)  # type: ignore[attr-defined]
    line = ask.__wrapped__.__code__.co_firstlineno  # type: ignore[attr-defined]
    assert str(caught.value).endswith(f"\n  at {__file__}:{line}")


def test_2_6_a_misspelt_parameter_of_given_is_refused() -> None:
    with pytest.raises(DeclarationError, match=r"takes txt, which .*did you mean text"):
        with_condition(given=lambda txt: True)


@pytest.mark.parametrize("body", ["...", "pass", "'doc'", "raise NotImplementedError('x')"])
def test_2_7_an_empty_body_is_taken_without_source(body: str) -> None:
    namespace: dict[str, Any] = {}
    exec(f"def f(text: str) -> str: {body}", namespace)
    assert infer(intent="Answer")(namespace["f"])


@pytest.mark.parametrize("body", ["return text", "print(text)", "raise ValueError"])
def test_2_7_code_in_the_body_is_refused_without_source(body: str) -> None:
    namespace: dict[str, Any] = {}
    exec(f"def f(text: str) -> str: {body}", namespace)
    with pytest.raises(DeclarationError, match="is never run"):
        infer(intent="Answer")(namespace["f"])


@pytest.mark.parametrize("kind", ["given", "ensure"])
def test_2_8_a_condition_that_calls_an_infer_function_is_refused(kind: str) -> None:
    conditions = {"given": lambda text: ask.run(text=text), "ensure": lambda r: ask(text=r.label)}
    with pytest.raises(DeclarationError, match="calls ask, an @infer function"):
        with_condition(**{kind: conditions[kind]})


@pytest.mark.parametrize(
    "condition",
    [
        pytest.param(lambda r: r.lable, id="field"),
        pytest.param(lambda r: r.label.uper(), id="method"),
        pytest.param(lambda r: r.inner.prise, id="nested"),
        pytest.param(lambda r: r.several[0].prise, id="index"),
        pytest.param(lambda r: all(each.prise for each in r.several), id="loop"),
    ],
)
def test_2_8_a_condition_that_reads_what_no_answer_has_is_refused(condition: Any) -> None:
    with pytest.raises(DeclarationError, match=r"did you mean (label|upper|price)"):
        with_condition(ensure=condition)


@pytest.mark.parametrize(
    "condition",
    [
        pytest.param(lambda r: r.made.append, id="validator"),
        pytest.param(lambda r: hasattr(r, "x") and r.x, id="hasattr"),
        pytest.param(lambda r: isinstance(r, str) and r.upper(), id="isinstance"),
        pytest.param(lambda r: "x" in r.model_fields_set and r.x, id="in"),
        pytest.param(lambda r: [r.x for r in ()] == [], id="rebound"),
    ],
)
def test_2_8_what_may_be_there_is_let_pass(condition: Any) -> None:
    assert with_condition(ensure=condition)


def test_2_8_a_condition_without_source_is_let_pass() -> None:
    assert with_condition(ensure=eval("lambda r: r.lable"))


def test_2_9_independent_awaits_in_a_row_are_warned_of() -> None:
    async def both(text: str) -> str:
        first = await ask(text=text)
        second = await look(text)
        return first + second

    assert warnings_of(both) == [SequentialAwaits]


def test_2_9_a_limit_below_that_of_a_step_is_warned_of() -> None:
    async def asks(text: str) -> str:
        return await ask(text=text)

    assert warnings_of(asks, Budget(usd=0.009)) == [BudgetTooSmall]
    assert warnings_of(asks, Budget(usd=0.01)) == []


def test_2_9_an_order_that_may_be_meant_is_not_warned_of() -> None:
    async def in_order(texts: list[str], lock: Any) -> str:
        first = second = ""
        for text in texts:
            first = await ask(text=text)
            second = await look(text)
        try:
            first = await ask(text=second)
            second = await look("a")
        finally:
            _ = await look("b")
            _ = await look("c")
        async with lock:
            third = await ask(text="a")
            fourth = await look("b")
        return first + second + third + fourth

    assert warnings_of(in_order) == []
