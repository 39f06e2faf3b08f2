"""`@compute`, `@flow` and `parallel`."""

import asyncio
import inspect
from typing import Any

import pytest

from stratum import (
    Budget,
    BudgetExceeded,
    NotAwaited,
    PreconditionFailed,
    carry,
    compute,
    flow,
    infer,
    parallel,
)
from stratum.clients.scripted import Scripted
from tests.scripted import answering, records


@infer(intent="Answer", given=lambda text: text != "bad")
def ask(text: str) -> str: ...


@compute
def double(n: int) -> int:
    """Two times as much."""
    return 2 * n


@compute
async def double_later(n: int) -> int:
    await asyncio.sleep(0)
    return 2 * n


@compute
def quadruple(n: int) -> int:
    return double(double(n))


@flow
async def answered_twice(text: str) -> str:
    first = await ask(text=text)
    return await ask(text=first)


@flow
async def outer(text: str) -> int:
    answer = await answered_twice(text)
    return quadruple(len(answer))


class Desk:
    def __init__(self, name: str) -> None:
        self.name = name

    @compute
    def signed(self, text: str) -> str:
        return f"{text} {self.name}"

    @compute
    async def signed_later(self, text: str) -> str:
        return f"{text} {self.name}"

    @flow
    async def handle(self, text: str) -> str:
        return self.signed(await ask(text=text))


def echo(request: Any) -> Any:
    return request.prompt.text.removeprefix("text: ")


def failing_on(*texts: str) -> Any:
    async def answer(request: Any) -> Any:
        if echo(request) in texts:
            return ValueError(echo(request))
        return await asyncio.sleep(30)

    return answer


def test_a_sync_compute_stays_a_plain_function() -> None:
    assert double(3) == double(n=3) == double.run(3) == 6
    assert (double.__name__, double.__doc__) == ("double", "Two times as much.")


async def test_an_async_compute_is_awaited_like_an_infer_function() -> None:
    assert await double_later(3) == 6


def test_an_async_compute_runs_for_synchronous_callers() -> None:
    assert double_later.run(n=3) == 6


def test_a_compute_is_traced_with_inputs_and_output() -> None:
    double(n=3)
    (record,) = records()
    assert (record.kind, record.function, record.outcome) == ("compute", "double", "ok")
    assert (record.inputs, record.output) == ({"n": 3}, 6)


def test_an_error_in_a_compute_is_raised_as_it_is_and_traced() -> None:
    @compute
    def broken(n: int) -> int:
        raise KeyError(n)

    with pytest.raises(KeyError):
        broken(3)
    assert (records()[0].outcome, records()[0].error) == ("error", "KeyError: 3")


def test_wrong_arguments_of_a_compute_are_pythons_own_error() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'm'"):
        double(m=3)  # type: ignore[call-arg]


def test_methods_are_bound_and_leave_self_out_of_the_trace() -> None:
    desk = Desk("Ann")
    assert (desk.signed("Hi"), desk.signed_later.run("Ho")) == ("Hi Ann", "Ho Ann")
    assert [record.inputs for record in records()] == [{"text": "Hi"}, {"text": "Ho"}]


async def test_a_flow_can_be_a_method() -> None:
    with answering("Hello"):
        assert await Desk("Ann").handle("x") == "Hello Ann"


async def test_a_flow_runs_its_steps() -> None:
    with answering("first", "second") as client:
        assert await answered_twice(text="x") == "second"
    assert [echo(request) for request in client.requests] == ["x", "first"]


async def test_flow_with_and_without_parentheses_are_the_same() -> None:
    async def body(n: int) -> int:
        return n

    assert await flow(body)(1) == await flow()(body)(1) == 1


async def test_nested_flows_and_computes_make_one_tree() -> None:
    with answering("first", "four"):
        assert await outer("x") == 16
    found = {record.id: record for record in records()}
    lines = [
        f"{found[record.parent].function if record.parent else '-'} > {record.function}"
        for record in sorted(found.values(), key=lambda record: record.order)
    ]
    assert lines == [
        "- > outer",
        "outer > answered_twice",
        "answered_twice > ask",
        "answered_twice > ask",
        "outer > quadruple",
        "quadruple > double",
        "quadruple > double",
    ]


def test_run_inside_a_sync_compute_has_it_as_parent() -> None:
    @compute
    def wrapping(text: str) -> str:
        return ask.run(text)

    with answering(echo):
        wrapping("x")
    asked, wrapped = records()
    assert (asked.function, asked.parent) == ("ask", wrapped.id)


