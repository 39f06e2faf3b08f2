"""A client that answers from recordings, and records what another client answers."""

import asyncio
import warnings
from collections.abc import Sequence
from dataclasses import replace

from stratum.calls import Client, Exchange, Quote, Reply, Request
from stratum.errors import (
    AmbiguousPlace,
    AuthenticationFailed,
    RecordingMissing,
    SecretLeak,
)
from stratum.hashing import canonical
from stratum.recording.drift import explain
from stratum.recording.golden import Sample
from stratum.recording.pending import Pending
from stratum.recording.store import GoldenStore
from stratum.scope import Inside, current, secrets

NEVER = 5.0  # seconds that a call recorded as cancelled waits for its cancellation


class RecordingClient:
    """Answers from a store; what is missing is asked of `inner` and stored, or raised.

    Without `inner` a call that is not recorded raises `RecordingMissing` with what drifted.
    `pending` keeps every live reply as it arrives, so that it is paid for once.
    """

    def __init__(
        self, store: GoldenStore, inner: Client | None = None, pending: Pending | None = None
    ) -> None:
        self._store = store
        self._inner = inner
        self._pending = pending
        self._quotes: dict[str, Quote] = {}
        self._no_key: AuthenticationFailed | None = None

    async def complete(self, request: Request) -> Reply:
        inside = current()
        sample = self._store.find(request, inside.root)
        if sample is not None:
            return await self._replay(sample, request, inside)
        if self._inner is None:
            raise self._missing(request, inside)
        return await self._ask(self._inner, request, inside)

    async def quote(self, request: Request) -> Quote:
        sample = self._store.quoted(request)
        if sample is not None:
            return sample.quote()
        if self._inner is None:
            raise self._missing(request, current())
        return await self._live_quote(self._inner, request)

    def settled(self, requests: Sequence[Request], ok: bool) -> None:
        """Note what a budget turned away, and that live replies are of a call that settled."""
        if self._inner is None:
            return
        root = current().root
        for request in requests:
            if not self._is_answered(request) and request.key in self._quotes:
                quote = self._quotes[request.key]
                self._store.add(Exchange(request, None, "unsent", quote), root)
            elif self._pending is not None:
                self._pending.settle(request, ok=ok)

    def _is_answered(self, request: Request) -> bool:
        return self._store.is_used(request, current().root)

    async def _replay(self, sample: Sample, request: Request, inside: Inside) -> Reply:
        if sample.outcome == "timeout":
            await self._let_time_run_out(sample, request, inside)
        if sample.outcome == "cancelled":
            await asyncio.sleep(NEVER)
            raise self._missing(request, inside)
        reply = sample.reply()
        counts = self._store.counts
        if sample.fresh:
            return replace(reply, origin="live")
        counts.replayed += 1
        counts.saved += reply.cost or 0.0
        return reply

    async def _let_time_run_out(self, sample: Sample, request: Request, inside: Inside) -> None:
        """Let the time limit fire that fired when the call was recorded."""
        ledgers = list(inside.ledger.chain()) if inside.ledger else []
        depth = int(sample.entry.get("expired", 0))
        if depth < len(ledgers):
            ms = ledgers[depth].budget.ms
            if ms is not None and ms <= float(sample.entry.get("ms") or 0):
                ledgers[depth].expire()
                await asyncio.sleep(NEVER)
        raise self._missing(request, inside)

    def _missing(self, request: Request, inside: Inside) -> RecordingMissing:
        drifts = explain(request, self._store.recordings, inside.root)
        text = "\n".join(drift.text for drift in drifts)
        error = RecordingMissing(f"{text}\n  Accept it with pytest --stratum-record.", drifts)
        inside.root.misses.append(error)
        return error

    async def _ask(self, inner: Client, request: Request, inside: Inside) -> Reply:
        self._refuse_secrets(
            request, "its prompt", canonical(request.shown.lines(store_opaque=True))
        )
        if request.ambiguous:
            _warn_ambiguous(request)
        reply = self._pending.find(request) if self._pending else None
        if reply is not None:
            self._store.counts.cached += 1
            self._store.counts.saved += reply.cost or 0.0
            return self._keep(request, reply, await self._live_quote(inner, request), inside)
        return await self._ask_live(inner, request, inside)

    async def _ask_live(self, inner: Client, request: Request, inside: Inside) -> Reply:
        if self._no_key is not None:
            self._missing(request, inside)
            raise AuthenticationFailed(f"{request.site.function} was not asked.\n{self._no_key}")
        try:
            quote = await self._live_quote(inner, request)
            reply = await inner.complete(request)
        except AuthenticationFailed as error:
            self._no_key = error
            self._missing(request, inside)
            raise
        except asyncio.CancelledError:
            self._keep_unfinished(request, inside)
            raise
        reply = replace(reply, data=secrets().redact_data(reply.data))
        self._refuse_secrets(request, "the reply", canonical(reply.data))
        if self._pending is not None:
            self._pending.keep(request, reply)
        counts = self._store.counts
        counts.recorded += 1
        counts.spent += reply.cost or 0.0
        counts.unpriced += reply.cost is None
        return self._keep(request, reply, quote, inside)

    def _keep(self, request: Request, reply: Reply, quote: Quote, inside: Inside) -> Reply:
        exchange = Exchange(request, reply, reply.outcome, quote, request.cap)
        self._store.add(exchange, inside.root)
        return reply

    def _keep_unfinished(self, request: Request, inside: Inside) -> None:
        """Record that a call got no answer: its time ran out, or it was cancelled."""
        ledgers = inside.ledger.chain() if inside.ledger else ()
        for depth, ledger in enumerate(ledgers):
            if ledger.expired:
                late = Exchange(
                    request, None, "timeout", self._quotes.get(request.key),
                    expired=depth, ms=ledger.budget.ms,
                )  # fmt: skip
                self._store.add(late, inside.root)
                return
        cancelled = Exchange(request, None, "cancelled", self._quotes.get(request.key))
        self._store.add(cancelled, inside.root)

    async def _live_quote(self, inner: Client, request: Request) -> Quote:
        if request.key not in self._quotes:
            self._quotes[request.key] = await inner.quote(request)
        return self._quotes[request.key]

    def _refuse_secrets(self, request: Request, where: str, text: str) -> None:
        leaked = secrets().leaked(text)
        if leaked is None:
            return
        error = SecretLeak(
            f"{request.site.function}: the value of {leaked} stands in {where} in an encoded "
            "form; nothing was written.\n"
            "  Keep it out of the call, or say in [tool.stratum] redact what to replace."
        )
        current().root.misses.append(error)
        raise error


def _warn_ambiguous(request: Request) -> None:
    warnings.warn(
        f"{request.site.function}: two tasks made the same call, so replay cannot tell their "
        "answers apart.\n  Start them with stratum.parallel(...), and use asyncio.timeout "
        "instead of wait_for.",
        AmbiguousPlace,
        stacklevel=2,
    )
