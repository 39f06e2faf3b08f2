"""Everything that Stratum raises or warns.

StratumError
├── ConfigurationError          settings, clients or models that cannot work
│   └── UnpricedModel           a usd budget and a model without a known price
├── DeclarationError            a decorator was given something it cannot use
├── InputError                  an argument that cannot be sent
│   └── PreconditionFailed      a `given` condition does not hold
├── NotAwaited                  a call was used as if it were its value
├── ConditionError              a condition raised, or returned something unusable
├── AnswerRejected              every attempt was answered, none was acceptable
│   ├── ContractViolated        the last answer does not fit the contract
│   └── PostconditionFailed     the last answer breaks an `ensure` condition
├── QuorumFailed                too few samples of a call agree
├── NotStable                   samples of a call differ more than a test allows
├── VarianceIgnored             a distribution was used as if it were one answer
├── ConvergenceFailure          `@refine` ended and its condition does not hold
├── Refused                     the model declined to answer
├── CutOff                      the answer ended at max_tokens
├── InsufficientResults         no set of results was enough for `parallel(validate=)`
├── BudgetExceeded              money, tokens or time ran out
├── HumanTimeout                nobody decided in time
├── ReviewError                 a review that cannot be found, read or decided
├── ProviderError               the provider failed, after the transport retries
│   └── AuthenticationFailed    no key, or a key the provider does not take
└── RecordingError
    ├── RecordingMissing        replay met a call that is not recorded
    ├── RecordingCorrupt        a golden or cache file that cannot be read
    ├── CacheUnusable           the cache on disk cannot be opened, read or written now
    └── SecretLeak              a secret would have been written

StratumWarning (UserWarning)
├── AmbiguousPlace              concurrent tasks made the same call
├── BudgetTooSmall              a flow may spend less than one of its steps
├── SamplesAlike                a quorum whose samples can hardly differ
├── SequentialAwaits            a flow awaits one by one what could run together
└── UnpricedWarning             a usd budget goes on without a price
"""

from collections.abc import Sequence
from typing import Any


class StratumError(Exception):
    """The root of the tree."""


class ConfigurationError(StratumError):
    """Settings, clients or models that cannot work as they stand."""


class UnpricedModel(ConfigurationError):
    """A usd budget cannot be kept for a model whose price nobody knows."""


class DeclarationError(StratumError, TypeError):
    """A decorator was given something it cannot use."""


class InputError(StratumError, ValueError):
    """An argument that cannot be sent."""


class PreconditionFailed(InputError):
    """A `given` condition does not hold; nothing was sent."""

    def __init__(self, function: str, violations: Sequence[str]) -> None:
        self.function = function
        self.violations: tuple[str, ...] = tuple(violations)
        listed = "\n".join(f"  - {violation}" for violation in self.violations)
        super().__init__(f"{function} was called with inputs it does not take:\n{listed}")


class NotAwaited(StratumError, TypeError):
    """A call was used as if it were its value, awaited twice, or never awaited."""


class ConditionError(StratumError):
    """A condition raised, or returned something that is no verdict."""


class AnswerRejected(StratumError):
    """Every attempt was answered and none was acceptable."""

    def __init__(self, function: str, attempts: int, violations: Sequence[str]) -> None:
        self.function = function
        self.attempts = attempts
        self.violations: tuple[str, ...] = tuple(violations)
        times = "1 attempt" if attempts == 1 else f"{attempts} attempts"
        listed = "\n".join(f"  - {violation}" for violation in self.violations)
        super().__init__(f"{function} got no acceptable answer in {times}; the last one:\n{listed}")


class ContractViolated(AnswerRejected):
    """The last answer does not fit the contract."""


class PostconditionFailed(AnswerRejected):
    """The last answer breaks an `ensure` condition."""


class QuorumFailed(StratumError):
    """Too few samples of a call agree.

    `groups` has what the samples said and how many said it, the largest first; `failures` are
    the errors of those that gave no answer.
    """

    def __init__(
        self, message: str, groups: Sequence[tuple[str, int]], failures: Sequence[Exception]
    ) -> None:
        self.groups: tuple[tuple[str, int], ...] = tuple(groups)
        self.failures: tuple[Exception, ...] = tuple(failures)
        super().__init__(message)


class NotStable(StratumError, AssertionError):
    """The samples of a call differ more than a test allows; the message lists their groups."""


class VarianceIgnored(StratumError, AttributeError, TypeError):
    """A distribution of answers was used as if it were one of them."""


class ConvergenceFailure(StratumError):
    """`@refine` ended and its condition does not hold.

    `history` has each turn's output, and what was said of it.
    """

    def __init__(self, message: str, history: Sequence[tuple[Any, str]]) -> None:
        self.history: tuple[tuple[Any, str], ...] = tuple(history)
        super().__init__(message)


class Refused(StratumError):
    """The model declined to answer."""


class CutOff(StratumError):
    """The answer ended at max_tokens before it was whole."""


class InsufficientResults(StratumError):
    """Steps that ran together gave no set of values that `validate` accepts."""


class BudgetExceeded(StratumError):
    """Money, tokens or time ran out; `limit` says which: "usd", "tokens" or "ms"."""

    def __init__(self, message: str, *, limit: str) -> None:
        self.limit = limit
        super().__init__(message)


class HumanTimeout(StratumError):
    """Nobody decided in time."""


class ReviewError(StratumError):
    """A review that cannot be found, read or decided; the message says why."""


class ProviderError(StratumError):
    """The provider failed; its own error is the cause. `billed`: it may have charged for it."""

    def __init__(self, message: str, *, billed: bool = False) -> None:
        self.billed = billed
        super().__init__(message)


class AuthenticationFailed(ProviderError):
    """No key, or a key that the provider does not take."""


class RecordingError(StratumError):
    """Something about recorded calls."""


class RecordingMissing(RecordingError):
    """Replay met a call that is not recorded; `drifts` are the causes."""

    def __init__(self, message: str, drifts: Sequence[object] = ()) -> None:
        self.drifts: tuple[object, ...] = tuple(drifts)
        super().__init__(message)


class RecordingCorrupt(RecordingError):
    """A recording that cannot be read; the message names the file and the remedy."""


class CacheUnusable(RecordingError):
    """The cache on disk cannot be opened, read or written now; the message says why."""


class SecretLeak(RecordingError):
    """A secret would have been written; nothing was."""


class StratumWarning(UserWarning):
    """The root of the warnings."""


class AmbiguousPlace(StratumWarning):
    """Concurrent tasks made the same call, so replay cannot tell their answers apart."""


class BudgetTooSmall(StratumWarning):
    """A flow's budget is smaller than that of a step in it."""


class SamplesAlike(StratumWarning):
    """A quorum whose samples can hardly differ, at temperature 0."""


class SequentialAwaits(StratumWarning):
    """A flow awaits steps one after the other that need nothing of each other."""


class UnpricedWarning(StratumWarning):
    """A usd budget goes on although nobody knows the price of the model."""