async def test_run_inside_a_flow_needs_a_thread() -> None:
    @flow
    async def blocking(text: str) -> str:
        return ask.run(text)

    @flow
    async def threaded(text: str) -> str:
        return await asyncio.to_thread(carry(ask.run), text)

    with answering(echo):
        with pytest.raises(NotAwaited):
            await blocking("x")
        assert await threaded("x") == "x"
    asked, wrapped = records()[-2:]
    assert (asked.function, asked.parent) == ("ask", wrapped.id)


async def test_parallel_keeps_the_order_of_its_arguments() -> None:
    delays = {"a": 0.03, "b": 0.01, "c": 0.0}
    with answering(lambda request: Scripted(echo(request), delays[echo(request)])):
        assert await parallel(*(ask(text=text) for text in "abc")) == ("a", "b", "c")


def test_parallel_runs_for_synchronous_callers() -> None:
    with answering(echo):
        assert parallel(ask(text="a"), double_later(n=2)).run() == ("a", 4)


async def test_parallel_runs_its_steps_at_the_same_time() -> None:
    together = asyncio.Barrier(2)

    async def meet(request: Any) -> Any:
        await asyncio.wait_for(together.wait(), 5)
        return echo(request)

    with answering(meet):
        assert await parallel(ask(text="a"), ask(text="b")) == ("a", "b")


async def test_parallel_of_nothing_is_nothing() -> None:
    assert await parallel() == ()


async def test_parallel_takes_flows_coroutines_and_awaitables() -> None:
    async def plain() -> str:
        return "coroutine"

    future = asyncio.get_running_loop().create_future()
    future.set_result("future")
    with answering("x", "flow"):
        values = await parallel(answered_twice("x"), plain(), future, parallel(double_later(1)))
    assert values == ("flow", "coroutine", "future", (2,))


async def test_the_first_error_cancels_the_other_steps() -> None:
    with answering(failing_on("b")), pytest.raises(ValueError, match=r"^b$"):
        await asyncio.wait_for(parallel(*(ask(text=text) for text in "abc")), 5)
    *asked, together = records()
    ends = {str(record.inputs["text"]): record.outcome for record in asked}
    assert ends == {"a": "cancelled", "b": "error", "c": "cancelled"}
    assert (together.kind, together.outcome) == ("parallel", "error")


async def test_several_errors_come_as_a_group_that_lists_them() -> None:
    with answering(failing_on("a", "b")), pytest.raises(ExceptionGroup) as caught:
        await parallel(*(ask(text=text) for text in "abc"))
    assert [str(error) for error in caught.value.exceptions] == ["a", "b"]
    assert caught.value.message == "2 of 3 steps failed:\n  - ValueError: a\n  - ValueError: b"


async def test_the_same_error_of_several_steps_comes_once() -> None:
    with answering(echo), pytest.raises(PreconditionFailed):
        await parallel(ask(text="bad"), ask(text="bad"))


async def test_cancelling_parallel_cancels_and_traces_every_step() -> None:
    with answering(failing_on()):
        task = asyncio.create_task(parallel(ask(text="a"), ask(text="b")))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert [record.outcome for record in records()] == ["cancelled"] * 3


async def test_steps_of_a_parallel_are_its_children_and_it_is_one_of_the_flow_around() -> None:
    @flow
    async def fanned(text: str) -> tuple[str, str]:
        return await parallel(ask(text=text), ask(text=text))

    with answering(echo):
        await fanned("x")
    *asked, together, around = records()
    assert {record.parent for record in asked} == {together.id}
    assert together.parent == around.id
    assert [str(record.place) for record in asked] == ["0#0", "1#0"]


async def test_an_error_inside_a_flow_passes_through_and_is_traced() -> None:
    with answering(KeyError("x")), pytest.raises(KeyError):
        await answered_twice("x")
    assert [(record.function, record.outcome) for record in records()] == [
        ("ask", "error"),
        ("answered_twice", "error"),
    ]


async def test_a_flow_with_another_budget_is_a_copy() -> None:
    @flow
    async def sleeping(n: int) -> int:
        await asyncio.sleep(n)
        return n

    with pytest.raises(BudgetExceeded, match=r"flow .*sleeping took longer than its 10 ms"):
        await sleeping.with_(budget=Budget(ms=10))(30)
    assert sleeping.budget is None
    assert await sleeping(0) == 0


def test_a_traced_function_shows_the_signature_it_wraps() -> None:
    assert list(inspect.signature(double).parameters) == ["n"]
    assert list(inspect.signature(answered_twice).parameters) == ["text"]
    assert list(inspect.signature(ask).parameters) == ["text"]
