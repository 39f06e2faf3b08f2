"""Put a neutral schema into the form that Mistral's structured outputs take.

https://docs.mistral.ai/capabilities/structured-output/custom_structured_output/ names no
keyword that is refused. Its own client closes every object before it sends a schema with
`strict: true` (`rec_strict_json_schema` in
https://github.com/mistralai/client-python/blob/main/src/mistralai/extra/utils/_pydantic_helper.py),
and leaves the rest. So the objects are closed here, and what has open ones goes out as it
is, without `strict`. Neither page could be opened when this was written: check both when Mistral
refuses a schema.
"""

from stratum.clients.lowering.verdicts import Lowered
from stratum.clients.lowering.walk import IMPOSSIBLE, LOOKAROUND, Limits, Walk
from stratum.schemas import Schema, wire_schema


def lower_mistral(schema: Schema, *, name: str) -> Lowered:
    """Return the schema with every object closed, or as it is where one must stay open.

    >>> lower_mistral({"type": "object", "additionalProperties": True}, name="free").strict
    False
    """
    wire = wire_schema(schema)
    walk = Walk(_LIMITS)
    lowered = walk.schema(wire, name)
    if walk.impossible():
        return Lowered(wire, strict=False, notes=walk.impossible())
    return Lowered(lowered, strict=True, notes=tuple(walk.notes))


def _keeps(node: Schema, key: str) -> bool:
    return key != "pattern" or LOOKAROUND.search(str(node[key])) is None


_LIMITS = Limits(
    "Mistral's strict form",
    _keeps,
    required=False,
    anything=True,
    impossible=frozenset(IMPOSSIBLE) - {"prefixItems"},
)
