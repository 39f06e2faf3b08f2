"""The place of a call: what decides it, and what does not."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest

from stratum import carry, flow, infer, new_id, parallel, scope
from stratum.calls import Place, Quote, Reply, Request
from stratum.clocks import FixedClock
from stratum.roots import Inside, Root, place
from stratum.scope import enter, rooted
from stratum.settings import NOW


@infer(intent="Say something", model="test/model")
def say(text: str) -> str: ...


@flow
async def twice(text: str) -> str:
    return await say(text=text) + await say(text=text)


async def after(turns: int, step: Awaitable[Any]) -> Any:
    for _ in range(turns):
        await asyncio.sleep(0)
    return await step


@dataclass
class Places:
    """Answers each call with its place, and notes it."""

    taken: list[str] = field(default_factory=list)
    ambiguous: list[str] = field(default_factory=list)
    _lock: Any = field(default_factory=threading.Lock)

    async def complete(self, request: Request) -> Reply:
        with self._lock:
            named = f"{request.shown.text.removeprefix('text: ')}@{request.place}"
            (self.ambiguous if request.ambiguous else self.taken).append(named)
        await asyncio.sleep(0)
        return Reply({"value": str(request.place)})

    async def quote(self, request: Request) -> Quote:
        return Quote(0, 0.0, 0.0)


@pytest.fixture
def places(monkeypatch: pytest.MonkeyPatch) -> Places:
    client = Places()
    monkeypatch.setattr(scope.process, "client", client)
    return client


def claimed(test: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Run a coroutine test as the plugin does: its own task owns the root."""

    async def owned() -> Any:
        root = scope.current().root
        root.branch.claim()
        enter(Inside(root, root.branch))
        return await test()

    return asyncio.run(owned())


def test_a_call_is_numbered_by_how_often_it_was_made(places: Places) -> None:
    for text in ("a", "b", "a"):
        say.run(text=text)
    assert places.taken == ["a@#0", "b@#0", "a@#1"]


def test_an_argument_of_parallel_is_an_index(places: Places) -> None:
    inner = parallel(say(text="a"), say(text="a"))
    assert parallel(say(text="a"), inner).run() == ("0#0", ("1.0#0", "1.1#0"))


def test_two_parallels_in_a_row_go_on_counting(places: Places) -> None:
    first = parallel(say(text="a"), say(text="a")).run()
    assert first + parallel(say(text="a"), say(text="b")).run() == ("0#0", "1#0", "0#1", "1#0")


def test_a_flow_opens_no_index(places: Places) -> None:
    assert twice.run(text="a") + twice.run(text="a") == "#0#1#2#3"


def test_run_continues_the_branch_of_its_caller(places: Places) -> None:
    async def test() -> list[str]:
        return [await say(text="a"), await asyncio.to_thread(say.run, text="a")]

    assert claimed(test) == ["#0", "#1"]


def test_a_place_is_taken_when_the_call_is_asked(places: Places) -> None:
    async def test() -> list[str]:
        first, second = say(text="a"), say(text="a")
        return [await second, await first]

    assert claimed(test) == ["#0", "#1"]


@pytest.mark.parametrize("late", ["a", "b"])
@pytest.mark.parametrize("run", [claimed, lambda test: asyncio.run(test())], ids=["async", "sync"])
def test_a_call_of_one_task_has_its_place_whoever_comes_first(
    places: Places, run: Callable[[Any], Any], late: str
) -> None:
    async def test() -> None:
        await asyncio.gather(*(after(3 * (t == late), say(text=t)) for t in "ab"))

    run(test)
    assert sorted(places.taken) == ["a@~0#0", "b@~0#0"]


def test_tasks_that_make_the_same_call_are_numbered_by_arrival(places: Places) -> None:
    async def test() -> None:
        await asyncio.gather(after(3, twice(text="a")), twice(text="a"), twice(text="b"))

    claimed(test)
    assert sorted(places.taken) == ["a@~0#0", "a@~0#1", "b@~0#0", "b@~0#1"]
    assert places.ambiguous == ["a@~1#0", "a@~1#1"]


