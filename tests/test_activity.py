"""Whether anything goes on below a fan-out."""

import asyncio
import threading

import pytest

from stratum.activity import IDLE, Activity
from stratum.blocking import background_loop


def test_a_fan_out_whose_loop_is_closed_is_told_nothing(caplog: pytest.LogCaptureFixture) -> None:
    looks, closed = threading.Event(), threading.Event()
    told: list[bool] = []

    def wait_there() -> None:
        looks.set()
        closed.wait(10)

    async def begin() -> None:
        activity = Activity(lambda: 0, follows_threads=False)
        background_loop().call_soon_threadsafe(activity.thread_waits, 0)
        background_loop().call_soon_threadsafe(wait_there)
        assert looks.wait(10)
        activity.when_over(lambda: told.append(True))
        for _ in range(3 * IDLE):  # until it looks at the other loop
            await asyncio.sleep(0)

    asyncio.run(begin())
    closed.set()
    asyncio.run_coroutine_threadsafe(asyncio.sleep(0.1), background_loop()).result(10)
    assert (told, caplog.records) == ([], [])


def test_a_fan_out_is_told_when_nothing_goes_on() -> None:
    async def begin() -> None:
        over = asyncio.Event()
        activity = Activity(lambda: 0, follows_threads=False)
        background_loop().call_soon_threadsafe(activity.thread_waits, 0)
        activity.when_over(over.set)
        await asyncio.wait_for(over.wait(), 10)

    asyncio.run(begin())
