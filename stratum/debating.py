"""`debate`: agents argue in rounds, and a synthesiser or a person draws the conclusion."""

import inspect
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeVar, overload

from stratum.arguments import check_budget
from stratum.asking import Caller
from stratum.budget import Budget
from stratum.concurrency import parallel
from stratum.errors import ConditionError, DeclarationError
from stratum.hashing import canonical, jsonable
from stratum.human import HumanDecision, ask_human
from stratum.infer import Infer
from stratum.roots import Inside, next_number
from stratum.scope import current, surrounded
from stratum.steps import Inputs, RunnableCall, Span, inside_of, step
from stratum.traced import Traced

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

_OF_AGENTS = ("own", "others", "round")
_OF_THE_END = ("arguments", "history", "converged")


class _Gives(Protocol[T_co]):
    """A step that gives a value when it is called and awaited."""

    def __call__(self, *args: Any, **kwargs: Any) -> Awaitable[T_co]: ...


@overload
def debate(
    agents: Sequence[Callable[..., Any]],
    topic: Any,
    *,
    synthesize: _Gives[T],
    rounds: int = 2,
    agree_on: str | Sequence[str] | None = None,
    converged: Callable[[list[Any], list[Any]], bool] | None = None,
    escalate: Callable[..., Any] | bool = False,
    budget: Budget | None = None,
) -> RunnableCall[T]: ...
@overload
def debate(
    agents: Sequence[Callable[..., Any]],
    topic: Any,
    *,
    synthesize: Callable[..., Any],
    rounds: int = 2,
    agree_on: str | Sequence[str] | None = None,
    converged: Callable[[list[Any], list[Any]], bool] | None = None,
    escalate: Callable[..., Any] | bool = False,
    budget: Budget | None = None,
) -> RunnableCall[Any]: ...
def debate(
    agents: Sequence[Callable[..., Any]],
    topic: Any,
    *,
    synthesize: Callable[..., Any],
    rounds: int = 2,
    agree_on: str | Sequence[str] | None = None,
    converged: Callable[[list[Any], list[Any]], bool] | None = None,
    escalate: Callable[..., Any] | bool = False,
    budget: Budget | None = None,
) -> RunnableCall[Any]:
    """Let agents argue about a topic, and give what the synthesiser makes of it.

    Each round asks all agents together. An agent is a step that takes by name what it needs
    of `topic`, `own` (its argument of the round before, None at first), `others` (those of
    the other agents, an empty list at first) and `round` (from 1); a single parameter of
    another name is the topic, too. After a round the debate has converged when all
    arguments agree on the fields of `agree_on`, else when no argument changed, or when
    `converged(before, now)` says so; then no further round is held. `synthesize` takes what it
    needs of `topic`, `arguments` (of the last round), `history` (of all rounds) and `converged`.

    A debate that has not converged goes to `escalate` instead, if it is given: a step of the
    same parameters, such as one that calls `await_human`, or True, which asks a person for
    what `synthesize` would have returned. Raises `DeclarationError` for what cannot be
    debated (SPEC 18).

    >>> async def optimist(topic: str) -> str:
    ...     return "yes"
    >>> async def sceptic(topic: str, others: list[str]) -> str:
    ...     return "yes" if "yes" in others else "no"
    >>> async def sum_up(arguments: list[str], converged: bool) -> str:
    ...     return f"{arguments} {converged}"
    >>> debate([optimist, sceptic], "Is it good?", synthesize=sum_up, rounds=3).run()
    "['yes', 'yes'] True"
    """
    if len(agents) < 2:
        raise DeclarationError(f"debate was given {len(agents)} agents; it takes two or more")
    if isinstance(rounds, bool) or not isinstance(rounds, int) or rounds < 1:
        raise DeclarationError(f"debate(rounds={rounds!r}); it takes a whole number from 1 up")
    if agree_on is not None and converged is not None:
        raise DeclarationError("debate was given agree_on and converged; one of them decides")
    check_budget("debate", budget)
    plan = _Plan(
        agents=[_part(f"agent {n}", agent, _OF_AGENTS) for n, agent in enumerate(agents, 1)],
        topic=topic,
        synthesize=_part("synthesize", synthesize, _OF_THE_END),
        rounds=rounds,
        converged=converged or _agreement(agree_on),
        escalate=_escalation(escalate, Caller.of(sys._getframe(1)), synthesize),
        budget=budget,
    )
    return step("debate", partial(_perform, plan))


class _Part(NamedTuple):
    """A step that takes part, and the parameters it has: by which name it takes what."""

    name: str
    step: Callable[..., Any]
    takes: dict[str, str]

    async def __call__(self, **offered: Any) -> Any:
        value = self.step(**{name: offered[what] for name, what in self.takes.items()})
        return await value if inspect.isawaitable(value) else value


class _Plan(NamedTuple):
    """What a debate was told."""

    agents: list[_Part]
    topic: Any
    synthesize: _Part
    rounds: int
    converged: Callable[[list[Any], list[Any]], bool]
    escalate: _Part | None
    budget: Budget | None


