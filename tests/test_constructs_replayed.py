"""Whole projects of concurrent constructs, recorded over HTTP at random, replay as recorded."""

import asyncio
import random
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import pytest

from stratum import Budget, Reply, Request, flow, infer, parallel, race
from stratum.activity import Activity
from stratum.clocks import FixedClock
from stratum.recording.client import RecordingClient
from stratum.recording.store import GoldenStore
from stratum.roots import Root
from stratum.scope import rooted
from stratum.settings import NOW, Settings
from stratum.testing.local_model import LocalModel
from stratum.turns import Calm, Turns
from tests.replaying import Recorded, Scenario, Whim
from tests.support import NOTE, files_below, noted, project

PYPROJECT = """
    [tool.stratum]
    model = "openai/stratum-local-rules"

    [tool.stratum.prices]
    "openai/stratum-local-rules" = { input = 1.0, output = 100.0 }

    [tool.pytest.ini_options]
    filterwarnings = ["error"]
    asyncio_default_fixture_loop_scope = "function"
"""

APP = """
    import asyncio
    import litellm
    import stratum
    from stratum import (Budget, adaptive, await_human, compute, debate, flow, infer, parallel,
                         race, refine)
    from stratum.scope import current

    @infer(intent="Say a number")
    def say(text: str) -> int: ...

    @infer(intent="Say a large number", ensure=lambda n: n > 40, retries=2)
    def large(text: str) -> int: ...

    @infer(intent="Say a number at once", budget=Budget(ms=120))
    def hurried(text: str) -> int: ...

    @infer(intent="Say a number once", cache="session")
    def known(text: str) -> int: ...

    @infer(intent="Say a digit", quorum=3, threshold=2)
    def agreed(text: str) -> bool: ...

    @infer(intent="Say a number, more than once", stable=False, samples=3)
    def sampled(text: str) -> int: ...

    @refine(until=lambda n: n > 60)
    @infer(intent="Say a number, again")
    def refined(text: str) -> int: ...

    @infer(intent="Argue")
    def first_agent(topic: str, own: int | None, others: list[int]) -> int: ...

    @infer(intent="Argue against it")
    def second_agent(topic: str, own: int | None, others: list[int]) -> int: ...

    @infer(intent="Sum up")
    def sum_up(topic: str, arguments: list[int]) -> int: ...

    def rule(text):
        return len(text)

    @adaptive(compute=rule, infer=say, when=lambda text: len(text) > 3)
    def by_rule(text: str) -> int: ...

    @flow
    async def twice(text: str) -> int:
        return await say(text=text) + await say(text=f"{text} again")

    @flow
    async def raced(text: str) -> int:
        return await race(twice(text), say(text=text))

    @flow
    def in_turn(text: str) -> int:
        one = say(text=text) + say(text=text)
        return one + raced(text) + known(text=text)

    acompletion = stratum.wrap(litellm.acompletion)

    @flow
    async def direct(text: str) -> str:
        messages = [{"role": "user", "content": text}]
        done = await acompletion(model="openai/stratum-local-rules", messages=messages)
        return done.choices[0].message.content

    @flow
    async def asked_of_anna(text: str) -> bool:
        number = await say(text=text)
        return (await await_human(f"Is {number} enough?", decision=bool)).value

    @flow
    async def debated(text: str) -> int:
        return await debate([first_agent, second_agent], text, synthesize=sum_up, rounds=2)

    @flow(budget=Budget(usd=0.004))
    async def poor(text: str):
        steps = [say(text=f"{text} {n}") for n in range(4)]
        ends = await parallel(*steps, large(text=text), require=0)
        return [shown(end) for end in ends], str(current().ledger.spent)

    @flow(budget=Budget(tokens=1500))
    async def short_of_tokens(text: str):
        return await parallel(*(twice(f"{text} {n}") for n in range(6)), require=2), str(
            current().ledger.spent)

    @flow(budget=Budget(ms=150))
    async def late(text: str):
        return await race(refined(text=text), twice(f"{text} {text}"))

    async def enough(values):
        return sum(values) > 90

    def shown(end):
        return end.value if end.ok else f"{type(end.error).__name__}: {end.error}"

    async def any_of_all():
        return await race(debated("a"), twice("a"), asked_of_anna("a"), direct("say a"),
                          by_rule(text="a"))

    async def nested():
        return await parallel(
            race(large(text="a"), twice("b"), limit=1),
            parallel(*(say(text="a") for _ in range(5)), require="any", validate=enough),
            parallel(agreed(text="a"), sampled(text="a"), refined(text="a"), require=2),
            race(race(debated("a"), large(text="b")), asked_of_anna("b"), direct("say b")),
            parallel(*(large(text=str(n)) for n in range(6)), require=3, limit=2),
            require=0)

    async def in_threads():
        return await race(asyncio.to_thread(in_turn, "a"), twice("c"), say(text="z"))

    async def budgets():
        return await parallel(poor("a"), short_of_tokens("b"), poor("a"), require=0)

    async def times():
        return await parallel(late("a"), hurried(text="b"), race(hurried(text="a"), late("c")),
                              require=0)

    async def caches():
        return await parallel(known(text="a"), race(known(text="a"), known(text="b")), require=0)

    async def agreements():
        return await parallel(agreed(text="x"), race(agreed(text="y"), sampled(text="y")),
                              refined(text="x"), require=0)
"""

