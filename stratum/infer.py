"""`@infer`: typed functions that a model carries out."""

import inspect
import typing
from collections.abc import Callable, Coroutine, Mapping
from copy import copy
from dataclasses import dataclass, replace
from functools import partial, update_wrapper
from typing import Any, Generic, ParamSpec, TypeVar

from stratum.attempts import Ask, Question, begin
from stratum.budget import Budget
from stratum.calls import CacheScope, Settling, Site, Wire
from stratum.checks import conditions
from stratum.contracts import Contract
from stratum.engine import Run, drive, estimate_of
from stratum.errors import DeclarationError
from stratum.prompts import Prompt, template
from stratum.recording.memory import remembering
from stratum.scope import client_for, current, model_for, secrets
from stratum.steps import Call, Inputs, Span, inputs_of, inside_of, is_method, run_now

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S", bound="Infer[Any, Any]")


@dataclass(frozen=True, slots=True)
class CostEstimate:
    """What a call would cost at most: tokens, and US dollars (None when the price is unknown)."""

    input_tokens: int | None
    output_tokens: int
    usd: float | None


class Infer(Generic[P, R]):
    """A function whose value a model gives; made by `@infer`.

    Calling it gives a `Call` to await; `.run(...)` is for synchronous code.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        question: Question,
        inputs: Inputs,
        budget: Budget | None,
        *,
        method: bool,
    ) -> None:
        self.question = question
        self.budget = budget
        self._inputs = inputs
        self._function = function
        self._method = method
        update_wrapper(self, function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Call[R]:
        values = self._bind(args, kwargs)
        return Call(self.question.site.function, partial(self._perform, values))

    def run(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Ask and wait; raises `NotAwaited` inside a running event loop."""
        values = self._bind(args, kwargs)
        return run_now(self.question.site.name, partial(self._perform, values))

    def compile(self, *args: P.args, **kwargs: P.kwargs) -> Prompt:
        """Return the prompt that these inputs would send, without sending it."""
        return self._ask(self._bind(args, kwargs)).request.prompt

    async def estimate(self, *args: P.args, **kwargs: P.kwargs) -> CostEstimate:
        """Return what the first attempt would cost at most, without sending it."""
        inside = current()
        request = self._ask(self._bind(args, kwargs)).request
        client = client_for(inside)
        quote = await client.quote(request)
        if isinstance(client, Settling):
            client.settled([request], False)  # so that replay knows the quote
        worst = estimate_of(request, quote, None)
        usd = float(worst.cost(worst.most).usd) if quote.priced else None
        return CostEstimate(quote.input_tokens, worst.most, usd)

    def with_(
        self,
        *,
        model: str | None = None,
        budget: Budget | None = None,
        retries: int | None = None,
        params: Mapping[str, Any] | None = None,
        cache: CacheScope | None = None,
    ) -> typing.Self:
        """Return the same function with another model, budget, retries, params or cache."""
        question = replace(
            self.question,
            model=model or self.question.model,
            retries=self.question.retries if retries is None else retries,
            params={**self.question.params, **(params or {})},
            cache=cache or self.question.cache,
        )
        _check_settings(question.site.function, question.retries, question.cache, question.wire)
        changed = copy(self)
        changed.question, changed.budget = question, budget or self.budget
        return changed

    def __get__(self, instance: object, owner: type | None = None) -> typing.Self:
        """Bind to an instance; `self` is part of neither prompt nor key."""
        if instance is None or not self._method:
            return self
        bound = copy(self)
        bound._method = False
        return bound

    def __repr__(self) -> str:
        return f"<@infer {self.question.site.function}>"

    def _bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        if self._method:
            args = args[1:]
        return self._inputs.bind(args, kwargs)

    def _ask(self, values: Mapping[str, Any]) -> Ask:
        model = model_for(current(), self.question.model, self.question.site.function)
        return begin(self.question, values, model=model, secrets=secrets())

    async def _perform(self, values: Mapping[str, Any]) -> R:
        question, run = self.question, Run()
        span = Span("infer", question.site.function, values, self._inputs)
        try:
            value = await self._settle(span, values, run)
        except BaseException as error:
            span.fail(error, run)
            raise
        span.succeed(value, question.returns, run)
        return value

    async def _settle(self, span: Span, values: Mapping[str, Any], run: Run) -> R:
        question = self.question
        model = model_for(span.inside, question.model, question.site.function)
        span.details = {"model": model, "contract_hash": question.contract.hash}
        ask = begin(question, values, model=model, secrets=span.secrets)
        span.details["compiled_prompt_hash"] = ask.request.prompt_hash
        client = remembering(client_for(span.inside), span.inside, question.cache)
        if self.budget is None:
            ledger = span.inside.ledger
            settled = await drive(ask, client=client, branch=span.branch, ledger=ledger, run=run)
        else:
            async with inside_of(span, self.budget, question.site.function) as ledger:
                settled = await drive(
                    ask, client=client, branch=span.branch, ledger=ledger, run=run
                )
        if settled.error is not None:
            raise settled.error
        result: R = settled.value
        return result


