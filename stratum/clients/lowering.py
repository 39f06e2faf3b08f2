"""Put a neutral schema into the form that OpenAI's strict structured outputs take.

The subset and its limits are those of "Supported schemas" on
https://platform.openai.com/docs/guides/structured-outputs, as profiled in February 2026 by
https://jsonschemaprofiles.unitvectorylabs.com/schemas/openai: every object closed
and all its fields required, a root that is an object and no union; `pattern`, `format`,
number bounds, `multipleOf`, `minItems`, `maxItems`, `anyOf`, `enum`, `const` and recursive
`$ref` are taken; at most 5,000 properties, 10 levels of objects, 1,000 enum members, 120,000
characters of names and members, and 15,000 in an enum of more than 250 members.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from stratum.hashing import canonical
from stratum.schemas import (
    Schema,
    definitions,
    reachable,
    referred,
    subschemas,
    wire_schema,
)

MAX_LEVELS = 10
MAX_PROPERTIES = 5_000
MAX_MEMBERS = 1_000
MAX_CHARACTERS = 120_000
LONG_ENUM, MAX_LONG_ENUM = 250, 15_000  # members, and characters of an enum with more
FORMATS = frozenset(
    {
        *("date", "date-time", "duration", "email", "hostname"),
        *("ipv4", "ipv6", "time", "uuid"),
    }
)

_KEPT = frozenset(
    {
        *("$ref", "description", "exclusiveMaximum", "exclusiveMinimum", "maximum", "maxItems"),
        *("minimum", "minItems", "multipleOf", "pattern", "title", "type"),
    }
)
_BUILT = frozenset({"$defs", "additionalProperties", "allOf", "anyOf", "const", "discriminator"})
_BUILT |= {"enum", "items", "oneOf", "properties", "required"}
_IMPOSSIBLE = {
    "prefixItems": "a list with a type for each position",
    "patternProperties": "an object whose keys follow a pattern",
    "propertyNames": "an object whose keys are constrained",
    "not": "a negated schema",
    "if": "a conditional schema",
    "dependentSchemas": "fields that depend on each other",
    "contains": "a list that must contain something",
}
_LOOKAROUND = re.compile(r"\(\?(?:[=!]|<[=!])|\\[1-9]")
_PROSE = {
    "minLength": "At least {} characters.",
    "maxLength": "At most {} characters.",
    "uniqueItems": "No element twice.",
    "default": "Default: {}.",
    "examples": "Examples: {}.",
    "format": "Format: {}.",
    "pattern": "Must match {}.",
}
_NAMES = {
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": float,
    "null": type(None),
    "array": list,
    "object": dict,
}

Verdict = Literal["tightened", "prose", "impossible"]


@dataclass(frozen=True, slots=True)
class Note:
    """What became of a node: `tightened`, said in `prose`, or `impossible` to say."""

    path: str
    verdict: Verdict
    text: str


@dataclass(frozen=True, slots=True)
class Lowered:
    """A schema to send, whether the provider is to enforce it, and what was done to it."""

    schema: Schema
    strict: bool
    notes: tuple[Note, ...]


def lower_openai(schema: Schema, *, name: str) -> Lowered:
    """Return the schema in OpenAI's strict form, or as it is where that form cannot say it.

    The root is an object in both cases. Nothing is dropped: a bound that the strict form
    does not take moves into the description, and one node that it cannot express makes the
    whole schema go out unchanged, with `strict` False and notes that name those nodes.

    >>> lower_openai({"type": "integer", "maximum": 9}, name="digit").schema["required"]
    ['value']
    >>> lower_openai({"type": "object", "additionalProperties": True}, name="free").strict
    False
    """
    wire = wire_schema(schema)
    defs = definitions(wire)
    lowering = _Lowering(defs)
    root = lowering.node({key: value for key, value in wire.items() if key != "$defs"}, name)
    used = {key: lowering.node(defs[key], f"$defs.{key}") for key in _used(wire, defs)}
    impossible = [note for note in lowering.notes if note.verdict == "impossible"]
    impossible += _beyond_limits(wire, name)
    if impossible:
        return Lowered(wire, strict=False, notes=tuple(impossible))
    lowered = {**root, "$defs": used} if used else root
    return Lowered(lowered, strict=True, notes=tuple(lowering.notes))


def _used(wire: Schema, defs: Mapping[str, Any]) -> list[str]:
    met = {referred(node) for node in reachable(wire)}
    return [name for name in defs if name in met]


@dataclass
class _Lowering:
    """One walk over a schema, gathering notes."""

    defs: Mapping[str, Any]
    notes: list[Note] = field(default_factory=list)

    def node(self, node: Any, path: str) -> Schema:
        if not isinstance(node, dict):
            return self._refuse(path, "anything at all" if node else "nothing at all")
        node = _merged(node)
        for key, what in _IMPOSSIBLE.items():
            if key in node:
                return self._refuse(path, what)
        if len(node.get("allOf", [])) > 0:
            return self._refuse(path, "several schemas at once")
        if "$ref" in node and len(node) > 1:  # a reference stands alone
            siblings = {key: value for key, value in node.items() if key != "$ref"}
            node = {"anyOf": [{"$ref": node["$ref"]}], **siblings}
        return self._spoken(node, self._built(node, path), path)

    def _built(self, node: Schema, path: str) -> Schema:
        """Return what of the node is structure."""
        if "$ref" in node:
            return {"$ref": node["$ref"]}
        members = node.get("anyOf", node.get("oneOf"))
        if members is not None:
            return {"anyOf": [self.node(sub, f"{path}|{n}") for n, sub in enumerate(members)]}
        if "const" in node or "enum" in node:
            values = node.get("enum", [node.get("const")])
            return {"enum": values, "type": node.get("type", _types(values))}
        match node.get("type"):
            case "object":
                return self._object(node, path)
            case "array":
                return {"type": "array", "items": self.node(node.get("items", {}), f"{path}[]")}
            case None:
                return self._refuse(path, "anything at all")
            case kind:
                return {"type": kind}

    def _object(self, node: Schema, path: str) -> Schema:
        if node.get("additionalProperties", False) is not False:
            return self._refuse(path, "an object with keys that are not known in advance")
        fields = node.get("properties", {})
        if "additionalProperties" not in node:
            self._note(path, "tightened", "no fields but the declared ones")
        for name in fields:
            if name not in node.get("required", []):
                self._note(f"{path}.{name}", "tightened", "required, though it has a default")
        return {
            "type": "object",
            "properties": {name: self.node(sub, f"{path}.{name}") for name, sub in fields.items()},
            "required": list(fields),
            "additionalProperties": False,
        }

    def _spoken(self, node: Schema, built: Schema, path: str) -> Schema:
        """Add what is kept as it is, and say the rest in the description."""
        kept = {key: node[key] for key in node if key in _KEPT and key not in built}
        if node.get("format") in FORMATS:
            kept["format"] = node["format"]
        if _LOOKAROUND.search(str(node.get("pattern", ""))):
            del kept["pattern"]
        left = [k for k in node if k not in kept and k not in built and k not in _BUILT]
        sentences = [_sentence(key, node[key]) for key in left]
        for sentence in sentences:
            self._note(path, "prose", sentence)
        if sentences:
            kept["description"] = " ".join([*filter(None, [node.get("description")]), *sentences])
        return {**built, **kept}

    def _refuse(self, path: str, what: str) -> Schema:
        self._note(path, "impossible", f"the strict form cannot say {what}")
        return {}

    def _note(self, path: str, verdict: Verdict, text: str) -> None:
        self.notes.append(Note(path, verdict, text))


def _merged(node: Schema) -> Schema:
    """Return the node with a lone `allOf` member as part of itself."""
    members = node.get("allOf")
    if not isinstance(members, list) or len(members) != 1 or not isinstance(members[0], dict):
        return node
    return _merged({**members[0], **{key: node[key] for key in node if key != "allOf"}})


def _types(values: list[Any]) -> str | list[str]:
    found = [name for name, kind in _NAMES.items() if any(type(value) is kind for value in values)]
    return found[0] if len(found) == 1 else found


def _sentence(key: str, value: Any) -> str:
    shown = value if isinstance(value, str) and key in {"format", "pattern"} else canonical(value)
    return _PROSE.get(key, f"{key}: {{}}.").format(shown)


def _beyond_limits(wire: Schema, name: str) -> Iterator[Note]:
    nodes = [node for node in reachable(wire) if isinstance(node, dict)]
    fields = [key for node in nodes for key in node.get("properties", {})]
    members = [value for node in nodes for value in node.get("enum", [])]
    constants = [node["const"] for node in nodes if "const" in node]
    texts = [*fields, *definitions(wire), *members, *constants]
    long = [node["enum"] for node in nodes if len(node.get("enum", [])) > LONG_ENUM]
    measured = (
        (max(map(_characters, long), default=0), MAX_LONG_ENUM, "characters of a long enum"),
        (_levels(wire), MAX_LEVELS, "levels of objects"),
        (len(fields), MAX_PROPERTIES, "properties"),
        (len(members), MAX_MEMBERS, "enum members"),
        (_characters(texts), MAX_CHARACTERS, "characters of names"),
    )
    for count, limit, what in measured:
        if count > limit:
            yield Note(name, "impossible", f"{count:,} {what}; the strict form takes {limit:,}")


def _characters(texts: list[Any]) -> int:
    return sum(len(str(text)) for text in texts)


def _levels(wire: Schema) -> int:
    """Return how many objects stand in each other at most; a recursive one counts once."""
    defs, known = definitions(wire), dict[str, int]()

    def deep(node: Any) -> int:
        name = referred(node)
        if name is not None and name in defs:
            if name not in known:
                known[name] = 0
                known[name] = deep(defs[name])
            return known[name]
        inner = max((deep(sub) for _, sub in subschemas(node)), default=0)
        return inner + (isinstance(node, dict) and "properties" in node)

    return deep(wire)
