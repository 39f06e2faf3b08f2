"""Let the time of a body be up."""

import asyncio
import itertools
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from typing import TypeAlias

from stratum.errors import BudgetExceeded
from stratum.values import dataclass

WhenCalm: TypeAlias = Callable[[Callable[[], None]], None]  # does something, now or later


def at_once(act: Callable[[], None]) -> None:
    act()


@dataclass(frozen=True, slots=True, eq=False)
class _Alarm:
    """What cancels one body that is bounded, on the loop of that body."""

    timeout: asyncio.Timeout
    loop: asyncio.AbstractEventLoop


class TimeLimit:
    """How long what a ledger bounds may take, inside the limits around it (SPEC 6.3).

    `ms` is wall-clock milliseconds, None no limit. Where `only_while_asking`, as under record and
    replay, time is up by the clock only while a call below is being asked of what is no
    recording: a recorded time limit is up where it was up then. Of several limits around a call
    whose time is up the outermost ends it, and the call counts for no other from then on.
    """

    def __init__(
        self,
        ms: float | None,
        name: str,
        outer: "TimeLimit | None",
        *,
        only_while_asking: bool = False,
        when_calm: WhenCalm = at_once,
    ) -> None:
        self.ms = ms
        self.expired: bool = False
        self._name = name
        self._outer = outer
        self._lock: threading.RLock = outer._lock if outer else threading.RLock()
        self._only_while_asking = only_while_asking
        self._asking = 0
        self._is_late = False
        self._when_calm = when_calm
        self._ends = None if ms is None else time.monotonic() + ms / 1000
        self._paused_at: float | None = None
        self._pauses = 0
        self._alarms: list[_Alarm] = []

    def chain(self) -> Iterator["TimeLimit"]:
        """Yield this limit and those around it, innermost first."""
        limit: TimeLimit | None = self
        while limit is not None:
            yield limit
            limit = limit._outer

    def _outer_ones(self) -> Iterator["TimeLimit"]:
        return itertools.islice(self.chain(), 1, None)

    @asynccontextmanager
    async def bounded(self) -> AsyncIterator[None]:
        """Cancel the body when its time is up, and raise `BudgetExceeded`."""
        if self._ends is None:
            yield
            return
        timer: list[asyncio.TimerHandle] = []
        try:
            async with self._alarmed():
                self._arm(asyncio.get_running_loop(), timer)
                yield
        finally:
            _cancel(timer)

    @contextmanager
    def watched(self, loop: asyncio.AbstractEventLoop) -> Iterator[None]:
        """Let the time of a body that runs in a thread be up in its steps, and at its end."""
        timer: list[asyncio.TimerHandle] = []
        if self._ends is not None:
            loop.call_soon_threadsafe(self._arm, loop, timer)
        try:
            yield
        finally:
            loop.call_soon_threadsafe(_cancel, timer)
        if self.expired:
            raise self.timeout()

    @asynccontextmanager
    async def joined(self) -> AsyncIterator[None]:
        """Bound a body on another loop, too, by the limit and by those around it."""
        async with AsyncExitStack() as stack:
            for limit in reversed(list(self.chain())):
                if limit._ends is not None:
                    await stack.enter_async_context(limit._alarmed())
            yield

    @asynccontextmanager
    async def _alarmed(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(None) as timeout:
                alarm = _Alarm(timeout, asyncio.get_running_loop())
                self._alarms.append(alarm)
                try:
                    if self.expired:
                        self._ring(alarm)
                    yield
                finally:
                    self._alarms.remove(alarm)
                if timeout.expired():  # the body swallowed its cancellation
                    raise TimeoutError
        except TimeoutError:
            if not self.expired:
                raise
            raise self.timeout() from None

    def _arm(self, loop: asyncio.AbstractEventLoop, timer: list[asyncio.TimerHandle]) -> None:
        left = self.seconds_left()
        if left <= 0:
            self._is_late = True
            self._run_out()
        else:
            timer[:] = [loop.call_later(left, self._arm, loop, timer)]

    def _run_out(self) -> None:
        if self._may_run_out():
            self._when_calm(self._run_out_now)

    def _run_out_now(self) -> None:
        if self._may_run_out():
            self.expire()

    def _may_run_out(self) -> bool:
        if not self._is_late or (self._only_while_asking and not self._asking):
            return False
        return not any(outer._is_late and outer._can_end() for outer in self._outer_ones())

    def _can_end(self) -> bool:
        """Say whether a body is left that the limit has not ended."""
        return bool(self._alarms) and not self.expired

    @property
    def is_late(self) -> bool:
        """Say whether this time, or one around it, is up by the clock."""
        return any(limit._is_late for limit in self.chain())

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Say that a call is being asked of what is no recording, so that its time counts."""
        chain = [limit for limit in self.chain() if limit._only_while_asking]
        before = {limit for limit in chain if limit.expired}
        with self._lock:
            for limit in chain:
                limit._asking += 1
        for limit in chain:
            if limit._is_late:
                asyncio.get_running_loop().call_soon(limit._run_out)
        try:
            yield
        finally:
            with self._lock:
                for limit in chain:
                    limit._asking -= 1
                    if limit.expired and limit not in before:
                        break

    def seconds_left(self) -> float:
        """Return the time left, not counting pauses; a paused limit has some."""
        assert self._ends is not None
        if self._paused_at is not None:
            return max(self._ends - self._paused_at, 0.05)
        return self._ends - time.monotonic()

    def timeout(self) -> BudgetExceeded:
        text = f"{self._name} took longer than its {self.ms:g} ms."
        return BudgetExceeded(f"{text}\n  Raise ms, or do less at once.", limit="ms")

    def expire(self) -> None:
        """Let the time be up now."""
        with self._lock:
            if not self.expired:
                self.expired = True
                for outer in self._outer_ones():
                    outer._asking -= self._asking
        for alarm in tuple(self._alarms):
            with suppress(RuntimeError):  # its loop is closed: nothing runs there any more
                alarm.loop.call_soon_threadsafe(self._ring, alarm)

    def _ring(self, alarm: _Alarm) -> None:
        if alarm in self._alarms and not alarm.timeout.expired():
            alarm.timeout.reschedule(alarm.loop.time())

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stop this clock and those around it; for what is nobody's fault."""
        for limit in self.chain():
            limit._pause()
        try:
            yield
        finally:
            for limit in self.chain():
                limit._resume()

    def _pause(self) -> None:
        with self._lock:
            self._pauses += 1
            if self._pauses == 1:
                self._paused_at = time.monotonic()

    def _resume(self) -> None:
        with self._lock:
            self._pauses -= 1
            if self._pauses == 0 and self._paused_at is not None:
                if self._ends is not None:
                    self._ends += time.monotonic() - self._paused_at
                self._paused_at = None


def _cancel(timers: list[asyncio.TimerHandle]) -> None:
    for timer in timers:
        timer.cancel()
