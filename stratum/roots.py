"""Where calls are made: a root, the branches below it, and what surrounds each call."""

import asyncio
import itertools
import os
import threading
import uuid
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cached_property
from inspect import CORO_CREATED, getcoroutinestate, iscoroutine
from typing import TYPE_CHECKING, Any

from stratum.budget import Ledger
from stratum.calls import Client, Clock, Place
from stratum.trace import TraceRecord
from stratum.values import dataclass, maker

if TYPE_CHECKING:  # what only fan-outs and people need
    from typing import Protocol

    from stratum.reviews import ReviewSink
    from stratum.turns import Calm, Turns

    class Cancellable(Protocol):
        def cancel(self) -> None: ...


KEPT = 10_000  # records kept in memory

_lock = threading.Lock()
next_number: Callable[[], int] = itertools.count(1).__next__  # ids and orders are made of it
_prefix = os.urandom(4).hex()


class _Threads:
    """Who runs the branch of threads without context."""


_threads = _Threads()


class SystemClock:
    """Real time, ids and randomness."""

    is_fixed = False

    def now(self) -> datetime:
        return datetime.now(UTC)

    def new_id(self) -> str:
        return str(uuid.uuid4())

    def random(self) -> float:
        import random as randomness  # a millisecond that few programs need to spend

        return randomness.random()


_system_clock = SystemClock()


class Root:
    """One test phase, one fixture, or one outermost flow: where places are counted from.

    `client` answers all calls below it that name none; `wrap` is put around a live client
    that a call or block names itself. `misses` and `forgotten` are for whoever set the root.
    """

    def __init__(
        self,
        name: str,
        clock: Clock | None = None,
        client: Client | None = None,
        wrap: Callable[[Client], Client] | None = None,
        model: str | None = None,
    ) -> None:
        self.name = name
        self.clock: Clock = clock or _system_clock
        self.client = client
        self.wrap = wrap
        self.model = model
        self.taken: dict[tuple[int, ...], dict[str, int]] = {}  # by pattern and key: the last turn
        self.askers: dict[tuple[tuple[int, ...], str], _Askers] = {}
        self.handed: set[int] = set()
        self.memory: dict[str, Any] = {}
        self.records: deque[TraceRecord] = deque(maxlen=KEPT)
        self.pending: dict[int, Callable[[], str]] = {}
        self.misses: list[Exception] = []
        self.run: str | None = None
        self._calm: Calm | None = None
        self.steps = 0  # requests placed and records kept: whether something goes on

    # Most phases of tests, and most fixtures, make no call: they need neither, and, without them,
    # are gone when nobody refers to them any more.
    @cached_property
    def branch(self) -> "Branch":
        return Branch(self)

    @cached_property
    def inside(self) -> "Inside":
        return Inside(self, self.branch)

    @property
    def calm(self) -> "Calm":
        """What the fan-outs below it tell of each other."""
        with _lock:
            if self._calm is None:
                from stratum.turns import Calm

                self._calm = Calm()
            return self._calm

    @property
    def run_id(self) -> str:
        """What tells this root from all others in ids that leave the process.

        Empty under record and replay, where ids are the same on every run.
        """
        if self.clock.is_fixed:
            return ""
        if self.run is None:
            self.run = str(uuid.uuid4())
        return self.run


class _Askers:
    """Who made one call in branches of one pattern that are numbered by arrival.

    `thread` is the first one's. `others` holds, by indices, a branch's number in order of arrival
    and how often it has made the call.
    """

    def __init__(self, first: "Branch") -> None:
        self.thread = first.thread
        self.first = first.indices
        self.turns = 0
        self.others: dict[tuple[int, ...], list[int]] = {}

    def count(self, indices: tuple[int, ...]) -> tuple[int, int]:
        """Count a call; returns its branch's number, and how many that one made before."""
        if indices == self.first:
            self.turns += 1
            return 0, self.turns - 1
        other = self.others.setdefault(indices, [len(self.others) + 1, 0])
        other[1] += 1
        return other[0], other[1] - 1


