"""Find the opaque places of an annotation."""

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache, wraps
from types import UnionType
from typing import (
    Annotated,
    Any,
    TypeAlias,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from pydantic import BaseModel

from stratum.errors import DeclarationError

T = TypeVar("T")
R = TypeVar("R")
Arms: TypeAlias = tuple[Any, ...]  # the annotations that a value may have at a place

_INDEX = r"\[?(\d+)\]?"


class Opaque:
    """Mark what stands here as data: it is worked on, never obeyed, shown or stored."""

    def __repr__(self) -> str:
        return "opaque"


_MARK = Opaque()
HIDDEN: Any = Annotated[Any, _MARK]
opaque: TypeAlias = Annotated[T, _MARK]  # noqa: PYI042 (it reads as a word: opaque[str])


def _remembered(ask: Callable[[Any], R]) -> Callable[[Any], R]:
    """Ask once for each annotation, except those whose metadata has no hash."""
    remembered = lru_cache(maxsize=1024)(ask)

    @wraps(ask)
    def answer(annotation: Any) -> R:
        try:
            return remembered(annotation)
        except TypeError:
            return ask(annotation)

    return answer


@_remembered
def has_opaque(annotation: Any) -> bool:
    """Say whether a value of the annotation may hold an opaque one.

    >>> has_opaque(list[opaque[str]]), has_opaque(list[str])
    (True, False)
    """
    return next(_names(arms_of(annotation), "", ()), None) is not None


def hides(annotation: Any, path: tuple[str, ...]) -> bool:
    """Say whether the value at the path is opaque, stands inside one, or contains one.

    The path holds attribute names and text keys; positions in lists may be left out. A step
    that the annotation does not declare, such as a property, reads all of what it is asked of.

    >>> hides(dict[str, opaque[str]], ("a",)), hides(tuple[int, opaque[str]], ("0",))
    (True, False)
    """
    arms = arms_of(annotation)
    for step in path:
        if any(map(is_mark, arms)):
            return True
        following = _step(arms, step)
        if following is None:
            return True
        arms = following
    return any(map(has_opaque, arms))


def names(annotation: Any, root: str) -> tuple[str, ...]:
    """Return the names of the opaque places; a recursive type is entered once.

    >>> names(list[opaque[str]], "tickets")
    ('tickets[]',)
    """
    return tuple(dict.fromkeys(_names(arms_of(annotation), root, ())))


# What annotations declare


def arms_of(annotation: Any) -> Arms:
    """Return the members of a union, those of unions inside it and of aliases included."""
    origin = get_origin(annotation)
    if origin is Union or origin is UnionType:
        return tuple(arm for member in get_args(annotation) for arm in arms_of(member))
    if hasattr(annotation, "__value__"):  # type Alias = ...
        return arms_of(annotation.__value__)
    if hasattr(origin, "__value__"):  # Alias[int]
        return arms_of(origin.__value__[get_args(annotation)])
    if origin is Annotated and not is_mark(annotation):
        return arms_of(get_args(annotation)[0])
    return (annotation,)


def kind_of(arm: Any) -> Any:
    return get_origin(arm) or arm


def is_mark(arm: Any) -> bool:
    return get_origin(arm) is Annotated and _marks(arm.__metadata__)


def _marks(metadata: Any) -> bool:
    return any(isinstance(mark, Opaque) or mark is Opaque for mark in metadata)


def _names(arms: Arms, path: str, entered: Arms) -> Iterator[str]:
    for arm in arms:
        if is_mark(arm):
            yield path
        elif arm not in entered:
            for step, inner in children_of(arm).items():
                yield from _names(inner, _joined(path, step), (*entered, arm))


def _joined(path: str, step: str) -> str:
    return f"{path}{step}" if step.startswith("[") else f"{path}.{step}"


@_remembered
def children_of(arm: Any) -> dict[str, Arms]:
    """Return what stands inside: fields by name, elements as `[]`, those of a tuple as `[0]`."""
    kind = kind_of(arm)
    if not isinstance(kind, type):
        return {}
    if has_fields(kind):
        return {name: arms_of(hint) for name, hint in _fields(kind, get_args(arm)).items()}
    inner = get_args(arm)
    if issubclass(kind, tuple) and Ellipsis not in inner:
        return {f"[{index}]": arms_of(hint) for index, hint in enumerate(inner)}
    elements = tuple(nested for hint in inner if hint is not Ellipsis for nested in arms_of(hint))
    return {"[]": elements} if elements else {}


def has_fields(kind: type) -> bool:
    known = is_typeddict(kind) or dataclasses.is_dataclass(kind) or issubclass(kind, BaseModel)
    return known or (issubclass(kind, tuple) and hasattr(kind, "_fields"))


def _fields(kind: type, arguments: tuple[Any, ...]) -> dict[str, Any]:
    if issubclass(kind, BaseModel):
        return _model_fields(kind)
    chosen = dict(zip(getattr(kind, "__parameters__", ()), arguments, strict=False))
    return {name: _chosen(hint, chosen) for name, hint in _hints(kind).items()}


def _model_fields(kind: type[BaseModel]) -> dict[str, Any]:
    if not kind.__pydantic_complete__ and not kind.model_rebuild(raise_errors=False):
        raise DeclarationError(
            f"{kind.__qualname__} refers to a type that is not defined yet.\n"
            f"  Define it before {kind.__qualname__} is used in a function's annotations."
        )
    return {  # pydantic keeps the marks of the field itself apart from its annotation
        name: Annotated[field.annotation, _MARK] if _marks(field.metadata) else field.annotation
        for name, field in kind.model_fields.items()
    }


def _hints(kind: type) -> dict[str, Any]:
    try:
        return get_type_hints(kind, include_extras=True)
    except NameError:  # names that exist for the type checker only: go by what is written
        written = {name: str(hint) for name, hint in vars(kind)["__annotations__"].items()}
        return {name: HIDDEN if "opaque" in hint else Any for name, hint in written.items()}


def _chosen(hint: Any, chosen: Mapping[Any, Any]) -> Any:
    """Return the hint of a generic class with its type variables replaced."""
    if isinstance(hint, TypeVar):
        return chosen.get(hint, hint)
    parameters = getattr(hint, "__parameters__", ())
    return hint[tuple(chosen.get(p, p) for p in parameters)] if chosen and parameters else hint


# Steps along a path


def _step(arms: Arms, step: str) -> Arms | None:
    """Return what stands behind a step; None when an undeclared step could read an opaque."""
    following: Arms = ()
    for arm in arms:
        found = step_into(arm, step)
        if found is None and has_opaque(arm):
            return None
        following += found or ()
    return following


def step_into(arm: Any, step: str) -> Arms | None:
    children, kind = children_of(arm), kind_of(arm)
    if not children:
        return None
    if has_fields(kind):
        return children.get(step) or children.get(_aliased(kind, step))
    if issubclass(kind, Mapping):
        return children["[]"]
    elements = tuple(nested for inner in children.values() for nested in inner)
    position = re.fullmatch(_INDEX, step)
    if position is None:
        return _step(elements, step)
    found: Arms = children.get(f"[{position[1]}]", elements)
    return found


def _aliased(kind: type, step: str) -> str:
    """Return the name of the field that has this alias."""
    if not issubclass(kind, BaseModel):
        return ""
    for name, field in kind.model_fields.items():
        given = field.validation_alias
        if step in getattr(given, "choices", [given]):
            return name
    return ""
