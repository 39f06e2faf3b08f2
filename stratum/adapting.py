"""`@adaptive`: one function that plain code carries out, or a model, as a condition says."""

import inspect
from collections.abc import Callable, Coroutine, Mapping
from copy import copy
from dataclasses import replace
from functools import partial, update_wrapper
from typing import (
    TYPE_CHECKING,
    Any,
    Generic,
    Literal,
    ParamSpec,
    Protocol,
    TypeVar,
    get_args,
    overload,
)

from stratum.arguments import function_name, signature_of
from stratum.blocking import run_now
from stratum.checks import Condition, Conditions, Predicate, conditions, violations
from stratum.errors import AnswerRejected, ConditionError, DeclarationError, PostconditionFailed
from stratum.infer import Infer
from stratum.opacity import hides
from stratum.scope import in_sync_flow, surrounded
from stratum.steps import Call, Inputs, Span, inputs_of, is_method
from stratum.traced import Traced, TracedCoroutine, TracedFunction

P = ParamSpec("P")
R = TypeVar("R")

Path = Literal["compute", "infer"]
Dispatch = Literal["lambda", "function", "compute", "flow"]


class Adaptive(Generic[P, R]):
    """A function with two implementations, of which a condition takes one; made by `@adaptive`.

    It is called like an `@infer` function: `await route(text=...)`, or `route.run(text=...)`.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        inputs: Inputs,
        returns: Any,
        *,
        compute: Traced,
        infer: Infer[Any, Any],
        when: Callable[..., Any],
        ensure: tuple[Condition, ...],
    ) -> None:
        self._inputs = inputs
        self._returns = returns
        self._compute = compute
        self._infer = infer
        self._when = when
        self._ensure = ensure
        self._path: Path | None = None
        update_wrapper(self, function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:
        if in_sync_flow():
            return self.run(*args, **kwargs)  # type: ignore[return-value]
        values = self._inputs.bind(args, kwargs)
        return Call(self._inputs.name, partial(self._perform, values))

    def run(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run and wait; raises `NotAwaited` inside a running event loop."""
        values = self._inputs.bind(args, kwargs)
        return run_now(self._inputs.name, partial(self._perform, values))

    def with_(self, *, path: Path) -> "Adaptive[P, R]":
        """Return the same function with its path chosen: a condition of the flow around it."""
        if path not in get_args(Path):
            raise DeclarationError(
                f'{self._inputs.name}.with_(path={path!r}); it takes "compute" or "infer"'
            )
        changed = copy(self)
        changed._path = path
        return changed

    def __repr__(self) -> str:
        return f"<@adaptive {self._inputs.name}>"

    async def _perform(self, values: dict[str, Any], ended: BaseException | None = None) -> R:
        span = Span("adaptive", self._inputs.name, values, self._inputs)
        details: dict[str, Any] = {"dispatch_type": self._dispatch(), "ensure_violations": []}
        span.details = details
        try:
            if ended is not None:
                raise ended
            with surrounded(span.inside):
                value: R = await self._take(values, details, span)
        except BaseException as error:
            if isinstance(error, AnswerRejected):
                details["ensure_violations"] = list(error.violations)
            span.fail(error)
            raise
        span.succeed(value, self._returns)
        return value

    def _dispatch(self) -> Dispatch:
        if self._path is not None:
            return "flow"
        if isinstance(self._when, Traced):
            return "compute"
        return "lambda" if getattr(self._when, "__name__", "") == "<lambda>" else "function"

    async def _take(self, values: dict[str, Any], details: dict[str, Any], span: Span) -> Any:
        path = self._path or await self._chosen(values)
        details |= {"dispatch_result": path == "compute", "path_taken": path}
        if path == "infer":
            return await self._infer(**values)
        value = self._compute(**values)  # type: ignore[operator]
        if isinstance(self._compute, TracedCoroutine):
            value = await value
        self._check(value, values, span)
        return value

    async def _chosen(self, values: Mapping[str, Any]) -> Path:
        name = f"{self._inputs.name}: when {_name(self._when)}"
        wanted = inspect.signature(self._when).parameters
        try:
            verdict = self._when(**{key: values[key] for key in wanted})
            if inspect.isawaitable(verdict):
                verdict = await verdict
        except Exception as error:
            raise ConditionError(f"{name} raised {type(error).__name__}: {error}") from error
        if not isinstance(verdict, bool):
            raise ConditionError(f"{name} returned {verdict!r}; it returns True or False")
        return "compute" if verdict else "infer"

    def _check(self, value: Any, values: Mapping[str, Any], span: Span) -> None:
        def hidden(parameter: str, path: tuple[str, ...]) -> bool:
            return hides(self._inputs.annotations.get(parameter, self._returns), path)

        found = violations(
            self._ensure,
            kind="ensure",
            function=self._inputs.name,
            values=values,
            result=value,
            hides=hidden,
            redact=span.secrets.scrub,
        )
        if found:
            raise PostconditionFailed(self._inputs.name, 1, found)


