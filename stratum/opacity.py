"""Find the opaque places of an annotation, and take what stands there out of a value."""

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
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

from pydantic import BaseModel, RootModel

from stratum.errors import DeclarationError
from stratum.hashing import canonical, jsonable

T = TypeVar("T")
R = TypeVar("R")
Arms: TypeAlias = tuple[Any, ...]  # the annotations that a value may have at a place
Take: TypeAlias = Callable[[str, Any], Any]  # path and JSON data to what stands there instead

_RUN = 8  # characters of an opaque value that give it away
_INDEX = re.compile(r"\[?(\d+)\]?")


class Opaque:
    """Mark what stands here as data: it is worked on, never obeyed, shown or stored."""

    def __repr__(self) -> str:
        return "opaque"


_MARK = Opaque()
_HIDDEN: Any = Annotated[Any, _MARK]
opaque: TypeAlias = Annotated[T, _MARK]  # noqa: PYI042 (it reads as a word: opaque[str])


def _remembered(ask: Callable[[Any], R]) -> Callable[[Any], R]:
    """Ask once for each annotation, except those whose metadata has no hash."""
    remembered = lru_cache(maxsize=1024)(ask)

    @wraps(ask)
    def answer(annotation: Any) -> R:
        try:
            hash(annotation)
        except TypeError:
            return ask(annotation)
        return remembered(annotation)

    return answer


@_remembered
def has_opaque(annotation: Any) -> bool:
    """Say whether a value of the annotation may hold an opaque one.

    >>> has_opaque(list[opaque[str]]), has_opaque(list[str])
    (True, False)
    """
    return next(_names(_arms(annotation), "", ()), None) is not None


def hides(annotation: Any, path: tuple[str, ...]) -> bool:
    """Say whether the value at the path is opaque, stands inside one, or contains one.

    The path holds attribute names and text keys; positions in lists may be left out. A step
    that the annotation does not declare, such as a property, reads all of what it is asked of.

    >>> hides(dict[str, opaque[str]], ("a",)), hides(tuple[int, opaque[str]], ("0",))
    (True, False)
    """
    arms = _arms(annotation)
    for step in path:
        if any(map(_is_mark, arms)):
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
    return tuple(dict.fromkeys(_names(_arms(annotation), root, ())))


def split(annotation: Any, value: Any, root: str) -> tuple[Any, dict[str, Any]]:
    """Return a value as JSON data without its opaque values, and these by their path.

    `<data: path>` stands where one was; None stays None. Computed fields of a class with
    opaque fields are taken out too, for they may repeat one. Raises `TypeError` with the
    path for what has no deterministic text.

    >>> split(list[opaque[str]], ["a", "b"], "notes")
    (['<data: notes[0]>', '<data: notes[1]>'], {'notes[0]': 'a', 'notes[1]': 'b'})
    """
    taken: dict[str, Any] = {}

    def take(path: str, hidden: Any) -> str:
        taken[path] = hidden
        return f"<data: {path}>"

    return _walk(_arms(annotation), value, root, take), taken


def veil(annotation: Any, value: Any) -> Any:
    """Return a value as JSON data, with the size in characters in place of each opaque value.

    >>> veil(opaque[str], "Hello")
    {'opaque': 5}
    """
    return _walk(_arms(annotation), value, "value", lambda _, hidden: {"opaque": _size(hidden)})


def repeats(annotation: Any, value: Any, text: str) -> bool:
    """Say whether a text has 8 characters in a row, or all, of an opaque value's text.

    The value may be JSON data that does not fit the annotation; what is unclear is opaque.

    >>> repeats(opaque[str], "my secret life", "no: My Secret"), repeats(opaque[str], "x", "no")
    (True, False)
    """
    if not has_opaque(annotation):
        return False
    try:
        _, taken = split(annotation, value, "value")
    except TypeError:  # NaN and the like
        return True
    said = text.casefold()
    return any(run in said for hidden in taken.values() for run in _runs(hidden))


