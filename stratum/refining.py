"""`@refine`: ask again, with the last output, until a condition holds."""

import ast
import inspect
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import replace
from typing import Any, ParamSpec, TypeVar

from stratum.analysis import calls_infer, check_conditions, located
from stratum.attempts import Question
from stratum.checks import OneCondition, conditions, violations
from stratum.engine import Run
from stratum.errors import ConditionError, ConvergenceFailure, DeclarationError
from stratum.infer import Infer
from stratum.lambdas import lambda_of
from stratum.opacity import hides
from stratum.prompts import Revision
from stratum.repeated import Asked, Way
from stratum.roots import next_number
from stratum.scope import current, secrets, surrounded
from stratum.steps import Span, inside_of
from stratum.text import escape, escape_lines, truncate

P = ParamSpec("P")
R = TypeVar("R")

_LONGEST = 4_000  # characters of a feedback that are sent


def refine(
    until: OneCondition | Sequence[OneCondition],
    feedback: Callable[[Any], str | None] | None = None,
    *,
    max_iterations: int = 3,
) -> Callable[[Infer[P, R]], Infer[P, R]]:
    """Ask an `@infer` function again until its output is good enough; it stands above `@infer`.

    `until` is a condition of the output, or a list of them, in the forms of `ensure`. Each turn
    after the first is sent the last output and what it lacks, and what `feedback(output)` says
    of it. Each turn has its own retries, and `budget` covers all turns. Raises
    `ConvergenceFailure` when the output of the last turn will not do either (SPEC 17).

    >>> from stratum import infer
    >>> @refine(until=lambda text: len(text) < 80, max_iterations=4)
    ... @infer(intent="Summarise the text")
    ... def summarise(text: str) -> str: ...
    >>> summarise
    <@infer summarise>
    """
    if isinstance(until, Infer):
        raise DeclarationError(
            f"@refine was put on {until!r} without a condition.\n"
            "  Write @refine(until=lambda output: ...) above @infer."
        )

    @located
    def decorate(function: Infer[P, R]) -> Infer[P, R]:
        if not isinstance(function, Infer):
            raise DeclarationError(_misplaced(function))
        question = function.question
        try:
            way = _Refining(question, until, feedback, max_iterations, function.way)
        except DeclarationError as error:
            if "\n  at " not in str(error):
                error.args = (f"{error}\n  at {question.site.file}:{question.site.line}",)
            raise
        refined = copy(function)
        refined.question, refined.way = way.described(question), way
        return refined

    return decorate


def _misplaced(function: object) -> str:
    name = getattr(function, "__qualname__", None) or repr(function)
    return (
        f"@refine was put on {name}, which is no @infer function.\n"
        "  Write @refine(...) in the line above @infer(...)."
    )


