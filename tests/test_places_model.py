"""Random suites, recorded and replayed in random orders: the rules of places hold."""

import asyncio
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stratum import infer, parallel, scope
from stratum.calls import Quote, Reply, Request, Usage
from stratum.errors import RecordingMissing
from stratum.recording.client import RecordingClient
from stratum.recording.store import GoldenStore
from stratum.roots import Inside, Root
from stratum.scope import enter, rooted
from stratum.settings import Settings
from tests.support import files_below

# A program is what one test does: calls, by the number of their text, and fan-outs of calls.
Program: TypeAlias = tuple[int | tuple[tuple[int, ...], ...], ...]
Suite: TypeAlias = Mapping[str, Program]
Spot: TypeAlias = tuple[int, ...]  # where in a program
Answers: TypeAlias = dict[tuple[str, Spot], str]

CALLS = st.integers(0, 1)
BRANCHES = st.lists(st.lists(CALLS, max_size=2).map(tuple), min_size=1, max_size=3).map(tuple)
PROGRAMS = st.lists(CALLS | BRANCHES, max_size=3).map(tuple)
SUITES = st.dictionaries(st.sampled_from("abcd"), PROGRAMS, min_size=1)
SEEDS = st.integers(0, 2**32)


def asks_nothing_twice(suite: Suite) -> bool:
    texts = [list(_texts(program)) for program in suite.values()]
    return all(len(set(each)) == len(each) for each in texts)


def _texts(program: Program) -> Iterator[int]:
    for step in program:
        yield from (step,) if isinstance(step, int) else chain.from_iterable(step)


PLAIN_SUITES = SUITES.filter(asks_nothing_twice)


@infer(intent="Say something about the text", model="test/model")
def ask(text: str) -> str: ...


@dataclass
class Live:
    """Answers every request otherwise, or by its text and place alone."""

    steady: bool = False
    asked: list[Request] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=count)

    async def complete(self, request: Request) -> Reply:
        self.asked.append(request)
        said = f"{request.shown.text} at {request.place}"
        number = "" if self.steady else f", answer {next(self._numbers)}"
        return Reply({"value": said + number}, Usage(), "test/model", cost=0.0)

    async def quote(self, request: Request) -> Quote:
        return Quote(1, 0.0, 0.0)


@dataclass
class Project:
    """A project's recordings, and runs over them in orders that `chance` picks."""

    folder: Path
    chance: random.Random
    live: Live = field(default_factory=Live)

    def record(self, suite: Suite, *, complete: bool = True) -> Answers:
        store = GoldenStore(Settings(root=self.folder))
        given = self._run(suite, RecordingClient(store, self.live), store)
        store.write(complete=complete)
        return given

    def replay(self, suite: Suite) -> Answers:
        store = GoldenStore(Settings(root=self.folder))
        return self._run(suite, RecordingClient(store), store)

    def files(self) -> dict[str, bytes]:
        return files_below(self.folder)

    def _run(self, suite: Suite, client: RecordingClient, store: GoldenStore) -> Answers:
        answers: Answers = {}
        for name in self.chance.sample(sorted(suite), len(suite)):
            root = Root(name, client=client)
            with rooted(root):
                asyncio.run(self._test(root, name, suite[name], answers))
            store.passed(root)
        return answers

    async def _test(self, root: Root, name: str, program: Program, answers: Answers) -> None:
        root.branch.claim()
        enter(Inside(root, root.branch))
        await self._steps(program, (), lambda at, answer: answers.update({(name, at): answer}))

    async def _steps(self, program: Program, at: Spot, note: Callable[[Spot, str], None]) -> None:
        for number, step in enumerate(program):
            here = (*at, number)
            await self._pause()
            if isinstance(step, int):
                note(here, await ask(text=f"text {step}"))
            else:
                await parallel(*(self._steps(s, (*here, i), note) for i, s in enumerate(step)))

    async def _pause(self) -> None:
        for _ in range(self.chance.randrange(4)):
            await asyncio.sleep(0)


