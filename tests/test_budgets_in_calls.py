"""Budgets around calls and flows, with a scripted client."""

import asyncio
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from stratum import (
    Budget,
    BudgetExceeded,
    DeclarationError,
    ProviderError,
    Quote,
    Reply,
    Request,
    ScriptedClient,
    UnpricedModel,
    UnpricedWarning,
    Usage,
    carry,
    flow,
    infer,
    parallel,
    traces,
    using,
)
from stratum.budget import Amount, Ledger
from stratum.clients.scripted import Scripted
from stratum.scope import current

DEAR = (0.0, 100.0)  # 100 output tokens cost a cent


@infer(intent="Say it", max_tokens=100, model="test/model")
def say(n: int) -> str: ...


@infer(intent="Say it at length", model="test/model", params={"max_tokens": 100}, retries=3)
def insist(n: int) -> bool: ...


def dear(script: Any = lambda _: "ok", **answer: Any) -> ScriptedClient:
    """Answers that cost a cent each at worst, and `answer` says what really."""
    if answer:
        return ScriptedClient(lambda _: Scripted("ok", **answer), price=DEAR, tokens=(0, 100))
    return ScriptedClient(script, price=DEAR, tokens=(0, 100))


@pytest.fixture
def ledgers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Ledger]]:
    """Every ledger of the test; at the end all of them are settled."""
    made: list[Ledger] = []
    original = Ledger.__init__

    def noted(self: Ledger, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        made.append(self)

    monkeypatch.setattr(Ledger, "__init__", noted)
    yield made
    assert all(each._reserved == Amount() and not each._tree.waiters for each in made)


async def fan(count: int) -> tuple[str, ...]:
    return await parallel(*(say(n=n) for n in range(count)))


def test_a_call_whose_smallest_answer_does_not_fit_is_not_sent() -> None:
    with using(client=(client := dear())), pytest.raises(BudgetExceeded) as raised:
        say.with_(budget=Budget(usd=0.0001)).run(n=1)
    assert client.requests == []
    assert raised.value.limit == "usd"
    assert str(raised.value) == (
        "say would cost at least $0.0016 in the worst case; $0.0001 of $0.0001 is left (say).\n"
        "  Raise the budget, lower max_tokens, or pick a cheaper model."
    )


def test_a_call_between_is_sent_with_fewer_tokens() -> None:
    with using(client=(client := dear(tokens=(0, 50)))):
        say.with_(budget=Budget(usd=0.005)).run(n=1)
    (request,) = client.requests
    assert request.cap == 50
    assert request.params == {"max_tokens": 100}


def test_a_call_that_fits_is_sent_as_declared() -> None:
    with using(client=(client := dear())):
        say.with_(budget=Budget(usd=0.01)).run(n=1)
    assert client.requests[0].cap is None


def test_input_tokens_count_too() -> None:
    client = ScriptedClient(["ok"], tokens=(60, 0))
    with using(client=client):
        say.with_(budget=Budget(tokens=100)).run(n=1)
    assert client.requests[0].cap == 40


def test_a_budget_covers_all_attempts_of_a_call() -> None:
    client = dear(lambda _: "neither")
    with using(client=client), pytest.raises(BudgetExceeded):
        insist.with_(budget=Budget(usd=0.02)).run(n=1)
    assert len(client.requests) == 2


async def test_of_fifty_calls_that_each_take_all_one_is_sent(ledgers: list[Ledger]) -> None:
    client = dear(delay=0.01)
    with using(client=client), pytest.raises(BudgetExceeded):
        await flow(budget=Budget(usd=0.01))(fan)(50)
    assert [request.place for request in client.requests] == [((0,), 0)]


async def test_ten_calls_that_cost_less_than_their_worst_case_all_succeed(
    ledgers: list[Ledger],
) -> None:
    client = dear(delay=0.005, cost=0.004)
    with using(client=client):
        answers = await flow(budget=Budget(usd=0.05))(fan)(10)
    assert answers == ("ok",) * 10
    assert float(ledgers[0].spent.usd) == pytest.approx(0.04)
    assert all(request.cap is None for request in client.requests)


@pytest.mark.filterwarnings("ignore::stratum.BudgetTooSmall")
async def test_a_nested_flow_cannot_escape(ledgers: list[Ledger]) -> None:
    generous = flow(budget=Budget(usd=100))(fan)

    @flow(budget=Budget(usd=0.02))
    async def outer() -> None:
        await generous(2)
        await generous(1)

    with using(client=(client := dear())), pytest.raises(BudgetExceeded, match=r"flow .*outer"):
        await outer()
    assert len(client.requests) == 2


@pytest.mark.filterwarnings("ignore::stratum.BudgetTooSmall")
def test_a_budget_of_a_call_cannot_escape() -> None:
    generous = say.with_(budget=Budget(usd=100))

    @flow(budget=Budget(usd=0.01))
    async def outer() -> None:
        await generous(n=1)
        await generous(n=2)

    with using(client=(client := dear())), pytest.raises(BudgetExceeded):
        outer.run()
    assert len(client.requests) == 1


def test_a_tighter_budget_inside_holds_too() -> None:
    @flow(budget=Budget(usd=1))
    async def outer() -> None:
        await say.with_(budget=Budget(usd=0.0001))(n=1)

    with using(client=(client := dear())), pytest.raises(BudgetExceeded, match=r"left \(say\)"):
        outer.run()
    assert client.requests == []


@pytest.mark.parametrize(
    ("error", "spent"),
    [
        pytest.param(ProviderError("down"), 0.0, id="unbilled"),
        pytest.param(ProviderError("late", billed=True), 0.01, id="billed"),
    ],
)
def test_a_failed_call_costs_nothing_unless_billed(
    error: ProviderError, spent: float, ledgers: list[Ledger]
) -> None:
    with using(client=dear([error])), pytest.raises(ProviderError):
        say.with_(budget=Budget(usd=1)).run(n=1)
    assert float(ledgers[0].spent.usd) == spent


async def test_a_cancelled_call_costs_its_worst_case(ledgers: list[Ledger]) -> None:
    with using(client=dear(delay=5)):
        task = asyncio.ensure_future(say.with_(budget=Budget(usd=1))(n=1))
        await asyncio.sleep(0.02)
        task.cancel()
        await asyncio.wait([task])
    assert float(ledgers[0].spent.usd) == 0.01


def test_a_call_that_takes_too_long_costs_its_worst_case(ledgers: list[Ledger]) -> None:
    with using(client=dear(delay=5)), pytest.raises(BudgetExceeded) as raised:
        say.with_(budget=Budget(usd=1, ms=20)).run(n=1)
    assert raised.value.limit == "ms"
    assert float(ledgers[0].spent.usd) == 0.01
    assert traces()[-1].outcome == "over_budget"


def test_a_reply_that_does_not_say_what_it_used_costs_its_worst_case(
    ledgers: list[Ledger],
) -> None:
    with using(client=dear([Reply("ok")])):
        say.with_(budget=Budget(usd=1)).run(n=1)
    assert float(ledgers[0].spent.usd) == 0.01


def test_a_provider_that_gives_up_is_not_over_budget() -> None:
    client = ScriptedClient([ProviderError("the provider's own timeout")])
    with using(client=client), pytest.raises(ProviderError, match="own timeout"):
        say.with_(budget=Budget(ms=5000, usd=1)).run(n=1)
    assert traces()[-1].outcome == "error"


def test_the_time_of_a_flow_bounds_its_body() -> None:
    @flow(budget=Budget(ms=20))
    async def slow() -> None:
        await asyncio.sleep(5)

    with pytest.raises(BudgetExceeded, match="took longer than its 20 ms"):
        slow.run()
    assert traces()[-1].outcome == "over_budget"


@pytest.mark.filterwarnings("ignore::stratum.BudgetTooSmall")
@pytest.mark.parametrize(("outer", "inner"), [(20, 5000), (5000, 20)], ids=["outer", "inner"])
def test_a_nested_time_limit_only_shortens(outer: int, inner: int) -> None:
    @flow(budget=Budget(ms=inner))
    async def within() -> None:
        await say(n=1)

    @flow(budget=Budget(ms=outer))
    async def around() -> None:
        await within()

    with using(client=dear(delay=5)), pytest.raises(BudgetExceeded, match="its 20 ms"):
        around.run()
    assert [record.outcome for record in traces()[-3:]] == ["over_budget"] * 3


async def test_a_thread_draws_on_the_flow_and_ends_with_it(ledgers: list[Ledger]) -> None:
    @flow(budget=Budget(usd=0.03, ms=200))
    async def outer() -> None:
        with using(client=dear(cost=0.004)):
            await asyncio.to_thread(say.run, n=1)
        with using(client=dear(delay=3)):
            await asyncio.to_thread(carry(say.run), n=2)

    with pytest.raises(BudgetExceeded, match="its 200 ms"):
        await outer()
    for _ in range(200):  # until the thread's own call has ended, in its own loop
        if ledgers[0]._open:
            await asyncio.sleep(0.005)
    assert float(ledgers[0].spent.usd) == pytest.approx(0.014)


class Unpriced(ScriptedClient):
    """A client of a model whose price nobody knows."""

    async def quote(self, request: Request) -> Quote:
        return Quote(10)


def test_a_model_without_a_price_cannot_have_a_usd_budget() -> None:
    with using(client=(client := Unpriced(["ok"]))), pytest.raises(UnpricedModel) as raised:
        say.with_(budget=Budget(usd=1)).run(n=1)
    assert client.requests == []
    said = str(raised.value)
    assert "test/model" in said
    assert "[tool.stratum.prices]" in said
    assert "on_unpriced" in said


def test_an_unknown_price_is_a_warning_when_asked_for() -> None:
    with using(client=Unpriced(["ok"])), pytest.warns(UnpricedWarning, match="test/model"):
        assert say.with_(budget=Budget(usd=1, on_unpriced="warn")).run(n=1) == "ok"


def test_one_tolerant_budget_does_not_speak_for_another() -> None:
    strict = flow(budget=Budget(usd=1))(fan)

    @flow(budget=Budget(usd=1, on_unpriced="warn"))
    async def tolerant() -> None:
        await strict(1)

    with using(client=Unpriced(["ok"])), pytest.raises(UnpricedModel):
        tolerant.run()


def test_an_unknown_price_does_not_matter_to_tokens() -> None:
    with using(client=Unpriced(["ok"])), warnings.catch_warnings():
        warnings.simplefilter("error")
        assert say.with_(budget=Budget(tokens=500)).run(n=1) == "ok"


class Counted(ScriptedClient):
    """Counts how often it is asked for a quote."""

    quotes = 0

    async def quote(self, request: Request) -> Quote:
        self.quotes += 1
        return await super().quote(request)


@pytest.mark.parametrize(
    ("budget", "quotes"),
    [
        pytest.param(Budget(), 0, id="no-limit"),
        pytest.param(Budget(ms=5000), 0, id="time"),
        pytest.param(Budget(usd=1), 1, id="money"),
        pytest.param(Budget(tokens=1000), 1, id="tokens"),
    ],
)
def test_a_quote_is_asked_only_under_a_limit_that_needs_it(budget: Budget, quotes: int) -> None:
    with using(client=(client := Counted(["ok"]))):
        say.with_(budget=budget).run(n=1)
    assert client.quotes == quotes


def test_a_remembered_answer_takes_nothing_of_a_budget() -> None:
    remembered = say.with_(cache="session")

    @flow(budget=Budget(tokens=100))
    async def twice() -> list[str]:
        return [await remembered(n=99), await remembered(n=99)]

    with using(client=(client := ScriptedClient(["ok"], tokens=(0, 100)))):
        assert twice.run() == ["ok", "ok"]
    assert len(client.requests) == 1


def test_what_a_client_does_while_paused_is_not_counted() -> None:
    async def imports(_: Request) -> str:
        ledger = current().ledger
        assert ledger is not None
        with ledger.time.paused():
            await asyncio.sleep(0.15)
        return "ok"

    with using(client=ScriptedClient(imports)):
        assert say.with_(budget=Budget(ms=80)).run(n=1) == "ok"


@pytest.mark.parametrize(
    "misuse",
    [
        pytest.param(lambda: infer(intent="x", budget=0.01)(_plain), id="infer"),
        pytest.param(lambda: flow(budget=0.01)(_slow), id="flow"),
        pytest.param(lambda: say.with_(budget=0.01), id="with-of-a-call"),
        pytest.param(lambda: flow(_slow).with_(budget=0.01), id="with-of-a-flow"),
    ],
)
def test_a_budget_that_is_none_is_refused_at_once(misuse: Callable[[], Any]) -> None:
    with pytest.raises(DeclarationError, match=r"Budget\(ms=\.\.\., usd=\.\.\.\)"):
        misuse()


def _plain(n: int) -> str: ...


async def _slow() -> None: ...


def test_usage_counts_in_tokens() -> None:
    client = ScriptedClient(lambda _: Reply("ok", Usage(20, 30), cost=0.0))
    with using(client=client), pytest.raises(BudgetExceeded) as raised:
        flow(budget=Budget(tokens=110))(_three).run()
    assert len(client.requests) == 2
    assert raised.value.limit == "tokens"
    assert "10 of 110 are left" in str(raised.value)


async def _three() -> None:
    for n in range(3):
        await say(n=n)
