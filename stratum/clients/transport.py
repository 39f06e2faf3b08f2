"""Send a request, again where that may help, at the pace the provider asks for."""

import asyncio
import inspect
import math
import random
from collections.abc import Coroutine, Mapping
from typing import Any

from stratum.calls import Request
from stratum.clients.limiter import Limiter
from stratum.clients.provider_errors import asked_pause, is_busy, may_get_better, translated
from stratum.errors import ProviderError, StratumError
from stratum.scope import current

TRIES = 4  # transport attempts of one request
FIRST_WAIT = 0.5  # seconds after the first one, doubled after each more
LONGEST_WAIT = 60.0
LOGGING_STEPS = 3  # turns of the loop


class Failed(Exception):
    """A request that got no response: the provider's error, and how often it was sent."""

    def __init__(self, error: Exception, tries: int, gave_up: str = "") -> None:
        self.error = error
        self.tries = tries
        self.gave_up = gave_up
        super().__init__(str(error))

    def translated(
        self, litellm: Any, request: Request, arguments: Mapping[str, Any]
    ) -> StratumError:
        return translated(litellm, request, self.error, self.tries, arguments, self.gave_up)


async def send(
    litellm: Any, request: Request, arguments: Mapping[str, Any], limiter: Limiter
) -> Any:
    """Return the provider's response; raises `Failed`, or `ProviderError` when its turn is late.

    After a 429, or any error with Retry-After, all calls to the model wait; after another
    passing error only this one does. A pause that does not fit into the remaining time of the
    ledger ends the call at once.
    """
    for attempt in range(1, TRIES + 1):
        async with limiter.turn():
            await _wait_out(limiter, request)
            try:
                response = await _asked(litellm.acompletion(**arguments))
            except Exception as error:
                seconds = _next_pause(litellm, error, attempt)
                if busy := is_busy(litellm, error):
                    limiter.pause(seconds)
            else:
                limiter.succeeded()
                await _let_litellm_log()
                return response
        if not busy:
            await asyncio.sleep(seconds)
    raise AssertionError("unreachable")


async def _let_litellm_log() -> None:
    """Let the task start that litellm logs with: under 1.83 a loop that ends now would warn."""
    for _ in range(LOGGING_STEPS):
        await asyncio.sleep(0)


def _next_pause(litellm: Any, error: Exception, attempt: int) -> float:
    """Return how long to wait before the next try; raises `Failed` when there is none."""
    if attempt == TRIES or not may_get_better(litellm, error):
        raise Failed(error, attempt) from error
    seconds = pause_after(error, attempt, within=_seconds_left())
    obstacle = _obstacle(seconds)
    if obstacle:
        raise Failed(error, attempt, f"It was not asked again: {obstacle}.") from error
    return seconds


async def _wait_out(limiter: Limiter, request: Request) -> None:
    """Wait until the pause that the provider asked for is over."""
    while seconds := limiter.seconds_left():
        obstacle = _obstacle(seconds)
        if obstacle:
            raise ProviderError(
                f"{request.site.function}: {request.model} was not asked: it takes no requests "
                f"now, and {obstacle}.\n  Give it more time, ask less at once, or name a second "
                "model."
            )
        await asyncio.sleep(seconds)


def pause_after(error: Exception, attempt: int, *, within: float = math.inf) -> float:
    """Return how many seconds to wait: what Retry-After says, else 0.5, 1, 2; with jitter.

    The jitter is left out where only the pause itself fits into `within`.
    """
    asked = asked_pause(error)
    wait = FIRST_WAIT * 2 ** (attempt - 1) if asked is None else asked
    jittered = wait * random.uniform(1.0, 1.25)
    return wait if wait <= within < jittered else jittered


def _obstacle(seconds: float) -> str:
    """Say why a call cannot wait so long; empty when it can."""
    left = _seconds_left()
    if seconds > left:
        return f"the pause takes {seconds:.3g} s, and {left:.3g} s of its time is left"
    if seconds > LONGEST_WAIT * 1.25:
        return f"the pause takes {seconds:.0f} s, and Stratum waits {LONGEST_WAIT:.0f} s at most"
    return ""


def _seconds_left() -> float:
    ledger = current().ledger
    limits = ledger.time.chain() if ledger is not None else ()
    limited = (each.seconds_left() for each in limits if each.ms is not None)
    return max(0.0, min(limited, default=math.inf))


async def _asked(call: Coroutine[Any, Any, Any]) -> Any:
    """Await a call of litellm's; a cancellation waits while it prepares the request in a thread.

    The thread returns a coroutine, and nobody would await that.
    """
    task = asyncio.ensure_future(call)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        try:
            while not task.done() and _is_preparing(call):  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.001)
        finally:
            task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # so that it is not reported as lost
        raise


def _is_preparing(call: Any) -> bool:
    while inspect.iscoroutine(call.cr_await):
        call = call.cr_await
    asks = call.cr_code.co_name == "acompletion" and call.cr_code.co_filename.endswith("main.py")
    return asks and call.cr_await is not None
