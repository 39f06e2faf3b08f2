"""Answer questions about a neutral schema, whoever made it."""

from collections.abc import Callable, Iterator, Mapping
from math import inf
from typing import Any, TypeAlias

from stratum.hashing import canonical, digest

Schema: TypeAlias = dict[str, Any]

DEFS = "#/$defs/"
_ONE = frozenset(
    {
        *("additionalProperties", "contains", "contentSchema", "else", "if", "items", "not"),
        *("propertyNames", "then", "unevaluatedItems", "unevaluatedProperties"),
    }
)
_LISTED = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_NAMED = frozenset({"$defs", "dependentSchemas", "patternProperties", "properties"})
_FORMATS = {"date": 10, "date-time": 16, "time": 5, "uuid": 32}  # the shortest text pydantic takes


def fingerprint(schema: Schema) -> str:
    """Return the digest of a neutral schema, in which the order of properties counts.

    >>> ab, ba = ({"properties": {n: {} for n in names}} for names in ("ab", "ba"))
    >>> fingerprint(ab) == fingerprint(ba)
    False
    """
    return digest(_ordered(schema))


def mapped(node: Schema, change: Callable[[Any], Any]) -> Schema:
    """Return the node with its direct subschemas changed and its keywords sorted.

    What only looks like a schema (a default, an example, an enum member) stays as it is.

    >>> mapped({"items": {}, "default": {"items": {}}}, lambda sub: True)
    {'default': {'items': {}}, 'items': True}
    """
    return {key: _changed(key, node[key], change) for key in sorted(node)}


def subschemas(node: Any) -> Iterator[tuple[str, Any]]:
    """Yield the step to each direct subschema and the subschema, definitions left out."""
    if not isinstance(node, dict):
        return
    for key, value in node.items():
        if key in _ONE and isinstance(value, dict):
            yield key, value
        elif key in _LISTED and isinstance(value, list):
            yield from ((f"{key}/{index}", sub) for index, sub in enumerate(value))
        elif key in _NAMED and key != "$defs" and isinstance(value, dict):
            yield from ((f"{key}/{name}", sub) for name, sub in value.items())


def definitions(schema: Schema) -> Mapping[str, Any]:
    """Return the schema's definitions by name."""
    found = schema.get("$defs")
    return found if isinstance(found, dict) else {}


def referred(node: Any) -> str | None:
    """Return the name of the definition that the node refers to, if it does."""
    ref = node.get("$ref") if isinstance(node, dict) else None
    return ref.removeprefix(DEFS) if isinstance(ref, str) and ref.startswith(DEFS) else None


def resolved(node: Any, defs: Mapping[str, Any]) -> Any:
    """Return the node with its reference replaced by what it refers to, siblings kept.

    >>> resolved({"$ref": "#/$defs/1", "title": "T"}, {"1": {"type": "string"}})
    {'type': 'string', 'title': 'T'}
    """
    met: set[str] = set()
    while (name := referred(node)) is not None and name in defs and name not in met:
        met.add(name)
        target = defs[name]
        siblings = {key: value for key, value in node.items() if key != "$ref"}
        node = {**target, **siblings} if isinstance(target, dict) else target
    return node


def reachable(schema: Schema) -> Iterator[Any]:
    """Yield every node once: the root, what stands in it, and definitions in order of use."""
    defs, names = definitions(schema), list[str]()
    queue = [schema]
    while queue:
        node = queue.pop(0)
        yield node
        queue.extend(sub for _, sub in subschemas(node))
        name = referred(node)
        if name is not None and name in defs and name not in names:
            names.append(name)
            queue.append(defs[name])


def is_object(schema: Schema) -> bool:
    """Say whether every answer is a JSON object, so that it needs no wrapping."""
    root = resolved(schema, definitions(schema))
    return isinstance(root, dict) and root.get("type") == "object"


def wire_schema(schema: Schema) -> Schema:
    """Return the schema as it travels: its root is an object, if need be `{"value": ...}`.

    >>> wire_schema({"type": "integer"})["properties"]
    {'value': {'type': 'integer'}}
    """
    defs = {"$defs": schema["$defs"]} if "$defs" in schema else {}
    root = {key: value for key, value in schema.items() if key != "$defs"}
    if is_object(schema):
        return {**defs, **resolved(root, definitions(schema))}
    return {**defs, "properties": {"value": root}, "required": ["value"], "type": "object"}


def may_be_fractional(schema: Schema) -> bool:
    """Say whether an answer may hold a number that is no integer, NaN included."""
    return any(map(_is_loose, reachable(schema)))


def smallest(schema: Schema) -> int:
    """Return a lower bound of the characters of any JSON text that fits the schema.

    >>> smallest({"type": "object", "properties": {"a": {"type": "null"}}, "required": ["a"]})
    10
    """
    defs = definitions(schema)
    sizes = dict.fromkeys(defs, inf)
    for _ in range(len(defs) + 1):  # each round settles at least one definition
        sizes = {name: _size(node, sizes) for name, node in defs.items()}
    size = _size(schema, sizes)
    return int(size) if size < inf else 0


def _ordered(node: Any) -> Any:
    if not isinstance(node, dict):
        return node
    changed = mapped(node, _ordered)
    if isinstance(changed.get("properties"), dict):
        changed["properties"] = [[name, sub] for name, sub in changed["properties"].items()]
    return changed


def _changed(key: str, value: Any, change: Callable[[Any], Any]) -> Any:
    if key in _ONE and isinstance(value, dict):
        return change(value)
    if key in _LISTED and isinstance(value, list):
        return [change(sub) for sub in value]
    if key in _NAMED and isinstance(value, dict):
        return {name: change(sub) for name, sub in value.items()}
    return value


def _is_loose(node: Any) -> bool:
    if not isinstance(node, dict):
        return bool(node)
    if node.get("additionalProperties") is True or node.get("type") == "number":
        return True
    return not node.keys() & {"type", "$ref", "anyOf", "oneOf", "allOf", "enum", "const"}


def _size(node: Any, sizes: Mapping[str, float]) -> float:
    if not isinstance(node, dict):
        return 1
    if (name := referred(node)) is not None:
        return sizes.get(name, 1)
    if "const" in node or "enum" in node:
        members = node.get("enum", [node.get("const")])
        return min((len(canonical(member)) for member in members), default=1)
    for key in ("anyOf", "oneOf"):
        if key in node:
            return min((_size(sub, sizes) for sub in node[key]), default=1)
    return _typed_size(node, sizes)


def _typed_size(node: Schema, sizes: Mapping[str, float]) -> float:
    match node.get("type"):
        case "object":
            properties, required = node.get("properties", {}), node.get("required", [])
            inner = [
                len(canonical(name)) + 1 + _size(properties.get(name), sizes) for name in required
            ]
            return 2 + _listed(inner)
        case "array":
            return _array_size(node, sizes)
        case "string":
            least: int = node.get("minLength", 0)
            return 2 + max(least, _FORMATS.get(node.get("format", ""), 0))
        case "boolean" | "null":
            return 4
    return 1


def _array_size(node: Schema, sizes: Mapping[str, float]) -> float:
    count = node.get("minItems", 0)
    fixed = [_size(sub, sizes) for sub in node.get("prefixItems", [])[:count]]
    rest = count - len(fixed)
    other: float = rest * (_size(node.get("items"), sizes) + 1) if rest else 0
    return 2 + _listed(fixed) + other - (other > 0 and not fixed)


def _listed(inner: list[float]) -> float:
    return sum(inner) + max(len(inner) - 1, 0)
