"""The ledger: reservations, waiting, time."""

import asyncio
import gc
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from decimal import Decimal
from typing import TypeAlias

import pytest

from stratum.budget import NOTHING, Amount, Budget, Estimate, Ledger, Reservation
from stratum.errors import BudgetExceeded

CENT = Decimal("0.01")
Body: TypeAlias = Callable[[], Awaitable[None]]


def estimate(usd: str = "0.01", *, least: int = 10, most: int = 10) -> Estimate:
    """A call that costs `usd` for `most` output tokens, and nothing else."""
    return Estimate("ask", NOTHING, Amount(Decimal(usd) / most, 1), most, least)


def flow(usd: float | None = None, **limits: float) -> Ledger:
    return Ledger(Budget(usd=usd, **limits), "flow f")  # type: ignore[arg-type]


async def reserve(ledger: Ledger, usd: str = "0.01", place: int = 0, **ends: int) -> Reservation:
    return await ledger.reserve(estimate(usd, **ends), ((place,), 0))


def bounded(ledger: Ledger) -> Callable[[Body], Body]:
    """Bound a body by the time of a ledger."""

    def around(body: Body) -> Body:
        async def run() -> None:
            async with ledger.time.bounded():
                await body()

        return run

    return around


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        pytest.param({"usd": -1}, "Budget(usd=...)", id="negative"),
        pytest.param({"usd": float("nan")}, "Budget(usd=...)", id="not-a-number"),
        pytest.param({"usd": "1"}, "Budget(usd=...)", id="a-text"),
        pytest.param({"tokens": True}, "Budget(tokens=...)", id="a-boolean"),
        pytest.param({"tokens": 1.5}, "whole number", id="half-a-token"),
        pytest.param({"ms": -1}, "Budget(ms=...)", id="negative-time"),
        pytest.param({"on_unpriced": "ignore"}, 'on_unpriced is "error" or "warn"', id="word"),
    ],
)
def test_a_budget_that_makes_no_sense_is_refused(arguments: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError) as raised:  # noqa: PT011
        Budget(**arguments)  # type: ignore[arg-type]
    assert told in str(raised.value)


async def test_a_reservation_counts_in_every_parent() -> None:
    outer = flow(0.05)
    inner = Ledger(Budget(usd=0.02), "flow g", outer)
    (await reserve(inner)).settle(Amount(CENT, 10))
    assert outer.spent == inner.spent == Amount(CENT, 10)


async def test_settling_with_nothing_books_the_whole_reservation() -> None:
    ledger = flow(0.05)
    (await reserve(ledger)).settle()
    assert ledger.spent.usd == CENT


async def test_only_the_first_settlement_counts() -> None:
    ledger = flow(0.05)
    reservation = await reserve(ledger)
    reservation.settle(NOTHING)
    reservation.settle()
    assert ledger.spent == ledger._reserved == NOTHING


async def test_what_fits_in_part_is_capped() -> None:
    assert (await reserve(flow(0.005), least=1)).cap == 5


async def test_what_fits_whole_is_not_capped() -> None:
    assert (await reserve(flow(0.01), least=1)).cap is None


async def test_tokens_cap_as_money_does() -> None:
    assert (await reserve(flow(tokens=7), least=1)).cap == 7


async def test_the_tightest_parent_caps() -> None:
    inner = Ledger(Budget(usd=0.008), "flow g", flow(0.003))
    assert (await reserve(inner, least=1)).cap == 3


@pytest.mark.parametrize(
    ("limits", "limit", "left"),
    [
        pytest.param({"usd": 0.004}, "usd", "$0.0040 of $0.0040 is left (flow f)", id="money"),
        pytest.param({"usd": 0}, "usd", "$0.0000 of $0.0000 is left (flow f)", id="no-money"),
        pytest.param({"tokens": 9}, "tokens", "9 of 9 are left (flow f)", id="tokens"),
    ],
)
async def test_a_refusal_says_who_what_is_left_and_the_remedy(
    limits: dict[str, float], limit: str, left: str
) -> None:
    with pytest.raises(BudgetExceeded) as raised:
        await reserve(flow(**limits))
    assert raised.value.limit == limit
    said = str(raised.value)
    assert said.startswith("ask would ")
    assert left in said
    assert "Raise the budget, lower max_tokens, or pick a cheaper model." in said


async def test_a_reservation_waits_while_another_may_return_something() -> None:
    ledger = flow(0.01)
    first = await reserve(ledger)
    second = asyncio.create_task(reserve(ledger))
    await turns()
    assert not second.done()
    first.settle(NOTHING)
    (await second).settle()
    assert ledger.spent.usd == CENT


async def test_a_reservation_is_refused_once_nothing_is_open() -> None:
    ledger = flow(0.01)
    first = await reserve(ledger)
    second = asyncio.create_task(reserve(ledger))
    await turns()
    first.settle()
    with pytest.raises(BudgetExceeded):
        await second


