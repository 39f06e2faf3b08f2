"""Put a neutral schema into the form that Claude's structured outputs take.

"JSON Schema limitations" and "Schema complexity limits" on
https://platform.claude.com/docs/en/build-with-claude/structured-outputs (read in copies of
the page, for instance https://learn-ai.blindshot.kz/docs/anthropic/platform/build-with-claude/structured-outputs/,
and the errors in https://github.com/elie222/inbox-zero/issues/2323): every object closed; no
recursion, no number bounds, no string lengths, `minItems` of 0 or 1 only; `enum` of strings,
numbers, booleans and null; patterns without lookaround, backreferences and `\\b`; at most 24
optional and 16 union-typed parameters.

litellm (`filter_anthropic_output_schema`, 1.106) closes each object on the way, and so
empties `dict[str, int]`; it writes `#/$defs/1` as `/$defs/1`, which nobody can follow. So a
schema goes out without references, and what it cannot say does not go out on this wire.
Required fields come first in an answer, so that a default would change the order of fields:
all are required.
"""

import re
from collections.abc import Iterator
from typing import Any

from stratum.clients.lowering.verdicts import Lowered, Note
from stratum.clients.lowering.walk import LOOKAROUND, Limits, Walk, inlined
from stratum.schemas import Schema, reachable, wire_schema

MAX_UNIONS = 16
MAX_NODES = 2_000  # of a schema without references; ours, far below what a grammar may hold
FORMATS = frozenset(
    {
        *("date", "date-time", "duration", "email", "hostname"),
        *("ipv4", "ipv6", "time", "uri", "uuid"),
    }
)
WHO = "Claude's form"

_WORD_EDGE = re.compile(r"\\[bB]")


def lower_anthropic(schema: Schema, *, name: str) -> Lowered:
    """Return the schema as `output_format` takes it; `fits` is False where it takes none.

    >>> lower_anthropic({"type": "integer", "maximum": 9}, name="digit").notes[1]
    Note(path='digit.value', verdict='prose', text='At most 9.')
    >>> lower_anthropic({"type": "object", "additionalProperties": True}, name="free").fits
    False
    """
    wire = wire_schema(schema)
    whole = inlined(wire, most=MAX_NODES)
    if whole is None:
        note = Note(name, "impossible", f"{WHO} cannot say a schema that contains itself")
        return Lowered(wire, strict=False, notes=(note,), fits=False)
    walk = Walk(_LIMITS)
    lowered = walk.schema(whole, name)
    impossible = (*walk.impossible(), *_beyond_limits(lowered, name))
    if impossible:
        return Lowered(wire, strict=False, notes=impossible, fits=False)
    return Lowered(lowered, strict=True, notes=tuple(walk.notes))


def _keeps(node: Schema, key: str) -> bool:
    if key == "format":
        return node[key] in FORMATS
    if key == "pattern":
        pattern = str(node[key])
        return LOOKAROUND.search(pattern) is None and _WORD_EDGE.search(pattern) is None
    return False


_LIMITS = Limits(WHO, _keeps, listed=frozenset({"string", "integer", "number", "boolean"}))


def _beyond_limits(lowered: Schema, name: str) -> Iterator[Note]:
    unions = sum(map(_is_union, reachable(lowered)))
    if unions > MAX_UNIONS:
        yield Note(name, "impossible", f"{unions:,} unions; {WHO} takes {MAX_UNIONS:,}")


def _is_union(node: Any) -> bool:
    return isinstance(node, dict) and ("anyOf" in node or isinstance(node.get("type"), list))
