"""Walk over a neutral schema and put every node into the form that some limits allow."""

import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from stratum.clients.lowering.verdicts import Note, Verdict
from stratum.hashing import canonical
from stratum.schemas import Schema, definitions, mapped, reachable, referred, resolved

TAKEN_OUT = "strict"  # by litellm, wherever it stands in a request
REQUIRED = "Required."
LOOKAROUND = re.compile(r"\(\?(?:[=!]|<[=!])|\\[1-9]")
IMPOSSIBLE = {
    "prefixItems": "a list with a type for each position",
    "patternProperties": "an object whose keys follow a pattern",
    "propertyNames": "an object whose keys are constrained",
    "not": "a negated schema",
    "if": "a conditional schema",
    "dependentSchemas": "fields that depend on each other",
    "contains": "a list that must contain something",
}
_BUILT = frozenset(
    {
        *("$defs", "additionalProperties", "allOf", "anyOf", "const", "discriminator", "enum"),
        *("items", "oneOf", "patternProperties", "prefixItems", "properties", "required"),
    }
)
_PROSE = {  # in the order in which they are said
    "format": "Format: {}.",
    "pattern": "Must match {}.",
    "minLength": "At least {} characters.",
    "maxLength": "At most {} characters.",
    "minimum": "At least {}.",
    "exclusiveMinimum": "More than {}.",
    "maximum": "At most {}.",
    "exclusiveMaximum": "Less than {}.",
    "multipleOf": "A multiple of {}.",
    "minItems": "At least {} items.",
    "maxItems": "At most {} items.",
    "uniqueItems": "No element twice.",
    "minProperties": "At least {} entries.",
    "maxProperties": "At most {} entries.",
    "propertyNames": "Every key fits {}.",
    "enum": "One of: {}.",
    "default": "Default: {}.",
    "examples": "Examples: {}.",
}
_ORDER = tuple(_PROSE)
_NAMES = {
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": float,
    "null": type(None),
    "array": list,
    "object": dict,
}


def _same(node: Schema) -> Schema:
    return node


class Limits(NamedTuple):
    """What a provider takes.

    `who` begins the sentence of what it cannot say; `keeps` says whether a keyword that is
    no structure goes out as it is (else it is said in the description); `prepared` gives a
    node another spelling that means the same.
    """

    who: str
    keeps: Callable[[Schema, str], bool]
    closed: bool = True  # every object is closed
    required: bool = True  # every field is required
    maps: bool = False  # objects with keys that are not known in advance
    anything: bool = False  # the empty schema
    listed: frozenset[str] | None = None  # types that an enum may list, each alone; None: all
    blank: bool = True  # an enum may list the empty text
    impossible: frozenset[str] = frozenset(IMPOSSIBLE)
    prepared: Callable[[Schema], Schema] = _same


