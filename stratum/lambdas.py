"""Find the text of a lambda, and the values that it reads."""

import ast
import linecache
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import field
from functools import lru_cache
from operator import attrgetter, itemgetter
from types import CodeType, FunctionType
from typing import Any, Literal, TypeAlias

from stratum.values import dataclass

Silence: TypeAlias = Literal[""] | None
SILENCES: tuple[Silence, ...] = (None, "")


@dataclass(frozen=True)
class Path:
    """A value that a condition reads, such as `r.items[0].x`.

    `parameter` is the input's name, or `""` for the result; `steps` are the attributes, keys and
    indices below it, as `opacity.hides` takes them.
    """

    text: str
    parameter: str
    steps: tuple[str, ...]
    getters: tuple[Callable[[Any], Any], ...] = field(repr=False, compare=False)


def lambda_of(function: Callable[..., object]) -> ast.Lambda | None:
    """Return the syntax of a lambda, found by the columns that its code remembers.

    None for any other function, and when the source is gone or has changed.
    """
    if not isinstance(function, FunctionType) or function.__name__ != "<lambda>":
        return None
    code = function.__code__
    hull = _hull(code)
    if hull is None and not _is_constant(code):
        return None
    linecache.checkcache(code.co_filename)
    text = "".join(linecache.getlines(code.co_filename, function.__globals__))
    begun = [node for node in _lambdas(text) if node.lineno == code.co_firstlineno]
    fitting = [node for node in begun if (_fits(node, code, hull) if hull else _makes(node, code))]
    return max(fitting, key=lambda node: _span(node.body)[0], default=None)


_Place = tuple[int, int]  # line, column in UTF-8 bytes: what code and syntax trees both count


def _hull(code: CodeType) -> tuple[_Place, _Place] | None:
    """Return where the code begins and ends; without columns, as under `-X no_debug_ranges`, None.

    Instructions that stand for no text have an empty range.
    """
    spans = [
        ((line, column), (end_line, end_column))
        for line, end_line, column, end_column in code.co_positions()
        if line is not None and end_line is not None
        if column is not None and end_column is not None
        if (line, column) != (end_line, end_column)
    ]
    if not spans:
        return None
    return min(start for start, _ in spans), max(end for _, end in spans)


def _span(node: ast.expr) -> tuple[_Place, _Place]:
    end = (node.end_lineno or node.lineno, node.end_col_offset or node.col_offset)
    return (node.lineno, node.col_offset), end


def _is_constant(code: CodeType) -> bool:
    """Say whether all that a code does is to return a constant: Python 3.12 forgets where."""
    return len(tuple(code.co_positions())) == 2  # it also says that the function begins


def _makes(node: ast.Lambda, code: CodeType) -> bool:
    """Say whether a lambda is compiled to a code."""
    whole = compile(ast.Expression(node), code.co_filename, "eval")
    made = [each for each in whole.co_consts if isinstance(each, CodeType)][-1]  # after defaults
    if (made.co_code, made.co_varnames) != (code.co_code, code.co_varnames):
        return False
    return repr(made.co_consts) == repr(code.co_consts)  # 1 is True otherwise


def _fits(node: ast.Lambda, code: CodeType, hull: tuple[_Place, _Place]) -> bool:
    start, end = _span(node.body)
    names = _parameter_names(node)
    return start <= hull[0] and hull[1] <= end and names == code.co_varnames[: len(names)]


def _parameter_names(node: ast.Lambda) -> tuple[str, ...]:
    declared = node.args
    named = [*declared.posonlyargs, *declared.args, *declared.kwonlyargs]
    starred = [one for one in (declared.vararg, declared.kwarg) if one is not None]
    return tuple(one.arg for one in (*named, *starred))


@lru_cache(maxsize=8)
def _lambdas(text: str) -> tuple[ast.Lambda, ...]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python has shown them when it compiled the file
            tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return ()
    return tuple(node for node in ast.walk(tree) if isinstance(node, ast.Lambda))


def paths_in(body: ast.expr, roots: Mapping[str, str]) -> tuple[Path, ...]:
    """Return the paths that an expression reads from the names in `roots`, each once.

    >>> [path.text for path in paths_in(ast.parse("r.a < r.b[0]", mode="eval").body, {"r": ""})]
    ['r.a', 'r.b[0]']
    """
    found = (_path(node, roots) for node in _reads(body, frozenset(roots)))
    return tuple({path.text: path for path in found}.values())


