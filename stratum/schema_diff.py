"""Say, field by field, how one neutral schema differs from another."""

from collections.abc import Iterator, Mapping
from typing import Any

from stratum.hashing import canonical
from stratum.schemas import Schema, definitions, fingerprint, referred, resolved
from stratum.text import escape, truncate
from stratum.values import dataclass

_SHOWN = 80  # characters of a value
_UPPER = ("exclusiveMaximum", "maxItems", "maxLength", "maximum")
_LOWER = ("exclusiveMinimum", "minItems", "minLength", "minimum")
_COMPARED = frozenset(
    {
        *("$defs", "$ref", "additionalProperties", "anyOf", "const", "enum", "items", "oneOf"),
        *("prefixItems", "properties", "required", "type", *_UPPER, *_LOWER),
    }
)


def difference(before: Schema, after: Schema) -> list[str]:
    """Return one line for each change, none exactly when the fingerprints are equal.

    `+` and `-` are fields that came and went, `~` is what changed at a place.

    >>> was = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    >>> difference(was, {"type": "object", "properties": {"b": {"type": "string"}}})
    ['- a', '+ b: string (optional)']
    """
    if fingerprint(before) == fingerprint(after):
        return []
    sides = _Sides(definitions(before), definitions(after))
    lines = [escape(line) for line in dict.fromkeys(_node(before, after, "", sides))]
    return lines or [f"~ schema: {escape(path)} differs" for path in _unlike(before, after)]


# What a node says


@dataclass(frozen=True)
class _Sides:
    """The definitions before and after, and which pairs are being compared."""

    before: Mapping[str, Any]
    after: Mapping[str, Any]
    entered: frozenset[tuple[tuple[str, ...], tuple[str, ...]]] = frozenset()


@dataclass(frozen=True)
class _View:
    """A node as its reader sees it: references followed, null apart, members of a union."""

    node: Schema
    refs: tuple[str, ...]
    null: bool
    members: tuple[Any, ...]


def _view(node: Any, defs: Mapping[str, Any]) -> _View:
    refs: list[str] = []
    null = False
    while True:
        name = referred(node)
        if name is not None:
            refs.append(name)
        node = _mapping(resolved(node, defs))
        members = _listed(node.get("anyOf", node.get("oneOf")))
        rest = tuple(member for member in members if member != {"type": "null"})
        null = null or len(rest) < len(members)
        if len(rest) != 1 or referred(rest[0]) in refs:
            return _View(node, tuple(refs), null, rest or (node,))
        outer = {key: value for key, value in node.items() if key not in {"anyOf", "oneOf"}}
        node = {**_mapping(rest[0]), **outer}


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _kind(node: Any, defs: Mapping[str, Any]) -> str:
    """Return what kind of value a node wants, in a few words."""
    view = _view(node, defs)
    words = [_word(member, defs) for member in view.members]
    return " or ".join([*words, *(["null"] if view.null else [])])


def _word(member: Any, defs: Mapping[str, Any]) -> str:
    node = _mapping(resolved(member, defs))
    if "const" in node or "enum" in node:
        return " or ".join(_shown(value) for value in _values(node))
    if "anyOf" in node or "oneOf" in node:
        return "union"
    match node.get("type", "anything"):
        case "array" if isinstance(node.get("items"), dict):
            inner = _mapping(resolved(node["items"], defs)).get("type", "union")
            return f"list of {inner}"
        case "object":
            return f"object{_fields_word(node, defs)}"
        case kind:
            return str(kind)


def _fields_word(node: Schema, defs: Mapping[str, Any]) -> str:
    """Name the object by its constant field, which tells it from others, or by its fields."""
    fields = _mapping(node.get("properties"))
    for name, field in fields.items():
        constant = _mapping(resolved(field, defs))
        if "const" in constant:
            return f" with {name} {_shown(constant['const'])}"
    return f" ({', '.join(fields)})" if fields else ""


def _values(node: Schema) -> list[Any]:
    return [node["const"]] if "const" in node else _listed(node.get("enum"))


def _shown(value: Any) -> str:
    return truncate(canonical(value), _SHOWN)


def _at(path: str) -> str:
    return f"{path}: " if path else ""


# Comparing


def _node(before: Any, after: Any, path: str, sides: _Sides) -> Iterator[str]:
    old, new = _view(before, sides.before), _view(after, sides.after)
    pair = old.refs, new.refs
    if pair in sides.entered:
        return
    if old.refs or new.refs:
        sides = _Sides(sides.before, sides.after, sides.entered | {pair})
    if old.null != new.null:
        yield f"~ {_at(path)}{'may be null' if new.null else 'may no longer be null'}"
    if len(old.members) == len(new.members) == 1:
        yield from _single(old.node, new.node, path, sides)
    else:
        yield from _union(old.members, new.members, path, sides)
    for key in sorted((old.node.keys() | new.node.keys()) - _COMPARED):
        yield from _value(key, old.node, new.node, path)


