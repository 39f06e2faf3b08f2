"""Put what happens below a fan-out into one order, which a replay can follow."""

import asyncio
import itertools
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from stratum.activity import Activity

if TYPE_CHECKING:
    from typing import Protocol

    class Gate(Protocol):
        """What keeps other workers from recording the same fan-out meanwhile."""

        async def go_through(self) -> None: ...

        def close(self) -> None: ...


T = TypeVar("T")

PATIENCE = 2.0  # seconds that a reply waits for an earlier one that does not come
UNORDERED = sys.maxsize  # the rank of replies that no recording orders: after those that are due
LULL = (UNORDERED, UNORDERED)  # the rank of what waits until no reply is due
NEVER = UNORDERED - 1  # the rank of calls that are to be cancelled


class _Waiter:
    """Something that waits for its turn, by rank; `act` is done then, and gives the result."""

    __slots__ = ("act", "future", "loop", "rank", "result")

    def __init__(self, rank: tuple[Any, ...], act: Callable[[], Any]) -> None:
        self.rank = rank
        self.act = act
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Any] = self.loop.create_future()

    def go(self) -> None:
        """Do it now, and wake who waits, on its own loop."""
        self.result = self.act()
        self.loop.call_soon_threadsafe(_resolve, self.future, self.result)


def _resolve(future: "asyncio.Future[Any]", result: Any) -> None:
    if not future.done():
        future.set_result(result)


