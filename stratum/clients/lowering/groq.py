"""Put a neutral schema into the form that Groq's strict structured outputs take.

https://console.groq.com/docs/structured-outputs: with `strict: true`, which openai/gpt-oss-20b
and openai/gpt-oss-120b take, every object is closed and all its fields are required; the page
names the types string, number, boolean, integer, object, array and enum, `anyOf`, `$defs` and
`$ref`. Other keywords are said in the description. Recursion is named for the root only (`#`),
so a recursive schema goes out as it is, without `strict`, as do those of other models, which
take any schema as a hint ("best-effort"). The page was read in excerpts: the list of keywords
is the cautious reading of it.
"""

from stratum.clients.lowering.verdicts import Lowered, Note
from stratum.clients.lowering.walk import Limits, Walk, inlined
from stratum.schemas import Schema, wire_schema

STRICT_MODELS = ("gpt-oss-20b", "gpt-oss-120b")
WHO = "Groq's strict form"
MAX_NODES = 2_000

_LISTED = frozenset({"string", "integer", "number", "boolean"})


def lower_groq(schema: Schema, *, name: str) -> Lowered:
    """Return the schema in Groq's strict form, or as it is where that form cannot say it.

    >>> lower_groq({"type": "string", "format": "date"}, name="day").schema["properties"]
    {'value': {'type': 'string', 'description': 'Format: date.'}}
    """
    wire = wire_schema(schema)
    walk = Walk(_LIMITS)
    lowered = walk.schema(wire, name)
    impossible = walk.impossible()
    if inlined(wire, most=MAX_NODES) is None:
        note = Note(name, "impossible", f"{WHO} cannot say a schema that contains itself")
        impossible = (*impossible, note)
    if impossible:
        return Lowered(wire, strict=False, notes=impossible)
    return Lowered(lowered, strict=True, notes=tuple(walk.notes))


def _keeps(node: Schema, key: str) -> bool:
    return False


_LIMITS = Limits(WHO, _keeps, listed=_LISTED)
