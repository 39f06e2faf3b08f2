"""What a replay gives is what was recorded: values, errors, records, whatever the scheduling."""

import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from stratum import Budget, Request, flow, infer, parallel, race, refine
from tests.replaying import Recorded

RECORDINGS = 5  # of each scenario, each replayed `REPLAYS` times
REPLAYS = 20


def parity(number: int) -> int:
    return number % 2


@infer(intent="Say a number")
def say(text: str) -> int: ...


@infer(intent="Say a large number", ensure=lambda n: n > 30, retries=1)
def say_large(text: str) -> int: ...


@infer(intent="Say a digit", quorum=5, threshold=2, agree_on=lambda n: n % 3, retries=0)
def agree(text: str) -> int: ...


@infer(intent="Say a large number", quorum=4, agree_on=parity, ensure=lambda n: n > 30, retries=1)
def agree_on_large(text: str) -> int: ...


@infer(intent="Say a number", stable=False, samples=3, ensure=lambda n: n > 30, retries=1)
def vary(text: str) -> int: ...


@refine(until=lambda n: n > 70, feedback=lambda n: f"{70 - n} are missing")
@infer(intent="Say a number", ensure=lambda n: n > 20, retries=1)
def grow(text: str) -> int: ...


@refine(until=lambda n: n > 60, max_iterations=4)
@infer(intent="Say a number", quorum=3, agree_on=parity, budget=Budget(usd=0.05))
def grow_together(text: str) -> int: ...


@flow
async def twice(text: str) -> int:
    return await say(text=text) + await say(text=f"{text} again")


@flow
async def wide(text: str) -> int:
    return sum(await parallel(say(text=text), twice(text), say(text=text)))


@flow(budget=Budget(usd=0.0050))
async def poor(text: str) -> Any:
    return await parallel(*(say(text=text) for _ in range(6)), require=3)


async def all_of_them() -> Any:
    return await parallel(say(text="a"), twice("a"), say(text="a"), wide("b"))


async def the_first_of_many() -> Any:
    return await race(say(text="a"), twice("a"), wide("c"), say_large(text="d"))


async def races_in_a_race() -> Any:
    return await race(race(twice("a"), say_large(text="b")), race(say(text="a"), wide("a")))


async def two_of_five() -> Any:
    steps = (say_large(text="a"), say(text="b"), twice("c"), say_large(text="d"), wide("e"))
    return await parallel(*steps, require=2)


async def enough_of_five() -> Any:
    steps = (say(text="a") for _ in range(5))
    return await parallel(*steps, require="any", validate=lambda ns: sum(ns) > 100)


async def all_that_are_large() -> Any:
    return await parallel(*(say_large(text=str(n)) for n in range(4)))


async def each_with_its_end() -> Any:
    ends = await parallel(*(say_large(text=str(n)) for n in range(4)), require=0)
    return [str(end.value if end.ok else end.error) for end in ends]


async def a_few_at_a_time() -> Any:
    return await parallel(*(wide(str(n)) for n in range(4)), limit=2)


async def large_ones_a_few_at_a_time() -> Any:
    return await parallel(*(say_large(text=str(n)) for n in range(6)), require=3, limit=2)


async def within_a_budget() -> Any:
    return await parallel(poor("a"), poor("a"), require="any")


@flow(budget=Budget(tokens=9000))
async def short_of_tokens() -> Any:
    """Room for two answers at once, and not for all of them."""
    steps = (wide("a"), twice("b"), say_large(text="c"), say(text="c"))
    ends = await parallel(*steps, twice("d"), require=0)
    return [str(end.value if end.ok else end.error) for end in ends]


@flow(budget=Budget(tokens=70))
async def turned_away() -> Any:
    """Room for some of the answers: who comes too late is turned away."""
    return await parallel(*(twice(str(n)) for n in range(3)), require=0)


async def turned_away_twice() -> Any:
    ends = await turned_away()
    return [str(end.value if end.ok else end.error) for end in (*ends, *await turned_away())]


async def one_agrees() -> Any:
    return await agree(text="a")


async def several_agree() -> Any:
    return await parallel(agree(text="a"), agree(text="a"), twice("a"), agree_on_large(text="b"))


async def the_first_to_agree() -> Any:
    return await race(agree(text="a"), agree_on_large(text="a"), twice("b"))


@flow(budget=Budget(usd=0.0050))
async def agree_poorly(text: str) -> Any:
    return await parallel(agree(text=text), say(text=text), agree_on_large(text=text), require=0)


async def agreements_within_a_budget() -> Any:
    ends = await agree_poorly("a")
    return [str(end.value if end.ok else end.error) for end in ends]


async def samples_of_several() -> Any:
    ends = await parallel(vary(text="a"), vary(text="a"), vary(text="b"), require=0)
    return [str(end.value if end.ok else end.error) for end in ends]


@flow(budget=Budget(usd=0.0030))
async def samples_within_a_budget() -> Any:
    ends = await parallel(vary(text="a"), say(text="a"), require=0)
    return [str(end.value if end.ok else end.error) for end in ends]


async def one_grows() -> Any:
    return await grow(text="a")


async def several_grow() -> Any:
    ends = await parallel(grow(text="a"), grow(text="a"), grow_together(text="b"), require=0)
    return [str(end.value if end.ok else end.error) for end in ends]


async def the_first_to_grow() -> Any:
    return await race(grow(text="a"), grow_together(text="a"), twice("b"))


SCENARIOS: list[Callable[[], Awaitable[Any]]] = [
    all_of_them,
    the_first_of_many,
    races_in_a_race,
    two_of_five,
    enough_of_five,
    all_that_are_large,
    each_with_its_end,
    a_few_at_a_time,
    large_ones_a_few_at_a_time,
    within_a_budget,
    short_of_tokens,
    turned_away_twice,
    one_agrees,
    several_agree,
    the_first_to_agree,
    agreements_within_a_budget,
    samples_of_several,
    samples_within_a_budget,
    one_grows,
    several_grow,
    the_first_to_grow,
]


def number(request: Request, chance: random.Random) -> Any:
    return {"value": chance.randrange(100)}


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_a_replay_ends_as_its_recording(
    scenario: Callable[[], Awaitable[Any]], tmp_path: Path
) -> None:
    for seed in range(RECORDINGS):
        recorded = Recorded(tmp_path / str(seed), scenario, number, seed=seed)
        for again in range(REPLAYS):
            assert recorded.replay(again) == recorded.first