@contextmanager
def a_project(seed: int, *, steady: bool = False) -> Iterator[Project]:
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(scope.process, "settings", Settings(root=Path(folder)))
        yield Project(Path(folder), random.Random(seed), Live(steady=steady))


def assert_settled(project: Project, suite: Suite, recorded: Answers) -> None:
    """Replay gives each call its own answer; recording again asks nothing, changes no byte."""
    assert project.replay(suite) == recorded
    files, asked = project.files(), len(project.live.asked)
    assert project.record(suite) == recorded
    assert project.files() == files
    assert len(project.live.asked) == asked


@settings(deadline=None)
@given(SUITES, SEEDS)
def test_every_call_is_replayed_with_its_own_answer(suite: Suite, seed: int) -> None:
    with a_project(seed) as project:
        assert_settled(project, suite, project.record(suite))


@settings(deadline=None)
@given(SUITES, SUITES, SEEDS)
@example({"a": (0,)}, {"a": (0,), "b": (((0,), (0,)), 0)}, 0)  # one answer, for two new tests
@example({"a": (0,)}, {"a": (0,), "b": (((0,),), 0)}, 0)
@example({"a": (0,)}, {"a": (((), (0,)),), "b": (((0,), (0,)),)}, 1)
@example({"a": (0,)}, {"a": (((0,), (0,)),), "b": (((), (0,)), ((0,),))}, 2)
def test_every_call_of_a_changed_suite_is_replayed_with_its_own_answer(
    before: Suite, after: Suite, seed: int
) -> None:
    with a_project(seed) as project:
        project.record(before)
        assert_settled(project, after, project.record(after))


def test_an_answer_is_given_once_in_a_test() -> None:
    with a_project(0) as project:
        project.record({"a": (0,)})
        with pytest.raises(RecordingMissing, match="this test has used that answer already"):
            project.replay({"a": (((0,), (0,)),)})
        project.record({"a": (((0,), (0,)),)})
        assert len(project.live.asked) == 2


@settings(deadline=None)
@given(SUITES, SEEDS)
def test_the_order_of_tests_leaves_no_trace_in_the_files(suite: Suite, seed: int) -> None:
    with a_project(seed, steady=True) as one, a_project(seed + 1, steady=True) as other:
        one.record(suite)
        other.record(suite)
        assert one.files() == other.files()


# Where a test asks at several new places for what was recorded once, the first that comes
# gets that answer; everywhere else what is written does not depend on who comes first.
@settings(deadline=None)
@given(SUITES, PLAIN_SUITES, SEEDS)
def test_the_order_of_changed_tests_leaves_no_trace_either(
    before: Suite, after: Suite, seed: int
) -> None:
    with a_project(seed, steady=True) as one, a_project(seed + 1, steady=True) as other:
        for project in (one, other):
            project.record(before)
            project.record(after)
        assert one.files() == other.files()


@settings(deadline=None)
@given(SUITES, PLAIN_SUITES, SEEDS)
def test_recording_new_tests_alone_breaks_no_other(before: Suite, added: Suite, seed: int) -> None:
    new = {name.upper(): program for name, program in added.items()}
    with a_project(seed) as project:
        recorded = project.record(before) | project.record(new, complete=False)
        assert project.replay({**before, **new}) == recorded


@settings(deadline=None)
@given(SUITES, SUITES, SEEDS)
@example({"a": (0,)}, {"b": (((0, 0),),)}, 0)
def test_recording_new_tests_alone_leaves_no_other_without_an_answer(
    before: Suite, added: Suite, seed: int
) -> None:
    new = {name.upper(): program for name, program in added.items()}
    with a_project(seed) as project:
        old = project.record(before)
        recorded = project.record(new, complete=False)
        replayed = project.replay({**before, **new})
        assert replayed.keys() == old.keys() | recorded.keys()
        assert recorded.items() <= replayed.items()
