"""Whether anything goes on below a fan-out: on the loops that run it, and in threads."""

import asyncio
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import FrameType
from typing import Any

IDLE = 32  # turns of an event loop without any step, after which all that a reply set off is over
GRACE = 0.005  # seconds in which a thread goes on with what a reply gave it
LONGEST = 0.25  # the same for a thread that is seen to go on, where a replay must not be faster


async def idle(steps: Callable[[], int], turns_needed: int = IDLE) -> None:
    """Wait until the loop has turned for a while without any step."""
    seen, turns = steps(), 0
    while turns < turns_needed:
        await asyncio.sleep(0)
        now = steps()
        seen, turns = now, turns + 1 if now == seen else 0


class Activity:
    """Tells when all that was set off below a fan-out is over.

    `steps` counts what is done there. The turns of a loop say nothing of threads: they get a
    moment, and those that are seen to go on a longer one if `follows_threads`.
    """

    def __init__(self, steps: Callable[[], int], *, follows_threads: bool) -> None:
        self.steps: Callable[[], int] = steps
        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        self._follows_threads = follows_threads
        self._loops = [self.loop]  # and those that run the calls of threads
        self._threads: dict[int, bool] = {}  # by ident: whether it goes on with what a call gave
        self._earlier = _busy_in_pool(self.loop, sys._current_frames())
        self._since = 0.0

    def when_over(self, act: Callable[[], object]) -> None:
        """Do something on the fan-out's loop as soon as nothing goes on."""
        self.loop.call_soon_threadsafe(self._look, act, 0, 0, -1)

    def thread_waits(self, thread: int) -> None:
        """Say that a thread waits for a call that the running loop has begun."""
        self._threads[thread] = False
        loop = asyncio.get_running_loop()
        if loop not in self._loops:
            self._loops.append(loop)

    def thread_goes_on(self, thread: int) -> None:
        self._threads[thread] = True

    async def threads_to_end(self) -> None:
        """Give threads whose calls were cancelled a moment to end."""
        ends = time.monotonic() + LONGEST
        while self._has_busy_threads() and time.monotonic() < ends:  # noqa: ASYNC110 (nothing tells)
            await asyncio.sleep(GRACE / 10)

    def _look(self, act: Callable[[], object], at: int, turns: int, seen: int) -> None:
        """Count the turns of one loop without any step; then look at the next one."""
        loop, now = self._loops[at], self.steps()
        if now != seen:
            self._since = time.monotonic()
            self._hop(0, at, act, now)
        elif turns < IDLE:
            loop.call_soon(self._look, act, at, turns + 1, now)
        elif at + 1 < len(self._loops):
            self._hop(at + 1, at, act, now)
        elif at:
            with suppress(RuntimeError):
                self.loop.call_soon_threadsafe(self._look_at_threads, act, now)
        else:
            self._look_at_threads(act, now)

    def _hop(self, to: int, at: int, act: Callable[[], object], now: int) -> None:
        loop = self._loops[to]
        soon = loop.call_soon if to == at else loop.call_soon_threadsafe
        with suppress(RuntimeError):  # the fan-out's loop is closed, where nobody waits any more
            soon(self._look, act, to, 0, now)

    def _look_at_threads(self, act: Callable[[], object], seen: int) -> None:
        if self._waits_for_threads():
            self.loop.call_later(GRACE / 10, self._look, act, 0, IDLE, seen)
        elif self.steps() != seen:
            self._look(act, 0, 0, seen)
        else:
            act()

    def _waits_for_threads(self) -> bool:
        if not self._threads and _pool(self.loop) is None:
            return False
        waited = time.monotonic() - self._since
        if waited < GRACE:
            return True
        return self._follows_threads and waited < LONGEST and self._has_busy_threads()

    def _has_busy_threads(self) -> bool:
        """Say whether a thread goes on that made calls below the fan-out, or may come to one."""
        own, frames = threading.get_ident(), sys._current_frames()
        known = tuple(self._threads.items())
        if any(goes_on and each != own and _works(frames, each) for each, goes_on in known):
            return True
        return bool(_busy_in_pool(self.loop, frames) - self._earlier - self._threads.keys())


def _pool(loop: asyncio.AbstractEventLoop) -> Any:
    """Return the threads that `asyncio.to_thread` uses; None when it was not used on the loop."""
    return getattr(loop, "_default_executor", None)


def _busy_in_pool(loop: asyncio.AbstractEventLoop, frames: Mapping[int, FrameType]) -> set[int]:
    """Return the idents of the threads of a loop's pool that do some work."""
    threads = tuple(getattr(_pool(loop), "_threads", ()))
    return {each.ident for each in threads if each.ident and _works(frames, each.ident)}


def _works(frames: Mapping[int, FrameType], thread: int) -> bool:
    """Say whether a thread lives, and is not one of a pool that waits for work."""
    frame = frames.get(thread)
    return frame is not None and frame.f_globals.get("__name__") != "concurrent.futures.thread"
