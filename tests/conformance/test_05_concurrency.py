"""SPEC section 5: concurrency."""

import asyncio
import random
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from stratum import (
    Budget,
    BudgetExceeded,
    RecordingMissing,
    Request,
    ScriptedClient,
    compute,
    flow,
    infer,
    parallel,
    race,
    using,
)
from stratum.clients.scripted import Scripted
from stratum.settings import Settings
from tests.conformance.live import Live
from tests.replaying import Recorded
from tests.scripted import MODEL, answering, records
from tests.wrapped import recording, replaying, texts


@infer(intent="Say a number")
def say(text: str) -> int: ...


@infer(intent="Say a small number", ensure=lambda n: n < 5, retries=1)
def small(text: str) -> int: ...


def quick(request: Request) -> Any:
    """Answer at once to what begins with `quick`, and to everything else hardly ever."""
    return Scripted(1, 0.0 if ": quick" in request.prompt.text else 30.0)


async def fail() -> int:
    raise ValueError("no")


async def failing_after(step: Awaitable[int]) -> int:
    await step
    raise ValueError("no")


ENDS: dict[str, Callable[[Any, Any], Awaitable[Any]]] = {
    "race": lambda quick, slow: race(slow, quick),
    "any": lambda quick, slow: parallel(slow, quick, require="any"),
    "number": lambda quick, slow: parallel(slow, quick, require=1),
    "validate": lambda quick, slow: parallel(
        slow, quick, require="any", validate=lambda values: len(values) == 1
    ),
    "error": lambda quick, slow: parallel(slow, failing_after(quick)),
    "validate-that-raises": lambda quick, slow: parallel(
        slow, quick, require="any", validate=lambda values: 1 / 0
    ),
    "timeout": lambda quick, slow: asyncio.wait_for(parallel(slow, quick), 0.03),
}


def others() -> set[Any]:
    return asyncio.all_tasks() - {asyncio.current_task()}


@pytest.mark.parametrize("fan_out", ENDS.values(), ids=ENDS)
async def test_5_2_what_has_not_ended_is_cancelled_and_has_ended(fan_out: Any) -> None:
    cleaned_up: list[str] = []

    @flow
    async def slow() -> int:
        try:
            return await say(text="slow")
        finally:
            await asyncio.sleep(0.01)
            cleaned_up.append("slow")

    with answering(quick), suppress(ValueError, ZeroDivisionError, TimeoutError):
        await fan_out(say(text="quick"), slow())
    assert cleaned_up == ["slow"]
    assert others() == set()
    slow_one = next(r for r in records() if r.inputs.get("text") == "slow")
    assert slow_one.outcome == "cancelled"


@pytest.mark.parametrize("fan_out", ENDS.values(), ids=ENDS)
async def test_5_2_its_reservations_are_settled(fan_out: Any) -> None:
    @flow(budget=Budget(tokens=9_000))
    async def around() -> None:
        with suppress(ValueError, ZeroDivisionError, TimeoutError):
            await fan_out(say(text="quick"), say(text="slow"))
        await say(text="quick again")

    client = ScriptedClient(quick, tokens=(10, 5))
    with using(client=client, model=MODEL):
        await asyncio.wait_for(around(), 10)
    used_by_quick = sum(15 for r in client.requests[:-1] if ": quick" in r.prompt.text)
    assert client.requests[-1].cap in (9_000 - 4_106 - used_by_quick - 10, None)
    assert client.requests[-1].cap != 9_000 - 10


@pytest.mark.parametrize("fan_out", ENDS.values(), ids=ENDS)
async def test_5_2_a_cancelled_branch_makes_no_further_call(fan_out: Any) -> None:
    @flow
    async def stubborn() -> int:
        with suppress(asyncio.CancelledError):
            await say(text="slow")
        return await say(text="quick further")

    with answering(quick) as client, suppress(ValueError, ZeroDivisionError, TimeoutError):
        await fan_out(say(text="quick"), stubborn())
    assert not [r for r in client.requests if "further" in r.prompt.text]


def retried() -> Any:
    return small(text="same")


@flow
async def two_steps(name: str) -> int:
    return await say(text=name) + await small(text=name)


def near(limit: int) -> Callable[[list[int]], bool]:
    return lambda values: sum(values) >= limit


@flow(budget=Budget(usd=0.06))
async def contended() -> Any:
    return await parallel(*(two_steps(str(n)) for n in range(4)), require=0)


@flow(budget=Budget(tokens=6_000))
async def contended_race() -> Any:
    return await race(two_steps("a"), two_steps("b"), two_steps("c"))


SCENARIOS: dict[str, Callable[[], Awaitable[Any]]] = {
    "race": lambda: race(two_steps("a"), retried(), two_steps("b"), retried()),
    "any": lambda: parallel(retried(), two_steps("a"), retried(), require="any"),
    "number": lambda: parallel(*(two_steps(str(n)) for n in range(5)), require=2),
    "validate": lambda: parallel(
        *(say(text="same") for _ in range(5)), require="any", validate=near(12)
    ),
    "limit": lambda: parallel(*(two_steps("same") for _ in range(5)), limit=2),
    "all": lambda: parallel(*(retried() for _ in range(4))),
    "nested": lambda: parallel(race(say(text="a"), say(text="b")), race(retried(), retried())),
    "budget": contended,
    "budget-and-race": contended_race,
}


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)
def test_5_5_a_replay_ends_as_its_recording(
    tmp_path: Path, scenario: Callable[[], Awaitable[Any]]
) -> None:
    def number(request: Request, chance: random.Random) -> Any:
        return {"value": chance.randrange(8)}

    for seed in range(2):
        recorded = Recorded(tmp_path / str(seed), scenario, number, seed=seed)
        for again in range(3):
            assert recorded.replay(again) == recorded.first


