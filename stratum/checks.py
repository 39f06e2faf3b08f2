"""Turn conditions into violations."""

import ast
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from functools import partial
from typing import Any, Concatenate, Literal, TypeAlias

from stratum.errors import ConditionError, DeclarationError
from stratum.hashing import jsonable
from stratum.lambdas import SILENCES, Path, Silence, lambda_of, paths_in, silences_in
from stratum.text import escape, meant, truncate
from stratum.values import dataclass

Kind = Literal["ensure", "given", "until"]
Hides = Callable[[str, tuple[str, ...]], bool]
Redact = Callable[[str], str]

_VALUE_LIMIT = 120  # characters of one actual value
_TEXT_LIMIT = 300  # characters of a text that user code made
_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
_ACCEPTED = (
    "Pass a lambda, a function that returns bool, str or None, "
    'a ("message", predicate) pair, or a list of these.'
)

# What users may pass. Callable[..., Any] would say it, but then pyright finds that the parameter
# of a lambda is of an unknown type.
Predicate: TypeAlias = Callable[[Any], Any] | Callable[Concatenate[Any, ...], Any]
OneCondition: TypeAlias = Predicate | tuple[str, Predicate]
Conditions: TypeAlias = OneCondition | Sequence[OneCondition] | None


@dataclass(frozen=True)
class Condition:
    """A declared condition: its text, the inputs it takes by name, the values it reads.

    `silences` are those of None and `""` by which it says that it holds: of a lambda only
    what its source spells out, for there a forgotten comparison gives the others.
    """

    source: str
    predicate: Callable[..., object]
    parameters: tuple[str, ...]
    paths: tuple[Path, ...]
    silences: tuple[Silence, ...]
    call: Callable[[Any, Mapping[str, Any]], object] = field(repr=False, compare=False)
    syntax: ast.Lambda | None = field(default=None, repr=False, compare=False)


def conditions(
    given: object, *, kind: Kind, function: str, parameters: tuple[str, ...]
) -> tuple[Condition, ...]:
    """Return the declared conditions, ready to be evaluated.

    `given` is None, one condition, or a list or tuple of them; `parameters` are those of the
    decorated function. A mistake is a `DeclarationError` with the remedy.

    >>> conditions(lambda r: r.n > 3, kind="ensure", function="count", parameters=())[0].source
    'r.n > 3'
    """
    return tuple(
        _condition(_Slot(kind, function, parameters, number), one)
        for number, one in enumerate(_listed(given), 1)
    )


def violations(
    conditions: tuple[Condition, ...],
    *,
    kind: Kind,
    function: str,
    values: Mapping[str, Any],
    result: Any = None,
    hides: Hides,
    redact: Redact = str,
) -> tuple[str, ...]:
    """Return one line of text for each condition that does not hold.

    `values` are the bound inputs. `hides(parameter, steps)` says whether the value there is
    opaque, is inside an opaque one, or contains one; the result's parameter is `""`. `redact`
    takes secrets out of what is shown, before it is cut to length. A condition that raises
    anything but `AssertionError`, or returns no verdict, is a `ConditionError`.

    >>> short = conditions(lambda r: len(r) < 4, kind="ensure", function="name", parameters=())
    >>> violations(
    ...     short, kind="ensure", function="name", values={}, result="Anna", hides=lambda *_: False
    ... )
    ('ensure: len(r) < 4 (actual: "Anna")',)
    """
    broken: list[str] = []
    for condition in conditions:
        try:
            verdict = condition.call(result, values)
        except AssertionError as error:
            verdict = _own_words(error) or False
        except Exception as error:
            said = _said(redact(str(error)))
            raise _raised(f"{function}: {kind} {condition.source}", error, said) from error
        if verdict is True:
            continue
        if isinstance(verdict, str):
            verdict = redact(verdict)
        complaint = _complaint(verdict, condition, f"{function}: {kind} {condition.source}")
        if complaint is not None:
            detail = complaint or _actual(condition.paths, {**values, "": result}, hides, redact)
            broken.append(escape(f"{kind}: {condition.source}{detail}"))
    return tuple(broken)


def _own_words(error: AssertionError) -> str:
    """Return what an `assert` says, without what pytest adds in the modules that it rewrites.

    That shows values by their `repr`, memory addresses among them, which are no text to send.
    """
    said = str(error)
    return "" if said.startswith("assert ") else said.partition("\nassert ")[0]


