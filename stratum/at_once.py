"""Run a coroutine that hardly ever waits in the thread of its synchronous caller."""

import asyncio
import atexit
from collections.abc import Callable, Coroutine, Generator
from contextlib import suppress
from contextvars import copy_context
from types import coroutine
from typing import Any, TypeVar

from stratum.errors import NotAwaited
from stratum.roots import Branch, Inside
from stratum.scope import enter, process

T = TypeVar("T")


def refuse_in_loop(name: str) -> None:
    """Raise `NotAwaited` where a loop runs, which `.run()` would block."""
    if asyncio._get_running_loop() is not None:
        raise NotAwaited(
            f"{name}.run() was called inside a running event loop, which it would block.\n"
            f"  Write `await {name}(...)` there."
        )


def run_at_once(name: str, inside: Inside, start: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine in this thread, without a task and without a turn of a loop.

    It sees a running loop, as it would elsewhere. One that does wait is continued on that loop.
    """
    refuse_in_loop(name)
    try:
        loop = process.spare_loops.pop()
    except IndexError:
        loop = _new_loop()
    try:
        return copy_context().run(_run, loop, inside, start)
    finally:
        process.spare_loops.append(loop)


def _run(
    loop: asyncio.AbstractEventLoop, inside: Inside, start: Callable[[], Coroutine[Any, Any, T]]
) -> T:
    branch = inside.branch.without_task()
    enter(inside.on(branch))
    call = start()
    asyncio._set_running_loop(loop)
    try:
        waits_for = call.send(None)
    except StopIteration as done:
        value: T = done.value
        return value
    finally:
        asyncio._set_running_loop(None)
    return _finish(loop, _rest(call, waits_for, branch))


def _finish(loop: asyncio.AbstractEventLoop, rest: Coroutine[Any, Any, T]) -> T:
    task = loop.create_task(rest)
    try:
        return loop.run_until_complete(task)
    finally:
        if not task.done():  # Ctrl-C
            task.cancel()
            with suppress(asyncio.CancelledError):
                loop.run_until_complete(task)


async def _rest(call: Coroutine[Any, Any, T], waits_for: Any, branch: Branch) -> T:
    """Continue a coroutine that has been started, and waits for something."""
    branch.claim()
    value: T = await _continued(call, waits_for)
    return value


@coroutine
def _continued(call: Coroutine[Any, Any, T], waits_for: Any) -> Generator[Any, Any, T]:
    while True:
        try:
            try:
                sent = yield waits_for
            except BaseException as error:
                waits_for = call.throw(error)
            else:
                waits_for = call.send(sent)
        except StopIteration as done:
            value: T = done.value
            return value


def _new_loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    atexit.register(loop.close)
    return loop
