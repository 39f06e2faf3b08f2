"""A model that is asked too much is asked less, by everybody."""

import asyncio
import gc
import threading
import time
from typing import Any

import pytest

from stratum import Budget, BudgetExceeded, LiteLLMClient, ProviderError, infer, parallel, using
from stratum.clients.limiter import Limiter
from stratum.testing.local_model import failure
from tests.providers import Provider

GOOD = {"value": "good"}


@infer(intent="Say it", model="openai/test-model", retries=0)
def say(text: str) -> str: ...


class Throttle:
    """A provider that answers 429 to the first requests, and knows when it was asked."""

    def __init__(self, refusals: int, retry_after: float | None) -> None:
        self.times: list[float] = []
        self._left = refusals
        self._retry_after = retry_after

    def __call__(self, body: Any) -> Any:
        self.times.append(time.monotonic())
        if self._left:
            self._left -= 1
            return failure(429, "slow down", retry_after=self._retry_after)
        return GOOD


def limiter_of(client: LiteLLMClient) -> Limiter:
    (limiter,) = client._limiters.values()
    return limiter


def test_a_call_that_comes_after_a_429_waits_too() -> None:
    throttle = Throttle(1, retry_after=0.4)

    async def one_after_another() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(say(text="first"))
            await asyncio.sleep(0.2)
            group.create_task(say(text="second"))

    with Provider(throttle) as provider:
        provider.run(say, text="warm")  # litellm's import takes seconds
        throttle.times.clear()
        throttle._left = 1
        with_client(provider, one_after_another)
    refused, *later = throttle.times
    assert len(later) == 2
    assert min(later) - refused >= 0.4


def with_client(provider: Provider, function: Any) -> None:
    async def inside() -> None:
        with using(client=provider.client):
            await function()

    asyncio.run(inside())


def test_another_model_is_not_held_back() -> None:
    throttle = Throttle(0, None)
    with Provider(throttle) as provider:
        provider.run(say)
        limiter_of(provider.client).pause(30)
        started = time.monotonic()
        provider.run(say.with_(model="openai/other"))
        assert time.monotonic() - started < 5


def test_a_burst_of_complaints_lets_half_through_at_once() -> None:
    throttle = Throttle(8, retry_after=0.05)

    async def many() -> None:
        await parallel(*(say(text=f"{n}") for n in range(8)))

    with Provider(throttle) as provider:
        with_client(provider, many)
        limit = limiter_of(provider.client).limit
    assert len(throttle.times) == 16
    assert 4 <= limit < 8


def test_without_retry_after_the_pause_is_shared_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stratum.clients.transport.FIRST_WAIT", 0.3)
    throttle = Throttle(1, retry_after=None)
    with Provider(throttle) as provider:
        provider.run(say)
        assert limiter_of(provider.client).limit == pytest.approx(2, abs=1)
    first, second = throttle.times
    assert second - first >= 0.3


def test_a_server_error_holds_nobody_else_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stratum.clients.transport.FIRST_WAIT", 0.0)
    script = [failure(500, "broken"), GOOD]
    with Provider(lambda body: script.pop(0)) as provider:
        provider.run(say)
        assert limiter_of(provider.client).limit == float("inf")


def test_a_call_that_cannot_wait_so_long_is_not_sent() -> None:
    with Provider(Throttle(0, None)) as provider:
        provider.run(say)
        limiter_of(provider.client).pause(30)
        with pytest.raises(ProviderError) as caught:
            provider.run(say.with_(budget=Budget(ms=2_000)))
        assert len(provider.bodies) == 1
    text = str(caught.value)
    assert "say: openai/test-model was not asked: it takes no requests now" in text
    assert "of its time is left" in text
    assert "name a second model" in text


def test_a_call_that_waits_for_its_turn_ends_with_its_time() -> None:
    async def hurried() -> None:
        async with limiter_of(provider.client).turn():
            limiter_of(provider.client)._limit = 1.0
            with pytest.raises(BudgetExceeded):
                await say.with_(budget=Budget(ms=50))(text="hi")

    with Provider(Throttle(0, None)) as provider:
        provider.run(say)
        with_client(provider, hurried)
        assert limiter_of(provider.client)._busy == 0
        assert provider.run(say) == "good"


def limited(limit: float) -> Limiter:
    limiter = Limiter()
    limiter._limit = limit
    return limiter


async def pass_through(limiter: Limiter, order: list[int], number: int) -> None:
    async with limiter.turn():
        order.append(number)
        await asyncio.sleep(0)


async def test_turns_are_given_in_the_order_of_arrival() -> None:
    limiter, order = limited(1.0), list[int]()
    async with asyncio.TaskGroup() as group:
        for number in range(10):
            group.create_task(pass_through(limiter, order, number))
    assert order == list(range(10))


async def test_a_cancelled_call_gives_its_turn_back() -> None:
    limiter = limited(1.0)
    async with limiter.turn():
        waiting = asyncio.create_task(pass_through(limiter, [], 0))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    async with asyncio.timeout(1), limiter.turn():
        assert limiter._busy == 1


async def test_a_call_that_is_cancelled_as_it_is_admitted_gives_its_turn_back() -> None:
    limiter = limited(1.0)
    async with limiter.turn():
        waiting = asyncio.create_task(pass_through(limiter, [], 0))
        await asyncio.sleep(0)
    waiting.cancel()  # admitted, and not yet woken
    await asyncio.gather(waiting, return_exceptions=True)
    assert limiter._busy == 0


def test_turns_go_across_loops_and_threads() -> None:
    limiter, busy, most = limited(2.0), list[int](), list[int]()

    async def work() -> None:
        async with limiter.turn():
            busy.append(1)
            most.append(len(busy))
            await asyncio.sleep(0.002)
            busy.pop()

    async def many() -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(10):
                group.create_task(work())

    threads = [threading.Thread(target=asyncio.run, args=(many(),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(most) == 40
    assert max(most) == 2
    assert limiter._busy == 0


def test_a_waiter_whose_loop_is_gone_is_passed_over() -> None:
    limiter = limited(1.0)

    async def hold() -> None:
        async with limiter.turn():
            abandoned = asyncio.new_event_loop()
            task = abandoned.create_task(pass_through(limiter, [], 0))
            await asyncio.to_thread(abandoned.run_until_complete, asyncio.sleep(0.01))
            abandoned._run_once = None  # type: ignore[attr-defined]  # nobody runs it again
            abandoned.close()
            kept.append(task)

    kept: list[Any] = []
    asyncio.run(hold())
    asyncio.run(pass_through(limiter, [], 1))
    assert limiter._busy == 0
    kept[0]._log_destroy_pending = False
    kept.clear()
    gc.collect()
    assert limiter._busy == 0


def test_good_answers_raise_the_limit_by_one_a_round() -> None:
    limiter = limited(4.0)
    for _ in range(4):
        limiter.succeeded()
    assert limiter.limit == pytest.approx(4.9, abs=0.1)


def test_complaints_of_one_burst_halve_once() -> None:
    limiter = Limiter()
    limiter._busy = 8
    limiter.pause(10)
    limiter.pause(5)
    assert limiter.limit == 4
    assert 9 < limiter.seconds_left() <= 10


def test_the_limit_never_falls_below_one() -> None:
    limiter = Limiter()
    for _ in range(5):
        limiter.pause(0)
    assert limiter.limit == 1
