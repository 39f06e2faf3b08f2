"""Say which objects the names in a function's code stand for, without running any of it."""

import dis
import inspect
import sys
from collections.abc import Iterator, Mapping
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any

UNKNOWN: Any = object()

_PLAIN = (FunctionType, BuiltinFunctionType, str, bytes, int, float, tuple, list, dict, type(None))

_GLOBAL = ("LOAD_GLOBAL", "LOAD_NAME")
_FREE = ("LOAD_DEREF", "LOAD_CLASSDEREF")
_ATTRIBUTE = ("LOAD_ATTR", "LOAD_METHOD")


class Names:
    """The names that a function takes from its module and from the functions around it."""

    def __init__(self, function: FunctionType, bound: frozenset[str] = frozenset()) -> None:
        self._globals: Mapping[str, Any] = function.__globals__
        cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=False)
        self._free = dict(cells)
        self._code = function.__code__
        self._local = {*bound, *self._code.co_varnames, *self._code.co_cellvars}

    def resolve(self, dotted: str) -> Any:
        """Return what a dotted name stands for, `UNKNOWN` if that is not known by now.

        >>> Names(lambda: None).resolve("inspect.nonsense") is UNKNOWN
        True
        """
        first, *rest = dotted.split(".")
        if first in self._local:
            return UNKNOWN
        return resolve_from(self.named(first), rest)

    def has_objects(self) -> bool:
        """Say whether any name stands for more than a plain function or value."""
        used = {*self._free, *names_in(self._code)}
        found = (self.named(name) for name in used if name in self._free or name in self._globals)
        return any(not isinstance(each, _PLAIN) for each in found)

    def named(self, name: str) -> Any:
        """Return what a name means that no inner scope binds."""
        if name in self._free:
            try:
                return self._free[name].cell_contents
            except ValueError:  # bound later
                return UNKNOWN
        return self._globals.get(name, UNKNOWN)


def resolve_from(found: Any, attributes: list[str]) -> Any:
    """Follow attributes without running a descriptor, a property or a `__getattr__`."""
    for name in attributes:
        if found is UNKNOWN:
            return UNKNOWN
        if isinstance(found, ModuleType):
            found = vars(found).get(name, UNKNOWN)
        else:
            found = inspect.getattr_static(found, name, UNKNOWN)
        if isinstance(found, staticmethod | classmethod):
            found = found.__func__
    return found


def names_in(code: CodeType) -> Iterator[str]:
    """Yield the names of globals and attributes, and the constant texts, that code uses."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from names_in(constant)
        elif isinstance(constant, str):
            yield constant


def called_names(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """Yield the dotted names that a function's code calls, with what each stands for.

    From the bytecode: source is not needed. What runs in its own lambdas, comprehensions and
    inner functions counts. A call of an attribute yields the object it is asked of too.

    >>> def size(text): return len(text) if inspect.isclass(text) else 0
    >>> sorted(name for name, found in called_names(size) if found is not UNKNOWN)
    ['inspect', 'inspect.isclass']
    """
    names = Names(function)
    if not names.has_objects():
        return
    for code, bound in _codes(function.__code__, frozenset()):
        for dotted, is_called in _chains(code, bound, names):
            if is_called:
                yield from _prefixes(dotted, names)


def _prefixes(dotted: str, names: Names) -> Iterator[tuple[str, Any]]:
    first, *rest = dotted.split(".")
    for end in range(len(rest) + 1):
        yield ".".join((first, *rest[:end])), resolve_from(names.named(first), rest[:end])


def _codes(code: CodeType, outer: frozenset[str]) -> Iterator[tuple[CodeType, frozenset[str]]]:
    """Yield the code and what is nested in it, each with the names that its scopes bind."""
    bound = outer | {*code.co_varnames, *code.co_cellvars}
    yield code, bound
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _codes(inner, bound)


def _chains(code: CodeType, bound: frozenset[str], names: Names) -> Iterator[tuple[str, bool]]:
    """Yield every dotted name that is loaded, and whether it is loaded to be called."""
    chain: list[str] = []
    called = pushed = False
    for step in dis.get_instructions(code):
        if step.opname in _ATTRIBUTE and chain:
            chain.append(step.argval)
            called = _pushes_null(step)
            continue
        if chain:
            yield ".".join(chain), called or step.opname == "PUSH_NULL"
            chain = []
        if step.opname in _GLOBAL or (step.opname in _FREE and step.argval not in bound):
            chain, called = [step.argval], pushed or _pushes_null(step)
        pushed = step.opname == "PUSH_NULL"


def _pushes_null(step: dis.Instruction) -> bool:
    """Say whether an instruction makes room for a call of what it loads."""
    if step.opname == "LOAD_METHOD":
        return True
    marks = step.opname == "LOAD_GLOBAL" or (
        step.opname == "LOAD_ATTR" and sys.version_info >= (3, 12)
    )
    return marks and bool((step.arg or 0) & 1)