def _reads(node: ast.AST, names: frozenset[str]) -> Iterator[ast.expr]:
    """Yield the longest plain paths from one of the names, in reading order."""
    if isinstance(node, ast.expr) and _root(node) in names:
        yield node
        return
    for part, visible in _parts(node, names):
        yield from _reads(part, visible)


def _root(node: ast.expr) -> str | None:
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=owner):
            return _root(owner)
        case ast.Subscript(value=owner, slice=key) if _constant(key) is not None:
            return _root(owner)
    return None


def _constant(key: ast.expr) -> int | str | None:
    match key:
        case ast.Constant(value=int() | str() as value):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() as value)):
            return -value
    return None


def _parts(node: ast.AST, names: frozenset[str]) -> Iterator[tuple[ast.AST, frozenset[str]]]:
    """Yield what a node is made of, each part with the names that are not shadowed there."""
    match node:
        case ast.Call(func=ast.Attribute(value=owner), args=args, keywords=keywords):
            yield from ((part, names) for part in (owner, *args, *keywords))
        case ast.Lambda(args=declared, body=body):
            yield declared, names
            yield body, names - set(_parameter_names(node))
        case (
            ast.ListComp(generators=loops)
            | ast.SetComp(generators=loops)
            | ast.DictComp(generators=loops)
            | ast.GeneratorExp(generators=loops)
        ):
            yield loops[0].iter, names
            targets = {part.id for part in _targets(loops)}
            yield from ((part, names - targets) for part in ast.iter_child_nodes(node))
        case _:
            yield from ((part, names) for part in ast.iter_child_nodes(node))


def _targets(loops: list[ast.comprehension]) -> Iterator[ast.Name]:
    for loop in loops:
        yield from (part for part in ast.walk(loop.target) if isinstance(part, ast.Name))


def _path(node: ast.expr, roots: Mapping[str, str]) -> Path:
    steps = tuple(_steps(node))
    getters = tuple(getter for _, getter in steps)
    root = roots[_root(node) or ""]
    return Path(ast.unparse(node), root, tuple(name for name, _ in steps), getters)


def _steps(node: ast.expr) -> Iterator[tuple[str, Callable[[Any], Any]]]:
    match node:
        case ast.Attribute(value=owner, attr=name):
            yield from _steps(owner)
            yield name, attrgetter(name)
        case ast.Subscript(value=owner, slice=key):
            yield from _steps(owner)
            yield str(_constant(key)), itemgetter(_constant(key))


def silences_in(body: ast.expr) -> tuple[Silence, ...]:
    """Return those of None and `""` that an expression spells out as its value.

    A text that is evidently put together, as by `", ".join(names)`, may be `""`.

    >>> silences_in(ast.parse("None if r else ''", mode="eval").body)
    (None, '')
    >>> silences_in(ast.parse("r.label and r.n > 1", mode="eval").body)
    ()
    """
    ends = tuple(_ends(body))
    constants = [end.value for end in ends if isinstance(end, ast.Constant)]
    made = any(_is_text(end) for end in ends if not isinstance(end, ast.Constant))
    return tuple(one for one in SILENCES if one in constants or (one == "" and made))


def _ends(node: ast.expr) -> Iterator[ast.expr]:
    """Yield the parts of an expression that can be its value when that is not true."""
    match node:
        case ast.IfExp(body=then, orelse=otherwise):
            yield from _ends(then)
            yield from _ends(otherwise)
        case ast.BoolOp(op=ast.And(), values=values):
            yield from (end for value in values for end in _ends(value))
        case ast.BoolOp(values=values):
            yield from _ends(values[-1])
        case ast.NamedExpr(value=value):
            yield from _ends(value)
        case _:
            yield node


def _is_text(node: ast.expr) -> bool:
    """Say whether an expression is evidently made of text, such as `", ".join(names)`."""
    match node:
        case ast.Constant(value=str()) | ast.JoinedStr():
            return True
        case ast.Call(func=ast.Attribute(value=owner)):
            return _is_text(owner)
        case ast.BinOp(left=left, right=right):
            return _is_text(left) or _is_text(right)
    return False