if TYPE_CHECKING:

    class _MakeAdaptive(Protocol):
        """`@adaptive(...)`: puts two functions behind a `def` or an `async def`."""

        @overload
        def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> Adaptive[P, R]: ...
        @overload
        def __call__(self, function: Callable[P, R], /) -> Adaptive[P, R]: ...


def adaptive(
    *,
    compute: Callable[..., Any],
    infer: Infer[..., Any],
    when: Predicate,
    ensure: Conditions = None,
) -> "_MakeAdaptive":
    """Make a function that `compute` carries out where `when` says so, and `infer` elsewhere.

    `when` takes the inputs by name and returns a bool: a lambda, a function, or a `@compute`
    step. `ensure` conditions hold on both paths: an answer of the model that breaks one is
    asked for again, a computed value that breaks one raises `PostconditionFailed`. The
    record says which path was taken, and why (SPEC 20). Raises `DeclarationError` for parts
    that do not fit together.

    >>> from stratum import infer
    >>> @infer(intent="Name the team for a ticket")
    ... def by_model(text: str) -> str: ...
    >>> def by_rule(text: str) -> str:
    ...     return "billing"
    >>> @adaptive(compute=by_rule, infer=by_model, when=lambda text: "invoice" in text)
    ... def route(text: str) -> str: ...
    >>> route.run(text="my invoice")
    'billing'
    """

    def decorate(function: Callable[..., Any]) -> Adaptive[Any, Any]:
        name = function_name(function)
        signature, hints = signature_of(function, name)
        if is_method(function, signature):
            raise DeclarationError(f"{name} is a method; put @adaptive on a plain function")
        inputs = inputs_of(function, signature, hints, method=False)
        known = tuple(inputs.annotations)
        ensures = conditions(ensure, kind="ensure", function=name, parameters=known)
        _check_when(name, when, known)
        return Adaptive(
            function,
            inputs,
            hints["return"],
            compute=_computing(name, compute, known),
            infer=_ensuring(name, infer, known, ensures),
            when=when,
            ensure=ensures,
        )

    return decorate


def _computing(name: str, compute: Any, known: tuple[str, ...]) -> Traced:
    if inspect.isfunction(compute):
        is_async = inspect.iscoroutinefunction(compute)
        compute = TracedCoroutine(compute, kind="compute") if is_async else TracedFunction(compute)
    if not isinstance(compute, Traced):
        raise DeclarationError(
            f"{name}: compute={compute!r}; it takes a @compute step or a plain function"
        )
    _check_parameters(name, "compute", tuple(compute._inputs.annotations), known)
    return compute


def _ensuring(
    name: str, infer: Any, known: tuple[str, ...], ensures: tuple[Condition, ...]
) -> Infer[Any, Any]:
    """Return the model's function with the conditions of both paths among its own."""
    if not isinstance(infer, Infer):
        raise DeclarationError(f"{name}: infer={infer!r}; it takes an @infer function")
    _check_parameters(name, "infer", tuple(infer.question.annotations), known)
    asked = infer.question
    sources = (*asked.site.conditions, *(condition.source for condition in ensures))
    changed = copy(infer)
    changed.question = replace(
        asked,
        ensure=(*asked.ensure, *ensures),
        site=replace(asked.site, conditions=sources),
    )
    return changed


def _check_parameters(
    name: str, which: str, found: tuple[str, ...], known: tuple[str, ...]
) -> None:
    if set(found) != set(known):
        raise DeclarationError(
            f"{name} takes {', '.join(known) or 'nothing'}, and its {which} function "
            f"{', '.join(found) or 'nothing'}.\n  Give all three the same parameters."
        )


def _check_when(name: str, when: Any, known: tuple[str, ...]) -> None:
    if isinstance(when, Infer):
        raise DeclarationError(
            f"{name}: when={when!r} asks a model, so one input could take either path.\n"
            "  Decide with a function, a lambda or a @compute step."
        )
    if not callable(when):
        raise DeclarationError(f"{name}: when={when!r}; it takes a function of the inputs")
    unknown = [each for each in inspect.signature(when).parameters if each not in known]
    if unknown:
        raise DeclarationError(
            f"{name}: when takes {unknown[0]!r}, which is no parameter of {name} "
            f"({', '.join(known)})"
        )


def _name(function: Any) -> str:
    return str(getattr(function, "__qualname__", function)).rpartition("<locals>.")[2]
