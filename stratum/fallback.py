"""Ask the next model when one fails."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from stratum.calls import Client, Quote, Reply, Request, Settling, Unsending
from stratum.errors import AuthenticationFailed, ProviderError
from stratum.scope import current

N = TypeVar("N", int, float)


class FallbackClient:
    """Asks a function's further models, in their order, while the one before fails.

    Only a `ProviderError` leads on: a missing key or a wrong name is raised, since it would
    fail every time. So is a failure that may have been charged for (a timeout), where a usd
    or token budget holds: the reservation is for one model. The reply notes under `fallback`
    which models failed, and why. What is asked keeps its key: the first model's (SPEC 14.4).
    """

    def __init__(self, inner: Client) -> None:
        self._inner = inner

    @property
    def live(self) -> bool:
        return getattr(self._inner, "live", True)

    async def complete(self, request: Request) -> Reply:
        if not request.fallbacks:
            return await self._inner.complete(request)
        failures: list[tuple[str, ProviderError]] = []
        for model in (request.model, *request.fallbacks):
            try:
                reply = await self._inner.complete(replace(request, model=model, fallbacks=()))
            except AuthenticationFailed as error:
                _explain(error, failures)
                raise
            except ProviderError as error:
                failures.append((model, error))
                if error.billed and _is_counted():
                    break
            except Exception as error:
                _explain(error, failures)
                raise
            else:
                return _noted(reply, failures)
        raise _joined(request, failures)

    async def quote(self, request: Request) -> Quote:
        """Quote the dearest of the models; unknown when one of the prices is."""
        if not request.fallbacks:
            return await self._inner.quote(request)
        models = (request.model, *request.fallbacks)
        asked = [replace(request, model=model, fallbacks=()) for model in models]
        return dearest([await self._inner.quote(each) for each in asked])

    def settled(self, requests: Sequence[Request], ok: bool) -> None:
        if isinstance(self._inner, Settling):
            self._inner.settled(requests, ok)

    def unfinished(self, request: Request) -> None:
        if isinstance(self._inner, Unsending):
            self._inner.unfinished(request)


def falling_back(client: Client) -> Client:
    """Return a client that asks the further models of a request, too.

    A client that records, asks them by itself: inside the recording.
    """
    if getattr(client, "falls_back", False):
        return client
    return FallbackClient(client)


def dearest(quotes: Sequence[Quote]) -> Quote:
    """Return a quote that covers each of several.

    >>> dearest([Quote(10, 1.0, 2.0), Quote(12, 0.5, 4.0)])
    Quote(input_tokens=12, input_price=1.0, output_price=4.0, free=False)
    """
    return Quote(
        _most([quote.input_tokens for quote in quotes]),
        _most([quote.input_price for quote in quotes]),
        _most([quote.output_price for quote in quotes]),
        free=all(quote.free for quote in quotes),
    )


def _most(numbers: Sequence[N | None]) -> N | None:
    known = [number for number in numbers if number is not None]
    return max(known) if len(known) == len(numbers) else None


def _is_counted() -> bool:
    ledger = current().ledger
    return ledger is not None and ledger.needs_quote


def _noted(reply: Reply, failures: Sequence[tuple[str, ProviderError]]) -> Reply:
    if not failures:
        return reply
    notes = [{"model": model, "reason": _reason(error)} for model, error in failures]
    return replace(reply, wire={**reply.wire, "fallback": notes})


def _reason(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _explain(error: Exception, failures: Sequence[tuple[str, ProviderError]]) -> None:
    for model, earlier in failures:
        error.add_note(f"It was asked because {model} had failed: {_reason(earlier)}")


def _joined(request: Request, failures: Sequence[tuple[str, ProviderError]]) -> ProviderError:
    """Return the error of a call that no model answered; of one model its own."""
    last = failures[-1][1]
    if len(failures) == 1:
        return last
    listed = "\n".join(f"  - {_reason(error)}" for _, error in failures)
    billed = any(error.billed for _, error in failures)
    error = ProviderError(
        f"{request.site.function}: none of {len(failures)} models answered:\n{listed}",
        billed=billed,
    )
    error.__cause__ = last
    return error
