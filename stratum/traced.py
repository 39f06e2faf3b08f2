"""Plain functions as traced steps."""

import inspect
import typing
from collections.abc import Callable, Coroutine
from copy import copy
from functools import partial, update_wrapper
from typing import Any, Concatenate, Generic, Literal, ParamSpec, TypeVar, overload

from stratum.blocking import run_now
from stratum.budget import Budget
from stratum.scope import in_sync_flow, stand_in, surrounded
from stratum.steps import Call, Inputs, Span, inside_of

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")
S = TypeVar("S", bound="Traced")


class Traced:
    """A function of the user's, with what its records need."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._bound: tuple[Any, ...] = ()
        self._inputs, self._returns = _inputs_of(function)
        update_wrapper(self, function)  # type: ignore[arg-type]

    def _bound_to(self, instance: object) -> typing.Self:
        if instance is None:
            return self
        bound = copy(self)
        bound._bound = (instance,)
        return bound

    def _seen(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments by name as a record shows them, without `self`."""
        try:
            bound = self._inputs.signature.bind(*args, **kwargs).arguments
        except TypeError:  # the call itself raises it, with Python's own words
            return {}
        return {name: value for name, value in bound.items() if name not in ("self", "cls")}


class TracedCoroutine(Traced, Generic[P, R]):
    """A coroutine function whose calls are traced, and may have a budget."""

    def __init__(
        self,
        function: Callable[P, Coroutine[Any, Any, R]],
        *,
        kind: Literal["compute", "flow"],
        budget: Budget | None = None,
    ) -> None:
        super().__init__(function)
        self.kind: Literal["compute", "flow"] = kind
        self.budget = budget

    @overload
    def __get__(self, instance: None, owner: type | None = None) -> typing.Self: ...
    @overload
    def __get__(
        self: "TracedCoroutine[Concatenate[Any, Q], R]", instance: object, owner: type | None = None
    ) -> "TracedCoroutine[Q, R]": ...
    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return self._bound_to(instance)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:
        if in_sync_flow():
            return self.run(*args, **kwargs)  # type: ignore[return-value]
        return Call(self._inputs.name, partial(self._perform, (*self._bound, *args), kwargs))

    def run(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run and wait; raises `NotAwaited` inside a running event loop."""
        start = partial(self._perform, (*self._bound, *args), kwargs)
        return run_now(self._function.__name__, start)

    def __repr__(self) -> str:
        return f"<@{self.kind} {self._inputs.name}>"

    async def _perform(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], ended: BaseException | None = None
    ) -> R:
        name = self._inputs.name
        span = Span(self.kind, name, self._seen(args, kwargs), self._inputs)
        try:
            if ended is not None:
                raise ended
            async with inside_of(span, self.budget, f"{self.kind} {name}"):
                function = stand_in(span.around, self._inputs) or self._function
                value: R = await function(*args, **kwargs)
        except BaseException as error:
            span.fail(error)
            raise
        span.succeed(value, self._returns)
        return value


class TracedFunction(Traced, Generic[P, R]):
    """A synchronous function whose calls are traced."""

    @overload
    def __get__(self, instance: None, owner: type | None = None) -> typing.Self: ...
    @overload
    def __get__(
        self: "TracedFunction[Concatenate[Any, Q], R]", instance: object, owner: type | None = None
    ) -> "TracedFunction[Q, R]": ...
    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return self._bound_to(instance)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self._perform((*self._bound, *args), kwargs)

    def run(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """The same as calling it, so that `.run` survives the swap from `@infer`."""
        return self._perform((*self._bound, *args), kwargs)

    def __repr__(self) -> str:
        return f"<@compute {self._inputs.name}>"

    def _perform(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> R:
        span = Span("compute", self._inputs.name, self._seen(args, kwargs), self._inputs)
        try:
            with surrounded(span.inside):
                function = stand_in(span.around, self._inputs) or self._function
                value: R = function(*args, **kwargs)
        except BaseException as error:
            span.fail(error)
            raise
        span.succeed(value, self._returns)
        return value


def _inputs_of(function: Callable[..., Any]) -> tuple[Inputs, Any]:
    signature = inspect.signature(function)
    try:
        hints = typing.get_type_hints(function, include_extras=True)
    except Exception:  # a name that only a type checker knows; a plain function needs no types
        hints = {}
    annotations = {name: hints.get(name, Any) for name in signature.parameters}
    inputs = Inputs(function.__qualname__, signature, annotations, frozenset(), {})
    return inputs, hints.get("return", Any)