class Branch:
    """One line of execution below a root: its fan-out indices, and the task that runs it.

    Tasks that a user starts inside a branch are branches of their own, numbered by arrival.
    A branch that nobody runs yet, or whose own task has ended, is continued by a later task
    that no other of its loop can have started: one that did may not have called yet. Threads
    without their caller's context make one branch together (SPEC 4.2).
    """

    __slots__ = (
        "_arrivals", "_arrived", "_earlier", "_in_threads", "indices", "is_stopped", "order",
        "outer", "pattern", "root", "task", "thread", "turns",
    )  # fmt: skip

    def __init__(
        self,
        root: Root,
        indices: tuple[int, ...] = (),
        pattern: tuple[int, ...] = (),
        order: tuple[int, ...] = (),
        task: object = None,
        thread: int | None = None,
        turns: "Turns | None" = None,
        outer: "Branch | None" = None,
    ) -> None:
        self.root: Root = root
        self.indices: tuple[int, ...] = indices  # those given by arrival count down from -1
        self.pattern: tuple[int, ...] = pattern  # the indices, with -1 for those
        self.order: tuple[int, ...] = order
        self.task: object = task
        self.thread: int | None = thread  # of several that share the branch
        self.turns: Turns | None = turns  # of the outermost fan-out around that stops early
        self.outer: Branch | None = outer
        self.is_stopped: bool = False  # a fan-out cancelled it: it makes no further call
        self._in_threads: set[Cancellable] | None = None  # calls that threads wait for
        self._earlier: weakref.WeakSet[asyncio.Task[Any]] | None = None
        self._arrived: weakref.WeakKeyDictionary[Any, Branch] | None = None
        self._arrivals: int = 0

    def fork(self, index: int, at: int, turns: "Turns | None" = None) -> "Branch":
        """Return the branch of a fan-out's argument; `at` numbers the fan-out itself."""
        indices = (*self.indices, index)
        return Branch(
            self.root,
            indices,
            indices if self.pattern is self.indices else (*self.pattern, index),
            (*self.order, at, index),
            None,
            self.thread,
            self.turns or turns,
            self,
        )

    def continued(self) -> "Branch":
        """Return this branch for the running task to continue."""
        task = asyncio.current_task()
        return self._copy(task, self.thread)

    def without_task(self) -> "Branch":
        """Return this branch for code that runs in no task to continue."""
        return self._copy(None, self.thread)

    def of_thread(self) -> "Branch":
        """Return the branch of threads that were started without their caller's context."""
        with _lock:
            shared = self._arrive(_threads)
        number = threading.get_ident()
        return shared._copy(None, number)

    def _copy(self, task: object, thread: int | None) -> "Branch":
        return Branch(
            self.root, self.indices, self.pattern, self.order, task, thread, self.turns, self
        )

    def check(self) -> None:
        """Raise `CancelledError` in a branch, or below one, that a fan-out cancelled.

        So no code that goes on after its cancellation makes a further call.
        """
        branch: Branch | None = self
        while branch is not None:
            if branch.is_stopped:
                raise asyncio.CancelledError
            branch = branch.outer

    def stop(self) -> bool:
        """Let it make no further call; True says that a thread's call was cancelled."""
        with _lock:
            self.is_stopped = True
            waiting = tuple(self._in_threads or ())
        for call in waiting:
            call.cancel()
        return bool(waiting)

    @contextmanager
    def awaiting(self, call: "Cancellable") -> Iterator[None]:
        """Let a thread's call be cancelled with the branch, or one around it, in the body."""
        around: list[Branch] = []
        branch: Branch = self
        while branch.outer is not None:
            around.append(branch)
            branch = branch.outer
        with _lock:
            for branch in around:
                if branch._in_threads is None:
                    branch._in_threads = set()
                branch._in_threads.add(call)
            stopped = any(branch.is_stopped for branch in around)
        try:
            if stopped:
                call.cancel()
            yield
        finally:
            with _lock:
                for branch in around:
                    assert branch._in_threads is not None
                    branch._in_threads.discard(call)

    def claim(self) -> None:
        """Make the running task the branch's own."""
        self.task = asyncio.current_task()

    def here(self) -> "Branch":
        """Return the branch that the running task is on; outside a loop this one."""
        try:
            task = asyncio.current_task()
        except RuntimeError:
            return self
        return self if task is self.task else self.at(task)

    def at(self, runner: Any) -> "Branch":
        if runner is self.task or runner is None:
            return self
        if self._is_free(runner) and _is_alone():
            self._adopt(runner)
            return self
        return self._arrive(runner)

    def _is_free(self, runner: Any) -> bool:
        task = self.task
        ended = isinstance(task, asyncio.Task) and task.done()
        return task is None or (ended and not self._was_there(runner))

    def _was_there(self, runner: Any) -> bool:
        return self._earlier is not None and runner in self._earlier

    def _adopt(self, runner: "asyncio.Task[Any]") -> None:
        self.task = runner
        runner.add_done_callback(self._remember_tasks)

    def _remember_tasks(self, ended: "asyncio.Task[Any]") -> None:
        """Note who had started before the branch's own task ended."""
        self._earlier = weakref.WeakSet(asyncio.all_tasks(ended.get_loop()))

    def _arrive(self, runner: Any) -> "Branch":
        if self._arrived is None:
            self._arrived = weakref.WeakKeyDictionary()
        branch = self._arrived.get(runner)
        if branch is None:
            self._arrivals += 1
            index, at = -self._arrivals, next_number()
            branch = Branch(
                self.root,
                (*self.indices, index),
                (*self.pattern, -1),
                (*self.order, at, 0),
                runner,
                turns=self.turns,
                outer=self,
            )
            self._arrived[runner] = branch
        return branch


