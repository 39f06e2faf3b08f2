"""A client that answers from recordings, and records what another client answers."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from stratum.calls import Client, Exchange, Place, Quote, Reply, Request
from stratum.errors import (
    AmbiguousPlace,
    AuthenticationFailed,
    RecordingMissing,
    SecretLeak,
)
from stratum.fallback import FallbackClient
from stratum.recording.endings import holds, late_ledger
from stratum.recording.golden import Sample
from stratum.recording.store import GoldenStore
from stratum.roots import Inside, Root
from stratum.scope import current, secrets
from stratum.turns import Turns

if TYPE_CHECKING:  # only record runs load the cache on disk
    from stratum.recording.claims import Claims
    from stratum.recording.pending import Pending

_UNENDED = ("timeout", "cancelled")  # calls that were under way when they were ended
NEVER = 5.0  # seconds that a call recorded as cancelled waits for its cancellation


class RecordingClient:
    """Answers from a store; what is missing is asked of `inner` and stored, or raised.

    Without `inner` a call that is not recorded raises `RecordingMissing` with what drifted.
    `pending` keeps every live reply as it arrives, so that it is paid for once; `claims` let
    other processes of the run take it over.
    """

    falls_back = True  # inside: what is recorded is the answer, whoever gave it
    keeps_time = True  # says by itself when a call is being asked of another client

    def __init__(
        self,
        store: GoldenStore,
        inner: Client | None = None,
        pending: "Pending | None" = None,
        claims: "Claims | None" = None,
    ) -> None:
        self._store = store
        self._inner = None if inner is None else FallbackClient(inner)
        self.waits: bool = inner is not None
        self._pending = pending
        self._claims = claims
        self._quotes: dict[str, Quote] = {}
        self._no_key: AuthenticationFailed | None = None
        self._sent: set[tuple[Root, str, Place | None]] = set()

    async def complete(self, request: Request) -> Reply:
        inside = current()
        sample = self._find(request, inside)
        if sample is not None:
            if inside.branch.turns is None and sample.outcome not in _UNENDED:
                return self._given(sample)
            reply = await self._ended(sample, request, inside)
            if reply is not None:
                return reply
        _refuse_leaks(request, inside)
        if self._inner is None:
            raise await self._not_recorded(request, inside)
        return await self._ask(self._inner, request, inside)

    async def quote(self, request: Request) -> Quote:
        inside = current()
        sample = self._store.quoted(request)
        if sample is not None and ("quote" in sample.entry or holds(request, inside, sample)):
            return sample.quote()
        _refuse_leaks(request, inside)
        if self._inner is None:
            raise await self._not_recorded(request, inside)
        return await self._live_quote(self._inner, request)

    def settled(self, requests: Sequence[Request], ok: bool) -> None:
        """Note what a budget turned away, and that live replies are of a call that settled."""
        if self._inner is None:
            return
        root = current().root
        for request in requests:
            if not self._store.is_used(request, root):
                if (root, request.key, request.place) not in self._sent:
                    self._store.turned_away(request, self._quotes.get(request.key), root)
            elif self._pending is not None:
                self._pending.settle(request, ok=ok)

    def unfinished(self, request: Request) -> None:
        """Note that a call was cancelled, or its time ran out, before it could be sent."""
        if self._inner is not None and self._store.quoted(request) is None:
            self._keep_unfinished(request, None, current())

    async def _ended(self, sample: Sample, request: Request, inside: Inside) -> Reply | None:
        """Let a call end as it is recorded; what nobody cancelled may be answered elsewhere."""
        reply = await self._replay(sample, request, inside)
        if reply is None and sample.outcome == "cancelled":
            other = self._find(request, inside, _not_cancelled)
            if other is not None:
                return await self._replay(other, request, inside)
        return reply

    def _find(
        self, request: Request, inside: Inside, holding: Callable[..., bool] = holds
    ) -> Sample | None:
        return (self._store.recorded if self._inner is None else self._store.find)(
            request,
            inside.root,
            partial(holding, request, inside),
            ordered=inside.branch.turns is not None,
        )

    async def _replay(self, sample: Sample, request: Request, inside: Inside) -> Reply | None:
        """Let the call end as it did; None when it was to be cancelled, and nobody did."""
        if sample.outcome in _UNENDED:
            await self._cancellation(sample, request, inside)
            self._store.give_back(request, inside.root, sample)
            return None
        if inside.branch.turns is not None:
            await self._take_turn(sample, inside.branch.turns)
        return self._given(sample)

    def _given(self, sample: Sample) -> Reply:
        reply = sample.reply()
        if sample.fresh:
            return replace(reply, origin="live")
        self._store.count_replayed(sample, reply)
        return reply

    async def _take_turn(self, sample: Sample, turns: Turns) -> None:
        """Give a reply when it is its turn, as it was recorded; a record run notes a new one."""
        number = sample.entry.get("finished")
        if self._inner is not None:
            turns.note(sample.entry, await turns.take(number))
        elif number is not None:
            await turns.take(number)

    async def _cancellation(self, sample: Sample, request: Request, inside: Inside) -> None:
        """Wait to be cancelled; returns when it does not come."""
        turns = inside.branch.turns
        late = late_ledger(sample, inside)
        if late is not None:
            await self._take_turn_after(sample, turns)
            late.time.expire()
        if late is None and turns is not None and self._has_other_end(sample, request):
            await turns.lull()
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(NEVER):
                await (asyncio.sleep(NEVER) if turns is None else turns.stray())

    def _has_other_end(self, sample: Sample, request: Request) -> bool:
        """Say whether a call that nobody cancels can be asked, or answered, instead."""
        return sample.fresh or self._store.is_answered(request)

    async def _take_turn_after(self, sample: Sample, turns: Turns | None) -> None:
        """Wait until the replies are given that were given before a call's time ran out."""
        number = sample.entry.get("finished")
        if turns is not None and number is not None:
            await turns.after(number)

    async def _not_recorded(self, request: Request, inside: Inside) -> RecordingMissing:
        """Wait whether the call is cancelled, as it then was before it was made; else miss it."""
        if inside.branch.turns is not None:
            await inside.branch.turns.lull()
        return self._missing(request, inside)

    def _missing(self, request: Request, inside: Inside) -> RecordingMissing:
        from stratum.recording.drift import explain

        oldest = self._store.oldest if self._inner is not None else None
        drifts = explain(request, self._store.recordings, inside.root, oldest)
        text = "\n".join(drift.text for drift in drifts)
        error = RecordingMissing(f"{text}\n  Accept it with pytest --stratum-record.", drifts)
        inside.root.misses.append(error)
        if inside.branch.turns is not None:
            inside.branch.turns.go_astray()
        return error

    async def _ask(self, inner: Client, request: Request, inside: Inside) -> Reply:
        if request.ambiguous:
            _warn_ambiguous(request)
        if self._claims is None:
            return await self._ask_once(inner, request, inside)
        with nullcontext() if inside.ledger is None else inside.ledger.time.paused():
            entry = await self._claimed(self._claims, request, inside)
        if entry is not None:
            adopted = self._store.adopt(request, entry, inside.root)
            reply = await self._replay(adopted, request, inside)
            if reply is not None:
                return reply
        try:
            reply = await self._ask_once(inner, request, inside)
        except BaseException:
            unanswered = self._store.unanswered(request, ordered=inside.branch.turns is not None)
            if unanswered is not None:
                self._claims.share(request, unanswered.entry)
            else:
                self._claims.release(request)
            raise
        self._claims.share(request, self._store.given(request).entry)
        return reply

    async def _claimed(
        self, claims: "Claims", request: Request, inside: Inside
    ) -> dict[str, Any] | None:
        """Claim a call; returns what another task or worker recorded of it instead.

        One worker at a time records a fan-out that stops early: the others replay what it did.
        """
        turns = inside.branch.turns
        try:
            if turns is None:
                entry = await claims.take(request)
            else:
                gate = await turns.gate(request.order, lambda: claims.gate(request))
                with turns.awaiting():
                    await gate.go_through()
                    entry = await claims.take(request)
        except asyncio.CancelledError:
            self._keep_unfinished(request, self._quotes.get(request.key), inside)
            raise
        if entry is None or (entry.get("outcome") == "cancelled" and turns is None):
            return None
        return entry if holds(request, inside, Sample(entry, "")) else None

    async def _ask_once(self, inner: Client, request: Request, inside: Inside) -> Reply:
        reply = self._pending.find(request) if self._pending else None
        if reply is None:
            with nullcontext() if inside.ledger is None else inside.ledger.time.asking():
                return await self._ask_live(inner, request, inside)
        self._store.counts.cached += 1
        self._store.counts.saved += reply.cost or 0.0
        quote = await self._quote_to_keep(inner, request)
        return await self._keep(request, reply, quote, inside)

    async def _ask_live(self, inner: Client, request: Request, inside: Inside) -> Reply:
        if self._no_key is not None:
            self._missing(request, inside)
            raise AuthenticationFailed(f"{request.site.function} was not asked.\n{self._no_key}")
        quote: Quote | None = None
        self._sent.add((inside.root, request.key, request.place))
        try:
            quote = await self._quote_to_keep(inner, request)
            if inside.ledger is not None and inside.ledger.time.is_late:
                await asyncio.sleep(NEVER)  # it is cancelled, and recorded so
            reply = await inner.complete(request)
        except AuthenticationFailed as error:
            self._no_key = error
            self._missing(request, inside)
            raise
        except asyncio.CancelledError:
            self._keep_unfinished(request, quote, inside)
            raise
        reply = _without_secrets(request, reply, inside)
        if self._pending is not None:
            self._pending.keep(request, reply)
        counts = self._store.counts
        counts.recorded += 1
        counts.spent += reply.cost or 0.0
        counts.unpriced += reply.cost is None
        return await self._keep(request, reply, quote, inside)

    async def _keep(self, request: Request, reply: Reply, quote: Quote, inside: Inside) -> Reply:
        """Record a reply; one that a fan-out was too impatient for is recorded as cancelled."""
        turns, number = inside.branch.turns, 0
        if turns is not None:
            try:
                number = await turns.take(None)
            except asyncio.CancelledError:
                self._keep_unfinished(request, quote, inside)
                raise
        exchange = Exchange(request, reply, reply.outcome, quote, request.cap)
        sample = self._store.add(exchange, inside.root)
        if turns is not None:
            turns.note(sample.entry, number)
        return reply

    def _keep_unfinished(self, request: Request, quote: Quote | None, inside: Inside) -> None:
        """Record that a call got no answer: its time ran out, or it was cancelled.

        One without a quote was not sent: in replay, too, the ledger sets nothing aside for it.
        """
        turns = inside.branch.turns
        if turns is not None:
            turns.need()
        ledgers = inside.ledger.chain() if inside.ledger else ()
        for depth, ledger in enumerate(ledgers):
            if ledger.time.expired:
                late = Exchange(request, None, "timeout", quote, expired=depth, ms=ledger.budget.ms)
                sample = self._store.add(late, inside.root)
                if turns is not None:
                    turns.note(sample.entry, turns.given)
                return
        self._store.add(Exchange(request, None, "cancelled", quote), inside.root)

    async def _quote_to_keep(self, inner: Client, request: Request) -> Quote:
        """Return the quote of the key, so that all its samples have the same one."""
        quote = await self.quote(request)
        return await self._live_quote(inner, request) if quote.free else quote

    async def _live_quote(self, inner: Client, request: Request) -> Quote:
        if request.key not in self._quotes:
            self._quotes[request.key] = await inner.quote(request)
        return self._quotes[request.key]


