"""What surrounds a call: time and chance, the client, the model, threads."""

import asyncio
import dataclasses
import threading
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from stratum import (
    Budget,
    BudgetExceeded,
    ConfigurationError,
    ScriptedClient,
    carry,
    configure,
    flow,
    infer,
    new_id,
    now,
    parallel,
    random,
    traces,
    using,
)
from stratum.clocks import FixedClock
from stratum.roots import Inside, Root
from stratum.scope import current as surroundings
from stratum.scope import model_for, process, rooted, settings
from stratum.settings import Settings
from tests.scripted import answering, records
from tests.support import project, run_pytest

FIXED = datetime(2026, 1, 1, tzinfo=UTC)


@infer(intent="Answer")
def ask(text: str) -> str: ...


@infer(intent="Answer", model="own/model")
def ask_own(text: str) -> str: ...


def fixed(**settings: Any) -> Any:
    return rooted(Root("a test", clock=FixedClock(FIXED), **settings))


def drawn() -> tuple[Any, ...]:
    return now(), new_id(), new_id(), random(), random()


def test_in_production_time_and_chance_are_real() -> None:
    assert abs(now() - datetime.now(UTC)) < timedelta(minutes=1)
    assert now().tzinfo is UTC
    assert uuid.UUID(new_id()).version == 4
    assert len({new_id() for _ in range(9)} | {random() for _ in range(9)}) == 18


def test_under_record_and_replay_they_are_the_same_on_every_run() -> None:
    with fixed():
        first = drawn()
    with rooted(Root("another name", clock=FixedClock(FIXED))):
        second = drawn()
    assert first == second
    assert first[0] == FIXED
    assert len(set(first)) == 5
    assert uuid.UUID(first[1]).version == 4
    assert all(0 <= number < 1 for number in first[3:])


async def test_branches_draw_by_place_not_by_timing() -> None:
    async def draw(delay: float) -> tuple[Any, ...]:
        await asyncio.sleep(delay)
        return drawn()[1:]

    async def branches(*delays: float) -> Any:
        with fixed():
            return await parallel(*map(draw, delays))

    slow_first, slow_last = await branches(0.02, 0), await branches(0, 0.02)
    assert slow_first == slow_last
    assert len({value for branch in slow_first for value in branch}) == 8


def test_the_nearest_client_answers() -> None:
    with answering("outer"), answering("inner") as inner:
        assert ask.run("a") == "inner"
    assert len(inner.requests) == 1


def test_a_block_ends_with_its_client() -> None:
    with answering("one", "three"):
        first = ask.run("a")
        with answering("two"):
            second = ask.run("a")
        assert (first, second, ask.run("a")) == ("one", "two", "three")


def test_a_block_with_a_model_only_keeps_the_client() -> None:
    with answering("a") as client, using(model="block/model"):
        ask.run("a")
    assert client.requests[0].model == "block/model"


def test_configure_sets_what_answers_where_no_block_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "client", None)
    monkeypatch.setattr(process, "model", None)
    client = ScriptedClient(["configured", "again"])
    configure(client=client, model="configured/model")
    assert ask.run("a") == "configured"
    configure(model="second/model")
    assert ask.run("a") == "again"
    assert [request.model for request in client.requests] == ["configured/model", "second/model"]


def test_the_default_client_is_made_at_the_first_need(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Settings] = []

    def make(given: Settings) -> ScriptedClient:
        made.append(given)
        return ScriptedClient(["default", "default"])

    monkeypatch.setattr(process, "client", None)
    monkeypatch.setattr(process, "default_client", make)
    with using(model="m"):
        assert [ask.run("a"), ask.run("a")] == ["default", "default"]
    assert made == [settings()]


@pytest.mark.parametrize(
    ("declared", "block", "configured", "root", "environment", "settings", "expected"),
    [
        pytest.param("f", "b", "c", "r", "e", "s", "f", id="function"),
        pytest.param(None, "b", "c", "r", "e", "s", "b", id="block"),
        pytest.param(None, None, "c", "r", "e", "s", "c", id="configure"),
        pytest.param(None, None, None, "r", "e", "s", "r", id="root"),
        pytest.param(None, None, None, None, "e", "s", "e", id="environment"),
        pytest.param(None, None, None, None, None, "s", "s", id="settings"),
    ],
)
def test_the_nearest_word_names_the_model(
    monkeypatch: pytest.MonkeyPatch,
    declared: str | None,
    block: str | None,
    configured: str | None,
    root: str | None,
    environment: str | None,
    settings: str | None,
    expected: str,
) -> None:
    monkeypatch.setattr(process, "model", configured)
    monkeypatch.setattr(process, "settings", Settings(Path.cwd(), model=settings))
    monkeypatch.delenv("STRATUM_MODEL", raising=False)
    if environment:
        monkeypatch.setenv("STRATUM_MODEL", environment)
    with rooted(Root("a test", model=root)), using(model=block):
        assert model_for(surroundings(), declared, "ask") == expected


def test_under_replay_the_environment_names_no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "model", None)
    monkeypatch.setattr(process, "settings", Settings(Path.cwd(), model="settings/model"))
    monkeypatch.setenv("STRATUM_MODEL", "environment/model")
    with fixed(client=ScriptedClient([])):
        assert model_for(surroundings(), None, "ask") == "settings/model"


