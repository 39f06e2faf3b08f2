"""SPEC 2.1 to 2.6: functions, calls and flows (2.6 to 2.9 also in test_2_declarations)."""

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from stratum import (
    Budget,
    BudgetExceeded,
    DeclarationError,
    NotAwaited,
    compute,
    flow,
    infer,
    parallel,
)
from stratum.clients.scripted import Scripted
from tests.scripted import answering, records


@infer(intent="Say it louder")
def louder(text: str) -> str: ...


@compute
async def exclaim(text: str) -> str:
    return f"{text}!"


@flow
async def twice(text: str) -> str:
    return await louder(text=text) + await louder(text=text)


@flow
def shout(text: str) -> str:
    return exclaim(louder(text=text)) + twice(text=text)  # type: ignore[operator,arg-type]


async def test_2_2_a_call_is_awaited_once() -> None:
    with answering("A", "B") as client:
        call = louder(text="a")
        assert await call == "A"
        with pytest.raises(NotAwaited, match="awaited twice"):
            await call
    assert len(client.requests) == 1


@pytest.mark.parametrize(
    "use",
    [
        bool,
        str,
        len,
        list,
        lambda call: call.label,
        lambda call: call == "A",
        lambda call: call[0],
        lambda call: "a" in call,
    ],
    ids=["truth", "text", "length", "items", "attribute", "comparison", "index", "search"],
)
def test_2_2_a_call_is_no_value(use: Callable[[Any], Any]) -> None:
    call = louder(text="a")
    with pytest.raises(NotAwaited, match="await louder"):
        use(call)
    call.close()


async def test_2_2_asyncio_takes_a_call_as_a_coroutine() -> None:
    with answering(lambda request: "A"):
        task = asyncio.create_task(louder(text="a"))
        both = await asyncio.gather(task, asyncio.wait_for(louder(text="b"), 5))
    assert both == ["A", "A"]


@pytest.mark.parametrize("step", [louder, exclaim, twice], ids=["infer", "compute", "flow"])
async def test_2_3_run_inside_a_running_loop_raises_at_once(step: Any) -> None:
    with answering() as client, pytest.raises(NotAwaited, match="running event loop"):
        step.run(text="a")
    assert (client.requests, records()) == ([], [])


def test_2_4_a_compute_step_takes_the_place_of_an_infer_function() -> None:
    async def caller(step: Any) -> Any:
        (both,) = await parallel(step(text="a"))
        return await step(text="a"), both

    with answering("a!", "a!"):
        assert asyncio.run(caller(louder)) == asyncio.run(caller(exclaim))


def test_2_5_1_the_body_runs_in_the_callers_thread_and_steps_give_values() -> None:
    ran_in: list[threading.Thread] = []

    @flow
    def body() -> Any:
        ran_in.append(threading.current_thread())
        return louder(text="a"), exclaim("b"), twice(text="c")

    with answering("A", "C", "D"):
        assert body() == ("A", "b!", "CD")
    assert ran_in == [threading.current_thread()]


def test_2_5_1_run_is_the_same_as_calling() -> None:
    with answering(lambda request: "A"):
        assert shout.run(text="a") == shout("a") == "A!AA"


async def test_2_5_1_inside_a_running_loop_a_synchronous_flow_raises_before_it_begins() -> None:
    begun: list[int] = []

    @flow
    def body() -> None:
        begun.append(1)

    with pytest.raises(NotAwaited, match="is synchronous"):
        body()
    assert (begun, records()) == ([], [])


def test_2_5_1_the_step_that_runs_ends_when_the_time_is_up() -> None:
    started = time.monotonic()
    slow = shout.with_(budget=Budget(ms=50))
    with answering(Scripted("A", 30.0)), pytest.raises(BudgetExceeded, match="50 ms"):
        slow("a")
    assert time.monotonic() - started < 10
    assert [(r.kind, r.outcome) for r in records()] == [
        ("infer", "over_budget"),
        ("flow", "over_budget"),
    ]


def test_2_5_1_a_body_whose_time_is_up_raises_at_its_end() -> None:
    ended: list[int] = []

    @flow(budget=Budget(ms=20))
    def body() -> None:
        time.sleep(0.1)
        ended.append(1)

    with pytest.raises(BudgetExceeded, match="20 ms"):
        body()
    assert ended == [1]


def test_2_5_1_parallel_is_for_flows_on_an_async_def() -> None:
    @flow
    def body() -> object:
        return parallel(louder(text="a"))

    with answering("A"), pytest.raises(DeclarationError, match="async def"):
        body()


def no_return(text: str): ...  # type: ignore[no-untyped-def]


def unreadable(text: str) -> Callable[[], int]: ...  # type: ignore[empty-body]


def starred(*texts: str) -> str: ...  # type: ignore[empty-body]


def named(**texts: str) -> str: ...  # type: ignore[empty-body]


def good(text: str) -> str: ...  # type: ignore[empty-body]


async def later(answer: str) -> bool:
    return True


@pytest.mark.parametrize(
    ("function", "setting"),
    [
        pytest.param(no_return, {}, id="no-return-annotation"),
        pytest.param(unreadable, {}, id="no-answer-can-be-read"),
        pytest.param(starred, {}, id="args"),
        pytest.param(named, {}, id="kwargs"),
        pytest.param(good, {"intent": " "}, id="empty-intent"),
        pytest.param(good, {"retries": -1}, id="negative-retries"),
        pytest.param(good, {"cache": "sesion"}, id="cache"),
        pytest.param(good, {"wire": "json"}, id="wire"),
        pytest.param(good, {"ensure": later}, id="async-condition"),
        pytest.param(good, {"given": lambda txt: True}, id="unknown-parameter"),
    ],
)
def test_2_6_what_cannot_work_is_refused_at_decoration(function: Any, setting: Any) -> None:
    with pytest.raises(DeclarationError) as refused:
        infer(**{"intent": "Say it", **setting})(function)
    first, *remedy, where = str(refused.value).splitlines()
    assert function.__name__ in first
    assert where.startswith(f"  at {__file__}:")
    assert remedy or ";" in first or "(" in first