class _Refining:
    """Asks turn by turn, each with the output of the one before, until the conditions hold."""

    def __init__(
        self,
        question: Question,
        until: Any,
        feedback: Callable[[Any], str | None] | None,
        max_iterations: int,
        inner: Way | None,
    ) -> None:
        name = question.site.function
        if isinstance(inner, _Refining):
            raise DeclarationError(
                f"{name} has @refine twice.\n  Give one of them all conditions: until=[...]."
            )
        if (
            isinstance(max_iterations, bool)
            or not isinstance(max_iterations, int)
            or max_iterations < 1
        ):
            raise DeclarationError(
                f"{name}: max_iterations={max_iterations!r}; it takes a whole number from 1 up"
            )
        _check_feedback(name, feedback)
        self._until = conditions(
            until, kind="until", function=name, parameters=tuple(question.annotations)
        )
        if not self._until:
            raise DeclarationError(
                f"{name}: @refine has no condition.\n"
                "  Say when an output is good enough: @refine(until=lambda output: ...)."
            )
        check_conditions(question, "until", self._until)
        self._feedback = feedback
        self._most = max_iterations
        self._inner = inner

    @property
    def samples(self) -> int:
        return self._inner.samples if self._inner else 1

    def described(self, question: Question) -> Question:
        """Return the question with what later turns are told, for recordings and drift."""
        told = [f"until: {each.source}" for each in self._until]
        if self._feedback is not None:
            told.append(f"feedback: {_source(self._feedback)}")
        site = replace(question.site, conditions=(*question.site.conditions, *told))
        return replace(question, site=site)

    async def perform(self, asked: Asked, run: Run, ended: BaseException | None = None) -> Any:
        details: dict[str, Any] = {
            "until": [each.source for each in self._until],
            "max_iterations": self._most,
            "turns": 0,
        }
        span = Span("refine", asked.function, asked.values, asked.inputs)
        span.details = details
        try:
            async with inside_of(span, asked.budget, asked.function):
                if ended is not None:
                    raise ended
                value = await self._turns(asked._replace(budget=None), run, details)
        except BaseException as error:
            span.fail(error)
            raise
        span.succeed(self.answer(value), asked.question.returns)
        return value

    def alone(self, answer: Any) -> Any:
        return self._inner.alone(answer) if self._inner else answer

    def answer(self, value: Any) -> Any:
        return self._inner.answer(value) if self._inner else value

    def check(self, question: Question) -> None:
        if self._inner is not None:
            self._inner.check(question)

    def with_samples(self, samples: int) -> "_Refining | None":
        inner = self._inner.with_samples(samples) if self._inner else None
        if inner is None:
            return None
        changed = copy(self)
        changed._inner = inner
        return changed

    async def _turns(self, asked: Asked, run: Run, details: dict[str, Any]) -> Any:
        history: list[tuple[Any, str]] = []
        inside, at = current(), next_number()
        while True:
            branch = inside.branch.here().fork(len(history), at)
            branch.claim()
            with surrounded(replace(inside, branch=branch)):
                value = await self._ask(asked, run)
            details["turns"] += 1
            lacking = self._lacking(asked, value)
            if not lacking:
                return value
            history.append((value, "\n".join(lacking)))
            if len(history) == self._most:
                raise _failure(asked.function, history)
            asked = asked._replace(revision=Revision(run.data, lacking, len(history)))

    async def _ask(self, asked: Asked, run: Run) -> Any:
        if self._inner is None:
            return await asked.start(run)()
        return await self._inner.perform(asked, run)

    def _lacking(self, asked: Asked, value: Any) -> tuple[str, ...]:
        """Return what an output lacks, in words for the model; nothing when it will do."""
        question, output = asked.question, self.answer(value)

        def hidden(parameter: str, path: tuple[str, ...]) -> bool:
            return hides(question.annotations.get(parameter, question.returns), path)

        found = violations(
            self._until,
            kind="until",
            function=asked.function,
            values=asked.values,
            result=output,
            hides=hidden,
            redact=secrets().redact,
        )
        return (*found, *self._said(asked.function, output)) if found else ()

    def _said(self, name: str, output: Any) -> Sequence[str]:
        if self._feedback is None:
            return ()
        try:
            said = self._feedback(output)
        except Exception as error:
            text = truncate(escape(f"{type(error).__name__}: {error}"), 300)
            raise ConditionError(
                f"{name}: feedback raised {text}.\n  Make it return a text for every output."
            ) from error
        if said is not None and not isinstance(said, str):
            raise ConditionError(
                f"{name}: feedback returned a {type(said).__qualname__}; it returns a text, or None"
            )
        said = truncate(secrets().redact((said or "").strip()), _LONGEST)
        return (escape_lines(said),) if said else ()


def _failure(name: str, history: Sequence[tuple[Any, str]]) -> ConvergenceFailure:
    turns = f"{len(history)} turn{'s' * (len(history) > 1)}"
    last = "\n".join(f"  {line}" for line in history[-1][1].split("\n"))
    return ConvergenceFailure(
        f"{name} was not good enough after {turns}; the last output:\n{secrets().scrub(last)}\n"
        "  Raise max_iterations, say more in feedback, or let until take less.",
        history,
    )


def _check_feedback(name: str, feedback: Any) -> None:
    if feedback is None:
        return
    if not callable(feedback) or isinstance(feedback, type):
        raise DeclarationError(
            f"{name}: feedback={feedback!r}; it takes a function of the output that returns a text"
        )
    if inspect.iscoroutinefunction(feedback):
        raise DeclarationError(f"{name}: feedback is an async function, and it is not awaited")
    called = calls_infer(feedback)
    if called is not None:
        raise DeclarationError(
            f"{name}: feedback calls {called}, an @infer function, and it is not awaited.\n"
            "  Write the loop yourself in a @flow when a model is to judge the output."
        )


def _source(function: Callable[..., Any]) -> str:
    found = lambda_of(function)
    if found is not None:
        return ast.unparse(found.body)
    return str(getattr(function, "__qualname__", type(function).__qualname__))
