"""Say in words why an answer does not fit its contract."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, TypeAlias

from pydantic import ValidationError

from stratum.text import escape, truncate

Path: TypeAlias = tuple[str | int, ...]
Hides: TypeAlias = Callable[[tuple[str, ...]], bool]
Repeats: TypeAlias = Callable[[str], bool]

LIMIT = 20  # problems that are listed
_SHOWN = 80  # characters of a value
_SAID = 300  # characters of a validator's own words

_MUST = {
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "multiple_of": "a multiple of {multiple_of}",
    "finite_number": "a finite number",
    "string_too_short": "at least {min_length} characters long",
    "string_too_long": "at most {max_length} characters long",
    "string_type": "a string",
    "int_type": "an integer",
    "int_parsing": "an integer",
    "int_from_float": "an integer",
    "float_type": "a number",
    "float_parsing": "a number",
    "decimal_type": "a number",
    "decimal_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "none_required": "null",
    "list_type": "a list",
    "tuple_type": "a list",
    "set_type": "a list",
    "frozen_set_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
    "dataclass_type": "an object",
    "date_type": "a date such as 2026-01-31",
    "date_parsing": "a date such as 2026-01-31",
    "date_from_datetime_parsing": "a date such as 2026-01-31",
    "datetime_type": "a date and time such as 2026-01-31T12:00:00Z",
    "datetime_parsing": "a date and time such as 2026-01-31T12:00:00Z",
    "datetime_from_date_parsing": "a date and time such as 2026-01-31T12:00:00Z",
    "time_parsing": "a time such as 12:00:00",
    "uuid_parsing": "a UUID",
}
_COUNTED = {"too_short": "at least {min_length}", "too_long": "at most {max_length}"}
_TAGGED = {"union_tag_invalid", "union_tag_not_found"}
_ABSENT = {"missing", "union_tag_not_found", "missing_argument", "missing_keyword_only_argument"}
_UNWANTED = {"extra_forbidden", "unexpected_keyword_argument", "unexpected_positional_argument"}
_RAISED = {"value_error", "assertion_error"}
_QUOTED = r"'((?:[^'\\]|\\.)*)'"


def problems(
    error: ValidationError, answer: Any, *, hides: Hides, repeats: Repeats
) -> tuple[str, ...]:
    """Return one line for each problem: the place, what it must be, and what it is.

    Values at a place that `hides` names are shown as `<opaque>`; the words of a validator
    are left out when it `repeats` an opaque value.
    """
    found: dict[tuple[str, str], list[str]] = {}
    for one in error.errors(include_url=False):
        path, value = _path(one["loc"], answer), one["input"]
        if one["type"] in _TAGGED:
            context = one.get("ctx", {})
            path, value = (*path, context["discriminator"].strip("'")), context.get("tag")
        hidden = hides(tuple(map(str, path)))
        got = "" if one["type"] in _ABSENT else f" (got {_shown(value, hidden=hidden)})"
        texts = found.setdefault((_place(path), got), [])
        text = _text(one, repeats)
        if text not in texts:
            texts.append(text)
    lines = [f"{place}: {_either(texts)}{got}" for (place, got), texts in found.items()]
    rest = len(lines) - LIMIT
    return tuple(lines) if rest <= 0 else (*lines[:LIMIT], f"... and {rest:,} more")


def not_finite(path: Path, number: float | Decimal) -> str:
    """Say that a number is one that JSON cannot carry."""
    return f"{_place(path)}: must be a finite number (got {_json(float(number))})"


def not_json(text: str, *, hidden: bool) -> str:
    """Say that an answer is text where an object is needed."""
    return f"answer: is not JSON (got {_shown(text, hidden=hidden)})"


def _either(texts: Sequence[str]) -> str:
    """Join what the members of a union each want."""
    if all(text.startswith("must be ") for text in texts):
        return "must be " + " or ".join(text.removeprefix("must be ") for text in texts)
    return "; ".join(texts)


def _path(loc: Path, answer: Any) -> Path:
    """Return the place in the answer: pydantic's location also names members of unions."""
    path: list[str | int] = []
    for index, step in enumerate(loc):
        inside = _inside(answer, step)
        if inside is not None:
            answer = inside[0]
            path.append(step)
        elif index == len(loc) - 1 and isinstance(answer, Mapping) and step != "[key]":
            path.append(step)
    return tuple(path)


def _inside(answer: Any, step: str | int) -> tuple[Any] | None:
    if isinstance(answer, Mapping):
        key = str(step)
        return (answer[key],) if key in answer else None
    if isinstance(answer, list) and isinstance(step, int) and step < len(answer):
        return (answer[step],)
    return None


def _place(path: Path) -> str:
    shown = ""
    for step in path:
        if isinstance(step, int):
            shown += f"[{step}]"
        elif step.isidentifier():
            shown += f".{step}"
        else:
            shown += f"[{_json(step)}]"
    return truncate(shown.removeprefix("."), _SHOWN) or "answer"


def _text(one: Mapping[str, Any], repeats: Repeats) -> str:
    kind, context = one["type"], one.get("ctx", {})
    if kind in _ABSENT:
        return "is missing"
    if kind in _UNWANTED:
        return "is not allowed"
    if kind == "union_tag_invalid":
        return f"must be one of {_requoted(context['expected_tags'])}"
    if kind in _MUST:
        return f"must be {_MUST[kind].format(**_whole(context))}"
    if kind in _COUNTED:
        return f"must have {_COUNTED[kind].format(**context)} items"
    if kind in {"literal_error", "enum"}:
        return f"must be {_requoted(context['expected'])}"
    if kind == "string_pattern_mismatch":
        return f"must match {context['pattern']}"
    return _said(kind, one["msg"], context, repeats)


def _whole(context: Mapping[str, Any]) -> dict[str, Any]:
    """Return the bounds with 1.0 as 1, as the schema has them."""
    return {
        key: int(value) if isinstance(value, float) and value.is_integer() else value
        for key, value in context.items()
    }


def _said(kind: str, message: str, context: Mapping[str, Any], repeats: Repeats) -> str:
    if kind in _RAISED:
        message = str(context["error"]) or "is not acceptable"
    if repeats(message):
        return "is not acceptable"
    message = re.sub(r"^Input should ", "must ", message)
    return truncate(escape(message), _SAID)


def _requoted(expected: str) -> str:
    """Return pydantic's list of members with JSON's quotes."""
    return escape(re.sub(_QUOTED, lambda found: _json(found[1].replace("\\'", "'")), expected))


def _shown(value: Any, *, hidden: bool) -> str:
    return "<opaque>" if hidden else truncate(_json(value), _SHOWN)


def _json(value: Any) -> str:
    try:
        return escape(json.dumps(value, ensure_ascii=False))
    except (TypeError, ValueError, RecursionError):
        return f"<{type(value).__qualname__}>"
