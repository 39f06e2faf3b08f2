"""Run steps together: `parallel` and `race`."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from inspect import Signature, isawaitable
from typing import Any, Literal, TypeAlias, TypeVar, overload

from stratum.activity import IDLE, idle
from stratum.errors import ConditionError, DeclarationError, InsufficientResults
from stratum.fan_out import (
    Ended,
    Failure,
    Start,
    Success,
    Verdict,
    contended,
    early,
    end_all,
    fan_out,
)
from stratum.roots import Inside, Root
from stratum.scope import in_sync_flow, surrounded
from stratum.steps import Call, Inputs, RunnableCall, Span, step

T = TypeVar("T")
T1 = TypeVar("T1")
T2 = TypeVar("T2")
T3 = TypeVar("T3")
T4 = TypeVar("T4")

All: TypeAlias = Literal["all"]
Validate: TypeAlias = Callable[[list[Any]], object]


@overload
def parallel(
    s1: Awaitable[T1],
    /,
    *,
    require: All = ...,
    validate: Validate | None = ...,
    limit: int | None = ...,
) -> RunnableCall[tuple[T1]]: ...
@overload
def parallel(
    s1: Awaitable[T1],
    s2: Awaitable[T2],
    /,
    *,
    require: All = ...,
    validate: Validate | None = ...,
    limit: int | None = ...,
) -> RunnableCall[tuple[T1, T2]]: ...
@overload
def parallel(
    s1: Awaitable[T1],
    s2: Awaitable[T2],
    s3: Awaitable[T3],
    /,
    *,
    require: All = ...,
    validate: Validate | None = ...,
    limit: int | None = ...,
) -> RunnableCall[tuple[T1, T2, T3]]: ...
@overload
def parallel(
    s1: Awaitable[T1],
    s2: Awaitable[T2],
    s3: Awaitable[T3],
    s4: Awaitable[T4],
    /,
    *,
    require: All = ...,
    validate: Validate | None = ...,
    limit: int | None = ...,
) -> RunnableCall[tuple[T1, T2, T3, T4]]: ...
@overload
def parallel(
    *steps: Awaitable[T],
    require: Literal[0],
    validate: Validate | None = ...,
    limit: int | None = ...,
) -> RunnableCall[tuple[Success[T] | Failure, ...]]: ...
@overload
def parallel(
    s1: Awaitable[T],
    s2: Awaitable[T],
    s3: Awaitable[T],
    s4: Awaitable[T],
    s5: Awaitable[T],
    /,
    *steps: Awaitable[T],
    require: All = ...,
    validate: Validate | None = ...,
    limit: int | None = ...,
) -> RunnableCall[tuple[T, ...]]: ...
@overload
def parallel(
    *steps: Awaitable[T],
    require: Literal["any"] | int,
    validate: Validate | None = ...,
    limit: int | None = ...,
) -> RunnableCall[tuple[T, ...]]: ...
def parallel(
    *steps: Awaitable[Any],
    require: Literal["all", "any"] | int = "all",
    validate: Validate | None = None,
    limit: int | None = None,
) -> RunnableCall[Any]:
    """Run the steps together and give their values, in the order of the arguments.

    `require="all"` gives all values; the first error cancels the other steps. `"any"` and a
    number give the values of that many steps, as soon as they have succeeded, and cancel the
    rest. `0` waits for every step and gives a `Success` or `Failure` for each. `validate` is
    given the values so far, in order, and says whether they are enough: `"any"` and a number
    go on until it does. At most `limit` steps run at once. Every step is a branch of its own,
    so that identical calls keep their own recorded answers (SPEC 4.2, 5).

    Raises the error of the one step that failed, an `ExceptionGroup` when several different
    ones did, and `InsufficientResults` when `validate` accepts no set of values.

    >>> from stratum import compute
    >>> @compute
    ... async def double(n: int) -> int:
    ...     return 2 * n
    >>> parallel(double(1), double(2)).run()
    (2, 4)
    >>> len(parallel(double(1), double(2), require="any").run())
    1
    """
    needed = _needed(require, len(steps))
    _check(validate, limit)
    plan = _Plan("parallel", require, needed, validate, limit)
    return step("parallel", partial(_together, plan, _starts(steps)))


def race(*steps: Awaitable[T], limit: int | None = None) -> RunnableCall[T]:
    """Run the steps together and give the value of the first that succeeds.

    The others are cancelled and make no further call. Raises the error of the steps when
    all have failed, several different ones as an `ExceptionGroup` (SPEC 5.4).

    >>> from stratum import compute
    >>> @compute
    ... async def double(n: int) -> int:
    ...     return 2 * n
    >>> race(double(4)).run()
    8
    """
    if not steps:
        raise DeclarationError("race() was given no step; pass calls to run against each other")
    _check(None, limit)
    plan = _Plan("race", "any", 1, None, limit)
    return step("race", partial(_first, plan, _starts(steps)))


class _Plan:
    """What a fan-out is to do: how many of its steps it needs, and what else it was told."""

    def __init__(
        self,
        name: Literal["parallel", "race"],
        require: Literal["all", "any"] | int,
        needed: int,
        validate: Validate | None,
        limit: int | None,
    ) -> None:
        self.name: Literal["parallel", "race"] = name
        self.require = require
        self.needed = needed
        self.validate = validate
        self.limit = limit

    def shown(self, steps: int) -> dict[str, Any]:
        """Return what a record says of it."""
        data: dict[str, Any] = {"steps": steps}
        if self.name == "parallel":
            data["require"] = self.require
        if self.validate is not None:
            data["validate"] = _name(self.validate)
        if self.limit is not None:
            data["limit"] = self.limit
        return data


def _name(function: Any) -> str:
    return str(getattr(function, "__qualname__", function))


def _needed(require: Any, steps: int) -> int:
    """Return how many steps have to succeed; refuses what cannot be."""
    if require == "all":
        return steps
    needed = 1 if require == "any" else require
    if isinstance(needed, bool) or not isinstance(needed, int) or needed < 0:
        raise DeclarationError(
            f'parallel(require={require!r}); it takes "all", "any", or a number of steps'
        )
    if needed > steps:
        raise DeclarationError(
            f"parallel(require={require!r}) was given {steps} steps, so it could never succeed"
        )
    return needed


def _check(validate: Any, limit: Any) -> None:
    if validate is not None and not callable(validate):
        raise DeclarationError(
            f"parallel(validate={validate!r}); it takes a function of the list of values"
        )
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise DeclarationError(f"limit={limit!r}; it takes a whole number from 1 up")


def _starts(steps: Sequence[Awaitable[Any]]) -> list[Start]:
    return [each.take() if isinstance(each, Call) else _start(each) for each in steps]


def _start(given: Awaitable[Any]) -> Start:
    if isinstance(given, Awaitable):
        return partial(_awaited, given)
    remedy = "Pass calls, such as parallel(classify(text=a), classify(text=b))."
    if in_sync_flow():
        remedy = "In a synchronous flow steps give their values: make it an async def."
    raise DeclarationError(f"parallel was given {given!r}, which cannot be awaited.\n  {remedy}")


async def _awaited(given: Awaitable[T], ended: BaseException | None = None) -> T:
    if ended is None:
        return await given
    if isinstance(given, Coroutine):
        given.close()
    raise ended


async def _first(plan: _Plan, starts: list[Start], ended: BaseException | None = None) -> Any:
    return (await _together(plan, starts, ended))[0]


async def _together(
    plan: _Plan, starts: list[Start], ended: BaseException | None = None
) -> tuple[Any, ...]:
    inputs = Inputs(plan.name, Signature(), {}, frozenset(), {})
    span = Span(plan.name, plan.name, plan.shown(len(starts)), inputs)
    try:
        with surrounded(span.inside):
            if ended is not None:
                await end_all(starts, span.inside, ended)
                raise ended
            kept = await _kept(plan, starts, span.inside)
    except BaseException as error:
        span.fail(error)
        raise
    span.succeed({"kept": plan.require if plan.require == "all" else list(kept)}, Any)
    return tuple(kept.values())


async def _kept(plan: _Plan, starts: list[Start], inside: Inside) -> dict[int, Any]:
    """Run the steps; returns what is to be given of them, by position."""
    steps = len(starts)
    if plan.require == "all":
        ended = await _until(
            plan, starts, inside, after_failure=partial(_with_the_others, inside.root)
        )
    elif plan.require == 0:
        ended = await _until(plan, starts, inside)
        await _validated(plan, ended.values)
        return _outcomes(ended)
    else:
        count = _Count(plan, steps)
        ended = await _until(
            plan, starts, inside, after_success=count.succeeded, after_failure=count.failed
        )
        if count.is_met:
            return ended.values
    errors = list(ended.errors.values())
    if len(errors) > steps - plan.needed:
        raise _one_or_all(errors, steps)
    values = ended.values
    await _validated(plan, values)
    return values


def _outcomes(ended: Ended) -> dict[int, Success[Any] | Failure]:
    outcomes: dict[int, Success[Any] | Failure] = {}
    outcomes |= {at: Success(value) for at, value in ended.values.items()}
    outcomes |= {at: Failure(error) for at, error in ended.errors.items()}
    return dict(sorted(outcomes.items()))


async def _until(
    plan: _Plan,
    starts: list[Start],
    inside: Inside,
    *,
    after_success: Verdict | None = None,
    after_failure: Verdict | None = None,
) -> Ended:
    stops = after_success is not None or plan.limit is not None
    return await fan_out(
        starts,
        after_success=after_success,
        after_failure=after_failure,
        limit=plan.limit,
        turns=early(inside) if stops else contended(inside),
    )


async def _with_the_others(root: Root, ended: Ended, at: int) -> bool:
    """Let a failure be enough, with those that come together with it.

    A recorded answer is there at once: before a replay cancels the other steps, they come as
    far as they came when they were recorded.
    """
    if getattr(root.client, "waits", True):
        await asyncio.sleep(0)
    else:
        await idle(lambda: root.steps, IDLE // 2)  # no further reply is given meanwhile
    return True


class _Count:
    """Is enough when as many steps as are needed have succeeded, or no longer can."""

    def __init__(self, plan: _Plan, steps: int) -> None:
        self.is_met = False
        self._plan = plan
        self._spare = steps - plan.needed
        self._missing = plan.needed

    def failed(self, ended: Ended, at: int) -> bool:
        self._spare -= 1
        return self._spare < 0

    def succeeded(self, ended: Ended, at: int) -> bool | Awaitable[bool]:
        self._missing -= 1
        if self._missing > 0:
            return False
        if self._plan.validate is None:
            self.is_met = True
            return True
        return self._is_valid(self._plan.validate, ended)

    async def _is_valid(self, validate: Validate, ended: Ended) -> bool:
        self.is_met = await _accepts(validate, list(ended.values.values()))
        return self.is_met


async def _validated(plan: _Plan, values: dict[int, Any]) -> None:
    if plan.validate is None or await _accepts(plan.validate, list(values.values())):
        return
    raise InsufficientResults(
        f"parallel: {_name(plan.validate)} did not accept the {len(values)} values that its "
        "steps gave.\n  Run more steps, or let validate accept fewer."
    )


async def _accepts(validate: Validate, values: list[Any]) -> bool:
    verdict = validate(values)
    if isawaitable(verdict):
        verdict = await verdict
    if verdict is None:
        raise ConditionError(f"{_name(validate)} returned None; validate returns True or False")
    return bool(verdict)


def _one_or_all(errors: list[Exception], steps: int) -> Exception:
    """Return one error, however often it came, as itself; several as a group that lists them."""
    if len({(type(error), str(error)) for error in errors}) == 1:
        return errors[0]
    said = "\n".join(f"  - {type(error).__name__}: {error}" for error in errors)
    return ExceptionGroup(f"{len(errors)} of {steps} steps failed:\n{said}", errors)