def _runs(hidden: Any) -> Iterator[str]:
    if isinstance(hidden, (dict, list)):
        inner = hidden.values() if isinstance(hidden, dict) else hidden
        yield from (run for one in inner for run in _runs(one))
        return
    text = (hidden if isinstance(hidden, str) else canonical(hidden)).casefold()
    last = max(len(text) - _RUN, 0)
    yield from (text[start : start + _RUN] for start in range(last + 1) if text)


def _size(hidden: Any) -> int:
    return len(hidden if isinstance(hidden, str) else canonical(hidden))


# What annotations declare


def _arms(annotation: Any) -> Arms:
    """Return the members of a union, those of unions inside it and of aliases included."""
    origin = get_origin(annotation)
    if origin is Union or origin is UnionType:
        return tuple(arm for member in get_args(annotation) for arm in _arms(member))
    if hasattr(annotation, "__value__"):  # type Alias = ...
        return _arms(annotation.__value__)
    if hasattr(origin, "__value__"):  # Alias[int]
        return _arms(origin.__value__[get_args(annotation)])
    if origin is Annotated and not _is_mark(annotation):
        return _arms(get_args(annotation)[0])
    return (annotation,)


def _kind(arm: Any) -> Any:
    return get_origin(arm) or arm


def _is_mark(arm: Any) -> bool:
    return get_origin(arm) is Annotated and _marks(arm.__metadata__)


def _marks(metadata: Any) -> bool:
    return any(isinstance(mark, Opaque) or mark is Opaque for mark in metadata)


def _names(arms: Arms, path: str, entered: Arms) -> Iterator[str]:
    for arm in arms:
        if _is_mark(arm):
            yield path
        elif arm not in entered:
            for step, inner in _children(arm).items():
                yield from _names(inner, _joined(path, step), (*entered, arm))


def _joined(path: str, step: str) -> str:
    return f"{path}{step}" if step.startswith("[") else f"{path}.{step}"


@_remembered
def _children(arm: Any) -> dict[str, Arms]:
    """Return what stands inside: fields by name, elements as `[]`, those of a tuple as `[0]`."""
    kind = _kind(arm)
    if not isinstance(kind, type):
        return {}
    if _has_fields(kind):
        return {name: _arms(hint) for name, hint in _fields(kind, get_args(arm)).items()}
    inner = get_args(arm)
    if issubclass(kind, tuple) and Ellipsis not in inner:
        return {f"[{index}]": _arms(hint) for index, hint in enumerate(inner)}
    elements = tuple(nested for hint in inner if hint is not Ellipsis for nested in _arms(hint))
    return {"[]": elements} if elements else {}


def _has_fields(kind: type) -> bool:
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
        return {name: _HIDDEN if "opaque" in hint else Any for name, hint in written.items()}


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
        found = _into(arm, step)
        if found is None and has_opaque(arm):
            return None
        following += found or ()
    return following


def _into(arm: Any, step: str) -> Arms | None:
    children, kind = _children(arm), _kind(arm)
    if not children:
        return None
    if _has_fields(kind):
        return children.get(step) or children.get(_aliased(kind, step))
    if issubclass(kind, Mapping):
        return children["[]"]
    elements = tuple(nested for inner in children.values() for nested in inner)
    position = _INDEX.fullmatch(step)
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


# Values


def _walk(arms: Arms, value: Any, path: str, take: Take) -> Any:
    if value is None:
        return None
    if _is_hidden(arms, value):
        return take(path, jsonable(value, path))
    if not any(map(has_opaque, arms)):
        return jsonable(value, path)
    arms = _matching(arms, value)
    match value:
        case RootModel():
            return _walk(_inside(arms, "root"), value.root, f"{path}.root", take)
        case BaseModel():
            return _walk_model(arms, value, path, take)
        case Mapping():
            return _walk_mapping(arms, value, path, take)
        case AbstractSet():
            ordered = sorted(value, key=lambda element: canonical(jsonable(element, path)))
            return _walk_elements(arms, ordered, path, take)
        case tuple() if hasattr(value, "_fields"):
            return list(_walk_named(arms, dict(zip(value._fields, value, strict=True)), path, take))
        case list() | tuple():
            return _walk_elements(arms, value, path, take)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        own = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return dict(zip(own, _walk_named(arms, own, path, take), strict=True))
    return _walk_other(arms, value, path, take)


