"""`@infer`: typed functions that a model carries out."""

import linecache
import typing
from collections.abc import Callable, Coroutine, Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import partial, update_wrapper
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    Literal,
    ParamSpec,
    Protocol,
    TypeVar,
    overload,
)

from stratum.analysis import check_declaration, located
from stratum.arguments import (
    check_budget,
    check_settings,
    check_wording,
    chosen_models,
    function_name,
    merged_params,
    signature_of,
)
from stratum.at_once import run_at_once
from stratum.attempts import Ask, Question, Settled, begin
from stratum.blocking import run_now
from stratum.budget import Budget
from stratum.calls import CacheScope, Client, Settling, Site, Wire
from stratum.checks import Condition, Conditions, conditions
from stratum.contracts import Contract
from stratum.engine import Run, drive, estimate_of
from stratum.errors import DeclarationError
from stratum.prompts import Prompt, Revision, template
from stratum.roots import Inside
from stratum.scope import client_for, continued, current, in_sync_flow, model_for, secrets, stand_in
from stratum.steps import Call, Inputs, Span, inputs_of, inside_of, is_method
from stratum.values import dataclass

if TYPE_CHECKING:  # what few functions are declared with is loaded when one is
    from stratum.agreement import On
    from stratum.probabilistic import Probabilistic
    from stratum.repeated import Way

LONGEST_DECORATION = 200  # lines between the first decorator and the def