def _not_cancelled(request: Request, inside: Inside, sample: Sample) -> bool:
    return sample.outcome != "cancelled" and holds(request, inside, sample)


def _without_secrets(request: Request, reply: Reply, inside: Inside) -> Reply:
    """Return a reply as it may be stored; raises `SecretLeak` when it holds an encoded one."""
    hidden = secrets()
    if not hidden:
        return reply
    data, model = hidden.redact_data(reply.data), hidden.redact(reply.model)
    wire = hidden.redact_data(reply.wire)
    _refuse(request, "the reply", hidden.leaked([data, model, wire]), inside)
    return replace(reply, data=data, model=model, wire=wire)


def _refuse_leaks(request: Request, inside: Inside) -> None:
    """Raise `SecretLeak` when what would be stored of a request still holds a secret."""
    hidden = secrets()
    if not hidden.known:
        return
    shown = request.shown
    turns = [[turn.answer, turn.text] for turn in shown.turns]
    prompt = [shown.system, shown.text, shown.data, turns]
    _refuse(request, "its prompt", hidden.leaked(prompt), inside)
    _refuse(request, "its instructions", hidden.leaked(request.instructions), inside)
    _refuse(request, "its contract", hidden.leaked(request.contract.schema), inside)


def _refuse(request: Request, where: str, leaked: str | None, inside: Inside) -> None:
    if leaked is None:
        return
    error = SecretLeak(
        f"{request.site.function}: the value of {leaked} stands in {where}, in a form that is "
        "not replaced (such as base64); nothing was written.\n"
        "  Keep it out of the call, or say in [tool.stratum] redact what to replace."
    )
    inside.root.misses.append(error)
    raise error


def _warn_ambiguous(request: Request) -> None:
    request.site.warn(
        f"{request.site.function}: two tasks made the same call, so replay cannot tell their "
        "answers apart.\n  Start them with stratum.parallel(...), and use asyncio.timeout "
        "instead of wait_for.",
        AmbiguousPlace,
    )
