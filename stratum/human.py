"""`await_human`: a typed decision that a person makes."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from functools import partial
from inspect import Signature
from typing import Any, Generic, Literal, TypeVar, overload

from stratum.asking import (
    Asked,
    Caller,
    Decide,
    HumanReviewContext,
    NoDefault,
    asked_of,
    context_of,
    fitting,
)
from stratum.attempts import Ask, begin
from stratum.calls import Client, Quote, Reply, Request, Settling, Unsending
from stratum.engine import Run, drive
from stratum.errors import ConfigurationError, HumanTimeout
from stratum.hashing import digest, jsonable
from stratum.prompts import inputs_digest
from stratum.redact import Secrets
from stratum.reviews import ReviewSink
from stratum.roots import Inside
from stratum.scope import check_sink, client_for, now, process
from stratum.scope import secrets as current_secrets
from stratum.sink_client import HUMAN, Shown, SinkClient, review_id
from stratum.steps import Inputs, RunnableCall, Span, inside_of, step
from stratum.trace import snapshot

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class HumanDecision(Generic[T]):
    """What a person decided: a value of the contract, by whom, and when.

    `by_default` says that nobody decided in time, and `value` is the default.

    >>> from stratum import ScriptedClient, await_human, using
    >>> with using(client=ScriptedClient([True])):
    ...     await_human("Send it?", decision=bool).run().value
    True
    """

    value: T
    review_id: str
    decided_at: datetime
    reviewer: str | None = None
    comment: str | None = None
    by_default: bool = False


@overload
def await_human(
    question: str,
    *,
    decision: type[T],
    context: HumanReviewContext | Mapping[str, Any] | None = None,
    options: Sequence[T] | None = None,
    timeout: float | None = None,
    default: T | Literal[NoDefault.NO_DEFAULT] = NoDefault.NO_DEFAULT,
    sink: ReviewSink | Decide | None = None,
) -> RunnableCall[HumanDecision[T]]: ...
@overload
def await_human(
    question: str,
    *,
    decision: object,
    context: HumanReviewContext | Mapping[str, Any] | None = None,
    options: Sequence[Any] | None = None,
    timeout: float | None = None,
    default: Any = NoDefault.NO_DEFAULT,
    sink: ReviewSink | Decide | None = None,
) -> RunnableCall[HumanDecision[Any]]: ...
def await_human(
    question: str,
    *,
    decision: Any,
    context: HumanReviewContext | Mapping[str, Any] | None = None,
    options: Sequence[Any] | None = None,
    timeout: float | None = None,
    default: Any = NoDefault.NO_DEFAULT,
    sink: ReviewSink | Decide | None = None,
) -> RunnableCall[HumanDecision[Any]]:
    """Ask a person, and give the decision once it fits its contract and the options.

    `decision` is the contract: a class, an enum, `Literal[...]`, `list[...]`, `str`, `bool`.
    `context` is shown beside the question. `timeout` is seconds of wall clock over asking,
    waiting and checking; then `default` holds, or `HumanTimeout` is raised. The question goes
    to `sink`, else to the configured one, else to the terminal. It is recorded and replayed
    like any call, and a budget's time stands still meanwhile (SPEC 19). Raises
    `DeclarationError` for what cannot be asked. To a type checker the value of a `Literal` or a
    union is Any.

    >>> from stratum import using
    >>> with using(review_sink=lambda review: "reject"):
    ...     call = await_human("Send this refund?", decision=Literal["approve", "reject"])
    ...     call.run().value
    'reject'
    """
    asked = asked_of(
        Caller.of(sys._getframe(1)), question, decision, context_of(context), options, timeout
    )
    if default is not NoDefault.NO_DEFAULT:
        fitting(asked, "default", default)
    if sink is not None:
        check_sink("await_human(sink=...)", sink)
    return step("await_human", partial(_perform, replace(asked, default=default, sink=sink)))


def ask_human(
    caller: Caller, question: str, *, decision: Any, context: Mapping[str, Any]
) -> RunnableCall[HumanDecision[Any]]:
    """Ask a person on behalf of code elsewhere: `caller` is who is said to ask."""
    asked = asked_of(caller, question, decision, context_of(context), None, None)
    return step("await_human", partial(_perform, asked))


class _Heard:
    """A client that keeps the last reply of another."""

    def __init__(self, inner: Client) -> None:
        self._inner = inner
        self.reply = Reply()

    async def complete(self, request: Request) -> Reply:
        self.reply = await self._inner.complete(request)
        return self.reply

    async def quote(self, request: Request) -> Quote:
        return await self._inner.quote(request)

    def settled(self, requests: Sequence[Request], ok: bool) -> None:
        if isinstance(self._inner, Settling):
            self._inner.settled(requests, ok)

    def unfinished(self, request: Request) -> None:
        if isinstance(self._inner, Unsending):
            self._inner.unfinished(request)


async def _perform(asked: Asked, ended: BaseException | None = None) -> HumanDecision[Any]:
    run = Run()
    span = _span(asked)
    try:
        if ended is not None:
            raise ended
        async with inside_of(span, None, asked.name):
            decision = await _settle(asked, span, run)
    except BaseException as error:
        span.fail(error, run)
        raise
    span.succeed(_told(asked, decision, span.secrets), Any, run)
    return decision


def _span(asked: Asked) -> Span:
    hidden = current_secrets()
    hints = asked.question.annotations
    context = {name: snapshot(asked.values[name], hint, hidden) for name, hint in hints.items()}
    told = {"question": asked.question.site.intent, **({"context": context} if context else {})}
    return Span("human", asked.name, told, Inputs(asked.name, Signature(), {}, frozenset(), {}))


async def _settle(asked: Asked, span: Span, run: Run) -> HumanDecision[Any]:
    question = asked.question
    span.model, span.contract_hash = HUMAN, question.contract.hash
    ask = _begun(asked, span.secrets)
    span.prompt_hash = ask.prompt_hash
    heard = _Heard(_client(asked, span.inside))
    settled = await drive(ask, client=heard, branch=span.branch, ledger=None, run=run)
    if settled.error is not None and not _may_default(asked, settled.error):
        raise settled.error
    last, reply = run.requests[-1], heard.reply
    return HumanDecision(
        value=settled.value if settled.error is None else asked.default,
        review_id=review_id(span.inside.root, last.key, last.place),
        decided_at=now(),
        reviewer=reply.model if reply.model not in ("", HUMAN) else None,
        comment=reply.wire.get("comment"),
        by_default=settled.error is not None,
    )


def _may_default(asked: Asked, error: Exception) -> bool:
    return isinstance(error, HumanTimeout) and asked.default is not NoDefault.NO_DEFAULT


def _told(asked: Asked, decision: HumanDecision[Any], hidden: Secrets) -> dict[str, Any]:
    """Return a decision as its record shows it."""
    told = {each.name: getattr(decision, each.name) for each in fields(decision)}
    return {**told, "value": snapshot(decision.value, asked.question.returns, hidden)}


def _begun(asked: Asked, hidden: Secrets) -> Ask:
    ask = begin(asked.question, asked.values, model=HUMAN, secrets=hidden)
    return replace(ask, digest_inputs=partial(_digest_of, asked, hidden))


def _digest_of(asked: Asked, hidden: Secrets) -> str:
    which = asked.caller.tells_apart(asked.question.site.intent)
    shown = inputs_digest(asked.name, asked.values, hidden)
    return digest([HUMAN, hidden.redact_data(which), shown])


def _client(asked: Asked, inside: Inside) -> Client:
    """Return who decides. A double that a block names stands in for every sink."""
    block = inside.block.sink if inside.block else None
    if not getattr(block, "live", True):
        return _asking(asked, block)
    if block is None and not getattr(inside.client, "live", True):
        assert inside.client is not None
        return inside.client
    sink = asked.sink or block or process.sink
    return client_for(replace(inside, client=_asking(asked, sink)))


def _asking(asked: Asked, sink: ReviewSink | Decide | None) -> SinkClient:
    shown = {name: jsonable(value, name) for name, value in asked.values.items()}
    words = Shown(asked.question.site.intent, asked.context.guidance, shown)
    return SinkClient(partial(_sink, sink), words, timeout=asked.timeout)


def _sink(sink: ReviewSink | Decide | None) -> ReviewSink:
    if process.make_sink is None:
        raise ConfigurationError("nobody can be asked; call stratum.configure(review_sink=...)")
    return process.make_sink(sink)
