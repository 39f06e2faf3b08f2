"""A flow on a `def`: its steps give their values."""

import asyncio
import time
from pathlib import Path

import pytest

from stratum import (
    Budget,
    BudgetExceeded,
    DeclarationError,
    NotAwaited,
    compute,
    flow,
    infer,
    parallel,
)
from stratum.clients.scripted import Scripted
from tests.scripted import answering, records
from tests.support import ECHO, NOTE, asked, noted, project


@infer(intent="Say it louder")
def louder(text: str) -> str: ...


@compute
async def exclaim(text: str) -> str:
    await asyncio.sleep(0)
    return f"{text}!"


@compute
def trim(text: str) -> str:
    return text.strip()


@flow
async def twice(text: str) -> str:
    return "".join(await parallel(louder(text=text), louder(text=text)))


@flow
def shout(text: str) -> str:
    loud = louder(trim(text))
    return exclaim(loud) + twice(text="b") + louder.run(text="c")  # type: ignore[operator]


@flow(budget=Budget(ms=60))
def hurry(seconds: float) -> str:
    said = louder("a")
    time.sleep(seconds)
    return str(said)


def test_steps_give_their_values() -> None:
    with answering("A", "B", "B", "C"):
        assert shout(" a ") == "A!BBC"


def test_run_is_the_same_as_calling() -> None:
    with answering("A", "B", "B", "C"):
        assert shout.run(text="a") == "A!BBC"


def test_the_records_are_a_tree() -> None:
    with answering("A", "B", "B", "C"):
        shout("a")
    *steps, around = records()
    names = [step.function for step in steps if step.parent == around.id]
    assert names == ["trim", "louder", "exclaim", "twice", "louder"]
    assert around.outcome == "ok"


def test_outside_the_flow_a_call_is_a_call_again() -> None:
    with answering("A", "B", "B", "C"):
        shout("a")
        call = louder("a")
        with pytest.raises(NotAwaited):
            bool(call)
        call.close()


async def test_inside_a_running_loop_it_raises_at_once() -> None:
    with pytest.raises(NotAwaited, match=r"await asyncio.to_thread\(shout, \.\.\.\)"):
        shout("a")
    assert records() == []


async def test_in_a_thread_it_belongs_to_the_flow_around() -> None:
    @flow
    async def around() -> str:
        return await asyncio.to_thread(shout, "a")

    with answering("A", "B", "B", "C"):
        assert await around() == "A!BBC"
    found = {record.function.rpartition(".")[2]: record for record in records()}
    assert found["shout"].parent == found["around"].id


def test_a_step_that_takes_too_long_ends_with_the_flow() -> None:
    with answering(Scripted("A", 5.0)), pytest.raises(BudgetExceeded, match="hurry took longer"):
        hurry(0)
    assert [(r.function, r.outcome) for r in records()] == [
        ("louder", "over_budget"),
        ("hurry", "over_budget"),
    ]


def test_a_body_that_takes_too_long_fails_at_its_end() -> None:
    with answering("A"), pytest.raises(BudgetExceeded, match="hurry took longer than its 60 ms"):
        hurry(0.2)


def test_one_budget_covers_its_steps() -> None:
    @flow(budget=Budget(tokens=5_000))
    def spend() -> list[str]:
        return [louder("a"), louder("b")]  # type: ignore[list-item]

    said = "of 5,000 are left"
    with answering(lambda _: "A", tokens=(4_000, 500)), pytest.raises(BudgetExceeded, match=said):
        spend()


def test_parallel_in_it_says_why_it_cannot() -> None:
    @flow
    def both() -> object:
        return parallel(louder("a"), louder("b"))

    with answering("A", "B"), pytest.raises(DeclarationError, match="make it an async def"):
        both()


def test_a_generator_is_no_flow() -> None:
    with pytest.raises(DeclarationError, match="returns a value"):

        @flow
        def endless() -> object:
            yield 1


def test_it_is_recorded_and_replayed(tmp_path: Path) -> None:
    tests = """
        from stratum import flow, infer

        @infer(intent="Echo")
        def echo(text: str) -> str: ...

        @flow
        def both(text: str) -> str:
            return echo(text) + echo(text)

        def test_both(note, golden_flow):
            note(golden_flow.run(both, text="a"))
    """
    folder = project(tmp_path, {"conftest.py": ECHO + NOTE, "test_app.py": tests})
    recorded = noted(folder, "--stratum-record")
    assert len(asked(folder)) == 2
    assert noted(folder, "--stratum-replay") == recorded
    assert len(asked(folder)) == 2