def _part(role: str, given: Any, offered: tuple[str, ...]) -> _Part:
    if not callable(given):
        raise DeclarationError(f"debate: {role} is {given!r}; it takes a step to call")
    name = getattr(given, "__qualname__", repr(given))
    parameters = list(inspect.signature(given).parameters)
    others = [each for each in parameters if each not in offered]
    if len(others) > 1:
        listed = ", ".join(("topic", *offered))
        raise DeclarationError(
            f"debate: {role} ({name}) takes {', '.join(others)}, and only one of them can be "
            f"the topic.\n  A debate offers {listed}."
        )
    takes = {each: each for each in parameters if each in offered}
    return _Part(name, given, takes | dict.fromkeys(others, "topic"))


def _escalation(escalate: Any, caller: Caller, synthesize: Any) -> _Part | None:
    if escalate is False:
        return None
    if escalate is not True:
        return _part("escalate", escalate, _OF_THE_END)
    decision = _returns(synthesize)

    async def ask(topic: Any, arguments: list[Any]) -> Any:
        question = "The debate did not come to a conclusion. What is it to be?"
        context = {"topic": topic, "arguments": arguments}
        return await ask_human(caller, question, decision=decision, context=context)

    return _part("escalate", ask, _OF_THE_END)


def _returns(synthesize: Any) -> Any:
    """Return what a synthesiser's value is declared as; `DeclarationError` if it is not."""
    if isinstance(synthesize, Infer):
        return synthesize.question.returns
    if isinstance(synthesize, Traced):
        return synthesize._returns
    declared = inspect.signature(synthesize).return_annotation
    if declared is inspect.Signature.empty or isinstance(declared, str):
        raise DeclarationError(
            "debate(escalate=True) asks a person for what synthesize returns, which is not "
            "declared.\n  Annotate its return type, or pass escalate=a function."
        )
    return declared


def _agreement(agree_on: str | Sequence[str] | None) -> Callable[[list[Any], list[Any]], bool]:
    if agree_on is None:
        return lambda before, now: [_data(each) for each in before] == [_data(e) for e in now]
    fields = (agree_on,) if isinstance(agree_on, str) else tuple(agree_on)
    return lambda _, now: len({_position(each, fields) for each in now}) == 1


def _data(argument: Any) -> str:
    return canonical(jsonable(argument))


def _position(argument: Any, fields: tuple[str, ...]) -> str:
    data = jsonable(argument)
    if not isinstance(data, dict) or not data.keys() >= set(fields):
        raise ConditionError(
            f"debate: an agent's argument has no field {' or '.join(fields)} to agree on: "
            f"{type(argument).__name__}"
        )
    return canonical([data[name] for name in fields])


async def _perform(plan: _Plan, ended: BaseException | None = None) -> Any:
    shown = {
        "topic": plan.topic,
        "agents": [agent.name for agent in plan.agents],
        "rounds": plan.rounds,
    }
    span = Span("debate", "debate", shown, _INPUTS)
    details: dict[str, Any] = {"rounds": 0, "converged": False, "escalated": False}
    span.details = details
    try:
        if ended is not None:
            raise ended
        async with inside_of(span, plan.budget, "debate"):
            value = await _conclusion(plan, details)
    except BaseException as error:
        span.fail(error)
        raise
    span.succeed(value, Any)
    return value


async def _conclusion(plan: _Plan, details: dict[str, Any]) -> Any:
    history = await _argued(plan, details)
    offered = {
        "topic": plan.topic,
        "arguments": history[-1],
        "history": history,
        "converged": details["converged"],
    }
    if plan.escalate is None or details["converged"]:
        return await plan.synthesize(**offered)
    details["escalated"] = True
    decided = await plan.escalate(**offered)
    return decided.value if isinstance(decided, HumanDecision) else decided


async def _argued(plan: _Plan, details: dict[str, Any]) -> list[list[Any]]:
    """Hold the rounds, until the arguments have converged; returns those of each round."""
    history: list[list[Any]] = []
    while len(history) < plan.rounds and not details["converged"]:
        history.append(await _round(plan, history))
        details["rounds"] = len(history)
        before = history[-2] if len(history) > 1 else []
        details["converged"] = bool(plan.converged(before, history[-1]))
    return history


async def _round(plan: _Plan, history: list[list[Any]]) -> list[Any]:
    """Ask all agents together, in a branch of the round's number."""
    last = history[-1] if history else None
    with surrounded(_indexed(len(history))):
        steps = (
            agent(
                topic=plan.topic,
                own=None if last is None else last[n],
                others=[] if last is None else [*last[:n], *last[n + 1 :]],
                round=len(history) + 1,
            )
            for n, agent in enumerate(plan.agents)
        )
        return list(await parallel(*steps))


def _indexed(index: int) -> Inside:
    inside = current()
    branch = inside.branch.here().fork(index, next_number())
    branch.claim()
    return replace(inside, branch=branch)


_INPUTS = Inputs("debate", inspect.Signature(), {}, frozenset(), {})
