"""The vocabulary of OpenAI's chat protocol, as far as the local model speaks it."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

MODEL = "stratum-local-rules"
NATURE = "rule-based stand-in, not a language model"
SCHEMA_LINE = "Answer with JSON that fits this schema:"

Json = dict[str, Any]


@dataclass(frozen=True)
class Response:
    """An HTTP response as it stands; a str body is sent as it is, anything else as JSON."""

    status: int
    body: object
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Choice:
    """What the model says: the text, or the arguments when a tool is called."""

    text: str
    finish: Literal["stop", "length", "content_filter"] = "stop"
    refused: bool = False


Answer = Callable[[Json], object]


def refusal(text: str) -> Choice:
    """Return an answer that declines in the field `refusal`, with status 200.

    >>> refusal("No.").refused
    True
    """
    return Choice(text, refused=True)


def cut(text: str) -> Choice:
    """Return an answer that ended at max_tokens.

    >>> cut('{"label": "pos').finish
    'length'
    """
    return Choice(text, finish="length")


def failure(status: int, message: str, retry_after: float | None = None) -> Response:
    """Return an error as OpenAI words it; `retry_after` is in seconds.

    litellm tells a wrong key by the text: begin a 401 with "Incorrect API key provided".

    >>> failure(429, "slow down", retry_after=1).headers
    {'Retry-After': '1'}
    """
    kind, code = _KINDS.get(status, ("server_error" if status >= 500 else _INVALID, None))
    headers = {} if retry_after is None else {"Retry-After": f"{retry_after:g}"}
    return error(status, message, kind=kind, code=code, headers=headers)


_INVALID = "invalid_request_error"
_KINDS: Mapping[int, tuple[str, str | None]] = {
    401: (_INVALID, "invalid_api_key"),
    429: ("requests", "rate_limit_exceeded"),
}


def error(
    status: int,
    message: str,
    *,
    kind: str = _INVALID,
    param: str | None = None,
    code: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    error = {"message": message, "type": kind, "param": param, "code": code}
    return Response(status, {"error": error}, headers or {})


def decoded(raw: bytes) -> Json | None:
    try:
        body = json.loads(raw, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def tokens(text: str) -> int:
    return math.ceil(len(text) / 4)