def test_a_task_and_the_test_itself_are_told_apart(places: Places) -> None:
    async def test() -> tuple[str, str]:
        task = asyncio.create_task(say(text="a"))
        return await after(3, say(text="a")), await task

    assert claimed(test) == ("#0", "~0#0")
    assert not places.ambiguous


def test_a_task_that_has_not_begun_does_not_matter(places: Places) -> None:
    """Such as one that closes a connection, which a library begins in the garbage collector."""

    async def test() -> str:
        closing = asyncio.create_task(asyncio.sleep(0))
        said = await say(text="a")
        await closing
        return said

    assert asyncio.run(test()) == "#0"
    assert not places.ambiguous


def test_parallel_inside_a_task_counts_from_the_task(places: Places) -> None:
    async def test() -> None:
        await asyncio.gather(parallel(say(text="a"), say(text="a")), say(text="b"))

    claimed(test)
    assert sorted(places.taken) == ["a@~0.0#0", "a@~0.1#0", "b@~0#0"]


def test_a_task_in_a_branch_of_parallel_counts_from_the_branch(places: Places) -> None:
    async def awaited_in_a_task() -> str:
        return str(await asyncio.create_task(say(text="a")))

    assert parallel(awaited_in_a_task(), awaited_in_a_task()).run() == ("0.~0#0", "1.~0#0")
    assert not places.ambiguous


def test_a_second_asyncio_run_goes_on_counting(places: Places) -> None:
    async def test() -> str:
        return await say(text="a")

    assert [asyncio.run(test()), asyncio.run(test()), say.run(text="a")] == ["#0", "#1", "#2"]
    assert not places.ambiguous


def test_a_task_that_outlives_its_branch_stays_beside_it(places: Places) -> None:
    tasks: list[asyncio.Task[str]] = []

    async def start() -> None:
        tasks.append(asyncio.create_task(after(5, say(text="a"))))

    async def test() -> str:
        await parallel(start())
        return await tasks[0]

    assert claimed(test) == "0.~0#0"


def test_threads_without_context_share_one_branch(places: Places) -> None:
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda text: say.run(text=text), "abcdabcd"))
    taken = [*places.taken, *places.ambiguous]
    assert sorted(taken) == sorted(f"{text}@~0#{turn}" for text in "abcd" for turn in (0, 1))


def test_threads_that_make_the_same_call_are_ambiguous(places: Places) -> None:
    both_asked = threading.Barrier(2)

    def asked(text: str) -> None:
        say.run(text=text)
        both_asked.wait(timeout=10)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(asked, "aa"))
    say.run(text="a")
    assert (places.taken, places.ambiguous) == (["a@~0#0", "a@#0"], ["a@~0#1"])


def test_a_carried_function_is_asked_from_the_place_of_its_caller(places: Places) -> None:
    @flow
    async def outer() -> str:
        return await asyncio.get_running_loop().run_in_executor(None, carry(inner))

    def inner() -> str:
        return say.run(text="a")

    assert parallel(outer(), outer()).run() == ("0#0", "1#0")


def test_ids_come_from_the_place(places: Places) -> None:
    async def drawn(turns: int) -> list[str]:
        await after(turns, asyncio.sleep(0))
        return [new_id(), new_id()]

    def run(*turns: int) -> tuple[list[str], ...]:
        with rooted(Root("any", clock=FixedClock(NOW))):
            return parallel(*map(drawn, turns)).run()

    assert run(0, 3) == run(3, 0)
    assert len({each for ids in run(0, 0) for each in ids}) == 4


@pytest.mark.parametrize("text", ["#0", "2.0#1", "~0#0", "3.~1.0#12"])
def test_a_place_reads_back(text: str) -> None:
    assert str(Place.parse(text)) == text


@pytest.mark.parametrize("text", ["", "0", "#", "a#0", "0#x", "~#0", "0..1#x"])
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        Place.parse(text)


def test_places_of_one_branch_are_counted_for_each_key() -> None:
    branch = Root("test").branch.fork(2, at=0)
    taken = [place(branch, key)[0] for key in ("one", "one", "other")]
    assert [str(each) for each in taken] == ["2#0", "2#1", "2#0"]
