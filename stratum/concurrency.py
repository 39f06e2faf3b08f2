"""Run steps together: `parallel`."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from functools import partial
from typing import Any, Generic, Literal, TypeAlias, TypeVar, overload

from stratum.errors import DeclarationError
from stratum.scope import Inside, current, enter, next_number
from stratum.steps import Call, run_now

T = TypeVar("T")
T1 = TypeVar("T1")
T2 = TypeVar("T2")
T3 = TypeVar("T3")
T4 = TypeVar("T4")
R = TypeVar("R")

Start: TypeAlias = Callable[..., Coroutine[Any, Any, Any]]


class Parallel(Call[R], Generic[R]):
    """Steps that will run together once this is awaited, or `.run()` is called."""

    __slots__ = ()

    def run(self) -> R:
        """Run the steps and wait; raises `NotAwaited` inside a running event loop."""
        return run_now("parallel", self.take())


@overload
def parallel(s1: Awaitable[T1], /, *, require: Literal["all"] = ...) -> Parallel[tuple[T1]]: ...
@overload
def parallel(
    s1: Awaitable[T1], s2: Awaitable[T2], /, *, require: Literal["all"] = ...
) -> Parallel[tuple[T1, T2]]: ...
@overload
def parallel(
    s1: Awaitable[T1], s2: Awaitable[T2], s3: Awaitable[T3], /, *, require: Literal["all"] = ...
) -> Parallel[tuple[T1, T2, T3]]: ...
@overload
def parallel(
    s1: Awaitable[T1],
    s2: Awaitable[T2],
    s3: Awaitable[T3],
    s4: Awaitable[T4],
    /,
    *,
    require: Literal["all"] = ...,
) -> Parallel[tuple[T1, T2, T3, T4]]: ...
@overload
def parallel(*steps: Awaitable[T], require: Literal["all"] = ...) -> Parallel[tuple[T, ...]]: ...
def parallel(*steps: Awaitable[Any], require: Literal["all"] = "all") -> Parallel[Any]:
    """Run the steps together and give all their values, in the order of the arguments.

    The first error cancels the other steps. One error is raised as itself, several that
    came together as an `ExceptionGroup`. Every step is a branch of its own, so that
    identical calls keep their own recorded answers (SPEC 4.2).

    >>> from stratum import compute
    >>> @compute
    ... async def double(n: int) -> int:
    ...     return 2 * n
    >>> parallel(double(1), double(2)).run()
    (2, 4)
    """
    if require != "all":
        raise DeclarationError(f'parallel(require={require!r}); it takes "all"')
    return Parallel("parallel", partial(_all, [_start(step) for step in steps]))


def _start(step: Awaitable[Any]) -> Start:
    if isinstance(step, Call):
        return step.take()
    if isinstance(step, Awaitable):
        return partial(_awaited, step)
    raise DeclarationError(
        f"parallel was given {step!r}, which cannot be awaited.\n"
        "  Pass calls, such as parallel(classify(text=a), classify(text=b))."
    )


async def _awaited(step: Awaitable[T], ended: BaseException | None = None) -> T:
    if ended is None:
        return await step
    if isinstance(step, Coroutine):
        step.close()
    raise ended


async def _all(starts: list[Start], ended: BaseException | None = None) -> tuple[Any, ...]:
    inside = current()
    branch = inside.branch.here()
    at = next_number()
    tasks: list[asyncio.Task[Any]] = []
    try:
        async with asyncio.TaskGroup() as group:
            for index, start in enumerate(starts):
                surroundings = replace(inside, branch=branch.fork(index, at))
                tasks.append(group.create_task(_in_branch(start, surroundings, ended)))
    except BaseExceptionGroup as errors:
        raise _one_or_all(errors, len(starts)) from None
    if ended is not None:
        raise ended
    return tuple(task.result() for task in tasks)


def _one_or_all(errors: BaseExceptionGroup[BaseException], steps: int) -> BaseException:
    """Return one error, however often it came, as itself; several as a group that lists them."""
    if len({(type(error), str(error)) for error in errors.exceptions}) == 1:
        return errors.exceptions[0]
    said = "\n".join(f"  - {type(e).__name__}: {e}" for e in errors.exceptions)
    text = f"{len(errors.exceptions)} of {steps} steps failed:\n{said}"
    return BaseExceptionGroup(text, errors.exceptions)


async def _in_branch(start: Start, inside: Inside, ended: BaseException | None) -> Any:
    inside.branch.claim()
    enter(inside)
    return await start(ended)
