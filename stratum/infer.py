"""`@infer`: typed functions that a model carries out."""

import linecache
import typing
from collections.abc import Callable, Coroutine, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import partial, update_wrapper
from typing import Any, Generic, ParamSpec, TypeVar

from stratum.arguments import (
    check_budget,
    check_settings,
    check_wording,
    function_name,
    merged_params,
    signature_of,
)
from stratum.attempts import Ask, Question, begin
from stratum.budget import Budget
from stratum.calls import CacheScope, Settling, Site, Wire
from stratum.checks import Condition, conditions
from stratum.contracts import Contract
from stratum.engine import Run, drive, estimate_of
from stratum.errors import DeclarationError
from stratum.prompts import Prompt, template
from stratum.recording.memory import remembering
from stratum.scope import client_for, current, model_for, secrets
from stratum.steps import Call, Inputs, Span, inputs_of, inside_of, is_method, run_now

LONGEST_DECORATION = 200  # lines between the first decorator and the def

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
        asked = self.question
        name = asked.site.function
        question = replace(
            asked,
            model=asked.model if model is None else model,
            retries=asked.retries if retries is None else retries,
            params=merged_params(name, {**asked.params, **merged_params(name, params)}),
            cache=asked.cache if cache is None else cache,
        )
        check_settings(
            name,
            model=question.model,
            retries=question.retries,
            cache=question.cache,
            wire=question.wire,
        )
        check_budget(name, budget)
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

    async def _perform(self, values: Mapping[str, Any], ended: BaseException | None = None) -> R:
        question, run = self.question, Run()
        span = Span("infer", question.site.function, values, self._inputs)
        try:
            if ended is not None:
                raise ended
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
    function: None = None,
    /,
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

    if function is not None:
        raise DeclarationError(f"infer({function!r}, ...); write @infer(intent=...) above the def")

    def decorate(function: Callable[..., Any]) -> Infer[P, R]:
        name = function_name(function)
        check_settings(name, model=model, retries=retries, cache=cache, wire=wire)
        check_wording(name, intent, context)
        check_budget(name, budget)
        signature, hints = signature_of(function, name)
        method = is_method(function, signature)
        inputs = inputs_of(function, signature, hints, method=method)
        ensures = conditions(
            ensure, kind="ensure", function=name, parameters=tuple(inputs.annotations)
        )
        question = Question(
            site=_site(function, intent, context, ensures),
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
            params=merged_params(name, params, temperature=temperature, max_tokens=max_tokens),
            wire=wire,
            cache=cache,
        )
        return Infer(function, question, inputs, budget, method=method)

    return decorate


def _site(
    function: Callable[..., Any], intent: str, context: str | None, ensures: Sequence[Condition]
) -> Site:
    return Site(
        file=function.__code__.co_filename,
        module=function.__module__,
        function=function.__qualname__,
        line=_line(function),
        intent=intent,
        context=context,
        conditions=tuple(condition.source for condition in ensures),
    )


def _line(function: Callable[..., Any]) -> int:
    """Return the line of the def, not of its first decorator."""
    code = function.__code__
    for line in range(code.co_firstlineno, code.co_firstlineno + LONGEST_DECORATION):
        if linecache.getline(code.co_filename, line).lstrip().startswith(("def ", "async def ")):
            return line
    return code.co_firstlineno