async def test_waiters_are_served_in_the_order_of_their_places() -> None:
    ledger, served = flow(0.01), []

    async def wait(place: int) -> None:
        reservation = await reserve(ledger, place=place)
        served.append(place)
        reservation.settle(NOTHING)

    first = await reserve(ledger)
    async with asyncio.TaskGroup() as group:
        for place in (3, 1, 2):
            group.create_task(wait(place))
        await turns()
        first.settle(NOTHING)
    assert served == [1, 2, 3]


@pytest.mark.parametrize("outer", [None, flow(1)], ids=["outermost", "nested"])
async def test_a_small_one_does_not_overtake_a_large_one_that_waits(outer: Ledger | None) -> None:
    ledger = Ledger(Budget(usd=0.02), "flow g", outer)
    first = await reserve(ledger)
    large = asyncio.create_task(reserve(ledger, "0.02", place=1))
    await turns()
    small = asyncio.create_task(reserve(ledger, "0.01", place=2))
    await turns()
    assert not small.done()
    first.settle(NOTHING)
    (await large).settle(NOTHING)
    (await small).settle(NOTHING)


async def test_a_waiter_of_one_flow_does_not_hold_back_another_flow() -> None:
    outer = flow(0.05)
    tight, wide = (Ledger(Budget(usd=usd), "flow g", outer) for usd in (0.01, 0.02))
    first = await reserve(tight)
    waiting = asyncio.create_task(reserve(tight, place=1))
    await turns()
    (await reserve(wide, place=2)).settle()
    first.settle()
    with pytest.raises(BudgetExceeded, match="flow g"):
        await waiting


async def test_a_cancelled_waiter_frees_its_place() -> None:
    ledger = flow(0.01)
    first = await reserve(ledger)
    large = asyncio.create_task(reserve(ledger, place=1))
    behind = asyncio.create_task(reserve(ledger, "0.001", place=2))
    await turns()
    first.settle(Amount(Decimal("0.005")))
    large.cancel()
    await turns()
    (await behind).settle(NOTHING)
    assert ledger._reserved == NOTHING
    assert not ledger._tree.waiters


async def test_a_waiter_cancelled_as_it_is_served_returns_its_reservation() -> None:
    ledger = flow(0.01)
    first = await reserve(ledger)
    second = asyncio.create_task(reserve(ledger))
    await turns()
    first.settle(NOTHING)  # serves the second, whose task has not run since
    second.cancel()
    await turns()
    assert second.cancelled()
    assert ledger._reserved == ledger.spent == NOTHING


async def test_a_waiter_that_is_closed_frees_its_place() -> None:
    ledger = flow(0.01)
    first = await reserve(ledger)
    waiting = reserve(ledger, place=1)
    waiting.send(None)
    waiting.close()
    assert not ledger._tree.waiters
    first.settle(NOTHING)


def test_a_waiter_on_another_loop_is_woken() -> None:
    ledger, waits, done = flow(0.01), threading.Event(), []

    async def hold() -> None:
        first = await reserve(ledger)
        thread.start()
        await asyncio.to_thread(waits.wait, 5)
        while not ledger._tree.waiters:  # noqa: ASYNC110 - the other loop has no event to give
            await asyncio.sleep(0.001)
        first.settle(NOTHING)
        await asyncio.to_thread(thread.join, 5)

    async def wait() -> None:
        waits.set()
        (await reserve(ledger)).settle()
        done.append(True)

    thread = threading.Thread(target=lambda: asyncio.run(wait()))
    asyncio.run(hold())
    assert done == [True]
    assert ledger.spent.usd == CENT


def abandoned(ledger: Ledger, count: int) -> Iterator[object]:
    """Make waiters on a loop that is closed under them."""
    loop = asyncio.new_event_loop()
    tasks = [loop.create_task(reserve(ledger, place=place)) for place in range(count)]
    loop.run_until_complete(turns())
    loop.close()
    for task in tasks:
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        yield task


def test_waiters_whose_loop_is_gone_do_not_block_the_others() -> None:
    ledger = flow(0.01)
    first = asyncio.run(reserve(ledger))
    tasks = list(abandoned(ledger, 3))
    first.settle(NOTHING)
    assert asyncio.run(reserve(ledger, place=9)).cap is None
    del tasks
    gc.collect()


async def test_a_body_that_takes_too_long_is_cancelled() -> None:
    with pytest.raises(BudgetExceeded, match="flow f took longer than its 20 ms") as raised:
        async with flow(ms=20).time.bounded():
            await asyncio.sleep(5)
    assert raised.value.limit == "ms"
    assert "Raise ms" in str(raised.value)


async def test_a_body_that_swallows_its_cancellation_is_over_budget_all_the_same() -> None:
    @bounded(flow(ms=20))
    async def stubborn() -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(5)

    with pytest.raises(BudgetExceeded):
        await stubborn()


