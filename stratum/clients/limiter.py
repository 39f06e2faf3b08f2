"""Hold back calls to a model that says it is asked too much."""

import asyncio
import math
import threading
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Limiter:
    """How many requests one model is sent at once, and from when on.

    Nothing is limited until the provider asks for a pause. Then every call waits until the
    pause is over, and half as many as were on their way are let through at once; each round
    of good answers lets one more through (additive increase, multiplicative decrease, as TCP
    has it: Chiu and Jain 1989). Several complaints of one burst halve once. Turns are given
    first come, first served, across event loops and threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[_Waiter] = deque()
        self._busy = 0
        self._limit = math.inf
        self._not_before = 0.0

    @property
    def limit(self) -> float:
        """How many requests may be on their way at once."""
        return self._limit

    def seconds_left(self) -> float:
        """Return how long the provider's pause still lasts."""
        return max(0.0, self._not_before - time.monotonic())

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a free place; it is given back however the body ends."""
        await self._enter()
        try:
            yield
        finally:
            self._leave()

    def pause(self, seconds: float) -> None:
        """Let nobody be sent for so long, and fewer at once after it."""
        with self._lock:
            now = time.monotonic()
            if now >= self._not_before:
                self._limit = max(1.0, min(self._busy, self._limit) / 2)
            self._not_before = max(self._not_before, now + seconds)

    def succeeded(self) -> None:
        """Let one more through for every round of good answers."""
        with self._lock:
            self._limit += 1 / self._limit
            self._admit()

    async def _enter(self) -> None:
        with self._lock:
            if self._busy + 1 <= self._limit and not self._waiting:
                self._busy += 1
                return
            waiter = _Waiter(asyncio.get_running_loop())
            self._waiting.append(waiter)
        try:
            await waiter.future
        except BaseException:  # cancelled, or closed with its loop
            self._withdraw(waiter)
            raise

    def _withdraw(self, waiter: "_Waiter") -> None:
        with self._lock:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
            elif waiter.admitted:
                self._busy -= 1
                self._admit()

    def _leave(self) -> None:
        with self._lock:
            self._busy -= 1
            self._admit()

    def _admit(self) -> None:
        while self._waiting and self._busy + 1 <= self._limit:
            if self._waiting.popleft().admit():
                self._busy += 1


class _Waiter:
    """A call that waits for its turn, on the loop it runs on."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.admitted = False
        self.future: asyncio.Future[None] = loop.create_future()
        self._loop = loop

    def admit(self) -> bool:
        """Wake the call; False when its loop is closed, so that nobody is there to go."""
        try:
            self._loop.call_soon_threadsafe(self._wake)
        except RuntimeError:
            return False
        self.admitted = True
        return True

    def _wake(self) -> None:
        if not self.future.done():
            self.future.set_result(None)
