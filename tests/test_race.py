"""`race` and `parallel(require=)`: what is kept, and what becomes of the rest."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from stratum import (
    Budget,
    ConditionError,
    Failure,
    InsufficientResults,
    LiteLLMClient,
    ScriptedClient,
    Success,
    compute,
    flow,
    infer,
    parallel,
    race,
    using,
)
from stratum.blocking import background_loop
from stratum.clients.scripted import Scripted
from stratum.roots import Root
from stratum.scope import rooted
from stratum.testing.local_model import LocalModel
from tests.scripted import answering, records


@infer(intent="Say a number")
def say(text: str) -> int: ...


@infer(intent="Say a small number", ensure=lambda n: n < 10, retries=0)
def say_small(text: str) -> int: ...


@compute
async def later(n: int, seconds: float = 0.0) -> int:
    await asyncio.sleep(seconds)
    return n


@compute
async def fail(text: str, seconds: float = 0.0) -> int:
    await asyncio.sleep(seconds)
    raise ValueError(text)


async def test_a_race_gives_the_value_of_the_first() -> None:
    assert await race(later(1, 5), later(2), later(3, 5)) == 2


async def test_a_race_goes_on_when_a_step_fails() -> None:
    assert await race(fail("a"), later(2, 0.01)) == 2


async def test_a_race_that_all_lose_raises_a_group() -> None:
    with pytest.raises(ExceptionGroup, match="2 of 2 steps failed:\n  - ValueError: a"):
        await race(fail("a"), fail("b"))


async def test_several_errors_stand_in_the_order_of_the_steps() -> None:
    with pytest.raises(ExceptionGroup) as raised:
        await race(fail("a", 0.02), fail("b"))
    assert [str(error) for error in raised.value.exceptions] == ["a", "b"]


async def test_what_a_step_gives_after_it_was_stopped_is_lost() -> None:
    @compute
    async def stubborn(n: int) -> int:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(5)
        return n

    assert await parallel(later(1), stubborn(2), require="any") == (1,)


async def test_no_step_begins_while_a_failure_is_about_to_stop_them() -> None:
    root = Root("a replay", client=ScriptedClient([]))  # whose failures wait for what is at hand
    begun: list[int] = []

    @compute
    async def begin(n: int) -> int:
        begun.append(n)
        return n

    with rooted(root), pytest.raises(ValueError, match="a"):
        await parallel(fail("a"), later(1), begin(2), limit=2)
    assert begun == []


async def test_a_race_whose_steps_fail_alike_raises_their_error() -> None:
    with pytest.raises(ValueError, match=r"^a$"):
        await race(fail("a"), fail("a"))


async def test_any_gives_one_value_and_a_number_that_many_in_input_order() -> None:
    steps = [later(1, 0.02), later(2, 0.01), later(3, 5)]
    assert await parallel(later(1, 5), later(2), require="any") == (2,)
    assert await parallel(*steps, require=2) == (1, 2)


async def test_a_number_gives_up_as_soon_as_it_cannot_be_reached() -> None:
    with pytest.raises(ExceptionGroup, match="2 of 3 steps failed"):
        await asyncio.wait_for(parallel(later(1, 5), fail("a"), fail("b"), require=2), 2)


async def test_zero_gives_how_each_step_ended() -> None:
    ends = await parallel(later(1), fail("a"), later(3), require=0)
    match ends:
        case (Success(1), Failure(ValueError() as error), Success(3)):
            assert str(error) == "a"
        case _:
            pytest.fail(repr(ends))
    assert [end.ok for end in ends] == [True, False, True]


async def test_any_goes_on_until_the_values_so_far_are_valid() -> None:
    seen: list[list[int]] = []

    def enough(values: list[int]) -> bool:
        seen.append(list(values))
        return sum(values) > 2

    steps = (later(1, 0.02), later(2, 0.01), later(9, 5))
    assert await parallel(*steps, require="any", validate=enough) == (1, 2)
    assert seen == [[2], [1, 2]]


async def test_a_compute_step_may_validate() -> None:
    @compute
    async def covered(values: list[int]) -> bool:
        return len(values) == 2

    assert await parallel(later(1), later(2), require="any", validate=covered) == (1, 2)
    assert [record.output for record in records() if "covered" in record.function] == [False, True]


@pytest.mark.parametrize("require", ["all", "any", 1, 0])
async def test_values_that_are_never_valid_are_an_error(require: Any) -> None:
    def never(values: list[int]) -> bool:
        return False

    with pytest.raises(InsufficientResults, match="never did not accept the 2 values"):
        await parallel(later(1), later(2), require=require, validate=never)


async def test_a_verdict_of_none_is_an_error() -> None:
    with pytest.raises(ConditionError, match="validate returns True or False"):
        await parallel(later(1), validate=lambda values: None)


async def test_what_validate_raises_is_raised() -> None:
    def broken(values: list[int]) -> bool:
        raise KeyError("x")

    with pytest.raises(KeyError):
        await parallel(later(1), later(2, 5), require="any", validate=broken)


async def test_a_limit_bounds_how_many_steps_run_at_once() -> None:
    running: list[int] = []
    most = 0

    @compute
    async def work(n: int) -> int:
        nonlocal most
        running.append(n)
        most = max(most, len(running))
        await asyncio.sleep(0.001)
        running.remove(n)
        return n

    values = await parallel(*(work(n) for n in range(9)), limit=3)
    assert values == tuple(range(9))
    assert most == 3


async def test_a_step_that_never_began_leaves_a_record() -> None:
    with answering(lambda request: 1):
        await parallel(*(say(text=text) for text in "abcd"), require="any", limit=1)
    assert [(r.inputs.get("text"), r.outcome) for r in records()] == [
        ("a", "ok"),
        ("b", "cancelled"),
        ("c", "cancelled"),
        ("d", "cancelled"),
        (None, "ok"),
    ]


async def test_a_race_says_in_its_record_who_won() -> None:
    await race(later(1, 5), later(2))
    assert (records()[-1].kind, records()[-1].output) == ("race", {"kept": [1]})
    assert records()[-1].inputs == {"steps": 2}


async def test_losing_reservations_are_settled_as_if_they_had_been_used() -> None:
    @flow(budget=Budget(tokens=12_330))
    async def racing() -> int:
        await race(say(text="a"), say(text="b"), say(text="c"))
        return await say(text="a")

    def answer(request: Any) -> Any:
        return Scripted(1, 0.0 if request.prompt.text == "text: a" else 5.0)

    client = ScriptedClient(answer, tokens=(10, 5))
    with using(client=client, model="test/model"):
        await racing()
    assert client.requests[-1].cap == 12_330 - 2 * (10 + 4096) - 15 - 10


async def test_a_race_can_be_run_from_synchronous_code() -> None:
    assert await asyncio.to_thread(race(later(4)).run) == 4


@pytest.fixture
def slow_but_for_a() -> Iterator[LocalModel]:
    def answer(body: Any) -> Any:
        if "text: a" not in str(body["messages"][1]):
            time.sleep(0.3)
        return {"value": 99}

    with LocalModel(answer=answer) as model:
        yield model


async def test_a_cancelled_branch_makes_no_further_request(slow_but_for_a: LocalModel) -> None:
    @flow
    async def stubborn(text: str) -> int:
        with suppress(asyncio.CancelledError):
            await say(text=text)
        return await say(text=f"{text} again")

    @flow
    async def several(text: str) -> int:
        return await say(text=text) + await say(text=f"{text} again")

    client = LiteLLMClient(params={"api_base": slow_but_for_a.base_url, "api_key": "local"})
    with using(client=client, model="openai/stratum-local-rules"):
        assert await say(text="a") == 99  # litellm is imported
        assert await race(stubborn("b"), several("c"), say_small(text="d"), say(text="a")) == 99
        assert not [task for task in asyncio.all_tasks() if "fan_out" in repr(task)]
        await asyncio.sleep(0.5)
    asked = [body["messages"][1]["content"] for body in slow_but_for_a.requests]
    assert asked.count("text: a") == 2
    assert not [text for text in asked if "again" in text]
    assert len(asked) <= 5


def test_a_call_that_a_thread_waits_for_is_cancelled_with_its_branch() -> None:
    @flow
    def in_a_thread() -> int:
        return say.run(text="slow")

    async def racing() -> int:
        return await race(asyncio.to_thread(in_a_thread), say(text="fast"))

    def answer(request: Any) -> Any:
        return Scripted(1, 30.0 if request.prompt.text == "text: slow" else 0.05)

    started = time.monotonic()
    with answering(answer):
        assert asyncio.run(racing()) == 1
    assert time.monotonic() - started < 10
    assert [(r.kind, r.outcome) for r in records() if r.kind in ("infer", "flow")].count(
        ("infer", "cancelled")
    ) == 1


def test_a_threads_call_has_ended_before_the_race_returns() -> None:
    begun, ended = [], []

    async def answer(request: Any) -> Any:
        if request.prompt.text == "text: fast":
            while not begun:  # noqa: ASYNC110 (on another loop)
                await asyncio.sleep(0.001)
            return 1
        begun.append(request)
        try:
            await asyncio.sleep(30)
        finally:
            await asyncio.sleep(0.1)
            ended.append(request)

    @flow
    def in_a_thread() -> int:
        return say.run(text="slow")

    async def racing() -> tuple[int, int]:
        return await race(asyncio.to_thread(in_a_thread), say(text="fast")), len(ended)

    with answering(answer):
        assert asyncio.run(racing()) == (1, 1)
    kept = [(r.kind, r.outcome) for r in records()[-4:]]
    assert ("infer", "cancelled") in kept
    assert ("flow", "cancelled") in kept


def test_a_threads_call_that_was_cancelled_before_it_began_leaves_a_record() -> None:
    def in_a_thread() -> int:
        background_loop().call_soon_threadsafe(time.sleep, 0.2)
        return say.run(text="slow")

    async def racing() -> int:
        return await race(asyncio.to_thread(in_a_thread), say(text="fast"))

    with answering(lambda _: Scripted(1, 0.05)) as client:
        assert asyncio.run(racing()) == 1
    assert [request.prompt.text for request in client.requests] == ["text: fast"]
    assert ("infer", "cancelled") in [(r.kind, r.outcome) for r in records()[-3:]]