def test_without_a_model_the_remedies_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "model", None)
    monkeypatch.setattr(process, "settings", Settings(Path.cwd()))
    monkeypatch.delenv("STRATUM_MODEL", raising=False)
    with using(client=ScriptedClient(["a"])), pytest.raises(ConfigurationError) as caught:
        ask.run("a")
    assert str(caught.value) == (
        "ask has no model.\n"
        "  Give @infer(model=...), set model in [tool.stratum] of pyproject.toml, or "
        "STRATUM_MODEL in the environment."
    )
    assert [record.outcome for record in records()] == ["error"]


def test_a_functions_own_model_wins_over_a_block() -> None:
    with answering("a") as client:
        ask_own.run("a")
    assert client.requests[0].model == "own/model"


def in_thread(work: Any) -> Any:
    values: list[Any] = []
    thread = threading.Thread(target=lambda: values.append(work()))
    thread.start()
    thread.join()
    return values[0]


def test_carry_takes_client_parent_and_place_into_a_thread() -> None:
    @flow
    async def process_text(text: str) -> str:
        return await asyncio.get_running_loop().run_in_executor(None, carry(ask.run), text)

    with answering("a"):
        assert process_text.run("x") == "a"
    asked, wrapped = records()
    assert asked.parent == wrapped.id


def test_carry_takes_the_budget_into_a_thread() -> None:
    @flow(budget=Budget(usd=0.001))
    async def process_text(text: str) -> str:
        return await asyncio.get_running_loop().run_in_executor(None, carry(ask.run), text)

    client = ScriptedClient(["a"], tokens=(1000, 10), price=(10.0, 10.0))
    with (
        using(client=client, model="m"),
        pytest.raises(BudgetExceeded, match=r"flow .*process_text"),
    ):
        process_text.run("x")
    assert client.requests == []


def test_without_carry_a_thread_knows_no_block() -> None:
    with answering("inside"):
        assert in_thread(lambda: surroundings().client) is None
        assert in_thread(carry(lambda: ask.run("a"))) == "inside"


def test_carry_keeps_name_and_arguments_and_runs_often() -> None:
    def added(a: int, *, b: int) -> int:
        return a + b

    carried = carry(added)
    assert (carried.__name__, in_thread(lambda: carried(1, b=2)), carried(3, b=4)) == (
        "added",
        3,
        7,
    )


def test_traces_are_the_last_of_the_process() -> None:
    with answering("a"):
        ask.run("a")
    assert traces()[-1].function == "ask"


def test_a_block_that_is_open_holds_on_under_another_root() -> None:
    with rooted(Root("a fixture")):
        block = using(client=ScriptedClient(["scripted"]), model="block/model")
        block.__enter__()
    with rooted(Root("a test")):
        assert ask.run("a") == "scripted"
        assert surroundings().root.records[0].model == "block/model"
    block.__exit__(None, None, None)


def test_a_block_that_has_ended_is_forgotten_with_its_root() -> None:
    with rooted(Root("a test")), answering("one"):
        leftover = carry(surroundings)
    with rooted(Root("the next test")), answering("two"):
        assert leftover().client is None


def test_of_nested_blocks_the_innermost_open_one_holds() -> None:
    with answering("outer") as outer:
        with answering("inner"):
            leftover = carry(lambda: surroundings().client)
        with rooted(Root("another test")):
            assert leftover() is outer


FIXTURES = """
    import pytest, stratum
    from stratum import ScriptedClient, infer, using

    @infer(intent="Answer")
    def ask(text: str) -> str: ...

    class Live:
        async def complete(self, request):
            raise AssertionError("a live call")

        async def quote(self, request):
            raise AssertionError("a live quote")

    stratum.configure(client=Live())

    @pytest.fixture
    def scripted():
        with using(client=ScriptedClient(lambda request: "scripted")):
            yield

    @pytest.fixture(scope="module")
    def scripted_module():
        with using(client=ScriptedClient(lambda request: "module")):
            yield

    def test_sync(scripted):
        assert ask.run("a") == "scripted"

    async def test_async(scripted):
        assert await ask("a") == "scripted"

    @pytest.mark.anyio
    async def test_module(scripted_module):
        assert await ask("a") == "module"

    async def test_module_again(scripted_module):
        assert await ask("a") == "module"

    def test_nearest(scripted_module, scripted):
        assert ask.run("a") == "scripted"
"""


@pytest.mark.parametrize("mode", [(), ("--stratum-replay",)], ids=["without-flag", "replay"])
def test_a_block_in_a_fixture_reaches_its_tests(tmp_path: Path, mode: tuple[str, ...]) -> None:
    ini = "[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n"
    folder = project(tmp_path, {"test_app.py": FIXTURES, "pytest.ini": ini})
    done = run_pytest(folder, "-p", "no:cacheprovider", *mode)
    assert "5 passed" in done.stdout, done.stdout


def test_what_surrounds_a_call_is_the_same_on_another_branch() -> None:
    root, names = Root("test"), [field.name for field in dataclasses.fields(Inside)]
    inside = Inside(**{name: object() for name in names})  # type: ignore[arg-type]
    assert inside.on(root.branch) == dataclasses.replace(inside, branch=root.branch)
