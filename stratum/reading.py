"""Find what a condition reads of an answer that no answer of its contract can have."""

import ast
from collections.abc import Iterator, Mapping
from types import FunctionType
from typing import Any, NamedTuple, TypeAlias

from stratum.attributes import Lacking, Types, Values
from stratum.resolving import names_in
from stratum.syntax import Syntax, syntax_of
from stratum.text import meant

Known: TypeAlias = Mapping[str, Values]  # what stands behind a name; others are unknown

_GUARDS = {"callable", "dir", "getattr", "hasattr", "isinstance", "issubclass", "type", "vars"}
_CAUTIOUS = (ast.Try, ast.TryStar, ast.With, ast.Match, ast.Global, ast.Nonlocal)
_SHOWN = 12  # fields in a message


class Misread(NamedTuple):
    """A part of a condition that cannot be read, as it is written, and where."""

    text: str
    name: str
    line: int
    lacking: Lacking

    @property
    def problem(self) -> str:
        if self.lacking.instead == "attribute":
            return f"{self.lacking.owner} has no items"
        guess = "" if self.lacking.instead else meant(self.name, self.lacking.known)
        return f"{self.lacking.owner} has no {self.name}{guess}"

    @property
    def remedy(self) -> str:
        match self.lacking.instead:
            case "attribute":
                return f"Its fields are attributes: write .{self.name}, not [{self.name!r}]."
            case "item":
                return f"Its fields are items: write [{self.name!r}], not .{self.name}."
            case "element":
                return f"Its elements have one: write all(each.{self.name} ... for each in ...)."
        listed = ", ".join(self.lacking.fields[:_SHOWN])
        return f"It has {listed}." if listed else f"Look up what {self.lacking.owner} offers."


def misread(
    function: FunctionType, types: Types, found: ast.Lambda | None = None
) -> Misread | None:
    """Return the first thing that a condition reads and no answer has, None if all is well.

    Followed from the first parameter through fields, items and comprehensions. What is
    guarded, computed or rebound is let pass, and so is all of it when the source is gone.
    `found` is the syntax of a lambda, where it is known.
    """
    syntax = Syntax(found, 0) if found else syntax_of(function)
    if syntax is None:
        return None
    first = next(iter([*syntax.node.args.posonlyargs, *syntax.node.args.args]), None)
    body = syntax.node.body if isinstance(syntax.node.body, list) else [syntax.node.body]
    if first is None:
        return None
    walk = _Walk(syntax, types)
    for part in body:
        walk.value(part, {first.arg: types.root})
    if not walk.found or _is_cautious(body) or first.arg in _bound(body):
        return None
    passed = (_guarded(body), _texts(body), set(names_in(function.__code__)))
    return next((found for found in walk.found if not _is_let_pass(found, *passed)), None)


def _is_let_pass(found: Misread, guarded: tuple[str, ...], texts: set[str], used: set[str]) -> bool:
    """Say whether a condition asks before it reads, or its source has changed meanwhile."""
    return found.name in texts or f"{found.text}.".startswith(guarded) or found.name not in used


