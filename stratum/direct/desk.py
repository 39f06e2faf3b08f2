"""Settle a synchronous call: the engine on a loop of its own, the user's function where it is."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any, NamedTuple, TypeVar

from stratum.budget import Estimate, Ledger, Reservation
from stratum.errors import BudgetExceeded
from stratum.roots import Inside
from stratum.scope import enter, process
from stratum.time_limits import TimeLimit

T = TypeVar("T")


class Desk:
    """Where a coroutine on another loop leaves work for the thread that waits for it."""

    def __init__(self) -> None:
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()

    async def do(self, work: Callable[[], T]) -> T:
        """Let the waiting thread do the work, and return what it gives or raise what it raises."""
        loop = asyncio.get_running_loop()
        done = asyncio.Event()
        outcome: list[T | _Raised] = []

        def at_the_desk() -> None:
            try:
                outcome.append(work())
            except Exception as error:
                outcome.append(_Raised(error))
            loop.call_soon_threadsafe(done.set)

        self._work.put(at_the_desk)
        await done.wait()
        (result,) = outcome
        if isinstance(result, _Raised):
            raise result.error
        return result

    def run(self, inside: Inside, start: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run a coroutine on the desk's loop, and do meanwhile what it leaves here.

        So the user's function runs in its caller's thread, whether that has a running loop or
        not, and nothing waits for a loop that the caller blocks.
        """
        ended: list[T | _Raised] = []

        async def on_the_loop() -> None:
            enter(inside)
            try:
                ended.append(await start())
            except BaseException as error:
                ended.append(_Raised(error))
            finally:
                self._work.put(None)

        future = asyncio.run_coroutine_threadsafe(on_the_loop(), _loop())
        try:
            while (work := self._work.get()) is not None:
                work()
        except BaseException:  # Ctrl-C: nobody waits for the answer any more
            future.cancel()
            raise
        (end,) = ended
        if isinstance(end, _Raised):
            raise end.error
        return end


class _Raised(NamedTuple):
    """What a piece of work raised."""

    error: BaseException


class _Unending(TimeLimit):
    """Lets the limits around it end no call: what would end it waits for the caller's loop."""

    @property
    def is_late(self) -> bool:
        return False

    @contextmanager
    def asking(self) -> Iterator[None]:
        yield


class Unwaiting(Ledger):
    """A ledger for a caller that blocks its loop: it cannot wait for calls of that loop."""

    def __init__(self, ledger: Ledger, function: str) -> None:
        super().__init__(ledger.budget, ledger.name, ledger.parent)
        self.time: TimeLimit = _Unending(None, ledger.name, ledger.time)
        self._ledger = ledger
        self._function = function

    async def reserve(self, estimate: Estimate, order: tuple[Any, ...]) -> Reservation:
        try:
            async with asyncio.timeout(0):
                return await self._ledger.reserve(estimate, order)
        except TimeoutError:
            raise BudgetExceeded(
                f"{self._function} was called synchronously inside a running event loop, where it "
                f"cannot wait for the calls that are open in {self._ledger.name}.\n"
                "  Await the asynchronous function instead, or use asyncio.to_thread(...).",
                limit="usd" if self._ledger.needs_price else "tokens",
            ) from None


def is_in_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _loop() -> asyncio.AbstractEventLoop:
    with process.lock:
        loop = process.desk_loop
        if loop is None or loop.is_closed():
            loop = process.desk_loop = asyncio.new_event_loop()
            threading.Thread(target=loop.run_forever, name="stratum-desk", daemon=True).start()
        return loop