class Walk:
    """One walk over a schema, gathering notes."""

    def __init__(self, limits: Limits, *, freed: frozenset[int] = frozenset()) -> None:
        self.limits = limits
        self.notes: list[Note] = []
        self._freed = freed  # ids of the fields' schemas that must not be required

    def schema(self, wire: Schema, name: str) -> Schema:
        """Return the whole schema, its definitions included."""
        defs = definitions(wire)
        met = {referred(node) for node in reachable(wire)}
        root = self.node({key: value for key, value in wire.items() if key != "$defs"}, name)
        used = {key: self.node(defs[key], f"$defs.{key}") for key in defs if key in met}
        return {**root, "$defs": used} if used else root

    def impossible(self) -> tuple[Note, ...]:
        return tuple(note for note in self.notes if note.verdict == "impossible")

    def node(self, node: Any, path: str) -> Schema:
        if not isinstance(node, dict):
            return self._whatever(path) if node else self._refuse(path, "nothing at all")
        node = self.limits.prepared(_merged(node))
        for key, what in IMPOSSIBLE.items():
            if key in node and key in self.limits.impossible:
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
            return self._enum(node, node.get("enum", [node.get("const")]), path)
        match node.get("type"):
            case "object":
                return self._object(node, path)
            case "array":
                return self._array(node, path)
            case None:
                return self._whatever(path)
            case kind:
                return {"type": kind}

    def _enum(self, node: Schema, values: list[Any], path: str) -> Schema:
        types = _types(values)
        if self.limits.listed is None:
            return {
                "enum": values,
                "type": node.get("type", types[0] if len(types) == 1 else types),
            }
        built = [self._listed(kind, values, path) for kind in types]
        return built[0] if len(built) == 1 else {"anyOf": built}

    def _listed(self, kind: str, values: list[Any], path: str) -> Schema:
        """Return the members of one type, in words where the type may not be listed."""
        own = [value for value in values if type(value) is _NAMES[kind]]
        if kind == "null":
            return {"type": "null"}
        lists = self.limits.listed is not None and kind in self.limits.listed
        if lists and (self.limits.blank or "" not in own):
            return {"type": kind, "enum": own}
        sentence = _PROSE["enum"].format(", ".join(map(canonical, own)))
        self._note(path, "prose", sentence)
        return {"type": kind, "description": sentence}

    def _array(self, node: Schema, path: str) -> Schema:
        heads = [
            self.node(sub, f"{path}[{n}]") for n, sub in enumerate(node.get("prefixItems", []))
        ]
        if heads and "items" not in node:
            return {"type": "array", "prefixItems": heads}
        rest = node.get("items", {})
        if heads and not isinstance(rest, dict):
            return {"type": "array", "prefixItems": heads, "items": rest}
        built = {"type": "array", "items": self.node(rest, f"{path}[]")}
        return {**built, "prefixItems": heads} if heads else built

    def _object(self, node: Schema, path: str) -> Schema:
        others = self._others(node, path)
        fields = node.get("properties", {})
        if self.limits.closed and "additionalProperties" not in node:
            self._note(path, "tightened", "no fields but the declared ones")
        required = [name for name in fields if self._must(name, node, path)]
        built: Schema = {"type": "object"}
        if fields or self.limits.closed:
            built["properties"] = {
                name: self._field(sub, f"{path}.{name}") for name, sub in fields.items()
            }
            built["required"] = required
        return {**built, **others}

    def _must(self, name: str, node: Schema, path: str) -> bool:
        """Say whether a field goes out as required, noting what that tightens."""
        if name in node.get("required", []):
            return id(node["properties"][name]) not in self._freed
        if self.limits.required:
            self._note(f"{path}.{name}", "tightened", "required, though it has a default")
        return self.limits.required

    def _field(self, field: Any, path: str) -> Schema:
        built = self.node(field, path)
        if id(field) not in self._freed:
            return built
        self._note(path, "prose", REQUIRED)
        return _described(built, [REQUIRED])

    def _others(self, node: Schema, path: str) -> Schema:
        """Return what the fields that are not declared may be."""
        others = node.get("additionalProperties")
        patterned = {
            pattern: self.node(sub, f"{path}[{pattern}]")
            for pattern, sub in node.get("patternProperties", {}).items()
        }
        built: Schema = {"patternProperties": patterned} if patterned else {}
        if others is False or (others is None and self.limits.closed):
            return {"additionalProperties": False, **built}
        if others is None:
            return built
        if not self.limits.maps:
            return self._refuse(path, "an object with keys that are not known in advance")
        taken = others if others is True else self.node(others, f"{path}[*]")
        return {"additionalProperties": taken, **built}

    def _spoken(self, node: Schema, built: Schema, path: str) -> Schema:
        """Add what is kept as it is, and say the rest in the description."""
        kept = {key: node[key] for key in node if key not in built and self._kept(node, key)}
        left = [key for key in node if key not in {*kept, *built, *_BUILT, "type"}]
        sentences = [_sentence(key, node[key]) for key in sorted(left, key=_place)]
        for sentence in sentences:
            self._note(path, "prose", sentence)
        said = [built["description"]] if "description" in built else []
        return _described({**built, **kept}, [*said, *sentences])

    def _kept(self, node: Schema, key: str) -> bool:
        if key == "type":
            return not node.keys() & {"enum", "const"}
        return key in {"title", "description"} or (
            key not in _BUILT and self.limits.keeps(node, key)
        )

    def _whatever(self, path: str) -> Schema:
        return {} if self.limits.anything else self._refuse(path, "anything at all")

    def _refuse(self, path: str, what: str) -> Schema:
        self._note(path, "impossible", f"{self.limits.who} cannot say {what}")
        return {}

    def _note(self, path: str, verdict: Verdict, text: str) -> None:
        self.notes.append(Note(path, verdict, text))


def _described(node: Schema, sentences: list[str]) -> Schema:
    """Return the node with sentences at the end of its description."""
    if not sentences:
        return node
    if "$ref" in node:
        node = {"anyOf": [node]}
    before = [node["description"]] if "description" in node else []
    said = [*before, *(sentence for sentence in sentences if sentence not in before)]
    return {**node, "description": " ".join(said)}


def _merged(node: Schema) -> Schema:
    """Return the node with a lone `allOf` member as part of itself."""
    members = node.get("allOf")
    if not isinstance(members, list) or len(members) != 1 or not isinstance(members[0], dict):
        return node
    return _merged({**members[0], **{key: node[key] for key in node if key != "allOf"}})


def _types(values: list[Any]) -> list[str]:
    return [name for name, kind in _NAMES.items() if any(type(value) is kind for value in values)]


def _place(key: str) -> int:
    return _ORDER.index(key) if key in _PROSE else len(_ORDER)


def _sentence(key: str, value: Any) -> str:
    shown = value if isinstance(value, str) and key in {"format", "pattern"} else canonical(value)
    return _PROSE.get(key, f"{key}: {{}}.").format(shown)


def fields_taken_out(wire: Schema, name: str) -> Iterator[Note]:
    """Yield a note if litellm would take a field out of the schema."""
    nodes = (node for node in reachable(wire) if isinstance(node, dict))
    if any(TAKEN_OUT in node.get("properties", {}) for node in nodes):
        yield Note(name, "impossible", f"litellm takes a field named {TAKEN_OUT!r} out")


def inlined(wire: Schema, *, most: int) -> Schema | None:
    """Return the schema without references; None if it contains itself or gets too large.

    >>> inlined({"$defs": {"1": {"type": "null"}}, "items": {"$ref": "#/$defs/1"}}, most=9)
    {'items': {'type': 'null'}}
    """
    defs, count = definitions(wire), 0

    def unfolded(node: Any, above: tuple[str, ...]) -> Any:
        nonlocal count
        count += 1
        name = referred(node)
        if name in above or count > most:
            raise _Endless
        if name is not None and name in defs:
            return unfolded(resolved(node, {name: defs[name]}), (*above, name))
        return mapped(node, lambda sub: unfolded(sub, above)) if isinstance(node, dict) else node

    try:
        whole: Schema = unfolded({key: wire[key] for key in wire if key != "$defs"}, ())
    except _Endless:
        return None
    return whole


class _Endless(Exception):
    """A schema that contains itself, or might as well."""
