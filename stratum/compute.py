"""`@compute`: plain code in the place of a model."""

import inspect
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar, overload

from stratum.errors import DeclarationError
from stratum.traced import TracedCoroutine, TracedFunction

P = ParamSpec("P")
R = TypeVar("R")


@overload
def compute(  # type: ignore[overload-overlap]
    function: Callable[P, Coroutine[Any, Any, R]],
) -> TracedCoroutine[P, R]: ...
@overload
def compute(function: Callable[P, R]) -> TracedFunction[P, R]: ...
def compute(function: Callable[..., Any]) -> Any:
    """Trace a plain function; it stays synchronous or asynchronous as written.

    An `async def` is awaited exactly like an `@infer` function, so that one can take the
    other's place without a change at the callers.

    >>> @compute
    ... def double(n: int) -> int:
    ...     return 2 * n
    >>> double(4)
    8
    """
    if not inspect.isfunction(function):
        raise DeclarationError(f"@compute was put on {function!r}; put it on a def or async def")
    if inspect.iscoroutinefunction(function):
        return TracedCoroutine(function, kind="compute")
    return TracedFunction(function)
