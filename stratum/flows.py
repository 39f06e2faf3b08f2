"""`@flow`: ordinary control flow around steps, with one budget and one trace."""

import inspect
from collections.abc import Callable, Coroutine
from copy import copy
from functools import partial
from typing import Any, Generic, ParamSpec, TypeVar, overload

from stratum.arguments import check_budget
from stratum.budget import Budget
from stratum.errors import DeclarationError
from stratum.traced import TracedCoroutine

P = ParamSpec("P")
R = TypeVar("R")


class Flow(TracedCoroutine[P, R], Generic[P, R]):
    """A traced coroutine function whose calls draw on one budget; made by `@flow`."""

    def with_(self, *, budget: Budget) -> "Flow[P, R]":
        """Return the same flow with another budget."""
        check_budget(self._inputs.name, budget)
        changed = copy(self)
        changed.budget = budget
        return changed


@overload
def flow(function: Callable[P, Coroutine[Any, Any, R]], /) -> Flow[P, R]: ...
@overload
def flow(
    *, budget: Budget | None = None
) -> Callable[[Callable[P, Coroutine[Any, Any, R]]], Flow[P, R]]: ...
def flow(function: Any = None, /, *, budget: Budget | None = None) -> Any:
    """Make a flow of a coroutine function: plain Python, traced, with one hard budget.

    The budget bounds all calls below it together, nested flows included, and `ms` bounds
    the body itself. Raises `DeclarationError` on anything but an `async def`.

    >>> @flow(budget=Budget(ms=5000, usd=0.01))
    ... async def double(n: int) -> int:
    ...     return 2 * n
    >>> double.run(n=4)
    8
    """
    if function is None:
        return partial(_flow, budget=budget)
    return _flow(function, budget=None)


def _flow(function: Any, *, budget: Budget | None) -> Flow[Any, Any]:
    if not inspect.iscoroutinefunction(function):
        raise DeclarationError(
            f"@flow was put on {function!r}, which is no coroutine function.\n"
            "  Write `async def`, and await the steps in it."
        )
    check_budget(function.__qualname__, budget)
    return Flow(function, kind="flow", budget=budget)