def infer(
    *,
    intent: str,
    context: str | None = None,
    given: Any = None,
    ensure: Any = None,
    budget: Budget | None = None,
    retries: int = 2,
    model: str | None = None,
    temperature: float | None = None,
    max_tokens: int | None = None,
    params: Mapping[str, Any] | None = None,
    wire: Wire = "auto",
    cache: CacheScope = "none",
) -> Callable[[Callable[P, R] | Callable[P, Coroutine[Any, Any, R]]], Infer[P, R]]:
    """Make a function that a model carries out; its return annotation is the contract.

    `intent` and `context` tell the model what to do. `given` conditions take the inputs by
    name and hold before anything is sent; `ensure` conditions take the answer. An answer
    that breaks one is asked for again, up to `retries` times, with what was wrong. `budget`
    covers all attempts. `params` go to the provider as they are. Raises `DeclarationError`
    for what cannot work (SPEC 2).

    >>> @infer(intent="Say whether the text is friendly")
    ... def friendly(text: str) -> bool: ...
    >>> friendly
    <@infer friendly>
    """

    def decorate(function: Callable[..., Any]) -> Infer[P, R]:
        name = _function_name(function)
        _check_settings(name, retries, cache, wire)
        _check_wording(name, intent, context, budget)
        signature, hints = _signature(function, name)
        method = is_method(function, signature)
        inputs = inputs_of(function, signature, hints, method=method)
        ensures = conditions(
            ensure, kind="ensure", function=name, parameters=tuple(inputs.annotations)
        )
        question = Question(
            site=Site(
                file=function.__code__.co_filename,
                module=function.__module__,
                function=name,
                line=_line(function),
                intent=intent,
                context=context,
                conditions=tuple(condition.source for condition in ensures),
            ),
            contract=Contract.of(hints["return"], where=name),
            template=template(
                function=name, intent=intent, context=context, annotations=inputs.annotations
            ),
            annotations=inputs.annotations,
            returns=hints["return"],
            given=conditions(
                given, kind="given", function=name, parameters=tuple(inputs.annotations)
            ),
            ensure=ensures,
            retries=retries,
            model=model,
            params=_params(name, params, temperature, max_tokens),
            wire=wire,
            cache=cache,
        )
        return Infer(function, question, inputs, budget, method=method)

    return decorate


def _function_name(function: object) -> str:
    if inspect.isfunction(function):
        return function.__qualname__
    raise DeclarationError(
        f"@infer was put on {function!r}, which is no function.\n"
        "  Put it on a def, and @staticmethod or @classmethod above it."
    )


def _check_settings(name: str, retries: Any, cache: Any, wire: Any) -> None:
    if isinstance(retries, bool) or not isinstance(retries, int) or retries < 0:
        raise DeclarationError(f"{name}: retries={retries!r}; it takes a whole number from 0 up")
    _check_word(name, "cache", cache, typing.get_args(CacheScope))
    _check_word(name, "wire", wire, typing.get_args(Wire))


def _check_word(name: str, setting: str, word: Any, known: tuple[str, ...]) -> None:
    if word not in known:
        listed = ", ".join(f'"{each}"' for each in known)
        raise DeclarationError(f"{name}: {setting}={word!r}; it takes one of {listed}")


def _check_wording(name: str, intent: Any, context: Any, budget: Any) -> None:
    if not isinstance(intent, str) or not intent.strip():
        raise DeclarationError(f"{name}: intent={intent!r}; say in words what the model should do")
    if context is not None and not isinstance(context, str):
        raise DeclarationError(f"{name}: context={context!r}; it takes a text")
    if budget is not None and not isinstance(budget, Budget):
        raise DeclarationError(f"{name}: budget={budget!r}; write Budget(ms=..., usd=...)")


def _signature(function: Callable[..., Any], name: str) -> tuple[inspect.Signature, dict[str, Any]]:
    try:
        hints = typing.get_type_hints(function, include_extras=True)
    except Exception as error:
        raise DeclarationError(
            f"{name}: its annotations cannot be read: {error}\n"
            "  Define or import the names they use above the function."
        ) from error
    if "return" not in hints:
        raise DeclarationError(
            f"{name} has no return annotation, so there is no contract for the answer.\n"
            "  Write `-> SomeType`."
        )
    return inspect.signature(function), hints


def _line(function: Callable[..., Any]) -> int:
    """Return the line of the def, not of its first decorator."""
    return next(
        (line for _, _, line in function.__code__.co_lines() if line),
        function.__code__.co_firstlineno,
    )


def _params(
    name: str, params: Mapping[str, Any] | None, temperature: float | None, max_tokens: int | None
) -> dict[str, Any]:
    merged = dict(params or {})
    for key, value in (("temperature", temperature), ("max_tokens", max_tokens)):
        if value is None:
            continue
        if key in merged:
            raise DeclarationError(f"{name}: {key} stands in params too; give it once")
        merged[key] = value
    tokens = merged.get("max_tokens")
    if tokens is not None and (
        isinstance(tokens, bool) or not isinstance(tokens, int) or tokens < 1
    ):
        raise DeclarationError(f"{name}: max_tokens={tokens!r}; it takes a whole number from 1 up")
    return merged
