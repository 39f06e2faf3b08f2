"""Choose how often a function is asked, from what `@infer` was given."""

import warnings
from typing import Any

from stratum.agreement import On, aspect
from stratum.attempts import Question
from stratum.consensus import Quorum
from stratum.errors import DeclarationError, SamplesAlike
from stratum.repeated import Way
from stratum.sampling import Sampling


def way_of(
    question: Question, *, quorum: Any, agree_on: On, threshold: Any, stable: Any, samples: Any
) -> Way:
    """Return how a function is asked; raises `DeclarationError` for what does not go together."""
    name = question.site.function
    if not isinstance(stable, bool):
        raise DeclarationError(f"{name}: stable={stable!r}; it takes True or False")
    if quorum is not None and not stable:
        raise DeclarationError(
            f"{name}: quorum={quorum!r} with stable=False: a quorum settles on one answer, "
            "stable=False hands on all of them.\n  Leave one of the two out."
        )
    if quorum is None:
        _refuse_without_quorum(name, agree_on=agree_on, threshold=threshold)
        sampling = _sampling(name, samples, stable)
        sampling.check(question)
        return sampling
    if samples is not None:
        raise DeclarationError(
            f"{name}: samples={samples!r} with quorum={quorum!r}; quorum says how often to ask"
        )
    return _quorum(question, quorum, agree_on, threshold)


def check_samples(name: str, samples: Any) -> None:
    """Refuse what is no number of samples."""
    if isinstance(samples, bool) or not isinstance(samples, int) or samples < 1:
        raise DeclarationError(f"{name}: samples={samples!r}; it takes a whole number from 1 up")


def with_samples(name: str, way: Way | None, samples: Any) -> Way:
    """Return a way that takes so many samples everywhere."""
    check_samples(name, samples)
    changed = way.with_samples(samples) if way else None
    if changed is None:
        raise DeclarationError(
            f"{name}.with_(samples={samples!r}) is for functions with stable=False.\n"
            "  Say stable=False in @infer to be given a Probabilistic, or quorum= for one answer."
        )
    return changed


def _quorum(question: Question, quorum: Any, agree_on: On, threshold: Any) -> Quorum:
    name = question.site.function
    if isinstance(quorum, bool) or not isinstance(quorum, int) or quorum < 2:
        raise DeclarationError(
            f"{name}: quorum={quorum!r}; it takes the number of samples, from 2 up"
        )
    needed = quorum // 2 + 1 if threshold is None else threshold
    if isinstance(needed, bool) or not isinstance(needed, int) or not 1 <= needed <= quorum:
        raise DeclarationError(
            f"{name}: threshold={threshold!r}; it takes how many of the {quorum} samples must "
            f"agree, from 1 to {quorum} ({quorum // 2 + 1} unless declared)"
        )
    if question.params.get("temperature") == 0:
        warnings.warn(
            f"{name}: quorum={quorum} at temperature=0 pays {quorum} times for what is nearly one "
            "opinion.\n  Leave temperature out, or the quorum.",
            SamplesAlike,
            stacklevel=5,
        )
    return Quorum(quorum, needed, aspect(agree_on, question.contract, f"{name}: agree_on"))


def _sampling(name: str, samples: Any, stable: bool) -> Sampling:
    if samples is not None:
        check_samples(name, samples)
    if stable and samples is not None:
        raise DeclarationError(
            f"{name}: samples={samples!r} without stable=False.\n"
            "  Say stable=False to be given a Probabilistic, or quorum= for one agreed answer."
        )
    return Sampling(samples)


def _refuse_without_quorum(name: str, **given: Any) -> None:
    for setting, value in given.items():
        if value is not None:
            raise DeclarationError(
                f"{name}: {setting}={value!r} without quorum.\n"
                "  Say quorum=3, or as many samples as are to be compared."
            )
