"""Refuse at decoration what could never work."""

import ast
import dis
import inspect
from collections.abc import Callable, Iterator, Sequence
from functools import partial, wraps
from itertools import dropwhile
from types import CodeType, FunctionType
from typing import Any, TypeVar

from stratum.attempts import Question
from stratum.checks import Condition, Kind
from stratum.errors import DeclarationError

F = TypeVar("F", bound=Callable[..., Any])

_PRELUDE = {"COPY_FREE_VARS", "MAKE_CELL", "NOP", "POP_TOP", "RESUME", "RETURN_GENERATOR"}
_OTHERWISE = ("JUMP", "POP_", "RETURN", "STORE", "YIELD")  # what is no part of a plain raise
_NOTHING = (None, ...)
_UNWRITTEN = ("NotImplementedError", NotImplementedError)


def located(decorate: F) -> F:
    """Let the errors of a decorator say where the function is that it was put on."""

    @wraps(decorate)
    def decorated(function: Any) -> Any:
        try:
            return decorate(function)
        except DeclarationError as error:
            if inspect.isfunction(function) and "\n  at " not in str(error):
                error.args = (f"{error}\n  at {_place(function)}",)
            raise

    return decorated  # type: ignore[return-value]


def check_declaration(function: Callable[..., Any], question: Question) -> None:
    """Raise `DeclarationError` for a body that would not run, and conditions that cannot hold."""
    name = question.site.function
    _check_body(function, name)
    check_conditions(question, "given", question.given)
    check_conditions(question, "ensure", question.ensure)


def check_conditions(question: Question, kind: Kind, listed: Sequence[Condition]) -> None:
    """Raise `DeclarationError` for conditions of a question that cannot hold."""
    for number, condition in enumerate(listed, 1):
        _check_calls(f"{question.site.function}: {kind} condition {number}", condition)
    if listed and kind != "given":
        _check_reading(question, kind, listed)


def calls_infer(function: Callable[..., Any]) -> str | None:
    """Return the name of the `@infer` function that a function's code calls, if it does.

    Names are looked up in its module and in the functions around it, as they are by now;
    attributes of modules and objects are followed. Nothing of it is run.

    >>> from stratum import infer
    >>> @infer(intent="Say whether the text is friendly")
    ... def friendly(text: str) -> bool: ...
    >>> def found(r): return friendly.run(text=r)
    >>> calls_infer(found), calls_infer(len)
    ('friendly', None)
    """
    from stratum.resolving import called_names

    function = _innermost(function)
    if not isinstance(function, FunctionType):
        return None
    return next((name for name, found in called_names(function) if _is_asked(found)), None)


def _is_asked(found: Any) -> bool:
    """Say whether an object is an `@infer` function, whose module stands above this one."""
    return isinstance(getattr(found, "__dict__", {}).get("question"), Question)


def _innermost(function: Any) -> Any:
    while isinstance(function, partial):
        function = function.func
    return getattr(function, "__func__", function)  # of a bound method


def _check_body(function: Callable[..., Any], name: str) -> None:
    body = inspect.unwrap(function)
    if _is_empty(body.__code__) or _is_empty_source(body):
        return
    raise DeclarationError(
        f"{name} has code in its body, and the body of an @infer function is never run.\n"
        "  Write ... as its body. Put code that should run into a @compute function, or call "
        "it from a @flow."
    )


def _is_empty(code: CodeType) -> bool:
    """Say whether code does nothing, or only says that it is not implemented."""
    steps = dropwhile(lambda step: step.opname in _PRELUDE, dis.get_instructions(code))
    first = next(steps)
    if first.opname == "RETURN_CONST":
        return first.argval in _NOTHING
    if first.opname == "LOAD_CONST" and first.argval in _NOTHING:
        return next(steps).opname == "RETURN_VALUE"
    return first.argval in _UNWRITTEN and _raises(steps)


def _raises(steps: Iterator[dis.Instruction]) -> bool:
    """Say whether what follows is the rest of a plain `raise`."""
    for step in steps:
        if step.opname == "RAISE_VARARGS":
            return True
        if step.opname.startswith(_OTHERWISE):
            return False
    return False


def _is_empty_source(function: Callable[..., Any]) -> bool:
    """Ask the source: a tool that checks types at run time may have put code into a body."""
    from stratum.syntax import syntax_of

    syntax = syntax_of(function)
    return (
        syntax is not None
        and isinstance(syntax.node.body, list)
        and all(
            isinstance(part, ast.Pass)
            or (isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant))
            or (isinstance(part, ast.Raise) and "NotImplementedError" in ast.unparse(part))
            for part in syntax.node.body
        )
    )


def _check_calls(where: str, condition: Condition) -> None:
    called = calls_infer(condition.predicate)
    if called is None:
        return
    raise DeclarationError(
        f"{where} calls {called}, an @infer function, and conditions are not awaited.\n"
        f"  Await {called} in a @flow: before the call to pass its value as an input, or after "
        "it to look at the answer."
    )


def _check_reading(question: Question, kind: Kind, listed: Sequence[Condition]) -> None:
    from stratum.attributes import Types
    from stratum.reading import misread

    types: Types | None = None
    for number, condition in enumerate(listed, 1):
        predicate = condition.predicate
        if isinstance(predicate, partial) and not predicate.args:
            predicate = predicate.func
        if not isinstance(predicate, FunctionType):
            continue
        types = types or Types(question.contract.adapter)
        found = misread(predicate, types, condition.syntax)
        if found is not None:
            where = f"{question.site.function}: {kind} condition {number}"
            raise DeclarationError(
                f"{where} reads {found.text}, but {found.problem}.\n  {found.remedy}\n"
                f"  at {predicate.__code__.co_filename}:{found.line}"
            )


def _place(function: FunctionType) -> str:
    return f"{function.__code__.co_filename}:{function.__code__.co_firstlineno}"
