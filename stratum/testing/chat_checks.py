"""Refuse the chat requests that OpenAI's API refuses."""

import json
import re
from collections.abc import Iterator

from stratum.testing.chat import MODEL, NATURE, Json, Response, error


def problems(body: Json) -> Iterator[Response]:
    """Yield what is wrong; only the first is sure to make sense."""
    if body.get("stream"):
        yield error(
            400,
            f"{MODEL} is a {NATURE} and does not stream: send stream=false.",
            param="stream",
            code="unsupported_value",
        )
    yield from _message_problems(body.get("messages"))
    yield from _format_problems(body.get("response_format"))
    yield from _tool_problems(body.get("tools"))
    yield from _choice_problems(body.get("tool_choice"), body.get("tools"))


def _message_problems(messages: object) -> Iterator[Response]:
    if messages is None:
        yield _missing("messages")
    if not isinstance(messages, list) or not messages:
        yield _wrong_type("messages", "a non-empty array of messages")
        return
    for i, message in enumerate(messages):
        if not isinstance(message, dict):
            yield _wrong_type(f"messages[{i}]", "an object")
        elif not isinstance(message.get("role"), str):
            yield _missing(f"messages[{i}].role")


def _format_problems(wanted: object) -> Iterator[Response]:
    match wanted:
        case None | {"type": "text" | "json_object"}:
            return
        case {"type": "json_schema", "json_schema": {"name": str(name)} as spec}:
            where = f"response_format '{name}'"
            yield from _name_problems(name, "response_format.json_schema.name")
            yield from _schema_problems(spec, "schema", where, "response_format", None)
        case {"type": "json_schema"}:
            yield _missing("response_format.json_schema.name")
        case _:
            yield _wrong_type("response_format", "an object of type text, json_object, json_schema")


def _tool_problems(tools: object) -> Iterator[Response]:
    if tools is None:
        return
    if not isinstance(tools, list) or not tools:
        yield _wrong_type("tools", "a non-empty array")
        return
    for i, tool in enumerate(tools):
        match tool:
            case {"type": "function", "function": {"name": str(name)} as spec}:
                param, code = f"tools[{i}].function.parameters", "invalid_function_parameters"
                yield from _name_problems(name, f"tools[{i}].function.name")
                yield from _schema_problems(spec, "parameters", f"function '{name}'", param, code)
            case _:
                yield _missing(f"tools[{i}].function.name")


def _choice_problems(choice: object, tools: list[Json] | None) -> Iterator[Response]:
    names = [tool["function"]["name"] for tool in tools or ()]
    match choice:
        case None:
            return
        case _ if not tools:
            text = "'tool_choice' is only allowed when 'tools' are specified."
            yield error(400, text, param="tool_choice")
        case "auto" | "none" | "required":
            return
        case {"type": "function", "function": {"name": name}} if name in names:
            return
        case _:
            text = f"Tool choice {json.dumps(choice)} not found in 'tools' parameter."
            yield error(400, text, param="tool_choice")


def _missing(param: str) -> Response:
    text = f"Missing required parameter: '{param}'."
    return error(400, text, param=param, code="missing_required_parameter")


def _wrong_type(param: str, wanted: str) -> Response:
    text = f"Invalid type for '{param}': expected {wanted}."
    return error(400, text, param=param, code="invalid_type")


def _name_problems(name: str, param: str) -> Iterator[Response]:
    if not re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name):
        text = f"Invalid '{param}': expected a string that matches '^[a-zA-Z0-9_-]{{1,64}}$'."
        yield error(400, text, param=param, code="invalid_value")


def _schema_problems(
    spec: Json, key: str, where: str, param: str, code: str | None
) -> Iterator[Response]:
    schema = spec.get(key, {"type": "object"})
    if not isinstance(schema, dict):
        yield _wrong_type(param, "a JSON schema that is an object")
    elif spec.get("strict") is True:
        for reason in _unstrict_root(schema):
            yield error(400, f"Invalid schema for {where}: {reason}", param=param, code=code)


_NOT_STRICT = (
    "allOf",
    "oneOf",
    "not",
    "if",
    "then",
    "else",
    "patternProperties",
    "prefixItems",
    "uniqueItems",
    "minLength",
    "maxLength",
    "default",
)


def _unstrict_root(schema: Json) -> Iterator[str]:
    if "anyOf" in schema:
        yield "schema must have type 'object' and not have 'anyOf' at the top level."
    if schema.get("type") != "object":
        kind = json.dumps(schema.get("type"))
        yield f"schema must be a JSON Schema of 'type: \"object\"', got 'type: {kind}'."
    yield from _unstrict(schema, ())


def _unstrict(node: object, path: tuple[str, ...]) -> Iterator[str]:
    """Yield what the strict form does not take, from the root down."""
    if not isinstance(node, dict):
        return
    for word in _NOT_STRICT:
        if word in node:
            yield f"In context={path}, '{word}' is not permitted."
    if node.get("type") == "object" or "properties" in node:
        yield from _unstrict_object(node, path)
    for step, child in _children(node):
        yield from _unstrict(child, path + step)


def _unstrict_object(node: Json, path: tuple[str, ...]) -> Iterator[str]:
    if node.get("additionalProperties") is not False:
        yield (
            f"In context={path}, 'additionalProperties' is required to be supplied and to be false."
        )
    for name in node.get("properties", {}):
        if name not in node.get("required", ()):
            yield (
                f"In context={path}, 'required' is required to be supplied and to be an array "
                f"including every key in properties. Missing '{name}'."
            )


def _children(node: Json) -> Iterator[tuple[tuple[str, ...], object]]:
    for key in ("properties", "$defs", "definitions"):
        for name, child in node.get(key, {}).items():
            yield (key, name), child
    for i, child in enumerate(node.get("anyOf", ())):
        yield ("anyOf", str(i)), child
    if "items" in node:
        yield ("items",), node["items"]
