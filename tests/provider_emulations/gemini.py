"""Gemini's `generateContent`: `responseJsonSchema` and forced functions.

Limits: the docstrings of `stratum.clients.lowering.{gemini,openapi}` name the pages. The real
endpoint overlooks keywords of a `responseJsonSchema` that it does not know; this one refuses
them, so that none can be lost unseen.
"""

import json
from typing import Any

from tests.provider_emulations.model import answered, check_json_schema, cycles, nodes, prompted
from tests.provider_emulations.serving import Heard, Json, NotTaken, Protocol

_JSON_SCHEMA = {
    *("$defs", "$ref", "additionalProperties", "anyOf", "description", "enum", "format", "items"),
    *("maximum", "maxItems", "minimum", "minItems", "oneOf", "prefixItems", "properties"),
    *("required", "title", "type"),
}
_PROTO = {
    *("anyOf", "default", "description", "enum", "example", "format", "items", "maximum"),
    *("maxItems", "maxLength", "maxProperties", "minimum", "minItems", "minLength"),
    *("minProperties", "nullable", "pattern", "properties", "propertyOrdering", "required"),
    *("title", "type"),
}


def _answer(heard: Heard) -> Json:
    body = heard.body
    if not heard.path.split("?")[0].endswith(":generateContent"):
        raise NotTaken("unknown method")
    if "x-goog-api-key" not in heard.headers and "key=" not in heard.path:
        raise NotTaken("Method doesn't allow unregistered callers.")
    config = body.get("generationConfig", {})
    schema = config.get("response_json_schema", config.get("responseJsonSchema"))
    if schema is not None:
        if config.get("response_mime_type") != "application/json":
            raise NotTaken("response_json_schema needs response_mime_type application/json")
        _check(schema)
        return _said({"text": json.dumps(answered(schema, _user(body)))})
    if body.get("tools"):
        return _called(body)
    return _said({"text": prompted(_user(body), _joined(body.get("system_instruction", {})))})


def _called(body: Json) -> Json:
    declared = body["tools"][0]["function_declarations"][0]
    forced = body["toolConfig"]["functionCallingConfig"]["mode"] == "ANY"
    _check_proto(declared["parameters"], "tools[0].function_declarations[0].parameters")
    if not forced:
        return _said({"text": "Let me think about it."})
    made = answered(_plain(declared["parameters"]), _user(body))
    return _said({"functionCall": {"name": declared["name"], "args": made}})


def _check(schema: Json) -> None:
    check_json_schema(schema, what="generation_config.response_json_schema")
    for node in nodes(schema):
        unknown = sorted(node.keys() - _JSON_SCHEMA)
        if unknown:
            raise NotTaken(f"response_json_schema: {unknown} is not supported")
        if "$ref" in node and len(node) > 1:
            raise NotTaken("response_json_schema: no other properties may be set beside $ref")
        if any(type(member) not in (str, int, float) for member in node.get("enum", ())):
            raise NotTaken("response_json_schema: enum is for strings and numbers")
        if not node:
            raise NotTaken("response_json_schema: a schema must have a type")
    if cycles(schema, _required):
        raise NotTaken("response_json_schema: cyclic reference in a required property")


def _required(node: Any) -> list[Any]:
    """Return the subschemas that an instance needs, as the page on cyclic references has it."""
    needed = [node["properties"][name] for name in node.get("required", ())]
    listed = [*node.get("anyOf", ()), *node.get("prefixItems", ())]
    others = [node[key] for key in ("items", "additionalProperties") if key in node]
    return [sub for sub in (*needed, *listed, *others) if isinstance(sub, dict)]


def _check_proto(node: Json, where: str) -> None:
    for unknown in sorted(node.keys() - _PROTO):
        raise NotTaken(
            f"Invalid JSON payload received. Unknown name \"{unknown}\" at '{where}': Cannot find "
            "field."
        )
    kind = str(node.get("type", "")).lower()
    if kind == "object" and not node.get("properties"):
        raise NotTaken(f"{where}.properties: should be non-empty for OBJECT type")
    if kind == "array" and "items" not in node:
        raise NotTaken(f"{where}.items: missing field.")
    if "enum" in node and (kind != "string" or not all(node["enum"])):
        raise NotTaken(f"{where}.enum: only allowed for STRING type, without empty texts")
    if not kind and "anyOf" not in node:
        raise NotTaken(f"{where}: type must be specified")
    for name, sub in node.get("properties", {}).items():
        _check_proto(sub, f"{where}.properties[{name}]")
    for sub in (*node.get("anyOf", ()), *([node["items"]] if "items" in node else ())):
        _check_proto(sub, f"{where}.any_of")


def _plain(node: Json) -> Json:
    """Return a schema of the OpenAPI subset as JSON Schema."""
    made = {key: value for key, value in node.items() if key not in {"nullable", "example"}}
    for key in ("properties",):
        if key in made:
            made[key] = {name: _plain(sub) for name, sub in made[key].items()}
    if "items" in made:
        made["items"] = _plain(made["items"])
    if "anyOf" in made:
        made["anyOf"] = [_plain(sub) for sub in made["anyOf"]]
    return {"anyOf": [made, {"type": "null"}]} if node.get("nullable") else made


def _said(part: Json) -> Json:
    content = {"role": "model", "parts": [part]}
    return {
        "candidates": [{"content": content, "finishReason": "STOP", "index": 0}],
        "usageMetadata": {
            "promptTokenCount": 9,
            "candidatesTokenCount": 9,
            "totalTokenCount": 18,
        },
        "modelVersion": "gemini-emulated",
    }


def _user(body: Json) -> str:
    return "\n".join(_joined(one) for one in body["contents"] if one["role"] == "user")


def _joined(content: Json) -> str:
    return "\n".join(part["text"] for part in content.get("parts", ()))


def _error(message: str) -> Json:
    return {"error": {"code": 400, "message": message, "status": "INVALID_ARGUMENT"}}


GEMINI = Protocol(_answer, _error)
