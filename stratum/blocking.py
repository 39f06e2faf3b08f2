"""Run a coroutine for a synchronous caller, on the background loop."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from dataclasses import replace
from typing import Any, Generic, TypeVar

from stratum.at_once import refuse_in_loop
from stratum.roots import Inside
from stratum.scope import continued, enter, process

T = TypeVar("T")


def run_now(name: str, start: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine for a synchronous caller; raises `NotAwaited` inside a running loop."""
    refuse_in_loop(name)
    inside = continued()
    job = _Job(inside, start)
    try:
        with inside.branch.awaiting(job):
            return job.run()
    except BaseException:
        job.cancel()
        raise


def background_loop() -> asyncio.AbstractEventLoop:
    """Return the loop that runs what synchronous callers wait for, in a thread of its own."""
    with process.lock:
        if process.loop is None or process.loop.is_closed():
            process.loop = asyncio.new_event_loop()
            threading.Thread(target=process.loop.run_forever, name="stratum", daemon=True).start()
        return process.loop


class _Job(Generic[T]):
    """A coroutine on the background loop, for a thread that waits until it has ended.

    One that is cancelled has begun before, so that it leaves a record, and ended before the
    thread goes on.
    """

    def __init__(self, inside: Inside, start: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self._inside = inside
        self._start = start
        self._caller = threading.get_ident()
        self._end: Future[T] = Future()
        self._loop = background_loop()
        self._task: asyncio.Task[T] | None = None
        self._is_cancelled = False
        self._is_cancelled_early = False

    def run(self) -> T:
        """Begin it, and wait until it has ended."""
        self._loop.call_soon_threadsafe(self._begin)
        return self._end.result()

    def cancel(self) -> None:
        """Cancel it once, from any thread; one that has not begun is cancelled when it has."""
        if not (self._end.done() or self._is_cancelled):
            self._is_cancelled = True
            self._thread_goes_on()
            self._loop.call_soon_threadsafe(self._cancel)

    def _begin(self) -> None:
        self._task = self._loop.create_task(self._run())
        self._task.add_done_callback(self._ended)
        self._loop.call_soon(self._thread_waits)
        if self._is_cancelled_early:
            self._cancel()

    def _cancel(self) -> None:
        if self._task is None:
            self._is_cancelled_early = True
        else:
            self._loop.call_soon(self._task.cancel)

    async def _run(self) -> T:
        inside = self._inside
        enter(replace(inside, branch=inside.branch.continued()))
        if inside.ledger is None:
            return await self._start()
        async with inside.ledger.time.joined():
            return await self._start()

    def _ended(self, task: "asyncio.Task[T]") -> None:
        self._thread_goes_on()
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if error is None:
            self._end.set_result(task.result())
        else:
            self._end.set_exception(error)

    def _thread_waits(self) -> None:
        turns = self._inside.branch.turns
        if turns is not None and not self._is_cancelled:
            turns.activity.thread_waits(self._caller)

    def _thread_goes_on(self) -> None:
        turns = self._inside.branch.turns
        if turns is not None:
            turns.activity.thread_goes_on(self._caller)
