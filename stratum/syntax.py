"""Find the syntax of a function, where its source is at hand."""

import ast
import inspect
import linecache
import warnings
from collections.abc import Callable
from types import CodeType, FunctionType
from typing import Any, NamedTuple, TypeAlias

from stratum.lambdas import lambda_of

Definition: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef


class Syntax(NamedTuple):
    """A lambda or a def, and what to add to its line numbers for those of the file."""

    node: ast.Lambda | Definition
    offset: int

    def line(self, node: ast.expr | ast.stmt) -> int:
        return node.lineno + self.offset


def syntax_of(function: Callable[..., Any]) -> Syntax | None:
    """Return the syntax of a function; None when the source is gone or has changed.

    Only the lines of the function are parsed, so that a long file costs nothing.
    """
    if not isinstance(function, FunctionType):
        return None
    if function.__name__ == "<lambda>":
        found = lambda_of(function)
        return Syntax(found, 0) if found else None
    linecache.checkcache(function.__code__.co_filename)
    lines = linecache.getlines(function.__code__.co_filename, function.__globals__)
    first, last = function.__code__.co_firstlineno, _last_line(function.__code__)
    node = _parsed(lines[first - 1 : last])
    if node is None or not _fits(node, function.__code__):
        return None
    return Syntax(node, first - 2)


def _last_line(code: CodeType) -> int:
    ends = [end for _, end, _, _ in code.co_positions() if end is not None]
    inner = [_last_line(each) for each in code.co_consts if isinstance(each, CodeType)]
    return max([code.co_firstlineno, *ends, *inner])


def _parsed(lines: list[str]) -> Definition | None:
    """Parse the lines of a def, however deep it is indented."""
    if not lines:
        return None
    indented = lines[0][:1].isspace()
    text = "".join(["if 1:\n" if indented else "\n", *lines])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python has shown them when it compiled the file
            body = ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError):
        return None
    found = body[0] if body else None
    found = found.body[0] if indented and isinstance(found, ast.If) else found
    return found if isinstance(found, Definition) else None


def _fits(node: Definition, code: CodeType) -> bool:
    declared = node.args
    named = [*declared.posonlyargs, *declared.args, *declared.kwonlyargs]
    count = code.co_argcount + code.co_kwonlyargcount
    is_async = bool(code.co_flags & (inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR))
    return (
        node.name == code.co_name
        and tuple(one.arg for one in named) == code.co_varnames[:count]
        and isinstance(node, ast.AsyncFunctionDef) == is_async
    )
