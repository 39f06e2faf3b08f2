"""`@flow`: ordinary control flow around steps, with one budget and one trace."""

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from copy import copy
from functools import partial
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    ParamSpec,
    Protocol,
    Self,
    TypeVar,
    overload,
)

from stratum.arguments import check_budget
from stratum.budget import Budget
from stratum.errors import DeclarationError, NotAwaited
from stratum.scope import stand_in
from stratum.steps import Span, sync_inside_of
from stratum.traced import Traced, TracedCoroutine

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")


class SyncFlow(Traced, Generic[P, R]):
    """A traced function whose steps give their values; made by `@flow` on a `def`.

    Its body runs in the caller's thread.
    """

    def __init__(self, function: Callable[P, R], *, budget: Budget | None = None) -> None:
        super().__init__(function)
        self.budget = budget

    @overload
    def __get__(self, instance: None, owner: type | None = None) -> Self: ...
    @overload
    def __get__(
        self: "SyncFlow[Concatenate[Any, Q], R]", instance: object, owner: type | None = None
    ) -> "SyncFlow[Q, R]": ...
    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return self._bound_to(instance)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        if asyncio._get_running_loop() is not None:
            name = self._inputs.name
            raise NotAwaited(
                f"The flow {name} is synchronous, and was called inside a running event loop, "
                "which it would block.\n"
                f"  Make it an `async def`, or write `await asyncio.to_thread({name}, ...)`."
            )
        return self._perform((*self._bound, *args), kwargs)

    run = __call__

    def with_(self, *, budget: Budget) -> "SyncFlow[P, R]":
        """Return the same flow with another budget."""
        check_budget(self._inputs.name, budget)
        changed = copy(self)
        changed.budget = budget
        return changed

    def __repr__(self) -> str:
        return f"<@flow {self._inputs.name}>"

    def _perform(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> R:
        name = self._inputs.name
        span = Span("flow", name, self._seen(args, kwargs), self._inputs)
        try:
            with sync_inside_of(span, self.budget, f"flow {name}"):
                function = stand_in(span.around, self._inputs) or self._function
                value: R = function(*args, **kwargs)
        except BaseException as error:
            span.fail(error)
            raise
        span.succeed(value, self._returns)
        return value


class Flow(TracedCoroutine[P, R], Generic[P, R]):
    """A traced coroutine function whose calls draw on one budget; made by `@flow`."""

    @overload
    def __get__(self, instance: None, owner: type | None = None) -> Self: ...
    @overload
    def __get__(
        self: "Flow[Concatenate[Any, Q], R]", instance: object, owner: type | None = None
    ) -> "Flow[Q, R]": ...
    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return self._bound_to(instance)

    def with_(self, *, budget: Budget) -> "Flow[P, R]":
        """Return the same flow with another budget."""
        check_budget(self._inputs.name, budget)
        changed = copy(self)
        changed.budget = budget
        return changed


if TYPE_CHECKING:

    class _MakeFlow(Protocol):
        """`@flow(...)`: makes a flow of what it is put on."""

        @overload
        def __call__(  # type: ignore[overload-overlap]
            self, function: Callable[P, Coroutine[Any, Any, R]], /
        ) -> Flow[P, R]: ...
        @overload
        def __call__(self, function: Callable[P, R], /) -> SyncFlow[P, R]: ...


@overload
def flow(  # type: ignore[overload-overlap]
    function: Callable[P, Coroutine[Any, Any, R]], /
) -> Flow[P, R]: ...
@overload
def flow(function: Callable[P, R], /) -> SyncFlow[P, R]: ...
@overload
def flow(*, budget: Budget | None = None) -> "_MakeFlow": ...
def flow(function: Any = None, /, *, budget: Budget | None = None) -> Any:
    """Make a flow of a function: plain Python, traced, with one hard budget.

    The budget bounds all calls below it together, nested flows included, and `ms` bounds
    the body itself. In a flow on a plain `def` steps give their values without `await`, and
    `ms` ends the step that runs when the time is up. Raises `DeclarationError` on anything
    but a function.

    >>> @flow(budget=Budget(ms=5000, usd=0.01))
    ... async def double(n: int) -> int:
    ...     return 2 * n
    >>> double.run(n=4)
    8
    """
    if function is None:
        return partial(_flow, budget=budget)
    return _flow(function, budget=None)


def _flow(function: Any, *, budget: Budget | None) -> "Flow[Any, Any] | SyncFlow[Any, Any]":
    if isinstance(function, Budget):
        raise DeclarationError(f"@flow({function!r}): write @flow(budget=...)")
    if not inspect.isfunction(function) or inspect.isgeneratorfunction(function):
        raise DeclarationError(
            f"@flow was put on {function!r}, which is no function that returns a value.\n"
            "  Write `async def`, and await the steps in it."
        )
    check_budget(function.__qualname__, budget)
    from stratum.flow_analysis import warn_about  # reads source: only programs with a flow need it

    warn_about(function, budget)
    if inspect.iscoroutinefunction(function):
        return Flow(function, kind="flow", budget=budget)
    return SyncFlow(function, budget=budget)