TESTS = """
    import asyncio
    import json
    import os
    import time
    import app
    import pytest
    import stratum

    stratum.configure(review_sink=lambda review: stratum.HumanAnswer(value=True, reviewer="anna"))

    def whole(scenario):
        async def run():
            try:
                value = await scenario()
            except Exception as error:
                return f"{type(error).__name__}: {error}"
            if isinstance(value, tuple):
                value = [app.shown(v) if hasattr(v, "ok") else v for v in value]
            others = asyncio.all_tasks() - {asyncio.current_task()}
            assert not [each for each in others if "litellm" not in str(each)]
            return value
        return asyncio.run(run())

    @pytest.fixture(autouse=True)
    def in_step(request):
        "Begin when the other worker begins the same test of the other file."
        if "PYTEST_XDIST_WORKER" in os.environ:
            path, other = request.path, request.path.with_name(OTHER[request.path.name])
            path.with_suffix(f".{request.node.name}").touch()
            ends = time.monotonic() + 60
            while not other.with_suffix(f".{request.node.name}").exists():
                assert time.monotonic() < ends
                time.sleep(0.002)

    OTHER = {"test_one.py": "test_two.py", "test_two.py": "test_one.py"}

    @pytest.mark.parametrize("name", ["any_of_all", "nested", "in_threads", "budgets", "times",
                                      "caches", "agreements"])
    def test_it(name, note, traces):
        value = whole(getattr(app, name))
        note(value, json.dumps(traces.tree()))

    def test_in_turn(note, traces):
        note(app.in_turn("a"), json.dumps(traces.tree()))
"""


class AtRandom:
    """A model that says any number, after any time; `asked` counts the requests."""

    def __init__(self, slowest: float = 0.04) -> None:
        self._lock = Lock()
        self._slowest = slowest
        self.asked = 0

    def __call__(self, body: Any) -> Any:
        with self._lock:
            self.asked += 1
        time.sleep(random.random() * self._slowest)
        said = str(body["messages"])
        if "digit" in said:
            return {"value": random.random() < 0.5}
        return {"value": random.randrange(100)}


class Suite(NamedTuple):
    """A project that was recorded once, by two workers, and what its tests noted then."""

    folder: Path
    env: dict[str, str]
    model: AtRandom
    noted: list[str]


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    files = {"pyproject.toml": PYPROJECT, "app.py": APP, "conftest.py": NOTE}
    files |= {"test_one.py": TESTS, "test_two.py": TESTS}
    folder = project(tmp_path_factory.mktemp("suite"), files)
    model = AtRandom()
    with LocalModel(answer=model) as running:
        env = {"OPENAI_API_BASE": running.base_url, "OPENAI_API_KEY": "none", **OFFLINE}
        yield Suite(folder, env, model, noted(folder, *TWO_WORKERS, env=env))


TWO_WORKERS = ("--stratum-record", "-n2", "--dist", "loadfile")
OFFLINE = {"LITELLM_LOCAL_MODEL_COST_MAP": "True"}


def test_two_workers_record_one_end(suite: Suite) -> None:
    assert len(suite.noted) == 16
    assert suite.noted[::2] == suite.noted[1::2]


def test_a_replay_gives_what_two_workers_recorded(suite: Suite) -> None:
    again = noted(suite.folder, "--stratum-replay", "-n0", "-p", "randomly", env=OFFLINE)
    assert again == suite.noted


def test_recording_again_asks_nothing_and_changes_nothing(suite: Suite) -> None:
    asked, files = suite.model.asked, files_below(suite.folder / "golden")
    again = noted(suite.folder, "--stratum-record", "-n0", "-p", "randomly", env=suite.env)
    assert again == suite.noted
    assert suite.model.asked == asked
    assert files_below(suite.folder / "golden") == files


@infer(intent="Say a number")
def say(text: str) -> int: ...


@flow
async def twice(text: str) -> int:
    return await say(text=text) + await say(text=f"{text} again")


@flow
def in_turn(text: str) -> int:
    return sum(say(text=f"{text} {n}") for n in range(20))


def number(request: Request, chance: random.Random) -> Any:
    return {"value": chance.randrange(100)}


class BFirst(Whim):
    """Answers only what is asked about b at once."""

    async def complete(self, request: Request) -> Reply:
        if request.prompt.text != "text: b":
            await asyncio.sleep(0.05)
        return await super().complete(request)


async def a_race() -> int:
    return await race(twice("a"), say(text="b"), say(text="c"))