@dataclass(frozen=True)
class _Slot:
    """Where a condition is declared."""

    kind: Kind
    function: str
    parameters: tuple[str, ...]
    number: int

    def mistake(self, problem: str, remedy: str) -> DeclarationError:
        where = f"{self.function}: {self.kind} condition {self.number}"
        return DeclarationError(f"{where} {problem}.\n  {remedy}")


def _listed(given: object) -> tuple[object, ...]:
    if given is None:
        return ()
    if isinstance(given, list | tuple) and not _is_pair(given):
        return tuple(given)
    return (given,)


def _is_pair(given: object) -> bool:
    return isinstance(given, tuple) and len(given) == 2 and isinstance(given[0], str)


def _condition(slot: _Slot, one: object) -> Condition:
    message, given = one if isinstance(one, tuple) and _is_pair(one) else ("", one)
    predicate = _predicate(slot, given)
    subject, inputs = _taken(slot, predicate)
    found = lambda_of(_innermost(predicate))
    roots = {subject: ""} | {name: name for name in inputs}
    return Condition(
        source=message or (ast.unparse(found.body) if found else _name(slot, predicate)),
        predicate=predicate,
        parameters=inputs,
        paths=paths_in(found.body, roots) if found else (),
        silences=silences_in(found.body) if found else SILENCES,
        call=_caller(slot.kind, predicate, inputs),
        syntax=found,
    )


def _predicate(slot: _Slot, given: object) -> Callable[..., object]:
    if not callable(given):
        raise slot.mistake(f"is of type {type(given).__name__}, which cannot be called", _ACCEPTED)
    function = _innermost(given)
    bodies = (function, type(function).__call__)
    if any(inspect.iscoroutinefunction(body) for body in bodies):
        raise slot.mistake(
            f"({_name(slot, given)}) is an async function, and conditions are not awaited",
            "Write it as a plain def; await what it needs in a step of its own.",
        )
    if any(inspect.isgeneratorfunction(b) or inspect.isasyncgenfunction(b) for b in bodies):
        raise slot.mistake(
            f"({_name(slot, given)}) is a generator, which gives no verdict",
            "Return True, False, a text or None instead of using yield.",
        )
    return given


def _innermost(predicate: Callable[..., object]) -> Callable[..., object]:
    while isinstance(predicate, partial):
        predicate = predicate.func
    return predicate


def _name(slot: _Slot, predicate: Callable[..., object]) -> str:
    function = _innermost(predicate)
    named = getattr(function, "__qualname__", None) or type(function).__qualname__
    name = str(named).rpartition("<locals>.")[2]
    return f"condition {slot.number}" if name.endswith("<lambda>") else name


def _taken(slot: _Slot, predicate: Callable[..., object]) -> tuple[str, tuple[str, ...]]:
    """Return the name of the result, if it takes one, and the inputs it takes by name."""
    try:
        accepted = list(inspect.signature(predicate).parameters.values())
    except (ValueError, TypeError):
        return _unsigned(slot, predicate)
    subject = "" if slot.kind == "given" else _subject(slot, predicate, accepted)
    bound = predicate.keywords if isinstance(predicate, partial) else {}
    inputs = [one for one in accepted if one.name != subject and one.name not in bound]
    return subject, tuple(one.name for one in inputs if _is_input(slot, predicate, one))


def _unsigned(slot: _Slot, predicate: Callable[..., object]) -> tuple[str, tuple[str, ...]]:
    if slot.kind != "given":
        return "", ()
    raise slot.mistake(
        f"({_name(slot, predicate)}) does not say which parameters it has",
        f"Wrap it in a lambda that names the inputs it needs: {_listing(slot)}.",
    )


def _subject(
    slot: _Slot, predicate: Callable[..., object], accepted: list[inspect.Parameter]
) -> str:
    unfit = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD)
    if accepted and accepted[0].kind not in unfit:
        return "" if accepted[0].kind in _VARIADIC else accepted[0].name
    raise slot.mistake(
        f"({_name(slot, predicate)}) has no parameter for the result",
        "Take the result first, then inputs by name: lambda r: r is not None.",
    )