class Calm:
    """Whether anything that a reply set off goes on below a root, and what waits for its end."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._unsettled = 0
        self._acts: list[Callable[[], object]] = []
        self._turns: set[Turns] = set()

    def wait(self, act: Callable[[], object]) -> None:
        """Do something when nothing goes on, and let no reply be given until it has settled."""
        with self._lock:
            if self._unsettled:
                self._acts.append(act)
                return
        self._perform([act])

    def disturb(self, turns: "Turns") -> None:
        with self._lock:
            self._unsettled += 1
            self._turns.add(turns)

    def settle(self) -> None:
        """Say that what went on in some turns is over; then do what waits for that."""
        with self._lock:
            self._unsettled -= 1
            acts: list[Callable[[], object]] = []
            if not self._unsettled:
                acts, self._acts = self._acts, acts
        self._perform(acts)

    def leave(self, turns: "Turns") -> None:
        with self._lock:
            self._turns.discard(turns)

    def _perform(self, acts: list[Callable[[], object]]) -> None:
        if acts:
            for turns in tuple(self._turns):
                turns.pause()
        for act in acts:
            act()


class Turns:
    """Replies take turns, so that whoever comes first does not depend on scheduling (SPEC 5.5).

    The next reply is given when nothing that the one before set off goes on: a branch that it
    ends has ended by then, and has stopped the fan-out if it was the last one needed. A reply
    that was recorded as the nth waits for n others. What the branches ask of their budgets
    before the next reply is decided in the order of their places.

    Recordings hold the order only if it `is_needed`: by a fan-out that stops early, or
    because a budget did not have room for all at once.
    """

    def __init__(self, activity: Activity, calm: Calm, *, is_needed: bool) -> None:
        self.is_needed: bool = is_needed
        self.activity: Activity = activity
        self._lock = threading.Lock()
        self._arrivals = itertools.count()
        self._replies: list[_Waiter] = []
        self._asking: list[_Waiter] = []
        self._noted: list[tuple[dict[str, Any], int]] = []
        self._given = 0
        self._calm = calm
        self._is_closed = False
        self._is_astray = False
        self._is_settling = True
        self._timer: asyncio.TimerHandle | None = None
        self._gate: Gate | None = None
        self._elsewhere = 0
        calm.disturb(self)
        activity.when_over(self._end_settling)

    async def take(self, number: int | None) -> int:
        """Wait for a reply's turn; returns how many replies were given before it."""
        rank = UNORDERED if number is None else number
        waiter = _Waiter((rank, next(self._arrivals)), self._count)
        given: int = await self._wait(waiter, self._replies, self._uncount)
        return given

    async def after(self, number: int) -> None:
        """Wait until so many replies were given, and nothing that they set off goes on."""
        await self._wait(_Waiter((number, -1), _nothing), self._replies, _nothing)

    async def stray(self) -> None:
        """Wait until a call is missing, so that nothing can end as it was recorded."""
        await self._wait(_Waiter((NEVER, 0), _nothing), self._replies, _nothing)

    def go_astray(self) -> None:
        """Say that a call is missing: no reply waits for it."""
        with self._lock:
            self._is_astray = True
            self._serve()

    async def lull(self) -> None:
        """Wait until nothing goes on, and no reply is due."""
        await self._wait(_Waiter(LULL, _nothing), self._replies, _nothing)

    async def perform(
        self, order: tuple[Any, ...], act: Callable[[], T], undo: Callable[[T], None]
    ) -> T:
        """Do something when all that can ask at once has asked, in the order of `order`.

        `undo` is done when the caller is cancelled before it learns the result.
        """
        result: T = await self._wait(_Waiter(order, act), self._asking, undo)
        return result

    async def _wait(
        self, waiter: _Waiter, queue: list[_Waiter], undo: Callable[[Any], None]
    ) -> Any:
        with self._lock:
            queue.append(waiter)
            self._serve()
        try:
            return await waiter.future
        except BaseException:
            with self._lock:
                if waiter in queue:
                    queue.remove(waiter)
                else:
                    undo(waiter.result)
            raise

    @property
    def given(self) -> int:
        """How many replies were given."""
        return self._given

    @contextmanager
    def awaiting(self) -> Iterator[None]:
        """Say that a call waits for what another worker records: there is no lull meanwhile."""
        with self._lock:
            self._elsewhere += 1
        try:
            yield
        finally:
            with self._lock:
                self._elsewhere -= 1
            self.pause()

    async def gate(self, order: tuple[Any, ...], make: "Callable[[], Gate]") -> "Gate":
        """Return what one worker at a time goes through to record the fan-out.

        It is made for the first call in the order of places, so that all workers, whose
        threads may be faster or slower, come to the same one.
        """
        if self._gate is not None:
            return self._gate

        def make_once() -> "Gate":
            self._gate = self._gate or make()
            return self._gate

        return await self.perform(order, make_once, undo=_nothing)

    def note(self, entry: dict[str, Any], number: int) -> None:
        """Let a recorded call hold the order of its reply, now or once it is needed."""
        if self.is_needed:
            entry.setdefault("finished", number)
        else:
            self._noted.append((entry, number))

    def need(self) -> None:
        """Say that the order made a difference."""
        self.is_needed = True
        for entry, number in self._noted:
            entry.setdefault("finished", number)
        self._noted.clear()

    def close(self) -> None:
        """Stop waiting for replies that do not come; the fan-out is over."""
        if self._timer is not None:
            self._timer.cancel()
        with self._lock:
            was_settling = self._is_settling and not self._is_closed
            self._is_closed = True
        self._calm.leave(self)
        if was_settling:
            self._calm.settle()
        if self._gate is not None:
            self._gate.close()

    def _count(self) -> int:
        self._given += 1
        return self._given - 1

    def _uncount(self, number: int) -> None:
        self._given -= 1

    def _serve(self) -> None:
        """Let go what is due, if nothing goes on: what is asked of budgets, else one reply."""
        if self._is_settling:
            return
        if self._asking:
            asking, self._asking[:] = sorted(self._asking, key=_rank), []
            for waiter in asking:
                waiter.go()
            self._settle()
        elif self._replies:
            due = [waiter for waiter in self._replies if self._is_due(waiter)]
            if due:
                self._give(min(due, key=_rank))
            elif min(self._replies, key=_rank).rank[0] != NEVER:
                self.activity.loop.call_soon_threadsafe(self._be_patient, self._progress())

    def _is_due(self, waiter: _Waiter) -> bool:
        if self._is_astray or waiter.rank[0] <= self._given:
            return True
        return waiter.rank[0] == UNORDERED and (waiter.rank != LULL or not self._elsewhere)

    def _give(self, waiter: _Waiter) -> None:
        self._replies.remove(waiter)
        waiter.go()
        self._settle()

    def _settle(self) -> None:
        self._is_settling = True
        if not self._is_closed:
            self._calm.disturb(self)
        self.activity.when_over(self._end_settling)

    def _end_settling(self) -> None:
        """Let go what is due, now that nothing goes on."""
        with self._lock:
            self._is_settling = False
        if not self._is_closed:
            self._calm.settle()
        with self._lock:
            self._serve()

    def pause(self) -> None:
        """Give no reply before what begins now has settled."""
        with self._lock:
            if not self._is_settling and not self._is_closed:
                self._settle()

    def _progress(self) -> tuple[int, int]:
        return self._given, self.activity.steps()

    def _be_patient(self, now: tuple[int, int]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.activity.loop.call_later(PATIENCE, self._lose_patience, now)

    def _lose_patience(self, before: tuple[int, int]) -> None:
        """Give the next reply although an earlier one is missing: it is asked no more."""
        with self._lock:
            if not self._replies or self._is_settling:
                return
            if before == self._progress() and not self._elsewhere:
                self._give(min(self._replies, key=_rank))
            else:
                self._serve()


def _nothing(_: object = None) -> None:
    pass


def _rank(waiter: _Waiter) -> tuple[Any, ...]:
    return waiter.rank