def test_a_race_in_two_tests_has_one_winner(tmp_path: Path) -> None:
    store = GoldenStore(Settings(root=tmp_path, model="any/model"))
    client = RecordingClient(store, Whim(1, number))
    won = set()
    for name in ("first", "second", "third"):
        clock = FixedClock(NOW)
        root = Root(name, clock=clock, client=client, model="any/model")
        with rooted(root):
            won.add(asyncio.run(a_race()))
        store.passed(root)
    assert len(won) == 1
    store.write(complete=True)
    before = files_below(tmp_path)
    store.write(complete=True)
    assert files_below(tmp_path) == before
    ends = [
        (s.key, s.outcome)
        for f in GoldenStore(store.settings).recordings.files.values()
        for s in f.samples
    ]
    assert len(set(ends)) == len(ends)


@infer(intent="Say a number once", cache="session")
def known(text: str) -> int: ...


async def a_race_of_known_calls() -> Any:
    await parallel(known(text="a"), race(known(text="a"), known(text="b")), require=0)


async def a_known_call() -> int:
    return await known(text="a")


def test_recording_again_keeps_what_a_race_cancelled_whatever_ran_before(tmp_path: Path) -> None:
    def recorded(whim: Whim, *scenarios: Scenario) -> str:
        store = GoldenStore(Settings(root=tmp_path, model="any/model"))
        client = RecordingClient(store, whim)
        for scenario in scenarios:
            root = Root(scenario.__name__, clock=FixedClock(NOW), client=client, model="any/model")
            with rooted(root):
                asyncio.run(scenario())
            store.passed(root)
        store.write(complete=True)
        return "".join(map(bytes.decode, files_below(tmp_path).values()))

    first = recorded(BFirst(1, number), a_race_of_known_calls)
    assert first.count('"outcome": "cancelled"') == 1
    assert recorded(Whim(2, number), a_known_call, a_race_of_known_calls) == first


async def a_race_with_threads() -> int:
    return await race(asyncio.to_thread(in_turn, "a"), say(text="b"))


@flow
def slowly(text: str) -> int:
    first = say(text=text)
    time.sleep(random.random() / 30)
    return first + say(text=f"{text} again")


async def a_race_with_slow_threads() -> int:
    slow = (asyncio.to_thread(slowly, text) for text in "ab")
    return await race(*slow, twice("c"), twice("d"))


@pytest.mark.parametrize("seed", range(5))
def test_a_replay_waits_for_threads_that_go_on(seed: int, tmp_path: Path) -> None:
    recorded = Recorded(tmp_path, a_race_with_slow_threads, number, seed=seed)
    for again in range(3):
        assert recorded.replay(again) == recorded.first


def test_a_race_cancels_calls_that_threads_wait_for(tmp_path: Path) -> None:
    recorded = Recorded(tmp_path, a_race_with_threads, number, seed=3)
    sent = recorded.whim.sent
    time.sleep(0.05)
    assert recorded.whim.sent == sent < 10
    (top,) = recorded.first.tree
    assert top["steps"][0]["outcome"] == "cancelled"
    assert top["steps"][0]["steps"][-1]["outcome"] == "cancelled"


@flow(budget=Budget(ms=4))
async def hurried(text: str) -> Any:
    return await race(twice(text), twice(f"{text} or not"))


async def in_a_hurry() -> Any:
    ends = await parallel(hurried("a"), hurried("b"), a_race_of("c"), require=0)
    return [str(end.value if end.ok else end.error) for end in ends]


@flow
async def a_race_of(text: str) -> int:
    return await race(twice(text), say(text=text))


@pytest.mark.parametrize("seed", range(10))
def test_a_deadline_comes_between_the_same_replies(seed: int, tmp_path: Path) -> None:
    recorded = Recorded(tmp_path, in_a_hurry, number, seed=seed)
    for again in range(3):
        assert recorded.replay(again) == recorded.first


def test_a_replay_does_not_wait_for_a_call_that_is_missing(tmp_path: Path) -> None:
    texts = ["a", "b", "c", "d"]

    async def all_but_one() -> Any:
        ends = await parallel(
            *(twice(text) for text in texts), race(say(text="x"), say(text="y")), require=0
        )
        return [end.ok for end in ends]

    recorded = Recorded(tmp_path, all_but_one, number, seed=1)
    texts[1] = "changed"
    started = time.monotonic()
    with pytest.raises(AssertionError):  # of what is missing
        recorded.replay(1)
    assert time.monotonic() - started < 1


async def test_what_a_cancelled_task_was_just_given_is_given_back() -> None:
    activity = Activity(lambda: 0, follows_threads=True)
    turns = Turns(activity, Calm(), is_needed=True)
    undone: list[int] = []

    def act() -> int:
        task.cancel()
        return 4

    task = asyncio.ensure_future(turns.perform((0,), act, undone.append))
    await asyncio.wait([task])
    assert undone == [4]
    turns.close()
