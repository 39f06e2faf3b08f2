"""Put a neutral schema into the form that OpenAI's strict structured outputs take.

The subset and its limits are those of "Supported schemas" on
https://platform.openai.com/docs/guides/structured-outputs, as profiled in February 2026 by
https://jsonschemaprofiles.unitvectorylabs.com/schemas/openai: every object closed
and all its fields required, a root that is an object and no union; `pattern`, `format`,
number bounds, `multipleOf`, `minItems`, `maxItems`, `anyOf`, `enum`, `const` and recursive
`$ref` are taken; at most 5,000 properties, 10 levels of objects, 1,000 enum members, 120,000
characters of names and members, and 15,000 in an enum of more than 250 members.
"""

from collections.abc import Iterator
from typing import Any

from stratum.clients.lowering.verdicts import Lowered, Note
from stratum.clients.lowering.walk import LOOKAROUND, Limits, Walk
from stratum.schemas import Schema, definitions, reachable, referred, subschemas, wire_schema

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
        *("exclusiveMaximum", "exclusiveMinimum", "maximum", "maxItems", "minimum", "minItems"),
        "multipleOf",
    }
)


def keeps(node: Schema, key: str) -> bool:
    if key == "format":
        return node[key] in FORMATS
    if key == "pattern":
        return LOOKAROUND.search(str(node[key])) is None
    return key in _KEPT


_LIMITS = Limits("the strict form", keeps)


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
    walk = Walk(_LIMITS)
    lowered = walk.schema(wire, name)
    impossible = (*walk.impossible(), *_beyond_limits(wire, name))
    if impossible:
        return Lowered(wire, strict=False, notes=impossible)
    return Lowered(lowered, strict=True, notes=tuple(walk.notes))


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
