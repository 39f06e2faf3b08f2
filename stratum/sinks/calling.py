"""Sinks that decide by a function or from a list."""

import asyncio
import inspect
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from contextvars import copy_context
from typing import Any

from stratum.errors import ConfigurationError
from stratum.reviews import HumanAnswer, PendingReview, ReviewEnding


class CallableSink:
    """Asks a function, which is given the review and returns the decision or a `HumanAnswer`.

    A coroutine function runs in the caller's loop; a plain function in a daemon thread, so
    that it may block: when its time is up nobody waits for it any more.

    >>> CallableSink(lambda review: "approve")
    <CallableSink>
    """

    def __init__(self, decide: Callable[[PendingReview], Any]) -> None:
        self._decide = decide
        self._reviews: dict[str, PendingReview] = {}

    async def submit(self, review: PendingReview) -> None:
        self._reviews[review.id] = review

    async def decision(self, review_id: str) -> HumanAnswer:
        review = self._reviews[review_id]
        if inspect.iscoroutinefunction(self._decide):
            said = await self._decide(review)
        else:
            said = await _in_thread(self._decide, review)
            said = await said if inspect.isawaitable(said) else said
        return said if isinstance(said, HumanAnswer) else HumanAnswer(value=said)

    async def reject(self, review_id: str, problems: tuple[str, ...]) -> None:
        raise ConfigurationError(
            f"the function that decides reviews gave what does not fit: {'; '.join(problems)}\n"
            "  Let it return one of the review's options, or a value of its contract."
        )

    async def close(self, review_id: str, ending: ReviewEnding) -> None:
        self._reviews.pop(review_id, None)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


class ScriptedSink(CallableSink):
    """Decides from a list, in the order asked, or through a function; for unit tests.

    An entry is a decision, a `HumanAnswer`, or an exception to raise. `reviews` holds what was
    asked. In a `using` block it stands in for every other sink, and nothing is recorded.

    >>> ScriptedSink(["approve"]).reviews
    []
    """

    live = False

    def __init__(self, script: Iterable[Any] | Callable[[PendingReview], Any]) -> None:
        if isinstance(script, (str, bytes, Mapping)):
            raise ConfigurationError(
                f"ScriptedSink({script!r}): a script is a list of decisions, or a function.\n"
                "  Put a single decision into a list."
            )
        self.reviews: list[PendingReview] = []
        self._rest = iter(()) if callable(script) else iter(script)
        super().__init__(script if callable(script) else self._next)

    async def decision(self, review_id: str) -> HumanAnswer:
        self.reviews.append(self._reviews[review_id])
        return await super().decision(review_id)

    async def reject(self, review_id: str, problems: tuple[str, ...]) -> None:
        """Take the next decision of the script, as a person would give another one."""

    async def _next(self, review: PendingReview) -> Any:
        for said in self._rest:
            if isinstance(said, BaseException):
                raise said
            return said
        raise ConfigurationError(
            f"{review.function}: the script has no decision left for {review.question!r}.\n"
            "  Add one to ScriptedSink([...]), or pass a function."
        )


async def _in_thread(function: Callable[[PendingReview], Any], review: PendingReview) -> Any:
    """Run a function that may block, in a thread that keeps no process from ending."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()
    context = copy_context()

    def run() -> None:
        try:
            said, error = context.run(function, review), None
        except Exception as raised:
            said, error = None, raised
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(_end, future, said, error)

    threading.Thread(target=run, name="stratum review", daemon=True).start()
    return await future


def _end(future: "asyncio.Future[Any]", said: Any, error: Exception | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(said)
    else:
        future.set_exception(error)
