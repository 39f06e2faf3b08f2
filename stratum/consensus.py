"""Ask until enough samples of a call agree."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from stratum.activity import IDLE, idle
from stratum.agreement import Aspect, grouped, listed
from stratum.attempts import Ask, Question, Settled, judge
from stratum.calls import CacheScope, Reply
from stratum.engine import Run
from stratum.errors import (
    AnswerRejected,
    AuthenticationFailed,
    BudgetExceeded,
    CutOff,
    ProviderError,
    QuorumFailed,
    Refused,
    StratumError,
)
from stratum.fan_out import Ended, early, fan_out
from stratum.hashing import digest
from stratum.recording.memory import Memory, memory_for
from stratum.repeated import Asked
from stratum.scope import client_for, current
from stratum.steps import Span, inside_of

REPLIED = (AnswerRejected, Refused, CutOff)  # what a reply may mean for one sample


class Quorum:
    """Asks for `samples` answers side by side, and gives one that `threshold` of them agree on.

    Stops as soon as so many agree, or no longer can; what has not ended then is cancelled
    (SPEC 16).
    """

    def __init__(self, samples: int, threshold: int, aspect: Aspect) -> None:
        self.samples = samples
        self.threshold = threshold
        self.aspect = aspect

    async def perform(self, asked: Asked, run: Run, ended: BaseException | None = None) -> Any:
        details: dict[str, Any] = {"samples": self.samples, "threshold": self.threshold}
        if self.aspect.text:
            details["agree_on"] = self.aspect.text
        span = Span("quorum", asked.function, asked.values, asked.inputs)
        span.details = details
        try:
            async with inside_of(span, asked.budget, asked.function):
                if ended is not None:
                    raise ended
                value = await self._remembered(asked, run, details)
        except BaseException as error:
            span.fail(error)
            raise
        span.succeed(value, asked.question.returns)
        return value

    def alone(self, answer: Any) -> Any:
        return answer

    def answer(self, value: Any) -> Any:
        return value

    def with_samples(self, samples: int) -> None:
        """It takes those of `quorum=`."""

    def check(self, question: Question) -> None:
        """A quorum goes with all settings."""

    async def _remembered(self, asked: Asked, run: Run, details: dict[str, Any]) -> Any:
        """Give the agreed value from the function's cache, else agree on one and remember it."""
        memory = _memory(asked.question.cache)
        if memory is None:
            return await self._agreed(asked, run, details)
        ask = asked.first(asked.revision)
        key = digest(["quorum", ask.key, self.samples, self.threshold, self.aspect.text])
        known = memory.get(key)
        move = _settled(ask, known) if known is not None else None
        if known is not None and move is not None:
            details["cached"], run.data = True, known.data
            return move.value
        value = await self._agreed(asked, run, details)
        memory.put(key, Reply(run.data))
        return value

    async def _agreed(self, asked: Asked, run: Run, details: dict[str, Any]) -> Any:
        runs = [Run() for _ in range(self.samples)]
        inside = current()
        count = _Count(self, lambda: inside.root.steps)
        starts = [asked.start(each) for each in runs]
        ended = await fan_out(
            starts,
            after_success=count.succeeded,
            after_failure=count.failed,
            turns=early(inside),
        )
        if count.fatal is not None:
            raise count.fatal
        agreed = count.largest
        if len(agreed) < self.threshold:
            raise count.disagreement(asked, list(ended.errors.values()))
        details["agreed"] = list(agreed)
        run.data = runs[agreed[0]].data
        return count.values[agreed[0]]


class _Count:
    """Counts the samples as they end; says that it is enough when the end is certain."""

    def __init__(self, quorum: Quorum, steps: Callable[[], int]) -> None:
        self.fatal: Exception | None = None
        self.values: dict[int, Any] = {}
        self._compared: dict[int, Any] = {}
        self._quorum = quorum
        self._steps = steps
        self._open = quorum.samples

    def succeeded(self, ended: Ended, at: int) -> bool:
        self._open -= 1
        value = self.values[at] = ended.given[at]
        self._compared[at] = self._quorum.aspect.of(value)
        return self._is_certain()

    def failed(self, ended: Ended, at: int) -> bool | Awaitable[bool]:
        self._open -= 1
        error = ended.errors[at]
        if not _is_of_a_sample(error):
            self.fatal = error
        if self._is_certain() and not isinstance(error, REPLIED):
            return self._with_the_others()
        return self._is_certain()

    def _is_certain(self) -> bool:
        most, threshold = len(self.largest), self._quorum.threshold
        return self.fatal is not None or most >= threshold or most + self._open < threshold

    async def _with_the_others(self) -> bool:
        """Let those fail that fail for the same reason, such as a budget, before they are stopped.

        No recording says which of them came first. No reply is given meanwhile: that takes longer.
        """
        await idle(self._steps, IDLE // 4)
        return True

    @property
    def largest(self) -> tuple[int, ...]:
        """The samples of the largest group, in order."""
        return next(iter(grouped(self._compared)), ())

    def disagreement(self, asked: Asked, failures: Sequence[Exception]) -> StratumError:
        """Return why there is no agreement: the budget's error, if that could have been enough."""
        unpaid = [error for error in failures if isinstance(error, BudgetExceeded)]
        quorum = self._quorum
        if unpaid and len(self.largest) + len(unpaid) >= quorum.threshold:
            return unpaid[0]
        shown = quorum.aspect.shown
        groups = [(shown(self.values[each[0]]), len(each)) for each in grouped(self._compared)]
        on = f" on {quorum.aspect.text}" if quorum.aspect.text else ""
        stopped = quorum.samples - len(self.values) - len(failures)
        rest = f"\n  - {stopped} stopped: they could not change it" if stopped else ""
        return QuorumFailed(
            f"{asked.function}: no {quorum.threshold} of {quorum.samples} samples agree{on}:\n"
            f"{listed(groups, failures)}{rest}\n"
            f"  {_remedy(quorum, failures)}",
            groups,
            failures,
        )


def _remedy(quorum: Quorum, failures: Sequence[Exception]) -> str:
    if len(failures) > quorum.samples - quorum.threshold:
        return "See why the samples failed, then ask again; a larger quorum leaves room for some."
    return (
        "Say in intent or context how to decide such cases, compare less (agree_on), or lower "
        "threshold."
    )


def _is_of_a_sample(error: Exception) -> bool:
    """Say whether another sample may end otherwise; if not, none of them is asked to its end."""
    if isinstance(error, AuthenticationFailed):
        return False
    return isinstance(error, (*REPLIED, ProviderError, BudgetExceeded))


def _memory(cache: CacheScope) -> Memory | None:
    inside = current()
    return None if cache == "none" else memory_for(client_for(inside), inside, cache)


def _settled(ask: Ask, known: Reply) -> Settled | None:
    """Return what a remembered answer means today; None when it no longer holds."""
    move = judge(ask, known)
    return move if isinstance(move, Settled) and move.error is None else None
