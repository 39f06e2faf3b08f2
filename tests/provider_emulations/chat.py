"""The chat protocol of OpenAI, and of Groq, Mistral and vLLM as far as they differ.

Limits: the docstrings of `stratum.clients.lowering.{openai,groq,mistral,vllm}` name the pages.
"""

import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from stratum.testing.chat_checks import problems
from tests.provider_emulations.model import (
    answered,
    check_json_schema,
    cycles,
    nodes,
    prompted,
    subs,
)
from tests.provider_emulations.serving import Heard, Json, NotTaken, Protocol

Check = Callable[[Json, str], None]

_OPENAI_WORDS = {
    *("$defs", "$ref", "additionalProperties", "anyOf", "const", "description", "enum"),
    *("exclusiveMaximum", "exclusiveMinimum", "format", "items", "maximum", "maxItems"),
    *("minimum", "minItems", "multipleOf", "pattern", "properties", "required", "title", "type"),
}
_GROQ_WORDS = {
    *("$defs", "$ref", "additionalProperties", "anyOf", "description", "enum", "items"),
    *("properties", "required", "title", "type"),
}
_FORMATS = {
    *("date", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "time", "uuid"),
}
_VLLM_FORMATS = _FORMATS | {
    *("uri", "uri-reference", "uri-template", "json-pointer", "relative-json-pointer"),
}


def _answer(heard: Heard, *, check: Check, named_tools: bool = True) -> Json:
    body = heard.body
    if not heard.headers.get("authorization", "").startswith("Bearer "):
        raise NotTaken("You didn't provide an API key.")
    if check is _openai:
        _check_request(body)
    wanted = body.get("response_format")
    tools = body.get("tools")
    if wanted is not None and wanted["type"] == "json_schema":
        check(wanted["json_schema"], body["model"])
        return _said(
            body, content=json.dumps(answered(wanted["json_schema"]["schema"], _user(body)))
        )
    if tools:
        return _called(body, tools, check=check, named=named_tools)
    return _said(body, content=prompted(_user(body), _text(body["messages"][0])))


def _check_request(body: Json) -> None:
    for problem in problems(body):
        raise NotTaken(problem.body["error"]["message"])  # type: ignore[index]


def _called(body: Json, tools: list[Json], *, check: Check, named: bool) -> Json:
    choice = body.get("tool_choice", "auto")
    forced = choice in ("any", "required") or (named and isinstance(choice, dict))
    if not forced:  # a model that is not made to call a tool talks
        return _said(body, content="Let me think about it.")
    function = tools[0]["function"]
    check({**function, "schema": function["parameters"]}, body["model"])
    arguments = json.dumps(answered(function["parameters"], _user(body)))
    call = {"id": "call_1", "type": "function"}
    return _said(
        body, tool_calls=[{**call, "function": {"name": function["name"], "arguments": arguments}}]
    )


def _said(body: Json, **message: Any) -> Json:
    finish = "tool_calls" if "tool_calls" in message else "stop"
    told = {"role": "assistant", "content": None, **message}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "service_tier": "default",  # litellm fails where Groq leaves it out
        "created": 0,
        "model": body["model"],
        "choices": [{"index": 0, "message": told, "finish_reason": finish}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 9, "total_tokens": 18},
    }


def _user(body: Json) -> str:
    return "\n".join(_text(one) for one in body["messages"] if one["role"] == "user")


def _text(message: Json) -> str:
    content = message["content"]
    return content if isinstance(content, str) else "\n".join(part["text"] for part in content)


def _openai(spec: Json, model: str) -> None:
    check_json_schema(spec["schema"], what=f"response_format {spec['name']!r}")
    if spec.get("strict"):
        _strict(spec, _OPENAI_WORDS, _FORMATS)


def _strict(spec: Json, words: set[str], formats: set[str]) -> None:
    for node in nodes(spec["schema"]):
        for reason in _unstrict(node, words, formats):
            raise NotTaken(f"Invalid schema for response_format {spec['name']!r}: {reason}")


def _unstrict(node: Json, words: set[str], formats: set[str]) -> Iterator[str]:
    for word in sorted(node.keys() - words):
        yield f"In context=(), {word!r} is not permitted."
    if "$ref" in node and len(node) > 1:
        yield f"In context=(), $ref cannot have keywords {sorted(node.keys() - {'$ref'})}."
    if "format" in node and node["format"] not in formats:
        yield f"In context=(), {node['format']!r} is not a valid format."
    if re.search(r"\(\?[=!<]", str(node.get("pattern", ""))):
        yield "In context=(), lookaround is not supported in 'pattern'."
    if not node.keys() & {"type", "anyOf", "$ref", "enum", "const"}:
        yield "In context=(), schema must have a 'type' key."
    if node.get("type") == "object":
        if node.get("additionalProperties") is not False:
            yield "In context=(), 'additionalProperties' is required and to be false."
        missing = node.get("properties", {}).keys() - set(node.get("required", ()))
        if missing:
            yield f"In context=(), 'required' is required to include every key. Missing {missing}."


def _groq(spec: Json, model: str) -> None:
    check_json_schema(spec["schema"], what="response_format")
    if not spec.get("strict"):
        return
    if not model.endswith(("gpt-oss-20b", "gpt-oss-120b")):
        raise NotTaken(f"model {model!r} does not support `strict: true` in response_format")
    _strict(spec, _GROQ_WORDS, set())
    if cycles(spec["schema"], subs):
        raise NotTaken("Invalid schema for response_format: recursion is for the root only ('#')")


def _mistral(spec: Json, model: str) -> None:
    check_json_schema(spec["schema"], what="response_format")
    for node in nodes(spec["schema"]):
        is_open = node.get("type") == "object" and node.get("additionalProperties") is not False
        if spec.get("strict") and is_open:
            raise NotTaken("Invalid response_format: a strict schema closes every object")


def _vllm(spec: Json, model: str) -> None:
    check_json_schema(spec["schema"], what="response_format")
    if any(map(_beyond_xgrammar, nodes(spec["schema"]))):
        raise NotTaken("The provided JSON schema contains features not supported by xgrammar.")


def _beyond_xgrammar(node: Json) -> bool:
    others = node.keys() & {"properties", "patternProperties", "additionalProperties"}
    bounded = node.keys() & {"minLength", "maxLength"} and node.keys() & {"pattern", "format"}
    patterns = node.get("patternProperties", {})
    return bool(
        node.keys() & {"multipleOf", "uniqueItems", "contains", "not", "if", "allOf"}
        or node.get("format", "date") not in _VLLM_FORMATS
        or re.search(r"\(\?[=!<]", str(node.get("pattern", "")))
        or bounded
        or ("propertyNames" in node and others)
        or len(patterns) > 1
        or (patterns and "properties" in node)
    )


def _openai_error(message: str) -> Json:
    kind = {"type": "invalid_request_error", "param": "response_format", "code": None}
    return {"error": {"message": message, **kind}}


def _mistral_error(message: str) -> Json:
    kind = {"type": "invalid_request_error", "param": None, "code": "3051"}
    return {"object": "error", "message": message, **kind}


def _vllm_error(message: str) -> Json:
    return {"error": {"message": message, "type": "BadRequestError", "param": None, "code": 400}}


OPENAI = Protocol(partial(_answer, check=_openai), _openai_error, "/v1")
GROQ = Protocol(partial(_answer, check=_groq), _openai_error, "/openai/v1")
MISTRAL = Protocol(partial(_answer, check=_mistral, named_tools=False), _mistral_error, "/v1")
VLLM = Protocol(partial(_answer, check=_vllm), _vllm_error, "/v1")