def _is_input(slot: _Slot, predicate: Callable[..., object], one: inspect.Parameter) -> bool:
    name, known = one.name, one.name in slot.parameters
    optional = one.default is not inspect.Parameter.empty
    if one.kind in _VARIADIC:
        return _refuse_variadic(slot, predicate, one)
    if one.kind is inspect.Parameter.POSITIONAL_ONLY and known:
        raise slot.mistake(
            f"({_name(slot, predicate)}) takes {name} by position only, and inputs go by name",
            f"Remove the / from its parameters, or wrap it in a lambda that takes {name}.",
        )
    if not known and not optional:
        raise slot.mistake(
            f"({_name(slot, predicate)}) takes {name}, which {slot.function} does not have"
            f"{meant(name, slot.parameters)}",
            f"{_order(slot)} {_listing(slot)}.",
        )
    return known


def _refuse_variadic(
    slot: _Slot, predicate: Callable[..., object], one: inspect.Parameter
) -> Literal[False]:
    if slot.kind != "given":
        return False
    stars = "*" if one.kind is inspect.Parameter.VAR_POSITIONAL else "**"
    raise slot.mistake(
        f"({_name(slot, predicate)}) takes {stars}{one.name}, and inputs are passed one by one",
        f"Name the inputs it needs: {_listing(slot)}.",
    )


def _order(slot: _Slot) -> str:
    if slot.kind == "given":
        return "A given condition takes inputs by name:"
    return f"An {slot.kind} condition takes the result first, then inputs by name:"


def _listing(slot: _Slot) -> str:
    return ", ".join(slot.parameters) or f"{slot.function} has none"


def _caller(
    kind: Kind, predicate: Callable[..., object], inputs: tuple[str, ...]
) -> Callable[[Any, Mapping[str, Any]], object]:
    if kind == "given":
        return lambda result, values: predicate(**{name: values[name] for name in inputs})
    if not inputs:
        return lambda result, values: predicate(result)
    return lambda result, values: predicate(result, **{name: values[name] for name in inputs})


def _complaint(verdict: object, condition: Condition, where: str) -> str | None:
    """Return None when the condition holds, else what it says about it, which may be nothing."""
    if verdict is False:
        return ""
    if verdict is None or (isinstance(verdict, str) and not verdict):
        if verdict not in condition.silences:
            raise _unspelt(where, verdict)
        return None
    if isinstance(verdict, str):
        return _said(verdict)
    if type(verdict).__name__ in ("bool", "bool_"):  # numpy's
        return None if verdict else ""
    raise _no_verdict(where, verdict)


def _unspelt(where: str, silence: str | None) -> ConditionError:
    gave = "None" if silence is None else "an empty text"
    return ConditionError(
        f"{escape(where)} gave {gave}, which the lambda does not spell out.\n"
        "  Wrap the expression in bool(...); pass a function that returns None or a text as it is."
    )


def _said(text: str) -> str:
    shown = truncate(text.strip(), _TEXT_LIMIT)
    return f": {shown}" if shown else ""


def _no_verdict(where: str, verdict: object) -> ConditionError:
    remedy = "Wrap the expression in bool(...)."
    if inspect.iscoroutine(verdict):
        verdict.close()  # else Python warns that it was never awaited
        remedy = "Conditions are not awaited: call a synchronous function."
    name = type(verdict).__name__
    return ConditionError(
        f"{escape(where)} returned a value of type {name}, which is no bool, str or None.\n"
        f"  {remedy}"
    )


def _raised(where: str, error: Exception, said: str) -> ConditionError:
    return ConditionError(
        f"{escape(f'{where} raised {type(error).__name__}{said}')}.\n"
        "  Make it work for every value that it may get; to reject one, return False or a text."
    )


def _actual(
    paths: tuple[Path, ...], values: Mapping[str, Any], hides: Hides, redact: Redact
) -> str:
    shown = [
        text if len(paths) == 1 else f"{path.text} = {text}"
        for path in paths
        if (text := _value_at(path, values[path.parameter], hides, redact)) is not None
    ]
    return f" (actual: {', '.join(shown)})" if shown else ""


def _value_at(path: Path, value: Any, hides: Hides, redact: Redact) -> str | None:
    if hides(path.parameter, path.steps):
        return "<opaque>"
    try:
        for get in path.getters:
            value = get(value)
    except Exception:  # the condition did not get this far either, or guards against it
        return None
    return truncate(redact(_text_of(value)), _VALUE_LIMIT)


def _text_of(value: Any) -> str:
    if isinstance(value, float):
        return repr(float(value))
    try:
        return _compact(jsonable(value))
    except Exception:  # the value's own code may raise anything
        return f"<{type(value).__name__}>"


def _compact(data: Any) -> str:
    from json import dumps

    return dumps(data, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
