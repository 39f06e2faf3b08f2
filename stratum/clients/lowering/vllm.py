"""Put a neutral schema into the form that vLLM's guided decoding takes.

https://docs.vllm.ai/en/latest/features/structured_outputs/ and the checks of its default
backend in https://github.com/vllm-project/vllm/blob/main/vllm/v1/structured_output/backend_xgrammar.py
(`has_xgrammar_unsupported_json_features`): almost all of JSON Schema is taken, but for
`multipleOf`, `uniqueItems`, `contains`, unknown formats, lengths beside a pattern or format,
`propertyNames` beside declared keys, and `patternProperties` beside declared fields or more
than one. These are said in the description (which vLLM does not show to the model). With
`--structured-outputs-config.backend xgrammar` the server answers 400 to them; with `auto` it
falls back to slower backends.

litellm takes `strict` and `additionalProperties: false` out of a tool's parameters, so that a
closed object of a forced tool is open again: the value is validated all the same.
"""

from collections.abc import Iterator

from stratum.clients.lowering.verdicts import Lowered, Note
from stratum.clients.lowering.walk import IMPOSSIBLE, LOOKAROUND, Limits, Walk
from stratum.schemas import Schema, reachable, wire_schema

FORMATS = frozenset(
    {
        *("date", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "json-pointer"),
        *("relative-json-pointer", "time", "uri", "uri-reference", "uri-template", "uuid"),
    }
)

WHO = "guided decoding"

_SAID = frozenset({"multipleOf", "propertyNames", "uniqueItems"})
_LENGTHS = frozenset({"maxLength", "minLength"})


def lower_vllm(schema: Schema, *, name: str) -> Lowered:
    """Return the schema as vLLM's `response_format` takes it; `fits` is False where it cannot.

    >>> lower_vllm({"type": "integer", "multipleOf": 5}, name="n").schema["properties"]["value"]
    {'type': 'integer', 'description': 'A multiple of 5.'}
    """
    wire = wire_schema(schema)
    walk = Walk(_LIMITS)
    lowered = walk.schema(wire, name)
    impossible = (*walk.impossible(), *_beyond_limits(wire, name))
    if impossible:
        return Lowered(wire, strict=False, notes=impossible, fits=False)
    return Lowered(lowered, strict=True, notes=tuple(walk.notes))


def _keeps(node: Schema, key: str) -> bool:
    if key in _SAID:
        return False
    if key == "format":
        return node[key] in FORMATS
    if key == "pattern":
        return _compiles(node)
    if key in _LENGTHS:
        return not _compiles(node) and node.get("format") not in FORMATS
    return True


def _compiles(node: Schema) -> bool:
    return "pattern" in node and LOOKAROUND.search(str(node["pattern"])) is None


def _beyond_limits(wire: Schema, name: str) -> Iterator[Note]:
    for node in reachable(wire):
        patterns = node.get("patternProperties", ()) if isinstance(node, dict) else ()
        if len(patterns) > 1 or (patterns and node.get("properties")):
            yield Note(name, "impossible", f"{WHO} cannot say {IMPOSSIBLE['patternProperties']}")


_LIMITS = Limits(
    WHO,
    _keeps,
    closed=False,
    required=False,
    maps=True,
    anything=True,
    impossible=frozenset(IMPOSSIBLE) - {"patternProperties", "prefixItems", "propertyNames"},
)
