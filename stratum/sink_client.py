"""A client that asks a person: it publishes a review and waits for the decision."""

import asyncio
import os
import warnings
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from stratum.calls import Place, Quote, Reply, Request
from stratum.contracts import Unreadable
from stratum.errors import ConfigurationError, StratumWarning
from stratum.hashing import canonical, digest
from stratum.reviews import HumanAnswer, PendingReview, ReviewEnding, ReviewSink
from stratum.roots import Root
from stratum.scope import current, process, settings

HUMAN = "human"  # stands for the model in keys, traces and golden files
CLOSING = 5.0  # seconds that a sink has to take a review down
MOST = 100  # decisions that do not fit, before a sink is taken for broken


class Shown(NamedTuple):
    """What a person is shown besides the contract."""

    question: str
    guidance: str | None
    context: Mapping[str, Any]


class SinkClient:
    """Asks a person through a sink, which is looked up when the question is asked.

    A decision that does not fit is told to the person, and asked for again; `timeout` is in
    seconds, over all of it. Time limits of budgets stand still meanwhile.
    """

    def __init__(
        self, sink: Callable[[], ReviewSink], shown: Shown, *, timeout: float | None
    ) -> None:
        self._sink = sink
        self._shown = shown
        self._timeout = timeout

    async def complete(self, request: Request) -> Reply:
        sink, inside = self._sink(), current()
        if process.no_live_calls and getattr(sink, "live", True):
            raise ConfigurationError(f"{request.site.function}: {process.no_live_calls}")
        review = self._review(request, inside.root)
        with nullcontext() if inside.ledger is None else inside.ledger.time.paused():
            return await self._ask(sink, review, request)

    async def quote(self, request: Request) -> Quote:
        return Quote(0, 0.0, 0.0, free=True)

    async def _ask(self, sink: ReviewSink, review: PendingReview, request: Request) -> Reply:
        ending: ReviewEnding = "withdrawn"
        limit = asyncio.timeout(self._timeout)
        try:
            async with limit:
                await sink.submit(review)
                reply = await _decided(sink, review, request)
            ending = "decided"
        except TimeoutError:
            if not limit.expired():
                raise
            ending = "expired"
            return Reply(outcome="expired", model=HUMAN, cost=0.0, wire={"timeout": self._timeout})
        finally:
            await _close(sink, review, ending)
        return reply if getattr(sink, "live", True) else replace(reply, origin="scripted")

    def _review(self, request: Request, root: Root) -> PendingReview:
        asked = datetime.now(UTC)
        limit = None if self._timeout is None else timedelta(seconds=self._timeout)
        return PendingReview(
            id=review_id(root, request.key, request.place),
            question=self._shown.question,
            guidance=self._shown.guidance,
            context=dict(self._shown.context),
            contract=request.contract.schema,
            options=request.params.get("options"),
            function=request.site.function,
            source=f"{_below_root(request.site.file)}:{request.site.line}",
            place=str(request.place),
            key=request.key,
            asked_at=asked,
            expires_at=None if limit is None else asked + limit,
        )


def review_id(root: Root, key: str, place: Place | None) -> str:
    """Return a review's UUID: the same for the same question at the same place of one run."""
    return str(UUID(digest(["review", root.run_id, str(place), key])[:32], version=5))


def misfits(request: Request, data: Any) -> tuple[str, ...]:
    """Say in what a decision does not fit its contract or the options; nothing when it does."""
    try:
        value = request.contract.read(data)
    except Unreadable as unreadable:
        return unreadable.problems
    options = request.params.get("options")
    if options is None or is_among(request.contract.dump(value), options):
        return ()
    return (f"choose one of {', '.join(map(canonical, options))}",)


def is_among(value: Any, options: list[Any]) -> bool:
    """Say whether JSON data is one of the options; 1 and true are two values."""
    return canonical(value) in map(canonical, options)


async def _decided(sink: ReviewSink, review: PendingReview, request: Request) -> Reply:
    """Return the first decision that fits, telling the person what was wrong before."""
    answer = HumanAnswer(value=None)
    for _ in range(MOST):
        given: Any = await sink.decision(review.id)
        answer = given if isinstance(given, HumanAnswer) else HumanAnswer(value=given)
        problems = misfits(request, answer.value)
        if not problems:
            break
        await sink.reject(review.id, problems)
    comment = {"comment": answer.comment} if answer.comment else {}
    return Reply(
        data=_as_json(request, answer.value),
        model=answer.reviewer or HUMAN,
        cost=0.0,
        wire=comment,
    )


def _as_json(request: Request, value: Any) -> Any:
    """Return a decision as JSON data; a sink in this process may give the value itself."""
    try:
        canonical(value)
    except (TypeError, ValueError):
        return request.contract.dump(request.contract.read(value))
    return value


async def _close(sink: ReviewSink, review: PendingReview, ending: ReviewEnding) -> None:
    """Take a review down; a sink that fails to is no reason to lose the decision."""
    try:
        async with asyncio.timeout(CLOSING):
            await sink.close(review.id, ending)
    except Exception as error:
        text = f"{review.function}: review {review.id} is still shown as open ({error!r})"
        warnings.warn(text, StratumWarning, stacklevel=2)


def _below_root(file: str) -> str:
    root = str(settings().root)
    path = os.path.abspath(file)
    return os.path.relpath(path, root).replace(os.sep, "/") if path.startswith(root) else path