async def test_a_timeout_of_the_body_itself_stays_what_it_is() -> None:
    with pytest.raises(TimeoutError, match="mine"):
        async with flow(ms=5000).time.bounded():
            raise TimeoutError("mine")


async def test_the_shorter_of_nested_limits_ends_the_body() -> None:
    outer = flow(ms=20)
    inner = Ledger(Budget(ms=5000), "flow g", outer)
    with pytest.raises(BudgetExceeded, match="flow f"):
        async with outer.time.bounded(), inner.time.bounded():
            await asyncio.sleep(5)


async def test_a_waiter_gives_up_when_time_is_up() -> None:
    ledger = flow(0.01, ms=20)
    first = await reserve(ledger)
    with pytest.raises(BudgetExceeded) as raised:
        async with ledger.time.bounded():
            await reserve(ledger)
    assert raised.value.limit == "ms"
    assert not ledger._tree.waiters
    first.settle()


async def test_pauses_do_not_count() -> None:
    outer = flow(ms=80)
    inner = Ledger(Budget(ms=80), "flow g", outer)
    async with outer.time.bounded(), inner.time.bounded():
        with inner.time.paused(), outer.time.paused():
            await asyncio.sleep(0.15)
        await asyncio.sleep(0)


async def test_time_runs_on_after_a_pause() -> None:
    ledger = flow(ms=30)

    @bounded(ledger)
    async def importing() -> None:
        with ledger.time.paused():
            await asyncio.sleep(0.05)
        await asyncio.sleep(5)

    with pytest.raises(BudgetExceeded):
        await importing()


async def test_an_unarmed_limit_fires_only_when_told() -> None:
    ledger = Ledger(Budget(ms=1), "flow f", only_while_asking=True)
    async with ledger.time.bounded():
        await asyncio.sleep(0.02)
        fired = ledger.time.expired
    assert not fired


def nested(*, outer: float, inner: float) -> tuple[Ledger, Ledger]:
    around = Ledger(Budget(ms=outer), "flow outer", only_while_asking=True)
    return around, Ledger(Budget(ms=inner), "flow inner", around, only_while_asking=True)


async def test_of_two_limits_that_are_up_the_outer_one_ends_a_call() -> None:
    outer, inner = nested(outer=20, inner=10)

    @bounded(outer)
    async def late() -> None:
        async with inner.time.bounded():
            await asyncio.sleep(0.05)
            with inner.time.asking():
                await asyncio.sleep(5)

    with pytest.raises(BudgetExceeded, match="flow outer took longer"):
        await late()
    assert (outer.time.expired, inner.time.expired) == (True, False)


async def test_a_limit_whose_body_is_over_ends_no_call_and_leaves_it_to_another() -> None:
    outer, inner = nested(outer=10, inner=10)

    @bounded(inner)
    async def left_over() -> None:
        await asyncio.sleep(0.05)
        with inner.time.asking():
            await asyncio.sleep(5)

    async with outer.time.bounded():
        task = asyncio.create_task(left_over())
        await asyncio.sleep(0.03)
    with pytest.raises(BudgetExceeded, match="flow inner took longer"):
        await task


async def test_a_call_that_a_limit_has_ended_counts_for_no_other_limit() -> None:
    outer, inner = nested(outer=50, inner=10)
    went_on: list[bool] = []

    @bounded(inner)
    async def ends_late() -> None:
        with inner.time.asking():
            try:
                await asyncio.sleep(5)
            finally:
                await asyncio.sleep(0.1)  # the outer time is up meanwhile

    @bounded(outer)
    async def goes_on() -> None:
        with pytest.raises(BudgetExceeded, match="flow inner took longer"):
            await ends_late()
        await turns()
        went_on.append(not outer.time.expired)
        with outer.time.asking():  # a further call
            await asyncio.sleep(5)

    with pytest.raises(BudgetExceeded, match="flow outer took longer"):
        await goes_on()
    assert went_on == [True]


async def test_a_limit_may_be_told_more_than_once() -> None:
    ledger, problems = Ledger(Budget(ms=1), "flow f", only_while_asking=True), []
    asyncio.get_running_loop().set_exception_handler(lambda _, told: problems.append(told))

    @bounded(ledger)
    async def told() -> None:
        ledger.time.expire()
        try:
            await asyncio.sleep(5)
        finally:
            ledger.time.expire()
            await asyncio.sleep(0)

    with pytest.raises(BudgetExceeded):
        await told()
    ledger.time.expire()
    await turns()
    assert problems == []


def test_a_body_on_another_loop_ends_with_the_flow() -> None:
    ledger, ends = flow(ms=30), []

    async def elsewhere() -> None:
        try:
            async with ledger.time.joined():
                await asyncio.sleep(5)
        except BudgetExceeded as error:
            ends.append(error.limit)

    async def body() -> None:
        async with ledger.time.bounded():
            await asyncio.to_thread(asyncio.run, elsewhere())

    with pytest.raises(BudgetExceeded):
        asyncio.run(body())
    assert ends == ["ms"]
