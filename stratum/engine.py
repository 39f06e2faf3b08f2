"""Drive a call: reserve budget, ask the client, settle the budget, judge, again."""

import asyncio
import time
from dataclasses import field, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from stratum.attempts import Ask, Settled, judge
from stratum.budget import NOTHING, Amount, Estimate, Ledger, Reservation
from stratum.calls import Client, Quote, Reply, Request, Unsending, Usage
from stratum.errors import UnpricedModel, UnpricedWarning
from stratum.roots import Branch, place
from stratum.scope import settings
from stratum.trace import AttemptRecord
from stratum.values import dataclass, maker

if TYPE_CHECKING:
    from stratum.turns import Turns

MILLION = Decimal(1_000_000)

_attempt_record = maker(AttemptRecord)


@dataclass(slots=True)
class Run:
    """What has been asked and answered so far in one call; `data` is the last answer."""

    requests: list[Request] = field(default_factory=list)
    attempts: list[AttemptRecord] = field(default_factory=list)
    data: Any = None


async def drive(
    ask: Ask, *, client: Client, branch: Branch, ledger: Ledger | None, run: Run
) -> Settled:
    """Ask until the call settles, and tell the client how it ended.

    Raises what the client or the ledger raises; `run` has what was asked until then.
    """
    ok = False
    try:
        while True:
            branch.check()
            has_place = ask.question.cache == "none"
            request = ask.at(*place(branch, ask.key)) if has_place else ask.request
            run.requests.append(request)
            started = time.perf_counter()
            if ledger is None:
                reply = await client.complete(request)
            else:
                reply = await _send(request, client, ledger, branch.turns)
            run.data = reply.data
            move = judge(ask, reply)
            run.attempts.append(_attempt(request, reply, move, time.perf_counter() - started))
            if isinstance(move, Settled):
                ok = move.error is None
                break
            ask = move
    except Exception:
        _tell(client, run, ok=False)
        raise
    _tell(client, run, ok=ok)
    return move


def _tell(client: Client, run: Run, *, ok: bool) -> None:
    settled = getattr(client, "settled", None)
    if settled is not None:
        settled(run.requests, ok)


def _attempt(
    request: Request, reply: Reply, move: "Ask | Settled", seconds: float
) -> AttemptRecord:
    if isinstance(move, Settled):
        problems = move.violations
    else:
        problems = move.shown.turn.violations if move.shown.turn else ()
    return _attempt_record(
        request.key, problems, reply.usage, reply.cost, seconds, reply.origin, reply.model or None
    )


async def _send(request: Request, client: Client, ledger: Ledger, turns: "Turns | None") -> Reply:
    if not ledger.needs_quote:
        return await _complete(request, client, ledger)
    try:
        quote = await client.quote(request)
        reservation = await _reserved(request, quote, ledger, turns)
    except asyncio.CancelledError:
        if isinstance(client, Unsending):
            client.unfinished(request)
        raise
    if reservation is None:
        return await _complete(request, client, ledger)
    return await _send_within(reservation, quote, request, client, ledger)


async def _complete(request: Request, client: Client, ledger: Ledger) -> Reply:
    if getattr(client, "keeps_time", False):
        return await client.complete(request)
    with ledger.time.asking():
        return await client.complete(request)


async def _reserved(
    request: Request, quote: Quote, ledger: Ledger, turns: "Turns | None"
) -> Reservation | None:
    if quote.free:
        return None
    estimate, order = estimate_of(request, quote, ledger), request.order
    if turns is None:
        return await ledger.reserve(estimate, order)
    loop = asyncio.get_running_loop()
    waiter = await turns.perform(
        order, lambda: ledger.ask(estimate, order, loop), undo=ledger.withdraw
    )
    if waiter.is_contended:
        turns.need()
    return await ledger.granted(waiter)


async def _send_within(
    reservation: Reservation, quote: Quote, request: Request, client: Client, ledger: Ledger
) -> Reply:
    actual: Amount | None = None
    cap = reservation.cap
    try:
        asked = request if cap is None else replace(request, cap=cap)
        reply = await _complete(asked, client, ledger)
        actual = _spent(reply, quote)
    except Exception as error:
        actual = None if getattr(error, "billed", False) else NOTHING
        raise
    finally:
        reservation.settle(actual)
    return reply


def estimate_of(request: Request, quote: Quote, ledger: Ledger | None) -> Estimate:
    """Return the worst case of a request; raises `UnpricedModel` when a usd limit needs a price."""
    if ledger is not None and ledger.needs_price and not quote.priced:
        _unpriced(request, ledger)
    most = int(request.params.get("max_tokens") or settings().max_tokens)
    inputs = quote.input_tokens or 0
    return Estimate(
        who=request.site.function,
        fixed=Amount(_price(quote.input_price) * inputs, inputs),
        each=Amount(_price(quote.output_price), 1),
        most=most,
        least=min(most, smallest_tokens(request)),
    )


def smallest_tokens(request: Request) -> int:
    """Return the output tokens that the contract's smallest answer needs, on the safe side."""
    return max(16, request.contract.smallest // 2)


def _unpriced(request: Request, ledger: Ledger) -> None:
    models = " or of ".join((request.model, *request.fallbacks))
    text = (
        f"{request.site.function}: nobody knows the price of {models}, so the usd budget "
        f"cannot be kept.\n  Add it to [tool.stratum.prices] in dollars per million tokens, "
        'or say Budget(..., on_unpriced="warn").'
    )
    if not ledger.tolerates_no_price:
        raise UnpricedModel(text)
    request.site.warn(text, UnpricedWarning)


def _price(per_million: float | None) -> Decimal:
    return Decimal(str(per_million or 0)) / MILLION


def _spent(reply: Reply, quote: Quote) -> Amount | None:
    """Return what a reply used, None when it does not say."""
    usage = reply.usage
    if reply.cost is None and usage == Usage():
        return None
    usd = _price(quote.input_price) * usage.input + _price(quote.output_price) * usage.output
    if reply.cost is not None:
        usd = Decimal(str(reply.cost))
    return Amount(usd, usage.input + usage.output)
