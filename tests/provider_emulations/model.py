"""The model behind an emulation: it fills the schema it was sent, and reads descriptions.

Whatever lowering moved into a description is read back from there, so that a constraint that
was dropped without a word gives an answer that the contract does not take.
"""

import json
import re
from typing import Any

from jsonschema import Draft202012Validator

from stratum.schemas import mapped
from stratum.testing.rules import rules
from tests.provider_emulations.serving import Json, NotTaken

_SENTENCES = {
    "format": r"Format: (\S+?)\.(?:\s|$)",
    "enum": r"One of: (.+?)\.(?:\s|$)",
    "pattern": r"Must match (\S+)\.(?:\s|$)",
    "minimum": r"At least (-?[\d.]*\d)\.(?:\s|$)",
    "maximum": r"At most (-?[\d.]*\d)\.(?:\s|$)",
    "exclusiveMinimum": r"More than (-?[\d.]*\d)\.",
    "exclusiveMaximum": r"Less than (-?[\d.]*\d)\.",
    "multipleOf": r"A multiple of ([\d.]*\d)\.",
    "minItems": r"At least (\d+) items\.",
    "maxItems": r"At most (\d+) items\.",
    "minLength": r"At least (\d+) characters\.",
    "maxLength": r"At most (\d+) characters\.",
    "minProperties": r"At least (\d+) entries\.",
}
_TEXTS = ("format", "pattern")


def answered(schema: Json, text: str) -> Any:
    """Return an instance of the schema as it was sent, checked against it."""
    body = {
        "messages": [{"role": "user", "content": text}],
        "response_format": {"type": "json_schema", "json_schema": {"schema": understood(schema)}},
    }
    answer = json.loads(rules(body).text)
    Draft202012Validator(schema).validate(answer)
    return answer


def prompted(text: str, system: str) -> str:
    """Return the answer to a prompt that holds the schema."""
    roles = (("system", system), ("user", text))
    return rules({"messages": [{"role": r, "content": c} for r, c in roles]}).text


def understood(node: Any) -> Any:
    """Return the schema with what its descriptions say as keywords."""
    if not isinstance(node, dict):
        return node
    said = str(node.get("description", ""))
    found = {key: match[1] for key, text in _SENTENCES.items() if (match := re.search(text, said))}
    heard = {key: _value(key, text) for key, text in found.items()}
    return {**mapped(node, understood), **heard}


def _value(key: str, text: str) -> Any:
    if key in _TEXTS:
        return text
    return json.loads(f"[{text}]") if key == "enum" else json.loads(text)


def check_json_schema(schema: Any, *, what: str) -> None:
    """Refuse what is no JSON Schema of an object, or refers to what is not there."""
    if not isinstance(schema, dict) or schema.get("type") != "object":
        raise NotTaken(f"Invalid schema for {what}: schema must be of 'type: \"object\"'.")
    for node in nodes(schema):
        ref = node.get("$ref")
        if ref is not None and pointed(schema, ref) is None:
            raise NotTaken(f"Invalid schema for {what}: reference {ref!r} cannot be resolved.")
    try:
        Draft202012Validator.check_schema(schema)
    except Exception as error:
        raise NotTaken(f"Invalid schema for {what}: {error}") from error


def nodes(node: Any) -> list[Json]:
    """Return every node, definitions included."""
    if not isinstance(node, dict):
        return []
    found = [node]
    mapped(node, lambda sub: found.extend(nodes(sub)))
    return found


def pointed(schema: Json, ref: str) -> Json | None:
    """Return the definition that `#/$defs/name` names."""
    prefix, _, name = ref.rpartition("/")
    found = schema.get("$defs", {}).get(name) if prefix == "#/$defs" else None
    return found if isinstance(found, dict) else None


def cycles(schema: Json, steps: Any) -> bool:
    """Say whether following references comes back; `steps(node)` gives the subschemas to walk."""

    def walk(node: Any, above: tuple[str, ...]) -> bool:
        ref = node.get("$ref") if isinstance(node, dict) else None
        if ref is not None:
            return ref in above or walk(pointed(schema, ref), (*above, ref))
        return any(walk(sub, above) for sub in steps(node))

    return walk({key: sub for key, sub in schema.items() if key != "$defs"}, ()) or any(
        walk({"$ref": f"#/$defs/{name}"}, ()) for name in schema.get("$defs", {})
    )


def subs(node: Any) -> list[Any]:
    """Return the direct subschemas."""
    found: list[Any] = []
    if isinstance(node, dict):
        mapped({key: sub for key, sub in node.items() if key != "$defs"}, found.append)
    return found