@dataclass(eq=False, slots=True)
class Block:
    """What one `using` sets, together with those around it."""

    client: Client | None
    model: str | None
    outer: "Block | None"
    is_open: bool = True
    sink: "ReviewSink | Callable[..., Any] | None" = None
    stub: tuple[Any, Callable[..., Any]] | None = None


@dataclass(frozen=True, slots=True)
class Inside:
    """What surrounds a call."""

    root: Root
    branch: Branch
    parent: str | None = None
    ledger: Ledger | None = None
    client: Client | None = None
    model: str | None = None
    block: Block | None = None
    is_sync: bool = False  # in the body of a synchronous flow, whose steps give their values

    def on(self, branch: Branch) -> "Inside":
        """Return the same on another branch, faster than `dataclasses.replace`."""
        root, parent, ledger, client = self.root, self.parent, self.ledger, self.client
        return _inside(root, branch, parent, ledger, client, self.model, self.block, self.is_sync)


_inside = maker(Inside)


def place(branch: Branch, key: str) -> tuple[Place, bool]:
    """Take the place of a request; True says that another task or thread made the same one.

    Tasks that the user started are numbered for each key by itself: which of them came first
    says nothing about a call that only one of them makes.
    """
    root, pattern = branch.root, branch.pattern
    with _lock:
        root.steps += 1
        if branch.indices is pattern:  # neither it nor one around it is numbered by arrival
            turns = root.taken.get(pattern)
            if turns is None:
                turns = root.taken[pattern] = {}
            turn = turns[key] = turns.get(key, -1) + 1
            return Place(pattern, turn), False
        askers = root.askers.get((pattern, key))
        if askers is None:
            askers = root.askers[pattern, key] = _Askers(branch)
        nth, turn = askers.count(branch.indices)
    taken = Place(_numbered(pattern, nth) if nth else pattern, turn)
    return taken, nth > 0 or branch.thread != askers.thread


def _is_alone() -> bool:
    """Say whether the running task can have been started by no other of the test's.

    One that has not begun has started nobody. Libraries make such a task whenever the garbage
    collector finds a connection of theirs.
    """
    if threading.current_thread() is not threading.main_thread():
        return False
    running = asyncio.current_task()
    return all(task is running or _is_new(task) for task in asyncio.all_tasks())


def _is_new(task: "asyncio.Task[Any]") -> bool:
    body = task.get_coro()
    return iscoroutine(body) and getcoroutinestate(body) == CORO_CREATED


def _numbered(pattern: tuple[int, ...], nth: int) -> tuple[int, ...]:
    """Put a number by arrival into a branch's pattern, at the last index that has none."""
    last = max(at for at, index in enumerate(pattern) if index < 0)
    return (*pattern[:last], -1 - nth, *pattern[last + 1 :])


def record_id(number: int) -> str:
    """Return a trace record's id: 16 hex digits, unique across processes."""
    return f"{_prefix}{number:08x}"
