"""Answers that may differ from call to call, as a value that says so."""

from typing import TYPE_CHECKING, Any, ClassVar, Generic, NoReturn, TypeVar

from stratum.agreement import Aspect, On, aspect, grouped, listed
from stratum.contracts import Contract
from stratum.errors import ConfigurationError, NotStable, VarianceIgnored
from stratum.scope import random
from stratum.text import escape, truncate
from stratum.values import dataclass

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SampleGroup(Generic[T]):
    """Samples that agree: `on` is what they agree on, as data, `share` their part of all.

    >>> SampleGroup(on="spam", samples=("spam", "spam"), share=2 / 3).on
    'spam'
    """

    on: Any
    samples: tuple[T, ...]
    share: float


class Probabilistic(Generic[T]):
    """What `@infer(stable=False)` gives: samples of one call, of which none is *the* answer.

    `samples` are the answers in the order of their places; `failures` are the errors of those
    that had no acceptable answer, and count against any agreement. It cannot be changed, has no
    truth value and none of the attributes of an answer: the caller decides how to handle the
    variance (SPEC 16).

    >>> moods = Probabilistic(["good", "good", "bad"])
    >>> moods.most_likely(), round(moods.agreement, 2)
    ('good', 0.67)
    >>> [(group.on, len(group.samples)) for group in moods.groups()]
    [('good', 2), ('bad', 1)]
    """

    __slots__ = ("_contract", "_function", "failures", "samples")
    samples: tuple[T, ...]
    failures: tuple[Exception, ...]
    _function: str
    _contract: Contract | None

    def __init__(
        self,
        samples: "list[T] | tuple[T, ...]",
        failures: "list[Exception] | tuple[Exception, ...]" = (),
        *,
        function: str = "",
        contract: Contract | None = None,
    ) -> None:
        if not samples:
            raise ConfigurationError("Probabilistic([]) has no sample; give at least one answer")
        fill = object.__setattr__
        fill(self, "samples", tuple(samples))
        fill(self, "failures", tuple(failures))
        fill(self, "_function", function or "Probabilistic")
        fill(self, "_contract", contract)

    def groups(self, on: On = None) -> tuple[SampleGroup[T], ...]:
        """Return the samples that agree, group by group, the largest first.

        `on` is a field's name, a list of names (`"address.city"` goes deeper) or a function of
        an answer; None compares whole answers. Failures are in no group.
        """
        return self._grouped(self._aspect(on))

    def most_likely(self, on: On = None) -> T:
        """Return the first sample of the largest group, of two that are as large the earlier."""
        return self.groups(on)[0].samples[0]

    def sample(self) -> T:
        """Return one of the samples at random; the same one on every replay."""
        return self.samples[int(random() * len(self.samples))]

    @property
    def agreement(self) -> float:
        """The share of the largest group, from 0 to 1."""
        return self.groups()[0].share

    def assert_stable(self, threshold: float = 0.8, *, on: On = None) -> None:
        """Raise `NotStable`, an `AssertionError`, when less than `threshold` of the samples agree.

        >>> Probabilistic(["good", "good", "bad"]).assert_stable(0.6)
        """
        if isinstance(threshold, bool) or not 0 < threshold <= 1:
            raise ConfigurationError(
                f"assert_stable(threshold={threshold!r}); it takes a share above 0, up to 1"
            )
        taken = len(self.samples) + len(self.failures)
        if taken < 2:
            raise ConfigurationError(
                f"{self._function}: one sample says nothing about stability.\n"
                "  Ask for more with .with_(samples=5); tests under pytest do so by themselves."
            )
        compared = self._aspect(on)
        groups = self._grouped(compared)
        if groups[0].share < threshold:
            raise self._unstable(compared, groups, threshold)

    def _aspect(self, on: On) -> Aspect:
        return aspect(on, self._contract, f"{self._function}: on")

    def _grouped(self, compared: Aspect) -> tuple[SampleGroup[T], ...]:
        data = {number: compared.of(sample) for number, sample in enumerate(self.samples)}
        taken = len(self.samples) + len(self.failures)
        return tuple(
            SampleGroup(data[each[0]], tuple(self.samples[at] for at in each), len(each) / taken)
            for each in grouped(data)
        )

    def _unstable(
        self, compared: Aspect, groups: tuple[SampleGroup[T], ...], threshold: float
    ) -> NotStable:
        taken, most = len(self.samples) + len(self.failures), len(groups[0].samples)
        on = f" on {compared.text}" if compared.text else ""
        shown = [(compared.shown(each.samples[0]), len(each.samples)) for each in groups]
        return NotStable(
            f"{self._function}: {most} of {taken} samples agree{on} ({most / taken:.0%}), "
            f"and {threshold:.0%} should:\n{listed(shown, self.failures)}\n"
            "  Say in intent or context how to decide such cases, compare less (on=), or lower "
            "threshold."
        )

    def _ignored(self, use: str, instead: str = ".most_likely()") -> NoReturn:
        count = f"{len(self.samples)} samples" if len(self.samples) > 1 else "1 sample"
        raise VarianceIgnored(
            f"{self._function} gives a Probabilistic of {count}, which {use}.\n"
            f"  Choose an answer first: {instead} or .sample(); or look at .samples."
        )

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"a Probabilistic cannot be changed: {name}")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a Probabilistic cannot be changed: {name}")

    if not TYPE_CHECKING:  # to type checkers these are mistakes: it has no such methods

        def __getattr__(self, name: str) -> NoReturn:
            if name.startswith("__"):  # what copy, pickle and inspect look for
                raise AttributeError(name)
            self._ignored(f"has no {name}", f".most_likely().{name}")

        def __bool__(self) -> NoReturn:
            self._ignored("is neither true nor false")

        def __iter__(self) -> NoReturn:
            self._ignored("cannot be iterated over")

        def __len__(self) -> NoReturn:
            self._ignored("has no length")

        def __getitem__(self, key: object) -> NoReturn:
            self._ignored("has no items")

        def __contains__(self, item: object) -> NoReturn:
            self._ignored("cannot be searched")

        def __format__(self, spec: str) -> NoReturn:
            self._ignored("is no text")

        def __eq__(self, other: object) -> bool:
            if isinstance(other, Probabilistic):
                return bool(self.samples == other.samples)
            if any(isinstance(other, type(sample)) for sample in self.samples):
                self._ignored("is not equal to any answer")
            return NotImplemented

    __hash__: ClassVar[None] = None  # type: ignore[assignment]

    def __copy__(self) -> "Probabilistic[T]":
        return self

    def __deepcopy__(self, memo: object) -> "Probabilistic[T]":
        return self

    def __reduce__(self) -> Any:
        return Probabilistic, (self.samples, self.failures)

    def __repr__(self) -> str:
        shown = truncate(escape(repr(list(self.samples))), 300)
        failed = f", {len(self.failures)} failed" if self.failures else ""
        return f"Probabilistic({shown}{failed})"
