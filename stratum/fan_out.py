"""Run branches side by side, as many of them as are needed."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, ClassVar, Generic, Literal, Protocol, TypeAlias, TypeVar

from stratum.activity import Activity
from stratum.roots import Inside, next_number
from stratum.scope import current, enter, leave
from stratum.turns import Turns

T_co = TypeVar("T_co", covariant=True)

TOGETHER = 32  # branches that begin in one turn of the loop: the next find the first ones gone

Start: TypeAlias = Callable[..., Coroutine[Any, Any, Any]]


class Success(Generic[T_co]):
    """A step that ended well, and its value.

    >>> Success(4)
    Success(4)
    """

    __match_args__ = ("value",)
    __slots__ = ("value",)
    ok: Literal[True] = True

    def __init__(self, value: T_co) -> None:
        self.value: T_co = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Success) and other.value == self.value

    __hash__: ClassVar[None] = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Success({self.value!r})"


class Failure:
    """A step that raised, and its error.

    >>> Failure(ValueError("no"))
    Failure(ValueError('no'))
    """

    __match_args__ = ("error",)
    ok: Literal[False] = False

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __repr__(self) -> str:
        return f"Failure({self.error!r})"


_NOTHING: Any = object()


class Ended:
    """What became of the branches that ended by themselves, by position."""

    def __init__(self, branches: int) -> None:
        self.given: list[Any] = [_NOTHING] * branches
        self._errors: dict[int, Exception] = {}

    @property
    def values(self) -> dict[int, Any]:
        return {at: value for at, value in enumerate(self.given) if value is not _NOTHING}

    @property
    def errors(self) -> dict[int, Exception]:
        return dict(sorted(self._errors.items()))

    def fail(self, at: int, error: Exception) -> None:
        self._errors[at] = error


class Verdict(Protocol):
    """Says whether what has ended is enough; `at` is the branch that ended last."""

    def __call__(self, ended: Ended, at: int, /) -> bool | Awaitable[bool]: ...


async def fan_out(
    starts: list[Start],
    *,
    after_success: Verdict | None = None,
    after_failure: Verdict | None = None,
    limit: int | None = None,
    turns: Turns | None = None,
) -> Ended:
    """Run branches until what has ended is enough; the others are cancelled.

    Returns when every branch has ended. `after_success` or `after_failure`, if it is given, is
    asked whether that is enough when a branch has ended so by itself, in the order of their
    ends, never two at once; what it raises is raised. What a branch gives after that is lost.
    `turns` orders the replies below, so that a replay ends as its recording did. A branch
    that was cancelled before it began leaves a record, too.

    The list of starts is empty afterwards, so that nobody holds on to what has ended.
    """
    inside = current()
    begins: list[Start | None] = [*starts]
    starts.clear()
    run = _Run(begins, inside.on(inside.branch.here()), turns, after_success, after_failure, limit)
    try:
        await run.all()
    finally:
        if turns is not None:
            turns.close()
        await run.end_the_unbegun()
    return run.ended


def early(inside: Inside) -> Turns | None:
    """Return the turns of a fan-out that may stop early; None within one that has them."""
    if inside.branch.turns is None:
        return _turns(inside, is_needed=True)
    inside.branch.turns.need()
    return None


def contended(inside: Inside) -> Turns | None:
    """Return the turns of a fan-out that runs all branches, where they may come to be needed.

    They are where the branches share what a budget has left, and where a recorded fan-out below
    stops early: whether it did before another branch failed is then recorded, too.
    """
    shares = inside.ledger is not None and inside.ledger.needs_quote
    if inside.branch.turns is not None or not (shares or inside.root.client is not None):
        return None
    return _turns(inside, is_needed=False)


def _turns(inside: Inside, *, is_needed: bool) -> Turns:
    root = inside.root
    activity = Activity(lambda: root.steps, follows_threads=root.client is not None)
    return Turns(activity, root.calm, is_needed=is_needed)


class _Run:
    """One fan-out while it runs.

    What a branch needs is made when it begins, and gone when it has ended: a thousand branches
    that are alive together cost more to collect than to run.
    """

    def __init__(
        self,
        starts: list[Start | None],
        around: Inside,
        turns: Turns | None,
        after_success: Verdict | None,
        after_failure: Verdict | None,
        limit: int | None,
    ) -> None:
        self.ended: Ended = Ended(len(starts))
        self._starts: list[Start | None] = starts  # those that have begun are taken out
        self._around = around
        self._number = next_number()
        self._turns = turns
        self._insides: dict[int, Inside] = {}
        self._after_success = after_success
        self._after_failure = after_failure
        self._first = len(starts) if limit is None else min(limit, len(starts))
        self._waiting = iter(range(self._first, len(starts)))
        self._judging: asyncio.Lock | None = None  # made when something may be enough
        self._is_over = False
        self._in_threads = False
        self._tasks: dict[int, asyncio.Task[None]] = {}

    async def all(self) -> None:
        """Run the branches; a cancellation stops them before it is passed on to them."""
        group = asyncio.ensure_future(self._together())
        try:
            await asyncio.shield(group)
        except asyncio.CancelledError:
            self._stop_others(None)
            group.cancel()
            while not group.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait([group])
            if not group.cancelled():
                group.exception()  # so that it is not reported as lost
            raise

    async def _together(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for index in range(self._first):
                    self._tasks[index] = group.create_task(self._branch(index, group))
                    if index % TOGETHER == TOGETHER - 1:
                        self._around.root.steps += 1  # more are to begin: this is no lull
                        await asyncio.sleep(0)
                        if self._is_over:
                            break
        except BaseExceptionGroup as errors:  # only what the verdict raised: branches keep theirs
            raise errors.exceptions[0] from None
        if not self._is_over and any(task.cancelled() for task in self._tasks.values()):
            raise asyncio.CancelledError

    async def _branch(self, index: int, group: asyncio.TaskGroup) -> None:
        start, self._starts[index] = self._starts[index], None
        assert start is not None
        inside = self._inside(index)
        inside.branch.task = self._tasks.get(index) or asyncio.current_task()
        enter(inside)
        try:
            value, is_enough = await start(), self._after_success
        except Exception as error:
            value, is_enough = _NOTHING, self._after_failure
            self.ended.fail(index, error)
        if is_enough is None and self._judging is None:
            self.ended.given[index] = value
        else:
            await self._judge(is_enough, index, value)
        following = None if self._is_over else next(self._waiting, None)
        if following is not None:
            self._tasks[following] = group.create_task(self._branch(following, group))
        inside.branch.task = None  # else each would hold the other
        self._insides.pop(index, None)
        self._tasks.pop(index, None)  # not there yet where tasks begin eagerly

    def _inside(self, index: int) -> Inside:
        """Return what surrounds a branch."""
        inside = self._insides.get(index)
        if inside is None:
            branch = self._around.branch.fork(index, self._number, self._turns)
            inside = self._insides[index] = self._around.on(branch)
        return inside

    async def _judge(self, is_enough: Verdict | None, index: int, value: Any) -> None:
        if self._judging is not None and self._judging.locked():
            async with self._judging:
                await self._conclude(index, self._verdict(is_enough, index, value))
            return
        verdict = self._verdict(is_enough, index, value)
        if verdict is not False:
            self._judging = self._judging or asyncio.Lock()
            async with self._judging:
                await self._conclude(index, verdict)

    def _verdict(self, is_enough: Verdict | None, index: int, value: Any) -> bool | Awaitable[bool]:
        if self._is_over:
            return False
        self.ended.given[index] = value
        try:
            return is_enough is not None and is_enough(self.ended, index)
        except BaseException:
            self._stop_others(index)
            raise

    async def _conclude(self, index: int, verdict: bool | Awaitable[bool]) -> None:
        try:
            enough = verdict if isinstance(verdict, bool) else await verdict
        except BaseException:
            self._stop_others(index)
            raise
        if enough:
            self._is_over = True
            for task in self._stop_others(index):
                task.cancel()

    def _stop_others(self, last: int | None) -> list[asyncio.Task[None]]:
        """Let the branches that run make no further call; returns their tasks."""
        running = [n for n, task in self._tasks.items() if n != last and not task.done()]
        for index in running:
            self._in_threads |= self._inside(index).branch.stop()
        return [self._tasks[index] for index in running]

    async def end_the_unbegun(self) -> None:
        """Let branches that were cancelled before they began end so, which leaves their records.

        Threads whose calls were cancelled get a moment to end, too.
        """
        for index, start in enumerate(self._starts):
            if start is not None:
                await _end(start, self._inside(index), asyncio.CancelledError())
        turns = (self._around.branch.turns or self._turns) if self._in_threads else None
        if turns is not None:
            await turns.activity.threads_to_end()


async def end_all(starts: Sequence[Start], inside: Inside, ended: BaseException) -> None:
    """Let steps that are not to begin end with an error, which leaves their records."""
    branch, at = inside.branch.here(), next_number()
    for index, start in enumerate(starts):
        await _end(start, inside.on(branch.fork(index, at)), ended)


async def _end(start: Start, inside: Inside, ended: BaseException) -> None:
    token = enter(inside)
    try:
        with suppress(type(ended)):
            await start(ended)
    finally:
        leave(token)