def _single(old: Schema, new: Schema, path: str, sides: _Sides) -> Iterator[str]:
    if canonical(old.get("type")) != canonical(new.get("type")):
        yield f"~ {_at(path)}type {_kind(old, sides.before)} -> {_kind(new, sides.after)}"
        return
    yield from _enumerated(old, new, path)
    for key in (*_LOWER, *_UPPER):
        yield from _bound(key, old, new, path)
    yield from _properties(old, new, path, sides)
    yield from _elements(old, new, path, sides)


def _union(old: tuple[Any, ...], new: tuple[Any, ...], path: str, sides: _Sides) -> Iterator[str]:
    """Compare members of the same kind; what is left over came or went."""
    was = {_word(member, sides.before): member for member in old}
    now = {_word(member, sides.after): member for member in new}
    for word in (word for word in was if word in now):
        yield from _node(was[word], now[word], path, sides)
    gone = [word for word in was if word not in now]
    come = [word for word in now if word not in was]
    if len(gone) == len(come) == 1:
        yield from _node(was[gone[0]], now[come[0]], path, sides)
        return
    yield from (f"~ {_at(path)}{word} removed" for word in gone)
    yield from (f"~ {_at(path)}{word} added" for word in come)
    if not gone and not come and list(was) != list(now):
        yield f"~ {_at(path)}reordered: {', '.join(was)} -> {', '.join(now)}"


def _enumerated(old: Schema, new: Schema, path: str) -> Iterator[str]:
    was, now = ([_shown(value) for value in _values(node)] for node in (old, new))
    if bool(was) != bool(now):
        yield f"~ {_at(path)}values {', '.join(was) or 'any'} -> {', '.join(now) or 'any'}"
        return
    yield from (f"~ {_at(path)}{value} removed" for value in was if value not in now)
    yield from (f"~ {_at(path)}{value} added" for value in now if value not in was)
    if was != now and sorted(was) == sorted(now):
        yield f"~ {_at(path)}reordered: {', '.join(was)} -> {', '.join(now)}"


def _bound(key: str, old: Schema, new: Schema, path: str) -> Iterator[str]:
    was, now = old.get(key), new.get(key)
    if canonical(was) == canonical(now):
        return
    yield f"~ {_at(path)}{_direction(key, was, now)}: {key} {_bare(key, old)} -> {_bare(key, new)}"


def _direction(key: str, was: Any, now: Any) -> str:
    if was is None or now is None:
        return "narrowed" if was is None else "widened"
    if not isinstance(was, (int, float)) or not isinstance(now, (int, float)):
        return "changed"
    return "narrowed" if (now < was) == (key in _UPPER) else "widened"


def _value(key: str, old: Schema, new: Schema, path: str) -> Iterator[str]:
    if key in old and key in new and canonical(old[key]) == canonical(new[key]):
        return
    yield f"~ {_at(path)}{key} {_bare(key, old)} -> {_bare(key, new)}"


def _bare(key: str, node: Schema) -> str:
    return _shown(node[key]) if key in node else "none"


def _properties(old: Schema, new: Schema, path: str, sides: _Sides) -> Iterator[str]:
    was, now = _mapping(old.get("properties")), _mapping(new.get("properties"))
    before, after = _listed(old.get("required")), _listed(new.get("required"))
    inside = f"{path}." if path else ""
    yield from (f"- {inside}{name}" for name in was if name not in now)
    for name, node in now.items():
        if name not in was:
            need = "required" if name in after else "optional"
            yield f"+ {inside}{name}: {_kind(node, sides.after)} ({need})"
            continue
        yield from _node(was[name], node, f"{inside}{name}", sides)
        if (name in before) != (name in after):
            yield f"~ {inside}{name}: is now {'required' if name in after else 'optional'}"
    yield from _order([n for n in was if n in now], [n for n in now if n in was], path)


def _order(was: list[str], now: list[str], path: str) -> Iterator[str]:
    if was != now:
        mark = f"~ {path}: " if path else ""
        yield f"{mark}reordered: {', '.join(was)} -> {', '.join(now)}"


def _elements(old: Schema, new: Schema, path: str, sides: _Sides) -> Iterator[str]:
    for key in ("items", "additionalProperties"):
        if isinstance(old.get(key), dict) and isinstance(new.get(key), dict):
            yield from _node(old[key], new[key], f"{path}[]", sides)
        elif key in old or key in new:
            yield from _value(key, old, new, path)
    was, now = _listed(old.get("prefixItems")), _listed(new.get("prefixItems"))
    for index, (before, after) in enumerate(zip(was, now, strict=False)):
        yield from _node(before, after, f"{path}[{index}]", sides)
    if len(was) != len(now):
        yield f"~ {_at(path)}{len(was)} -> {len(now)} positions"


def _unlike(before: Any, after: Any, path: str = "#") -> Iterator[str]:
    """Yield the JSON paths at which two schemas differ."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted(before.keys() & after.keys()):
            yield from _unlike(before[key], after[key], f"{path}/{key}")
        yield from (f"{path}/{key}" for key in sorted(before.keys() ^ after.keys()))
        if path.endswith("/properties") and set(before) == set(after) and [*before] != [*after]:
            yield f"the order of {path}"
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, (old, new) in enumerate(zip(before, after, strict=True)):
            yield from _unlike(old, new, f"{path}/{index}")
    elif canonical(before) != canonical(after):
        yield path
