"""Anthropic's messages protocol: `output_format`, `output_config.format` and forced tools.

Limits: the docstring of `stratum.clients.lowering.anthropic` names the pages.
"""

import json
import re
from typing import Any

from tests.provider_emulations.model import (
    answered,
    check_json_schema,
    cycles,
    nodes,
    prompted,
    subs,
)
from tests.provider_emulations.serving import Heard, Json, NotTaken, Protocol

_UNSUPPORTED = {
    *("contains", "else", "exclusiveMaximum", "exclusiveMinimum", "if", "maxItems", "maxLength"),
    *("maximum", "maxProperties", "minLength", "minProperties", "minimum", "multipleOf", "not"),
    *("patternProperties", "prefixItems", "propertyNames", "then", "uniqueItems"),
}
_FORMATS = {
    *("date", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "time", "uri", "uuid"),
}
_BETA = "structured-outputs-2025-11-13"


def _answer(heard: Heard) -> Json:
    body = heard.body
    if heard.path != "/v1/messages" or "x-api-key" not in heard.headers:
        raise NotTaken("x-api-key header is required")
    if "anthropic-version" not in heard.headers or "max_tokens" not in body:
        raise NotTaken("max_tokens: Field required")
    wanted = body.get("output_format") or body.get("output_config", {}).get("format")
    if wanted is not None:
        if "output_format" in body and _BETA not in heard.headers.get("anthropic-beta", ""):
            raise NotTaken("output_format: Extra inputs are not permitted")
        _check(wanted["schema"])
        return _said(body, [_text(json.dumps(answered(wanted["schema"], _user(body))))])
    if "tools" in body:
        return _called(body)
    system = "".join(block["text"] for block in body.get("system", []))
    return _said(body, [_text(prompted(_user(body), system))])


def _called(body: Json) -> Json:
    tool, choice = body["tools"][0], body.get("tool_choice", {})
    check_json_schema(tool["input_schema"], what=f"tools.0.custom.input_schema {tool['name']}")
    if tool["input_schema"].keys() & {"anyOf", "oneOf", "allOf"}:
        raise NotTaken("tools.0.custom.input_schema: does not support oneOf at the top level")
    if choice.get("type") != "tool" or choice.get("name") != tool["name"]:
        return _said(body, [_text("Let me think about it.")])
    made = answered(tool["input_schema"], _user(body))
    return _said(body, [{"type": "tool_use", "id": "toolu_1", "name": tool["name"], "input": made}])


def _check(schema: Json) -> None:
    check_json_schema(schema, what="output_format.schema")
    if cycles(schema, subs):
        raise NotTaken("output_format.schema: recursive schemas are not supported")
    for node in nodes(schema):
        _check_node(node)
    optional = sum(
        len(n.get("properties", {}).keys() - {*n.get("required", ())}) for n in nodes(schema)
    )
    unions = sum("anyOf" in node or isinstance(node.get("type"), list) for node in nodes(schema))
    for count, limit, what in ((optional, 24, "optional parameters"), (unions, 16, "unions")):
        if count > limit:
            raise NotTaken(
                f"Schemas contains too many {what} ({count}), which would make grammar "
                f"compilation inefficient (limit: {limit})."
            )


def _optional(node: Json) -> int:
    return len(node.get("properties", {}).keys() - set(node.get("required", ())))


def _check_node(node: Json) -> None:
    kind = node.get("type", "object")
    refused = node.keys() & _UNSUPPORTED
    if "oneOf" in node:
        raise NotTaken("output_format.schema: Schema type 'oneOf' is not supported")
    if refused or node.get("minItems", 0) > 1:
        named = ", ".join(sorted(refused)) or "minItems"
        raise NotTaken(f"output_format.schema: For '{kind}' type, {named} is not supported")
    if not node.keys() & {"type", "anyOf", "allOf", "$ref", "enum", "const"}:
        raise NotTaken("output_format.schema: schema must have a type")
    if node.get("type") == "object" and node.get("additionalProperties") is not False:
        raise NotTaken(
            "output_format.schema: For 'object' type, 'additionalProperties' must be explicitly "
            "set to false"
        )
    if node.get("format", "date") not in _FORMATS:
        raise NotTaken(f"output_format.schema: format {node['format']!r} is not supported")
    if re.search(r"\(\?[=!<]|\\[1-9bB]", str(node.get("pattern", ""))):
        raise NotTaken("output_format.schema: pattern is not supported")
    if any(isinstance(member, (list, dict)) for member in node.get("enum", ())):
        raise NotTaken("output_format.schema: enum holds complex types")


def _said(body: Json, content: list[Json]) -> Json:
    stop = "tool_use" if content[0]["type"] == "tool_use" else "end_turn"
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": content,
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": {"input_tokens": 9, "output_tokens": 9},
    }


def _text(text: str) -> Json:
    return {"type": "text", "text": text}


def _user(body: Json) -> str:
    return "\n".join(_joined(one["content"]) for one in body["messages"] if one["role"] == "user")


def _joined(content: Any) -> str:
    return content if isinstance(content, str) else "\n".join(part["text"] for part in content)


def _error(message: str) -> Json:
    return {"type": "error", "error": {"type": "invalid_request_error", "message": message}}


ANTHROPIC = Protocol(_answer, _error)
