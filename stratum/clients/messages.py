"""Put a request into chat messages, and an answer back into data."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from stratum.calls import Request
from stratum.clients.wires import TOOL
from stratum.prompts import Prompt, Revision, Turn

SCHEMA_FOLLOWS = "Answer with JSON that fits this schema:"
NOT_THIS = "Not accepted; the next result says why."


class _NotJson(ValueError):
    """A text that is no strict JSON."""


def messages(request: Request, *, schema: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """Return the chat messages of a request; with a schema the answer is asked for in prose.

    A retry is the first attempt's messages as they were, the last answer, and what was
    wrong with it, so that its size is constant and a provider's prompt cache hits. A turn of
    `@refine` is so, too, with its last output.
    """
    prompt = request.prompt
    system = prompt.system
    if schema is not None:
        system = f"{system}\n\n{SCHEMA_FOLLOWS}\n{json.dumps(schema, ensure_ascii=False)}"
    sent: list[dict[str, Any]] = [
        {"role": "system", "content": system},
        {"role": "user", "content": _user_content(prompt)},
    ]
    for turn in prompt.turns:
        sent += _in_words(turn)
    return sent


def _in_words(turn: Turn | Revision) -> list[dict[str, Any]]:
    return [
        {"role": "assistant", "content": _as_text(turn.answer)},
        {"role": "user", "content": turn.text},
    ]


def tool_messages(request: Request) -> list[dict[str, Any]]:
    """Return the chat messages of a request whose answer is a call of a forced tool.

    On a retry the last answer goes back as the tool calls that it was, each with a result. The
    ids are ours: a provider's are never kept, and an answer may come from a recording. What
    is no object, such as an answer in words, goes back as text.
    """
    sent = messages(replace(request, prompt=replace(request.prompt, turn=None, revision=None)))
    made = 0
    for turn in request.prompt.turns:
        calls = _calls(turn.answer, first=made + 1)
        sent += _as_results(turn, calls) if calls else _in_words(turn)
        made += len(calls)
    return sent


def _as_results(turn: Turn | Revision, calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
    results = [*[NOT_THIS] * (len(calls) - 1), turn.text]
    return [{"role": "assistant", "content": None, "tool_calls": calls}] + [
        {"role": "tool", "tool_call_id": call["id"], "content": result}
        for call, result in zip(calls, results, strict=True)
    ]


def _calls(answer: Any, first: int) -> list[dict[str, Any]]:
    """Return an answer as calls of the tool; several calls are kept as a list of objects."""
    given = answer if isinstance(answer, list) else [answer]
    if not all(isinstance(each, dict) for each in given):
        return []
    return [
        {
            "id": f"stratum{number:02}",  # nine letters and digits: Mistral takes no other
            "type": "function",
            "function": {"name": TOOL, "arguments": _as_text(each)},
        }
        for number, each in enumerate(given, first)
    ]


def answer_of(text: str, calls: Sequence[str]) -> Any:
    """Return the data of an answer: of its tool call, of several as a list, else of its text.

    >>> answer_of("", ['{"n": 1}', '{"n": 1}']), answer_of("", ['{"n": 1}', '{"n": 2}'])
    ({'n': 1}, [{'n': 1}, {'n': 2}])
    >>> answer_of('{"n": 1}', [])
    {'n': 1}
    """
    different = list(dict.fromkeys(calls))
    if not different:
        return parsed(text)
    answers = [parsed(call) for call in different]
    return answers[0] if len(answers) == 1 else answers


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