class _Walk:
    """One pass over a condition's syntax."""

    def __init__(self, syntax: Syntax, types: Types) -> None:
        self.found: list[Misread] = []
        self._syntax = syntax
        self._types = types

    def value(self, node: ast.AST, known: Known) -> Values:
        """Walk through a node; returns what its value may be, None if unknown."""
        match node:
            case ast.Name(id=name):
                return known.get(name)
            case ast.Attribute(value=owner, attr=name):
                values = self.value(owner, known)
                return self._judged(node, name, self._types.attribute(values, name))
            case ast.Subscript(value=owner, slice=key):
                self.value(key, known)
                return self._item(node, self.value(owner, known), key)
            case ast.Lambda(args=declared, body=body):
                self._parts(declared, known)
                self.value(body, _without(known, {one.arg for one in _arguments(declared)}))
            case ast.FunctionDef(args=declared, body=parts):
                inner = _without(known, {one.arg for one in _arguments(declared)} | _bound(parts))
                for part in parts:
                    self.value(part, inner)
            case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
                self._comprehension(node, known)
            case _:
                self._parts(node, known)
        return None

    def _parts(self, node: ast.AST, known: Known) -> None:
        for part in ast.iter_child_nodes(node):
            self.value(part, known)

    def _item(self, node: ast.Subscript, values: Values, key: ast.expr) -> Values:
        if isinstance(key, ast.Slice):
            return values if values and {each["type"] for each in values} == {"list"} else None
        constant = _constant(key)
        return self._judged(node, str(constant), self._types.item(values, constant))

    def _comprehension(self, node: ast.AST, known: Known) -> None:
        loops: list[ast.comprehension] = node.generators  # type: ignore[attr-defined]
        for loop in loops:
            elements = self._types.elements(self.value(loop.iter, known))
            known = _without(known, _targets(loop.target))
            if isinstance(loop.target, ast.Name):
                known = {**known, loop.target.id: elements}
            for condition in loop.ifs:
                self.value(condition, known)
        for part in ast.iter_child_nodes(node):
            if not isinstance(part, ast.comprehension):
                self.value(part, known)

    def _judged(self, node: ast.expr, name: str, found: "Values | Lacking") -> Values:
        if not isinstance(found, Lacking):
            return found
        self.found.append(Misread(ast.unparse(node), name, self._syntax.line(node), found))
        return None


def _is_cautious(body: list[Any]) -> bool:
    """Say whether a condition may expect that something is lacking, or take the answer apart."""
    return any(isinstance(node, _CAUTIOUS) for part in body for node in ast.walk(part))


def _bound(body: list[Any]) -> set[str]:
    """Return the names that are bound anywhere in the body, but for those of comprehensions."""
    return {name for part in body for name in _bound_in(part)}


def _bound_in(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.comprehension):
        yield from _bound_in(node.iter)
        return
    if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
        yield node.id
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name
    if isinstance(node, ast.alias):
        yield (node.asname or node.name).partition(".")[0]
    if isinstance(node, ast.Attribute | ast.Subscript) and not isinstance(node.ctx, ast.Load):
        yield from (name.id for name in ast.walk(node) if isinstance(name, ast.Name))
    for part in ast.iter_child_nodes(node):
        yield from _bound_in(part)


def _guarded(body: list[Any]) -> tuple[str, ...]:
    """Return how the expressions begin that a condition asks about before it reads them."""
    calls = (node for part in body for node in ast.walk(part) if isinstance(node, ast.Call))
    asked = (call for call in calls if isinstance(call.func, ast.Name) and call.args)
    found = (call.args[0] for call in asked if call.func.id in _GUARDS)  # type: ignore[attr-defined]
    return tuple(f"{ast.unparse(each)}{sign}" for each in found for sign in ".[")


def _texts(body: list[Any]) -> set[str]:
    """Return the texts of a condition, such as the name in `"x" in r.model_fields_set`."""
    nodes = [node for part in body for node in ast.walk(part)]
    keys = {id(node.slice) for node in nodes if isinstance(node, ast.Subscript)}
    constants = (node for node in nodes if isinstance(node, ast.Constant) and id(node) not in keys)
    return {node.value for node in constants if isinstance(node.value, str)}


def _without(known: Known, names: set[str]) -> Known:
    return {name: values for name, values in known.items() if name not in names}


def _targets(target: ast.expr) -> set[str]:
    return {node.id for node in ast.walk(target) if isinstance(node, ast.Name)}


def _arguments(declared: ast.arguments) -> list[ast.arg]:
    starred = [one for one in (declared.vararg, declared.kwarg) if one is not None]
    return [*declared.posonlyargs, *declared.args, *declared.kwonlyargs, *starred]


def _constant(key: ast.expr) -> int | str | None:
    match key:
        case ast.Constant(value=bool()):
            return None
        case ast.Constant(value=int() | str() as value):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() as value)):
            return -value
    return None