P = ParamSpec("P")
Q = ParamSpec("Q")
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
        way: "Way | None" = None,
    ) -> None:
        self.question = question
        self.budget = budget
        self.way = way
        self._inputs = inputs
        self._function = function
        self._skipped = 1 if method else 0  # what a method is given as its `self`
        update_wrapper(self, function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:
        if in_sync_flow():
            return self.run(*args, **kwargs)  # type: ignore[return-value]
        values = self._inputs.bind(args[self._skipped :], kwargs)
        return Call(self.question.site.function, _Start(self, values))

    def run(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Ask and wait; raises `NotAwaited` inside a running event loop."""
        start = _Start(self, self._inputs.bind(args[self._skipped :], kwargs))
        name = self.question.site.name
        inside = continued()
        at_hand = self._is_at_hand(inside)
        value: R = run_at_once(name, inside, start) if at_hand else run_now(name, start)
        return value

    def _is_at_hand(self, inside: Inside) -> bool:
        """Say whether there is hardly anything to wait for, such as a provider or a time limit."""
        client = inside.client or inside.root.client
        if inside.ledger or inside.branch.turns or self.budget or stand_in(inside, self._inputs):
            return False
        if self.way is not None:
            return False
        return not getattr(client, "waits", True)

    def compile(self, *args: P.args, **kwargs: P.kwargs) -> Prompt:
        """Return the prompt that these inputs would send, without sending it."""
        return self._ask(self._inputs.bind(args[self._skipped :], kwargs)).prompt

    async def estimate(self, *args: P.args, **kwargs: P.kwargs) -> CostEstimate:
        """Return what the first attempt would cost at most, without sending it.

        Of a quorum, or of several samples, it is the first attempt of each.
        """
        inside = current()
        values = self._inputs.bind(args[self._skipped :], kwargs)
        request = self._ask(values).request
        stub = stand_in(inside, self._inputs)
        client = stub(values) if stub else self._answering(inside)
        quote = await client.quote(request)
        if isinstance(client, Settling):
            client.settled([request], False)  # so that replay knows the quote
        worst = estimate_of(request, quote, None)
        times = self.way.samples if self.way else 1
        usd = times * float(worst.cost(worst.most).usd) if quote.priced else None
        taken = quote.input_tokens
        return CostEstimate(None if taken is None else times * taken, times * worst.most, usd)

    def with_(
        self,
        *,
        model: str | Sequence[str] | None = None,
        budget: Budget | None = None,
        retries: int | None = None,
        params: Mapping[str, Any] | None = None,
        cache: CacheScope | None = None,
        samples: int | None = None,
    ) -> typing.Self:
        """Return the same function with another model, budget, retries, params or cache.

        `samples` is how many a function with `stable=False` takes, in production too.
        """
        asked = self.question
        name = asked.site.function
        chosen = (asked.model, asked.fallbacks) if model is None else chosen_models(name, model)
        question = replace(
            asked,
            model=chosen[0],
            fallbacks=chosen[1],
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
        if samples is not None:
            from stratum.ways import with_samples

            changed.way = with_samples(name, self.way, samples)
        if changed.way is not None:
            changed.way.check(question)
        return changed

    @overload
    def __get__(self, instance: None, owner: type | None = None) -> typing.Self: ...
    @overload
    def __get__(
        self: "Infer[Concatenate[Any, Q], R]", instance: object, owner: type | None = None
    ) -> "Infer[Q, R]": ...
    def __get__(self, instance: object, owner: type | None = None) -> Any:
        """Bind to an instance; `self` is part of neither prompt nor key."""
        if instance is None or not self._skipped:
            return self
        bound = copy(self)
        bound._skipped = 0
        return bound

    def __repr__(self) -> str:
        return f"<@infer {self.question.site.function}>"

    def _ask(self, values: Mapping[str, Any], revision: Revision | None = None) -> Ask:
        model = model_for(current(), self.question.model, self.question.site.function)
        return begin(self.question, values, model=model, secrets=secrets(), revision=revision)

    async def _perform_in(
        self, way: "Way", values: Mapping[str, Any], ended: BaseException | None = None
    ) -> R:
        """Ask more than once; a stub stands for all of it."""
        from stratum.repeated import Asked

        if stand_in(current(), self._inputs) is not None:
            stubbed: R = way.alone(await self._perform(values, ended))
            return stubbed
        once = copy(self)
        once.budget = None
        if way.samples > 1 and self.question.cache != "none":
            once.question = replace(self.question, cache="none")  # the samples are to differ
        asked = Asked(
            question=self.question,
            inputs=self._inputs,
            values=values,
            budget=self.budget,
            once=partial(once._perform, values),
            first=partial(self._ask, values),
        )
        value: R = await way.perform(asked, Run(), ended)
        return value

    async def _perform(
        self,
        values: Mapping[str, Any],
        ended: BaseException | None = None,
        *,
        run: Run | None = None,
        revision: Revision | None = None,
    ) -> R:
        question, run = self.question, run or Run()
        span = Span("infer", question.site.function, values, self._inputs)
        try:
            if ended is not None:
                raise ended
            settled = await self._settle(span, values, run, revision)
            if settled.error is not None:
                raise settled.error
        except BaseException as error:
            span.fail(error, run)
            raise
        value: R = settled.value
        span.succeed(value, question.returns, run)
        return value

    def _answering(self, around: Inside) -> Client:
        client = client_for(around)
        if not self.question.fallbacks:
            return client
        from stratum.fallback import falling_back

        return falling_back(client)

    def _remembering(self, client: Client, around: Inside) -> Client:
        from stratum.recording.memory import remembering

        return remembering(client, around, self.question.cache)

    def _settle(
        self, span: Span, values: Mapping[str, Any], run: Run, revision: Revision | None
    ) -> Coroutine[Any, Any, Settled]:
        """Begin the call; await what this returns, which is no coroutine more, for its end."""
        question, around = self.question, span.around
        model = model_for(around, question.model, question.site.function)
        span.model, span.contract_hash = model, question.contract.hash
        ask = begin(question, values, model=model, secrets=span.secrets, revision=revision)
        span.prompt_hash = ask.prompt_hash
        stub = stand_in(around, self._inputs)
        client = stub(values) if stub else self._answering(around)
        if stub is None and question.cache != "none":
            client = self._remembering(client, around)
        if self.budget is None:
            return drive(ask, client=client, branch=span.branch, ledger=around.ledger, run=run)
        return _drive_within(self.budget, span, ask, client, run)


async def _drive_within(budget: Budget, span: Span, ask: Ask, client: Client, run: Run) -> Settled:
    async with inside_of(span, budget, ask.question.site.function) as ledger:
        return await drive(ask, client=client, branch=span.branch, ledger=ledger, run=run)


class _Start:
    """Starts a call, once or more often than once.

    It is one object, where `partial` of a method is three: a thousand calls that wait for their
    turn in a `parallel` are what the garbage collector looks at then.
    """

    __slots__ = ("_function", "_values")

    def __init__(self, function: Infer[Any, Any], values: Mapping[str, Any]) -> None:
        self._function = function
        self._values = values

    def __call__(self, ended: BaseException | None = None) -> Coroutine[Any, Any, Any]:
        function = self._function
        if function.way is None:
            return function._perform(self._values, ended)
        return function._perform_in(function.way, self._values, ended)


if TYPE_CHECKING:

    class _MakeInfer(Protocol):
        """`@infer(...)`: makes a model's function of a `def` or an `async def`."""

        @overload
        def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> Infer[P, R]: ...
        @overload
        def __call__(self, function: Callable[P, R], /) -> Infer[P, R]: ...

    class _MakeUnstable(Protocol):
        """`@infer(..., stable=False)`: the same, with several answers for one."""

        @overload
        def __call__(
            self, function: Callable[P, Coroutine[Any, Any, R]], /
        ) -> Infer[P, Probabilistic[R]]: ...
        @overload
        def __call__(self, function: Callable[P, R], /) -> Infer[P, Probabilistic[R]]: ...


@overload
def infer(
    function: None = None,
    /,
    *,
    intent: str,
    context: str | None = ...,
    given: Conditions = ...,
    ensure: Conditions = ...,
    budget: Budget | None = ...,
    retries: int = ...,
    model: str | Sequence[str] | None = ...,
    temperature: float | None = ...,
    max_tokens: int | None = ...,
    params: Mapping[str, Any] | None = ...,
    wire: Wire = ...,
    cache: CacheScope = ...,
    quorum: int | None = ...,
    agree_on: "On" = ...,
    threshold: int | None = ...,
    stable: Literal[True] = ...,
) -> "_MakeInfer": ...
@overload
def infer(
    function: None = None,
    /,
    *,
    intent: str,
    context: str | None = ...,
    given: Conditions = ...,
    ensure: Conditions = ...,
    budget: Budget | None = ...,
    retries: int = ...,
    model: str | Sequence[str] | None = ...,
    temperature: float | None = ...,
    max_tokens: int | None = ...,
    params: Mapping[str, Any] | None = ...,
    wire: Wire = ...,
    stable: Literal[False],
    samples: int | None = ...,
) -> "_MakeUnstable": ...
def infer(
    function: None = None,
    /,
    *,
    intent: str,
    context: str | None = None,
    given: Conditions = None,
    ensure: Conditions = None,
    budget: Budget | None = None,
    retries: int = 2,
    model: str | Sequence[str] | None = None,
    temperature: float | None = None,
    max_tokens: int | None = None,
    params: Mapping[str, Any] | None = None,
    wire: Wire = "auto",
    cache: CacheScope = "none",
    quorum: int | None = None,
    agree_on: "On" = None,
    threshold: int | None = None,
    stable: bool = True,
    samples: int | None = None,
) -> Any:
    """Make a function that a model carries out; its return annotation is the contract.

    `intent` and `context` tell the model what to do. `given` conditions take the inputs by
    name and hold before anything is sent; `ensure` conditions take the answer. An answer
    that breaks one is asked for again, up to `retries` times, with what was wrong. `budget`
    covers all attempts. Of several models in `model` the next is asked when one fails.
    `params` go to the provider as they are.

    `quorum` asks so many times side by side, until `threshold` (more than half) of the answers
    agree, on all that they say or on the fields of `agree_on`; `budget` covers all of them.
    `stable=False` gives a `Probabilistic`: in tests of `samples` answers (5), else of one
    (SPEC 16). Raises `DeclarationError` for what cannot work (SPEC 2).

    >>> @infer(intent="Say whether the text is friendly")
    ... def friendly(text: str) -> bool: ...
    >>> friendly
    <@infer friendly>
    """

    if function is not None:
        raise DeclarationError(f"infer({function!r}, ...); write @infer(intent=...) above the def")

    @located
    def decorate(function: Callable[..., Any]) -> Infer[Any, Any]:
        name = function_name(function)
        first, fallbacks = chosen_models(name, model)
        check_settings(name, model=first, retries=retries, cache=cache, wire=wire)
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
            model=first,
            fallbacks=fallbacks,
            params=merged_params(name, params, temperature=temperature, max_tokens=max_tokens),
            wire=wire,
            cache=cache,
        )
        check_declaration(function, question)
        way: Way | None = None
        several = (quorum, agree_on, threshold, samples)
        if stable is not True or any(each is not None for each in several):
            from stratum.ways import way_of

            way = way_of(
                question,
                quorum=quorum,
                agree_on=agree_on,
                threshold=threshold,
                stable=stable,
                samples=samples,
            )
        return Infer(function, question, inputs, budget, method=method, way=way)

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
