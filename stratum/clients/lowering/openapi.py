"""Put a neutral schema into the subset of OpenAPI that Gemini's tools take.

`Schema` on https://ai.google.dev/api/caching#Schema, as the errors for unknown names show it
("Invalid JSON payload received. Unknown name ...", https://github.com/pizza-bot-app/pizza-bot/issues/62);
litellm (`build_vertex_schema`, 1.106) rewrites a tool's parameters to it, and on the way
empties what it cannot say: `dict[str, int]`, `const`, tuples and recursion become
`{"type": "object"}`, an `enum` that is not of strings vanishes, as do formats other than
`date-time`, and "" in an enum becomes null; an object without fields is refused. So these are
said in the description, or the schema does not go out on this wire.
"""

from collections.abc import Iterator

from stratum.clients.lowering.gemini import inclusive
from stratum.clients.lowering.verdicts import Lowered, Note
from stratum.clients.lowering.walk import Limits, Walk, fields_taken_out, inlined
from stratum.schemas import Schema, reachable, wire_schema

MAX_NODES = 2_000
WHO = "a Gemini tool"

_KEPT = frozenset(
    {
        *("maximum", "maxItems", "maxLength", "maxProperties"),
        *("minimum", "minItems", "minLength", "minProperties", "pattern"),
    }
)


def lower_openapi(schema: Schema, *, name: str) -> Lowered:
    """Return the schema as a Gemini tool's parameters; `fits` is False where it cannot be one.

    >>> lower_openapi({"enum": [1, 2], "type": "integer"}, name="n").schema["properties"]
    {'value': {'type': 'integer', 'description': 'One of: 1, 2.'}}
    """
    wire = wire_schema(schema)
    whole = inlined(wire, most=MAX_NODES)
    if whole is None:
        note = Note(name, "impossible", f"{WHO} cannot say a schema that contains itself")
        return Lowered(wire, strict=False, notes=(note,), fits=False)
    walk = Walk(_LIMITS)
    lowered = walk.schema(whole, name)
    impossible = (*walk.impossible(), *_empty(lowered, name), *fields_taken_out(wire, name))
    if impossible:
        return Lowered(wire, strict=False, notes=impossible, fits=False)
    return Lowered(lowered, strict=False, notes=tuple(walk.notes))


def _empty(lowered: Schema, name: str) -> Iterator[Note]:
    if any(
        node.get("type") == "object" and not node.get("properties") for node in reachable(lowered)
    ):
        yield Note(name, "impossible", f"{WHO} cannot say an object without fields")


def _keeps(node: Schema, key: str) -> bool:
    return node[key] == "date-time" if key == "format" else key in _KEPT


_LIMITS = Limits(
    WHO,
    _keeps,
    closed=False,
    required=False,
    listed=frozenset({"string"}),
    blank=False,
    prepared=inclusive,
)
