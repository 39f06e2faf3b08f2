"""Say whether an answer can be read as an annotation."""

import inspect
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Generator,
    Iterable,
    Iterator,
)
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    ForwardRef,
    Literal,
    Never,
    NoReturn,
    TypeVar,
    Union,
    get_args,
    get_origin,
)

from stratum.errors import DeclarationError

_LAZY = (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Coroutine,
    Generator,
    Iterable,
    Iterator,
)


def type_name(annotation: Any) -> str:
    """Return an annotation as people write it.

    >>> type_name(dict[str, list[bool] | None])
    'dict[str, list[bool] | None]'
    """
    origin, inner = get_origin(annotation), get_args(annotation)
    if annotation is NoneType or annotation is None:
        return "None"
    if origin is Annotated:
        return type_name(inner[0])
    if origin is Literal:
        return f"Literal[{', '.join(map(repr, inner))}]"
    if origin is Union or origin is UnionType:
        return " | ".join(map(type_name, inner))
    if origin is None:
        return getattr(annotation, "__name__", None) or str(annotation)
    listed = ", ".join("..." if one is Ellipsis else type_name(one) for one in inner)
    return f"{getattr(origin, '__name__', origin)}[{listed}]"


def check_annotation(annotation: Any, where: str) -> None:
    """Raise `DeclarationError` with the remedy for what no answer can be read as."""
    problem = _problem(annotation)
    if problem is not None:
        raise DeclarationError(f"{where}: {problem[0]}.\n  {problem[1]}")


def _problem(annotation: Any) -> tuple[str, str] | None:
    """Return what is wrong with the annotation itself, and the remedy."""
    if annotation is inspect.Parameter.empty or annotation is Ellipsis:
        return "the answer has no annotation", "Say what it looks like: -> str, or a class."
    if annotation is Any or annotation is object:
        return f"{type_name(annotation)} is no contract", "Say what the answer looks like."
    if annotation in (None, NoneType, Never, NoReturn):
        return (
            f"an answer of {type_name(annotation)} says nothing",
            "Say what the answer looks like: -> str, or a class.",
        )
    return _unusable_part(annotation)


def _unusable_part(annotation: Any) -> tuple[str, str] | None:
    if isinstance(annotation, (str, ForwardRef)):
        name = getattr(annotation, "__forward_arg__", annotation)
        return f"the type {name!r} cannot be found", "Define or import it before this function."
    if isinstance(annotation, TypeVar):
        return f"{annotation} stands for no type", "Name the type itself."
    kind = get_origin(annotation) or annotation
    if kind is Callable or kind in _LAZY or inspect.isroutine(kind):
        return (
            f"no answer can be a {type_name(annotation)}",
            "Use a type that JSON can carry, such as list[...].",
        )
    if getattr(kind, "_is_protocol", False):
        return f"{type_name(kind)} is a protocol", "Use a class whose fields are annotated."
    if kind is Literal:
        return None
    parts = get_args(annotation)[:1] if kind is Annotated else get_args(annotation)
    return next(filter(None, map(_unusable_part, parts)), None)


def unusable(annotation: Any, where: str, error: Exception) -> DeclarationError:
    """Return the error for an annotation that pydantic cannot use."""
    reason = str(getattr(error, "message", error)).partition("\n")[0].partition(". ")[0]
    return DeclarationError(
        f"{where}: {type_name(annotation)} cannot be a contract: {reason}.\n"
        "  Use types that JSON can carry, all of them defined before this function."
    )
