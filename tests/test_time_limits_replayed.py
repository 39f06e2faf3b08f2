"""Time limits under record and replay: what is up while no call is asked, and what scripts take."""

from pathlib import Path

import pytest

from tests.support import LIVE, asked, project, run_bare

APP = """
    import asyncio
    import time
    from stratum import Budget, flow, infer, parallel, race

    @infer(intent="Say it")
    def say(text: str) -> str: ...

    @flow(budget=Budget(ms=40))
    async def slow_between(text: str) -> str:
        first = await say(text=text)
        await asyncio.sleep(0.1)
        return first + await say(text=f"{text} again")

    @flow(budget=Budget(ms=40))
    def slow_between_in_sync(text: str) -> str:
        first = say.run(text=text)
        time.sleep(0.1)
        return first + say.run(text=f"{text} again")

    @flow(budget=Budget(ms=40))
    async def slow_at_the_end(text: str) -> str:
        said = await say(text=text)
        await asyncio.sleep(0.1)
        return said

    @flow(budget=Budget(ms=40))
    async def raced(text: str) -> str:
        return await race(slow_between(text), slow_between(f"{text} or not"))

    @flow(budget=Budget(ms=40))
    async def side_by_side(*, together: bool) -> list[str]:
        late = asyncio.Event()

        async def leading() -> str:
            await say(text="a")
            await asyncio.sleep(0.1)
            late.set()
            return await say(text="a again")

        async def following() -> str:
            await say(text="b")
            await (late.wait() if together else asyncio.sleep(0.5))
            return await say(text="b again")

        return await parallel(leading(), following())

    @infer(intent="Say it soon", budget=Budget(ms=40))
    def hurried(text: str) -> str: ...
"""

HEAD = """
import pytest
from app import *
from stratum import *
from stratum.testing import Scripted
"""

ANSWER = """

def answer(request):
    return "ok"
"""


def suite(folder: Path, tests: str) -> Path:
    files = {"app.py": APP, "conftest.py": LIVE + ANSWER, "test_it.py": HEAD + tests}
    return project(folder, files)


def passes(folder: Path, *modes: str) -> None:
    for mode in modes:
        done = run_bare(folder, *filter(None, [mode]), "-q")
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("flow", ["slow_between", "slow_between_in_sync", "raced"])
def test_a_limit_that_is_up_between_two_calls_ends_the_next_one_unsent(
    flow: str, tmp_path: Path
) -> None:
    folder = suite(
        tmp_path,
        f"""
def test_it():
    with pytest.raises(BudgetExceeded, match="longer than its 40 ms"):
        {flow}.run("a")
""",
    )
    passes(folder, "--stratum-record")
    assert not [text for text in asked(folder) if "again" in text]
    passes(folder, "--stratum-replay", "--stratum-record")


def test_a_call_that_its_branch_was_too_late_for_may_come_in_time_in_replay(
    tmp_path: Path,
) -> None:
    folder = suite(
        tmp_path,
        """
def test_it(together):
    with pytest.raises(BudgetExceeded, match="flow side_by_side took longer than its 40 ms"):
        side_by_side.run(together=together)

@pytest.fixture
def together(request):
    return request.config.getoption("stratum_mode") == ["replay"]
""",
    )
    passes(folder, "--stratum-record")
    assert "text: b again" not in asked(folder)
    passes(folder, "--stratum-replay", "--stratum-replay")


def test_a_limit_that_is_up_where_no_call_is_made_any_more_ends_only_what_no_mode_replays(
    tmp_path: Path,
) -> None:
    folder = suite(
        tmp_path,
        """
def test_it(stratum_mode):
    if stratum_mode:
        assert slow_at_the_end.run("a") == "ok"
    else:
        with pytest.raises(BudgetExceeded, match="longer than its 40 ms"):
            slow_at_the_end.run("a")

@pytest.fixture
def stratum_mode(request):
    return request.config.getoption("stratum_mode")
""",
    )
    passes(folder, "", "--stratum-record", "--stratum-replay")


def test_a_scripted_call_is_held_to_its_limit_in_every_mode(tmp_path: Path) -> None:
    folder = suite(
        tmp_path,
        """
def test_it():
    with using(client=ScriptedClient([Scripted("ok", delay=5)])):
        with pytest.raises(BudgetExceeded, match="longer than its 40 ms"):
            hurried.run("a")
""",
    )
    passes(folder, "", "--stratum-record", "--stratum-replay")


def test_scripted_answers_that_are_there_at_once_are_given_however_late(tmp_path: Path) -> None:
    folder = suite(
        tmp_path,
        """
def test_it():
    with using(client=ScriptedClient(["a", "b"])):
        assert slow_between.run("a") == "ab"
""",
    )
    passes(folder, "--stratum-record", "--stratum-replay")
