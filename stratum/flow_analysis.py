"""Warn at decoration about a flow that waits for no reason, or has too small a budget."""

import ast
import warnings
from collections.abc import Iterator
from types import FunctionType
from typing import Any, TypeAlias

from stratum.budget import Budget
from stratum.errors import BudgetTooSmall, SequentialAwaits, StratumWarning
from stratum.infer import Infer
from stratum.resolving import Names
from stratum.syntax import Syntax, syntax_of
from stratum.traced import Traced, TracedCoroutine

Step: TypeAlias = Infer[Any, Any] | Traced
Awaited: TypeAlias = tuple[ast.stmt, str, frozenset[str], frozenset[str]]  # binds, reads

_LIMITS = ("usd", "tokens", "ms")
_BARRIERS = (ast.For, ast.AsyncFor, ast.While, ast.AsyncWith, ast.Try, ast.TryStar)
_INNER = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
_UNSURE = (ast.Await, ast.NamedExpr, ast.Yield, ast.YieldFrom)


def warn_about(function: Any, budget: Budget | None) -> None:
    """Emit the warnings of a flow, each with the line it is about.

    Only steps that can be looked up when the flow is decorated are judged: those of its
    module, of imported modules, and of the functions around it (SPEC 2.9).
    """
    if not isinstance(function, FunctionType) or not Names(function).has_objects():
        return
    syntax = syntax_of(function)
    if syntax is None or isinstance(syntax.node, ast.Lambda):
        return
    names = Names(function, bound=_bound(syntax.node))
    for run in _runs(syntax.node.body, names):
        _warn(function, syntax, run[0][0], _sequential(function, run), SequentialAwaits)
    if budget is not None:
        for node, name, step in _steps(syntax.node, names):
            text = _too_small(function, budget, name, getattr(step, "budget", None))
            if text:
                _warn(function, syntax, node, text, BudgetTooSmall)
                return


def _bound(node: ast.AST) -> frozenset[str]:
    """Return the names that anything in a flow binds, its inner functions included."""
    parts = tuple(ast.walk(node))
    stored = {p.id for p in parts if isinstance(p, ast.Name) and not isinstance(p.ctx, ast.Load)}
    return frozenset(stored | {part.arg for part in parts if isinstance(part, ast.arg)})


def _is_step(found: object) -> bool:
    return isinstance(found, Infer | TracedCoroutine)


def _runs(body: list[ast.stmt], names: Names) -> Iterator[list[Awaited]]:
    """Yield every two or more awaits in a row that need nothing of each other.

    Those in loops, `try` and `async with` are let be: their order may be meant.
    """
    run: list[Awaited] = []
    for statement in body:
        awaited = _awaited(statement, names)
        if awaited is not None and _is_independent(awaited, run):
            run.append(awaited)
            continue
        if len(run) > 1:
            yield run
        run = [awaited] if awaited is not None else []
        if not isinstance(statement, (*_BARRIERS, *_INNER)):
            for inner in _blocks(statement):
                yield from _runs(inner, names)
    if len(run) > 1:
        yield run


def _blocks(statement: ast.stmt) -> Iterator[list[ast.stmt]]:
    for name in ("body", "orelse"):
        block = getattr(statement, name, None)
        if isinstance(block, list):
            yield block
    for case in getattr(statement, "cases", ()):
        yield case.body


def _is_independent(awaited: Awaited, run: list[Awaited]) -> bool:
    _, _, binds, reads = awaited
    bound = frozenset(name for each in run for name in each[2])
    return not (binds | reads) & bound


def _awaited(statement: ast.stmt, names: Names) -> Awaited | None:
    """Take `x = await step(...)` apart; None for any other statement."""
    match statement:
        case ast.Assign(targets=[target], value=ast.Await(value=ast.Call() as call)):
            pass
        case ast.AnnAssign(target=target, value=ast.Await(value=ast.Call() as call)):
            pass
        case _:
            return None
    name = ast.unparse(call.func)
    binds = _targets(target)
    given = [*call.args, *(keyword.value for keyword in call.keywords)]
    inside = [node for each in given for node in ast.walk(each)]
    if not binds or any(isinstance(node, _UNSURE) for node in inside) or not _is_named(call.func):
        return None
    if not _is_step(names.resolve(name)):
        return None
    reads = frozenset(node.id for node in inside if isinstance(node, ast.Name))
    return statement, name, binds, reads


def _targets(target: ast.expr) -> frozenset[str]:
    """Return the names that a target binds; none if it has parts of another kind.

    A value that is thrown away (`_`) was awaited for what it does, which may need its order.
    """
    parts = target.elts if isinstance(target, ast.Tuple) else [target]
    found = frozenset(part.id for part in parts if isinstance(part, ast.Name))
    plain = len(found) == len(parts) and not any(name.startswith("_") for name in found)
    return found if plain else frozenset()


def _is_named(node: ast.expr) -> bool:
    while isinstance(node, ast.Attribute):
        node = node.value
    return isinstance(node, ast.Name)


def _steps(node: ast.AST, names: Names) -> Iterator[tuple[ast.Call, str, Step]]:
    """Yield the calls of steps, in the body and in what it passes to `parallel`."""
    for part in ast.walk(node):
        if isinstance(part, ast.Call) and _is_named(part.func):
            name = ast.unparse(part.func).removesuffix(".run")
            found = names.resolve(name)
            if isinstance(found, Infer | Traced):
                yield part, name, found


def _too_small(function: FunctionType, own: Budget, name: str, other: Budget | None) -> str | None:
    """Return what to say when a step may use more than the flow around it."""
    for limit in _LIMITS:
        mine, its = getattr(own, limit), getattr(other, limit, None)
        if mine is not None and its is not None and mine < its:
            return (
                f"flow {function.__qualname__} has {limit}={mine}, less than the {limit}={its} "
                f"of {name}, which it calls: {name} can never use its own budget.\n"
                f"  Raise the flow's {limit} to {its} or more, or lower that of {name}."
            )
    return None


def _sequential(function: FunctionType, run: list[Awaited]) -> str:
    calls = ", ".join(f"{name}(...)" for _, name, _, _ in run)
    bound = ", ".join(name for _, _, binds, _ in run for name in sorted(binds))
    return (
        f"flow {function.__qualname__} awaits {calls} one after the other, and none needs what "
        f"another gave.\n  Run them together: {bound} = await parallel({calls})."
    )


def _warn(
    function: FunctionType,
    syntax: Syntax,
    node: ast.expr | ast.stmt,
    text: str,
    category: type[StratumWarning],
) -> None:
    warnings.warn_explicit(
        text,
        category,
        filename=function.__code__.co_filename,
        lineno=syntax.line(node),
        module=function.__module__,
        registry=function.__globals__.setdefault("__warningregistry__", {}),
    )