def _is_hidden(arms: Arms, value: Any) -> bool:
    """Say whether the value stands for an opaque member of the union; in doubt it does."""
    marked = [arm for arm in arms if _is_mark(arm)]
    if not marked:
        return False
    plain = any(_fits(arm, value, in_doubt=False) for arm in arms if not _is_mark(arm))
    return not plain or any(_fits(get_args(arm)[0], value, in_doubt=True) for arm in marked)


def _fits(annotation: Any, value: Any, *, in_doubt: bool) -> bool:
    for arm in _arms(annotation):
        kind = _kind(arm)
        unclear = not isinstance(kind, type) or kind is Any or is_typeddict(kind)
        unclear = unclear or (isinstance(value, Mapping) and _has_fields(kind))  # JSON data
        if in_doubt if unclear else isinstance(value, kind):
            return True
    return False


def _matching(arms: Arms, value: Any) -> Arms:
    """Return the members that the value belongs to, its own class first; all when in doubt."""
    fitting = tuple(arm for arm in arms if _fits(arm, value, in_doubt=True))
    own = (type(value),) if _has_fields(type(value)) else ()
    return (*own, *(fitting or arms))


def _inside(arms: Arms, *steps: str) -> Arms:
    found = (_children(arm).get(step, ()) for arm in arms for step in steps)
    return tuple(nested for inner in found for nested in inner)


def _walk_model(arms: Arms, value: BaseModel, path: str, take: Take) -> Any:
    dumped = value.model_dump(mode="python")
    if not isinstance(dumped, dict):
        return take(path, jsonable(dumped, path))
    extra = value.model_extra or {}
    data: dict[str, Any] = {}
    for name, shown in dumped.items():
        inner, place = _inside(arms, name), f"{path}.{name}"
        if any(map(has_opaque, inner)):
            data[name] = _walk(inner, getattr(value, name), place, take)
        elif inner or name in extra:
            data[name] = jsonable(shown, place)
        else:  # computed, or a serializer's own
            data[name] = take(place, jsonable(shown, place))
    return data


def _walk_named(arms: Arms, own: Mapping[str, Any], path: str, take: Take) -> Iterator[Any]:
    for name, inner in own.items():
        yield _walk(_inside(arms, name), inner, f"{path}.{name}", take)


def _walk_elements(arms: Arms, value: Any, path: str, take: Take) -> list[Any]:
    data: list[Any] = []
    for index, element in enumerate(value):
        inner, place = _inside(arms, "[]", f"[{index}]"), f"{path}[{index}]"
        known = inner or (_HIDDEN,)  # more than is declared
        data.append(_walk(known, element, place, take))
    return data


def _walk_mapping(arms: Arms, value: Mapping[Any, Any], path: str, take: Take) -> Any:
    if any(_has_opaque_keys(arm) for arm in arms):
        return take(path, jsonable(value, path))
    data: dict[str, Any] = {}
    for key, inner in value.items():
        name = next(iter(jsonable({key: None}, path)))
        named = tuple(nested for arm in arms for nested in _field(arm, name))
        place = f"{path}.{name}" if named else f"{path}[{canonical(name)}]"
        data[name] = _walk(named or _inside(arms, "[]"), inner, place, take)
    return data


def _has_opaque_keys(arm: Any) -> bool:
    kind, inner = get_origin(arm), get_args(arm)
    return isinstance(kind, type) and issubclass(kind, Mapping) and has_opaque(inner[0])


def _field(arm: Any, name: str) -> Arms:
    kind = _kind(arm)
    return (_into(arm, name) or ()) if isinstance(kind, type) and _has_fields(kind) else ()


def _walk_other(arms: Arms, value: Any, path: str, take: Take) -> Any:
    """Show a value that an opaque-free member of the union declares; take any other out."""
    plain = (arm for arm in arms if not has_opaque(arm))
    if any(_fits(arm, value, in_doubt=False) for arm in plain):
        return jsonable(value, path)
    return take(path, jsonable(value, path))
