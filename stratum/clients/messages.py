"""Put a request into chat messages, and an answer back into data."""

import json
from collections.abc import Mapping
from typing import Any

from stratum.calls import Request
from stratum.prompts import Prompt

SCHEMA_FOLLOWS = "Answer with JSON that fits this schema:"


class _NotJson(ValueError):
    """A text that is no strict JSON."""


def messages(request: Request, *, schema: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """Return the chat messages of a request; with a schema the answer is asked for in prose.

    A retry is the first attempt's messages as they were, the last answer, and what was
    wrong with it, so that its size is constant and a provider's prompt cache hits.
    """
    prompt = request.prompt
    system = prompt.system
    if schema is not None:
        system = f"{system}\n\n{SCHEMA_FOLLOWS}\n{json.dumps(schema, ensure_ascii=False)}"
    sent: list[dict[str, Any]] = [
        {"role": "system", "content": system},
        {"role": "user", "content": _user_content(prompt)},
    ]
    if prompt.turn is not None:
        sent.append({"role": "assistant", "content": _as_text(prompt.turn.answer)})
        sent.append({"role": "user", "content": prompt.turn.text})
    return sent


def _user_content(prompt: Prompt) -> Any:
    if not prompt.data:
        return prompt.text
    return [{"type": "text", "text": prompt.text}, {"type": "text", "text": prompt.data}]


def _as_text(answer: Any) -> str:
    """Return an answer as text that UTF-8 can carry: halves of surrogate pairs are escaped."""
    text = answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False)
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def parsed(text: str) -> Any:
    """Return the JSON data of an answer, or the text itself when it is no strict JSON.

    A fence of three backticks around the whole answer is taken off; duplicate keys, NaN and
    Infinity are no JSON.

    >>> parsed('```json\\n{"n": 1}\\n```')
    {'n': 1}
    >>> parsed("It is 1.")
    'It is 1.'
    """
    try:
        return json.loads(_unfenced(text), parse_constant=_refuse, object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        return text


def _unfenced(text: str) -> str:
    stripped = text.strip()
    if stripped.startswith("```") and stripped.endswith("```") and "\n" in stripped:
        return stripped[stripped.index("\n") + 1 : -3]
    return stripped


def _refuse(constant: str) -> Any:
    raise _NotJson(constant)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _NotJson("duplicate key")
    return found
