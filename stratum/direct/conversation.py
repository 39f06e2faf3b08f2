"""Chat messages as a prompt: hashed as they are, and shown as lines that people review."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Self

from stratum.hashing import canonical, digest, jsonable, short
from stratum.prompts import Prompt
from stratum.redact import Secrets

LONGEST_WORD = 500  # characters; a longer one is an image, a sound or a file

_INSTRUCTING = ("system", "developer")
_SAID = frozenset({"role", "name", "content", "tool_calls", "tool_call_id"})


class Conversation(Prompt):
    """Messages as a prompt; `system` is the text that leads them, `data` their canonical JSON."""

    __slots__ = ()

    @classmethod
    def of(cls, messages: Sequence[Mapping[str, Any]]) -> Self:
        """Return the prompt of messages that `neutral` made.

        >>> print(Conversation.of([{"role": "user", "content": "Hello"}]))
        user: Hello
        """
        leading = [text for text in _leading(messages) if text]
        rest = messages[len(leading) :]
        spoken = "\n".join(line for message in rest for line in _spoken(message))
        return cls("\n\n".join(leading), spoken, canonical(messages))

    @property
    def hash(self) -> str:
        """The SHA-256 of the messages; how they are shown is not in it."""
        return digest(["messages", self.data])

    def redacted(self, secrets: Secrets, system: str | None = None) -> Prompt:
        """Return the prompt as it may be hashed and stored; itself when nothing is secret."""
        return Conversation.of(secrets.redact_data(json.loads(self.data))) if secrets else self

    def lines(self, *, store_opaque: bool = False) -> list[str]:
        """Return the messages line by line, the instructions first."""
        return "\n\n".join(part for part in (self.system, self.text) if part).split("\n")


def neutral(messages: Iterable[Any]) -> list[dict[str, Any]]:
    """Return messages as JSON data without what says nothing, and without a provider's ids.

    Message objects of a client become what they are sent as, nulls are left out, and the ids of
    tool calls are numbered: a new id for the same call is no drift. Raises `TypeError` for what
    has no deterministic text.
    """
    data: list[Any] = [
        _without_nulls(jsonable(m, f"messages[{n}]")) for n, m in enumerate(messages)
    ]
    for number, message in enumerate(data):
        if not isinstance(message, dict):
            raise TypeError(f"messages[{number}] is no object with a role and a content")
    ids = {known: f"call_{number}" for number, known in enumerate(_ids(data), 1)}
    return [_numbered(message, ids) for message in data]


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(v) for name, v in value.items() if v is not None}
    return [_without_nulls(v) for v in value] if isinstance(value, list) else value


def _ids(messages: list[dict[str, Any]]) -> dict[str, None]:
    """Return the ids of tool calls, each once, in order."""
    found = [call.get("id") for message in messages for call in _calls(message)]
    found += [message.get("tool_call_id") for message in messages]
    return dict.fromkeys(each for each in found if isinstance(each, str))


def _numbered(message: dict[str, Any], ids: Mapping[str, str]) -> dict[str, Any]:
    changed = _renamed(message, "tool_call_id", ids)
    if _calls(message):
        changed["tool_calls"] = [_renamed(call, "id", ids) for call in _calls(message)]
    return changed


def _renamed(value: dict[str, Any], name: str, ids: Mapping[str, str]) -> dict[str, Any]:
    known = value.get(name)
    return {**value, name: ids[known]} if isinstance(known, str) and known in ids else dict(value)


def _calls(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    calls = message.get("tool_calls")
    return [c for c in calls if isinstance(c, dict)] if isinstance(calls, list) else []


def _leading(messages: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the texts of the system messages at the front, as far as they are plain."""
    for message in messages:
        content = message.get("content")
        if message.get("role") not in _INSTRUCTING or not isinstance(content, str):
            return
        if not content or message.keys() - {"role", "content"}:
            return
        yield content


def _spoken(message: Mapping[str, Any]) -> Iterator[str]:
    who = str(message.get("role", "nobody"))
    names = [str(message[key]) for key in ("name", "tool_call_id") if key in message]
    who = f"{who} ({', '.join(names)})" if names else who
    text = _text(message.get("content", ""))
    if text or not _calls(message):
        yield f"{who}:\n{text}" if "\n" in text else f"{who}: {text}"
    for call in _calls(message):
        function = call.get("function")
        if isinstance(function, dict):
            yield f"{who} calls {function.get('name')}({function.get('arguments', '')})"
        else:
            yield f"{who} calls {_json(call)}"
    for key in message.keys() - _SAID:
        if message[key] not in ({}, []):
            yield f"{who} {key}: {_json(message[key])}"


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else [content]
    return "\n".join(_part(part) for part in parts)


def _part(part: Any) -> str:
    if isinstance(part, dict) and part.get("type") == "text" and part.keys() == {"type", "text"}:
        return str(part["text"])
    return _json(part)


def _json(value: Any) -> str:
    return json.dumps(_shortened(value), ensure_ascii=False, sort_keys=True)


def _shortened(value: Any) -> Any:
    """Return the value with its files as their size: an image is no text to review."""
    if isinstance(value, str):
        if len(value) <= LONGEST_WORD or " " in value or "\n" in value:
            return value
        head = value.partition(",")[0] if value.startswith("data:") else "data"
        return f"<{head[:60]}, {len(value):,} characters, sha256 {short(digest(value))}>"
    if isinstance(value, dict):
        return {name: _shortened(inner) for name, inner in value.items()}
    return [_shortened(inner) for inner in value] if isinstance(value, list) else value
