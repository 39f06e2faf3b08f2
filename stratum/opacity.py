"""Take opaque values out of what is shown."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Any, TypeAlias, get_args, get_origin, is_typeddict

from pydantic import BaseModel

from stratum.hashing import canonical, jsonable
from stratum.marks import (
    HIDDEN,
    Arms,
    Opaque,
    arms_of,
    children_of,
    has_fields,
    has_opaque,
    hides,
    is_mark,
    kind_of,
    names,
    opaque,
    step_into,
)

__all__ = ["Opaque", "has_opaque", "hides", "names", "opaque", "repeats", "split", "veil"]

Take: TypeAlias = Callable[[str, Any], Any]  # path and JSON data to what stands there instead

_RUN = 8  # characters of an opaque value that give it away


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

    return _walk(arms_of(annotation), value, root, take), taken


def veil(annotation: Any, value: Any) -> Any:
    """Return a value as JSON data, with the size in characters in place of each opaque value.

    >>> veil(opaque[str], "Hello")
    {'opaque': 5}
    """
    return _walk(arms_of(annotation), value, "value", lambda _, hidden: {"opaque": _size(hidden)})


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


def _walk(arms: Arms, value: Any, path: str, take: Take) -> Any:
    if value is None:
        return None
    if _is_hidden(arms, value):
        return take(path, jsonable(value, path))
    if not any(map(has_opaque, arms)):
        return jsonable(value, path)
    arms = _matching(arms, value)
    match value:
        case BaseModel() if value.__pydantic_root_model__:
            return _walk(_inside(arms, "root"), value.__dict__["root"], f"{path}.root", take)
        case BaseModel():
            return _walk_model(arms, value, path, take)
        case Mapping():
            return _walk_mapping(arms, value, path, take)
        case AbstractSet():
            ordered = sorted(value, key=lambda element: canonical(jsonable(element, path)))
            return _walk_elements(arms, ordered, path, take)
        case tuple() if (names := getattr(value, "_fields", None)) is not None:
            return list(_walk_named(arms, dict(zip(names, value, strict=True)), path, take))
        case list() | tuple():
            return _walk_elements(arms, value, path, take)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        own = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return dict(zip(own, _walk_named(arms, own, path, take), strict=True))
    return _walk_other(arms, value, path, take)


def _is_hidden(arms: Arms, value: Any) -> bool:
    """Say whether the value stands for an opaque member of the union; in doubt it does."""
    marked = [arm for arm in arms if is_mark(arm)]
    if not marked:
        return False
    plain = any(_fits(arm, value, in_doubt=False) for arm in arms if not is_mark(arm))
    return not plain or any(_fits(get_args(arm)[0], value, in_doubt=True) for arm in marked)


def _fits(annotation: Any, value: Any, *, in_doubt: bool) -> bool:
    for arm in arms_of(annotation):
        kind = kind_of(arm)
        unclear = not isinstance(kind, type) or kind == Any or is_typeddict(kind)
        unclear = unclear or (isinstance(value, Mapping) and has_fields(kind))  # JSON data
        if in_doubt if unclear else isinstance(value, kind):
            return True
    return False


def _matching(arms: Arms, value: Any) -> Arms:
    """Return the members that the value belongs to, its own class first; all when in doubt."""
    fitting = tuple(arm for arm in arms if _fits(arm, value, in_doubt=True))
    own = (type(value),) if has_fields(type(value)) else ()
    return (*own, *(fitting or arms))


def _inside(arms: Arms, *steps: str) -> Arms:
    found = (children_of(arm).get(step, ()) for arm in arms for step in steps)
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
        known = inner or (HIDDEN,)  # more than is declared
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
    kind = kind_of(arm)
    return (step_into(arm, name) or ()) if isinstance(kind, type) and has_fields(kind) else ()


def _walk_other(arms: Arms, value: Any, path: str, take: Take) -> Any:
    """Show a value that an opaque-free member of the union declares; take any other out."""
    plain = (arm for arm in arms if not has_opaque(arm))
    if any(_fits(arm, value, in_doubt=False) for arm in plain):
        return jsonable(value, path)
    return take(path, jsonable(value, path))
