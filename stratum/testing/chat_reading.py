"""Read what a chat request asks for: its user text, schema and tool."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stratum.prompts import FAILED, NOT_YET
from stratum.testing.chat import SCHEMA_LINE, Json

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")


def words(text: str) -> list[str]:
    return _WORD.findall(text)


def stem(word: str) -> str:
    return word.lower().removesuffix("s")


@dataclass(frozen=True)
class Reading:
    """The user text and the schema to fill."""

    text: str
    retrying: bool
    schema: Json
    matched: tuple[str, ...] = ()

    @property
    def words(self) -> list[str]:
        return words(self.text)

    @property
    def ending(self) -> str:
        return " ".join(self.text.split()[-8:])


def schema_of(body: Mapping[str, Any]) -> Json | None:
    declared = _declared(tool_of(body), body.get("response_format") or {})
    asked = [asked[1] for message in body["messages"] if (asked := _asked(text_of(message)))]
    if declared is None and asked:
        return asked[0]
    if declared is None and body.get("response_format") == {"type": "json_object"}:
        return {"type": "object", "properties": {"answer": {"type": "string"}}}
    return declared


def _declared(tool: Json | None, wanted: Json) -> Json | None:
    """Return the schema that the request declares outside its text."""
    schema: Json | None = None
    if tool is not None:
        schema = tool.get("parameters", {"type": "object"})
    elif wanted.get("type") == "json_schema":
        schema = wanted["json_schema"].get("schema", {"type": "object"})
    return schema


def read(body: Mapping[str, Any], schema: Json) -> Reading:
    said = [(message["role"], text_of(message)) for message in body["messages"]]
    text = "\n".join(_instructed(text) for role, text in said if role == "user")
    retrying = any(_complains(text) for role, text in said if role in ("user", "tool"))
    sendable = text.strip().encode(errors="ignore").decode()  # lone surrogates are not JSON to all
    return Reading(sendable, retrying, schema)


def _complains(text: str) -> bool:
    """Say whether a text has what Stratum says of an earlier answer."""
    return FAILED in text or NOT_YET in text


def text_of(message: Json) -> str:
    content = message.get("content")
    if not isinstance(content, list):
        return str(content or "")
    return "\n".join(str(part.get("text", "")) for part in content if isinstance(part, dict))


def _instructed(text: str) -> str:
    """Return the text without the schema and the violations that Stratum adds."""
    text = text.partition(FAILED)[0].partition(NOT_YET)[0]
    asked = _asked(text)
    if asked is None:
        return text
    start, _, end = asked
    return text[:start] + text[end:].lstrip("`\n ")


_ASKED = re.compile(re.escape(SCHEMA_LINE) + r"\s*(?:`{3,}\w*\s*)?(?=\{)")


def _asked(text: str) -> tuple[int, Json, int] | None:
    """Find a schema in the text: where its line starts, the schema, where it ends."""
    found = _ASKED.search(text)
    if found is None:
        return None
    try:
        schema, end = json.JSONDecoder().raw_decode(text, found.end())
    except (ValueError, RecursionError):
        return None
    return found.start(), schema, end


def tool_of(body: Mapping[str, Any]) -> Json | None:
    """Return the function to call, if any."""
    tools: list[Json] = [tool["function"] for tool in body.get("tools") or ()]
    if not tools or body.get("tool_choice") == "none":
        return None
    if isinstance(choice := body.get("tool_choice"), dict):
        return next(tool for tool in tools if tool["name"] == choice["function"]["name"])
    if not is_forced(body) and _is_served(body["messages"][-1]):
        return None
    reading = read(body, {})
    return max(tools, key=lambda tool: len(shared(tool["name"], reading.words)))


def is_forced(body: Mapping[str, Any]) -> bool:
    return body.get("tool_choice") not in (None, "auto")


def _is_served(last: Json) -> bool:
    """Whether the tool has answered; to call it again would go on for ever."""
    return last["role"] == "tool" and not _complains(text_of(last))


def shared(name: object, said: list[str]) -> tuple[str, ...]:
    """Return the words, lower-case, that the name has too; plurals count."""
    stems = {stem(word) for word in words(str(name))}
    return tuple(dict.fromkeys(word.lower() for word in said if stem(word) in stems))
