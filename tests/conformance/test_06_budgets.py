"""SPEC section 6: budgets."""

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from stratum import (
    Budget,
    BudgetExceeded,
    ProviderError,
    ScriptedClient,
    UnpricedModel,
    flow,
    infer,
    parallel,
    using,
)
from stratum.clients.scripted import Scripted
from stratum.settings import Settings
from tests.conformance.live import Live
from tests.scripted import MODEL
from tests.wrapped import recording, replaying

WORST = 10 + 100  # tokens of each call


@infer(intent="Say it", max_tokens=100)
def say(text: str) -> str: ...


@infer(intent="List them", max_tokens=100)
def items(text: str) -> list[str]: ...


@flow
async def around(*texts: str, together: bool = False) -> Any:
    if together:
        return await parallel(*(say(text=text) for text in texts))
    return [await say(text=text) for text in texts]


def spending(tokens: int, script: Any, *texts: str, together: bool = False) -> ScriptedClient:
    """Run calls below a budget of tokens; each uses 10 and 5 of its worst case of 110."""
    client = ScriptedClient(script, tokens=(10, 5))
    with using(client=client, model=MODEL):
        around.with_(budget=Budget(tokens=tokens)).run(*texts, together=together)
    return client


def test_6_1_the_smaller_limit_of_a_ledger_and_its_parents_holds() -> None:
    @flow(budget=Budget(tokens=WORST - 1))
    async def outer() -> Any:
        return await around.with_(budget=Budget(tokens=10_000))("a")

    client = ScriptedClient(["A"], tokens=(10, 5))
    with using(client=client, model=MODEL):
        outer.run()
    assert client.requests[0].cap == 99


def test_6_2_the_worst_case_is_reserved_before_a_call_is_sent() -> None:
    seen: list[int] = []
    most = 0

    async def answer(request: Any) -> str:
        nonlocal most
        seen.append(1)
        most = max(most, len(seen))
        await asyncio.sleep(0.002)
        seen.pop()
        return "A"

    spending(2 * WORST + 60, answer, *"abcdef", together=True)
    assert most == 2


def test_6_2_a_reservation_that_does_not_fit_waits_in_the_order_of_place() -> None:
    client = spending(2 * WORST, lambda request: Scripted("A", 0.001), *"abcdef", together=True)
    assert [request.prompt.text[-1] for request in client.requests] == list("abcdef")
    assert all(request.cap is None for request in client.requests)


def test_6_2_with_nothing_open_max_tokens_is_lowered() -> None:
    client = spending(10 + 40, ["A"], "a")
    assert client.requests[0].cap == 40


def test_6_2_never_below_what_the_smallest_answer_needs() -> None:
    spending(10 + 16, ["A"], "a")
    with pytest.raises(BudgetExceeded, match="at least 26 tokens"):
        spending(10 + 15, [], "a")


def test_6_2_what_does_not_fit_is_not_sent() -> None:
    client = ScriptedClient([], tokens=(10, 5), price=(1_000, 1_000))
    with using(client=client, model=MODEL), pytest.raises(BudgetExceeded) as exceeded:
        around.with_(budget=Budget(usd=0.02)).run("a")
    assert (client.requests, exceeded.value.limit) == ([], "usd")


@pytest.mark.parametrize(
    ("first", "used"),
    [
        pytest.param("A", 15, id="answered"),
        pytest.param(ProviderError("down"), 0, id="failed"),
        pytest.param(ProviderError("down", billed=True), WORST, id="perhaps-charged"),
        pytest.param(Scripted("A", 30.0), WORST, id="cancelled"),
    ],
)
def test_6_2_a_call_settles_at_what_it_may_have_cost(first: Any, used: int) -> None:
    @flow(budget=Budget(tokens=WORST + 60))
    async def body() -> None:
        with suppress(ProviderError, TimeoutError):
            await asyncio.wait_for(say(text="a"), 0.03)
        await say(text="b")

    client = ScriptedClient([first, "B"], tokens=(10, 5))
    with using(client=client, model=MODEL):
        body.run()
    left = WORST + 60 - used
    assert client.requests[1].cap == (None if left >= WORST else left - 10)


def test_6_2_a_call_whose_time_is_up_settles_at_the_reservation() -> None:
    @flow(budget=Budget(tokens=WORST + 60))
    async def body() -> None:
        with pytest.raises(BudgetExceeded):
            await say.with_(budget=Budget(ms=20))(text="a")
        await say(text="b")

    client = ScriptedClient([Scripted("A", 30.0), "B"], tokens=(10, 5))
    with using(client=client, model=MODEL):
        body.run()
    assert client.requests[1].cap == 50


def test_6_2_all_attempts_draw_on_the_budget() -> None:
    client = ScriptedClient([7, 7, 7], tokens=(10, 50))
    limited = items.with_(budget=Budget(tokens=WORST + 20))
    with using(client=client, model=MODEL), pytest.raises(BudgetExceeded):
        limited.run(text="a")
    assert len(client.requests) == 2


@pytest.mark.parametrize("mode", [recording, replaying])
def test_6_3_time_that_is_up_between_two_calls_ends_the_second_one_in_every_mode(
    mode: Any, tmp_path: Path
) -> None:
    @flow(budget=Budget(ms=30))
    async def slow_between() -> str:
        first = await say(text="a")
        await asyncio.sleep(0.06)
        return first + await say(text="b")

    settings, live = Settings(root=tmp_path), Live(lambda request: {"value": "said"})
    for each in (recording, mode):
        with each(settings), using(client=live, model=MODEL), pytest.raises(BudgetExceeded):
            slow_between.run()
    assert [request.prompt.text for request in live.asked] == ["text: a"]


def test_6_4_a_usd_limit_needs_a_price() -> None:
    class Unpriced(ScriptedClient):
        async def quote(self, request: Any) -> Any:
            from stratum import Quote

            return Quote(10, None, None)

    with using(client=Unpriced([]), model=MODEL), pytest.raises(UnpricedModel):
        around.with_(budget=Budget(usd=1)).run("a")