def raced(live: Live) -> int:
    with using(client=live, model=MODEL):
        value: int = race(say(text="slow"), say(text="quick")).run()
    return value


def test_5_5_the_recording_holds_the_order_of_replies(tmp_path: Path) -> None:
    settings = Settings(root=tmp_path)
    with recording(settings), using(client=Live(lambda request: {"value": 1}), model=MODEL):
        parallel(say(text="a"), say(text="b"), require="any", limit=2).run()
    assert '"finished": 0' in texts(settings)


class SlowToSlow(Live):
    async def complete(self, request: Request) -> Any:
        await asyncio.sleep(5 if "slow" in request.prompt.text else 0)
        return await super().complete(request)


def test_5_5_a_call_that_was_recorded_as_cancelled_never_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(root=tmp_path)
    live = SlowToSlow(lambda request: {"value": 3})
    with recording(settings):
        assert raced(live) == 3
    assert '"outcome": "cancelled"' in texts(settings)
    with replaying(settings):
        assert raced(live) == 3
    monkeypatch.setattr("stratum.recording.client.NEVER", 0.05)  # seconds
    with replaying(settings) as root, using(client=live, model=MODEL):
        slow, _ = parallel(say(text="slow"), say(text="quick"), require=0).run()
        root.misses.clear()
    assert isinstance(slow.error, RecordingMissing)
    assert "recorded as cancelled" in str(slow.error)
    assert len(live.asked) == 1


@pytest.mark.parametrize(
    ("made", "kind", "kept"),
    [
        pytest.param(lambda: parallel(one(0), one(1)), "parallel", "all", id="all"),
        pytest.param(lambda: parallel(fail(), one(1), require="any"), "parallel", [1], id="any"),
        pytest.param(lambda: parallel(one(0), fail(), require=0), "parallel", [0, 1], id="zero"),
        pytest.param(lambda: race(fail(), one(1)), "race", [1], id="race"),
    ],
)
async def test_5_6_a_fan_out_leaves_a_record_with_what_it_kept(
    made: Any, kind: str, kept: Any
) -> None:
    await made()
    around = records()[-1]
    assert (around.kind, around.outcome, around.output) == (kind, "ok", {"kept": kept})
    steps = [r for r in records() if r.kind == "compute"]
    assert {step.parent for step in steps} == {around.id}


@compute
async def one(n: int) -> int:
    return n


@pytest.mark.parametrize("made", [parallel, race])
async def test_5_6_a_fan_out_that_fails_leaves_a_record(made: Any) -> None:
    with pytest.raises(ValueError, match="no"):
        await made(fail(), fail())
    assert (records()[-1].kind, records()[-1].outcome) == (made.__name__, "error")


@pytest.mark.parametrize(
    "made",
    [
        pytest.param(lambda steps: race(*steps, limit=1), id="race"),
        pytest.param(lambda steps: parallel(*steps, limit=1, require="any"), id="any"),
        pytest.param(lambda steps: parallel(fail(), *steps, limit=1), id="all"),
    ],
)
async def test_5_6_a_step_that_never_began_leaves_a_record(made: Any) -> None:
    with answering(lambda request: 1), suppress(ValueError):
        await made([say(text="a"), say(text="b")])
    outcomes = {r.inputs["text"]: r.outcome for r in records() if r.kind == "infer"}
    assert outcomes["b"] == "cancelled"
    assert records()[-1].kind in ("race", "parallel")


async def test_5_3_an_error_is_raised_as_itself_and_several_as_a_group() -> None:
    async def fail_otherwise() -> int:
        raise KeyError("k")

    with pytest.raises(ValueError, match="no"):
        await race(fail(), fail())
    with pytest.raises(ExceptionGroup, match="2 of 2 steps failed"):
        await race(fail(), fail_otherwise())


def test_5_2_a_budget_that_turns_a_branch_away_ends_the_others() -> None:
    @flow(budget=Budget(tokens=20))
    async def around() -> Any:
        return await parallel(say(text="a"), say(text="b"))

    client = ScriptedClient([], tokens=(15, 10))
    with using(client=client, model=MODEL), pytest.raises(BudgetExceeded):
        around.run()
    assert client.requests == []


async def test_5_2_a_branch_whose_time_is_up_makes_no_further_call() -> None:
    @flow
    async def stubborn() -> int:
        with suppress(asyncio.CancelledError):
            await say(text="slow")
        return await say(text="quick further")

    @flow(budget=Budget(ms=30))
    async def hurried() -> Any:
        return await parallel(stubborn(), stubborn())

    with answering(quick) as client, pytest.raises(BudgetExceeded):
        await hurried()
    assert not [r for r in client.requests if "further" in r.prompt.text]


async def test_5_2_a_synchronous_flow_in_a_stopped_branch_is_cancelled_at_its_next_step() -> None:
    ended = threading.Event()

    @flow
    def stubborn() -> None:
        say(text="slow")
        ended.wait(10)
        with suppress(Exception):
            say(text="quick further")

    def answer(request: Request) -> Scripted:
        return Scripted(1, 0.02 if "slow" in request.prompt.text else 0.0)

    with answering(answer) as client:
        assert await race(asyncio.to_thread(stubborn), say(text="quick")) == 1
        ended.set()
        await asyncio.get_running_loop().shutdown_default_executor()
    assert "text: quick further" not in [request.prompt.text for request in client.requests]
    own = next(r for r in records() if r.function.endswith("stubborn"))
    assert own.outcome == "cancelled"
