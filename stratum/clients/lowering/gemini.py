"""Put a neutral schema into the form that Gemini's `responseJsonSchema` takes.

The keywords are those that `GenerationConfig.responseJsonSchema` names on
https://ai.google.dev/api/generate-content (read in the generated documentation
https://pub.dev/documentation/googleapis/15.0.0/aiplatform_v1/GoogleCloudAiplatformV1GenerationConfig/responseJsonSchema.html):
`$ref` (alone), `$defs`, `type`, `format`, `title`, `description`, `enum` (strings and
numbers), `items`, `prefixItems`, `minItems`, `maxItems`, `minimum`, `maximum`, `anyOf`,
`properties`, `additionalProperties`, `required`. Others are not looked at: they are said in
the description. References that lead back to themselves may only stand in fields that are
not required; the formats are those of
https://ai.google.dev/gemini-api/docs/structured-output.

litellm takes every key `strict` out of the request, wherever it stands: a field of that name
does not go out on this wire.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from stratum.clients.lowering.verdicts import Lowered
from stratum.clients.lowering.walk import IMPOSSIBLE, Limits, Walk, fields_taken_out
from stratum.schemas import Schema, definitions, referred, subschemas, wire_schema

FORMATS = frozenset({"date", "date-time", "time"})
WHO = "Gemini's form"

_KEPT = frozenset({"maximum", "maxItems", "minimum", "minItems"})
_TAKEN = frozenset({"prefixItems", "propertyNames"})


def lower_gemini(schema: Schema, *, name: str) -> Lowered:
    """Return the schema as `responseJsonSchema` takes it; `fits` is False where it takes none.

    >>> counts = {"type": "object", "additionalProperties": {"type": "integer"}}
    >>> lower_gemini(counts, name="counts").schema == counts
    True
    """
    wire = wire_schema(schema)
    walk = Walk(_LIMITS, freed=_endless_fields(wire))
    lowered = walk.schema(wire, name)
    impossible = (*walk.impossible(), *fields_taken_out(wire, name))
    if impossible:
        return Lowered(wire, strict=False, notes=impossible, fits=False)
    return Lowered(lowered, strict=True, notes=tuple(walk.notes))


def inclusive(node: Schema) -> Schema:
    """Return the node with an integer's exclusive bounds as bounds that it may reach.

    >>> inclusive({"type": "integer", "exclusiveMinimum": 0})
    {'type': 'integer', 'minimum': 1}
    """
    if node.get("type") != "integer":
        return node
    made = dict(node)
    for exclusive, bound, step in _BOUNDS:
        edge = node.get(exclusive)
        if isinstance(edge, int) and bound not in node:
            made[bound] = made.pop(exclusive) + step
    return made


_BOUNDS = (("exclusiveMinimum", "minimum", 1), ("exclusiveMaximum", "maximum", -1))


def _keeps(node: Schema, key: str) -> bool:
    return node[key] in FORMATS if key == "format" else key in _KEPT


def _prepared(node: Schema) -> Schema:
    """Return the node with keys that follow one pattern as keys that are constrained."""
    patterned = node.get("patternProperties")
    if not patterned or len(patterned) > 1 or node.get("properties"):
        return inclusive(node)
    ((pattern, sub),) = patterned.items()
    rest = {key: value for key, value in node.items() if key != "patternProperties"}
    return {**rest, "additionalProperties": sub, "propertyNames": {"pattern": pattern}}


_LIMITS = Limits(
    WHO,
    _keeps,
    closed=False,
    required=False,
    maps=True,
    listed=frozenset({"string", "integer", "number"}),
    impossible=frozenset(IMPOSSIBLE) - _TAKEN,
    prepared=_prepared,
)


def _endless_fields(wire: Schema) -> frozenset[int]:
    """Return the ids of the required fields that need the definition they stand in."""
    defs = definitions(wire)
    needs = {name: frozenset(_needed(node)) for name, node in defs.items()}
    return frozenset(
        id(field)
        for name, node in defs.items()
        for owner in _inside(node)
        for key, field in owner.get("properties", {}).items()
        if key in owner.get("required", []) and name in _all_needed(field, needs)
    )


def _inside(node: Any) -> Iterator[Schema]:
    if isinstance(node, dict):
        yield node
        for _, sub in subschemas(node):
            yield from _inside(sub)


def _needed(node: Any) -> Iterator[str]:
    """Yield the definitions that a node refers to other than in a field it may leave out."""
    name = referred(node)
    if name is not None:
        yield name
    for step, sub in subschemas(node):
        if not step.startswith("properties/") or step[11:] in node.get("required", []):
            yield from _needed(sub)


def _all_needed(node: Any, needs: Mapping[str, frozenset[str]]) -> set[str]:
    found, pending = set[str](), list(_needed(node))
    while pending:
        name = pending.pop()
        if name not in found:
            found.add(name)
            pending += needs.get(name, ())
    return found
