"""Answer OpenAI-style chat requests by rules, over HTTP on this machine.

A rule-based stand-in, not a language model: it lets a project record through the real litellm
without a key. It walks the schema of the request and fills it from the messages:

    enum            sentiment words decide positive, negative, neutral; else the member that shares
                    most words with the user text; else the first
    confidence      also score, probability: 0.9 if an enum matched words, else 0.55; 0.95 once a
                    message says "Previous attempt failed:"; spread over bounds that go beyond 1
    reason          also reasoning, summary, ...: says what was matched
    other strings   the last words of the user text, or what pattern and format ask for
    numbers         the first number of the user text that fits, else the least that does
    booleans        whether the user text has a word of the field's name
    arrays          `minItems` items, else one; recursion ends at its first return

The same request always gets the same answer. A token is four characters, rounded up: of the text
of all messages, the tools and the response format; of the answer's text or arguments. What the
rules say beyond `max_tokens` is cut off.
"""

import json
import math
import re
import string
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from socket import SHUT_RDWR, socket
from socketserver import TCPServer
from threading import Lock, Thread
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import unquote, urlsplit
from uuid import UUID

from stratum.errors import ConfigurationError
from stratum.hashing import digest, short
from stratum.prompts import FAILED

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
    return _error(status, message, kind=kind, code=code, headers=headers)


_INVALID = "invalid_request_error"
_KINDS: Mapping[int, tuple[str, str | None]] = {
    401: (_INVALID, "invalid_api_key"),
    429: ("requests", "rate_limit_exceeded"),
}


def _error(
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


class LocalModel:
    """Serve the rules at `base_url` on 127.0.0.1 while it runs; port 0 takes a free one.

    `answer` replaces the rules: it is given the request's body, in any thread, and returns JSON
    data, a str, a `Choice` (`refusal`, `cut`) or a `Response` (`failure`). JSON data and, when a
    tool is forced, any text become the arguments of the tool call. `delay` is in seconds. A port
    that is taken is a `ConfigurationError`.

    >>> with LocalModel(answer=lambda body: {"label": "positive"}) as model:
    ...     model.base_url.startswith("http://127.0.0.1:")
    True
    """

    def __init__(self, port: int = 0, *, answer: Answer | None = None, delay: float = 0.0) -> None:
        self._port = port
        self._answer = answer or rules
        self._delay = delay
        self._server: _Server | None = None
        self._lock = Lock()
        self._requests: list[Json] = []

    @property
    def base_url(self) -> str:
        """The address for OPENAI_API_BASE."""
        if self._server is None:
            raise ConfigurationError(
                "The local model has no address: it is not running.\n"
                "  Call start() first, or use it in a with block."
            )
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    @property
    def requests(self) -> list[Json]:
        """The bodies of the chat requests so far, those that were turned down included."""
        with self._lock:
            return list(self._requests)

    def start(self) -> None:
        """Listen, in a thread of its own."""
        if self._server is not None:
            return
        self._server = _listening(self._port, self._respond)
        Thread(target=self._server.serve_forever, args=(0.05,), name=MODEL, daemon=True).start()

    def stop(self) -> None:
        """Close every connection; doing it twice is harmless."""
        server, self._server = self._server, None
        if server is None:
            return
        server.shutdown()
        server.server_close()
        server.hang_up()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _respond(self, method: str, target: str, raw: bytes) -> Response:
        match method, urlsplit(target).path.rstrip("/"):
            case "GET", "/v1/models":
                return Response(200, {"object": "list", "data": [_MODEL_ENTRY]})
            case "POST", "/v1/chat/completions":
                return self._chat(raw)
            case _, ("/v1/models" | "/v1/chat/completions") as path:
                return _error(405, f"Not allowed to {method} on {path}.")
            case _, path:
                return _error(404, f"Invalid URL ({method} {path})", code="unknown_url")

    def _chat(self, raw: bytes) -> Response:
        body = _decoded(raw)
        if body is None:
            return _error(400, "We could not parse the JSON body of your request: send an object.")
        with self._lock:
            self._requests.append(body)
        time.sleep(self._delay)
        return self._answered(body)

    def _answered(self, body: Json) -> Response:
        try:
            return next(_problems(body), None) or _response(body, self._answer(body))
        except Exception as error:  # whoever waits at the other end must learn why
            return failure(500, f"Answering raised {type(error).__name__}: {error}")


def serve(port: int) -> None:
    """Serve the rules until Ctrl-C, and print how to use them.

    Raises `ConfigurationError` when the port is taken.
    """
    with suppress(KeyboardInterrupt), LocalModel(port) as model:
        print(_usage_lines(model.base_url), flush=True)
        while True:
            time.sleep(3600)


def _usage_lines(base_url: str) -> str:
    return f"""\
{MODEL}: a {NATURE}.
It answers OpenAI-style chat requests at {base_url} until Ctrl-C. To use it:

  export OPENAI_API_BASE={base_url}
  export OPENAI_API_KEY=local

and in pyproject.toml:

  [tool.stratum]
  model = "openai/{MODEL}"
"""


_MODEL_ENTRY = {"id": MODEL, "object": "model", "created": 0, "owned_by": NATURE}


Respond = Callable[[str, str, bytes], Response]


class _Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are two writes: 40 ms a request with it
    server: "_Server"

    def do_GET(self) -> None:
        self.do_POST()

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "0")
        if not length.isdecimal() or "Transfer-Encoding" in self.headers:
            return self.send_error(411, "Send the body with a Content-Length.")
        raw = self.rfile.read(int(length))
        return self._send(self.server.respond(self.command, self.path, raw))

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        self.close_connection = True
        self._send(failure(code, message or "The request is not understood."))

    def version_string(self) -> str:
        return MODEL

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing: `requests` holds what came in."""

    def _send(self, response: Response) -> None:
        raw = isinstance(response.body, str)
        content = (str(response.body) if raw else json.dumps(response.body)).encode()
        kind = "text/plain; charset=utf-8" if raw else "application/json"
        self.send_response(response.status)
        for name, value in {"Content-Type": kind, **response.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)


class _Server(ThreadingHTTPServer):
    request_queue_size = 128  # the default of 5 stalls a wide fan-out for a second
    allow_reuse_address = sys.platform != "win32"  # there, it would share a port that is taken

    def __init__(self, port: int, respond: Respond) -> None:
        self.respond = respond
        self._open: set[socket] = set()
        super().__init__(("127.0.0.1", port), _Connection)

    def server_bind(self) -> None:
        TCPServer.server_bind(self)  # HTTPServer's own asks the DNS for the host's name
        self.server_name, self.server_port = "127.0.0.1", int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # a client that left is no news
            super().handle_error(request, client_address)

    def hang_up(self) -> None:
        """End the kept-alive connections, which would go on being answered."""
        for connection in tuple(self._open):
            with suppress(OSError):
                connection.shutdown(SHUT_RDWR)


def _listening(port: int, respond: Respond) -> _Server:
    try:
        return _Server(port, respond)
    except (OSError, OverflowError) as error:
        raise ConfigurationError(
            f"The local model cannot listen on 127.0.0.1:{port}: {error}.\n"
            "  Stop what listens there, or choose another port; port 0 takes a free one."
        ) from error


def _decoded(raw: bytes) -> Json | None:
    try:
        body = json.loads(raw, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _problems(body: Json) -> Iterator[Response]:
    """Yield what is wrong; only the first is sure to make sense."""
    if body.get("stream"):
        yield _error(
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
            yield _error(400, text, param="tool_choice")
        case "auto" | "none" | "required":
            return
        case {"type": "function", "function": {"name": name}} if name in names:
            return
        case _:
            text = f"Tool choice {json.dumps(choice)} not found in 'tools' parameter."
            yield _error(400, text, param="tool_choice")


def _missing(param: str) -> Response:
    text = f"Missing required parameter: '{param}'."
    return _error(400, text, param=param, code="missing_required_parameter")


def _wrong_type(param: str, wanted: str) -> Response:
    text = f"Invalid type for '{param}': expected {wanted}."
    return _error(400, text, param=param, code="invalid_type")


def _name_problems(name: str, param: str) -> Iterator[Response]:
    if not re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name):
        text = f"Invalid '{param}': expected a string that matches '^[a-zA-Z0-9_-]{{1,64}}$'."
        yield _error(400, text, param=param, code="invalid_value")


def _schema_problems(
    spec: Json, key: str, where: str, param: str, code: str | None
) -> Iterator[Response]:
    schema = spec.get(key, {"type": "object"})
    if not isinstance(schema, dict):
        yield _wrong_type(param, "a JSON schema that is an object")
    elif spec.get("strict") is True:
        for reason in _unstrict_root(schema):
            yield _error(400, f"Invalid schema for {where}: {reason}", param=param, code=code)


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


def _response(body: Json, answer: object) -> Response:
    match answer:
        case Response():
            return answer
        case Choice():
            return Response(200, _completion(body, answer))
        case str():
            return Response(200, _completion(body, Choice(answer)))
    return Response(200, _completion(body, Choice(json.dumps(answer, ensure_ascii=False))))


def _completion(body: Json, choice: Choice) -> Json:
    mark = short(digest([body, choice.text]))
    asked = [_text(message) for message in body["messages"]]
    asked += [json.dumps(body[key]) for key in ("tools", "response_format") if body.get(key)]
    prompt, completion = _tokens("".join(asked)), _tokens(choice.text)
    return {
        "id": f"chatcmpl-{mark}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": MODEL,
        "choices": [{"index": 0, "logprobs": None, **_said(body, choice, mark)}],
        "usage": {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
        },
        "system_fingerprint": NATURE,
    }


def _said(body: Json, choice: Choice, mark: str) -> Json:
    tool = _tool(body)
    if choice.refused:
        return _message(None, choice.finish, refusal=choice.text)
    if tool is None or not (_forced(body) or _is_object(choice.text)):
        return _message(choice.text, choice.finish)
    function = {"name": tool["name"], "arguments": choice.text}
    call = {"id": f"call_{mark}", "type": "function", "function": function}
    # The API says "stop" when it was told which function to call.
    named = isinstance(body.get("tool_choice"), dict) or choice.finish != "stop"
    return _message(None, choice.finish if named else "tool_calls", tool_calls=[call])


def _message(content: str | None, finish: str, **more: object) -> Json:
    message = {"role": "assistant", "content": content, "refusal": None, **more}
    return {"message": message, "finish_reason": finish}


def _is_object(text: str) -> bool:
    return _decoded(text.encode(errors="replace")) is not None


def _tokens(text: str) -> int:
    return math.ceil(len(text) / 4)


@dataclass(frozen=True)
class _Reading:
    """The user text and the schema to fill."""

    text: str
    retrying: bool
    schema: Json
    matched: tuple[str, ...] = ()

    @property
    def words(self) -> list[str]:
        return _words(self.text)

    @property
    def ending(self) -> str:
        return " ".join(self.text.split()[-8:])


@dataclass(frozen=True)
class _Spot:
    """Where a value goes: the field, the index in an array, the references followed so far."""

    name: str = ""
    nth: int = 0
    seen: tuple[str, ...] = ("#",)

    def is_named(self, *names: str) -> bool:
        return not {_stem(word) for word in _words(self.name)}.isdisjoint(names)


def rules(body: Mapping[str, Any]) -> Choice:
    """Return what the rules answer to the body of a chat request.

    For an `answer` function that lets most requests through.

    >>> rules({"messages": [{"role": "user", "content": "Hello there"}]}).text
    "stratum-local-rules, a rule-based stand-in, not a language model, read: 'Hello there'."
    """
    schema = _schema(body)
    reading = _read(body, schema or {})
    if schema is None:
        return _within(f"{MODEL}, a {NATURE}, read: '{reading.ending}'.", body)
    return _within(json.dumps(_value(schema, _Spot(), reading), ensure_ascii=False), body)


def _within(text: str, body: Mapping[str, Any]) -> Choice:
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    return Choice(text) if limit is None or _tokens(text) <= limit else cut(text[: 4 * limit])


def _schema(body: Mapping[str, Any]) -> Json | None:
    declared = _declared(_tool(body), body.get("response_format") or {})
    asked = [asked[1] for message in body["messages"] if (asked := _asked(_text(message)))]
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


def _read(body: Mapping[str, Any], schema: Json) -> _Reading:
    said = [(message["role"], _text(message)) for message in body["messages"]]
    text = "\n".join(_instructed(text) for role, text in said if role == "user")
    retrying = any(FAILED in text for role, text in said if role in ("user", "tool"))
    sendable = text.strip().encode(errors="ignore").decode()  # lone surrogates are not JSON to all
    reading = _Reading(sendable, retrying, schema)
    return replace(reading, matched=tuple(dict.fromkeys(_matches(schema, reading))))


def _text(message: Json) -> str:
    content = message.get("content")
    if not isinstance(content, list):
        return str(content or "")
    return "\n".join(str(part.get("text", "")) for part in content if isinstance(part, dict))


def _instructed(text: str) -> str:
    """Return the text without the schema and the violations that Stratum adds."""
    text = text.partition(FAILED)[0]
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


def _tool(body: Mapping[str, Any]) -> Json | None:
    """Return the function to call, if any."""
    tools: list[Json] = [tool["function"] for tool in body.get("tools") or ()]
    if not tools or body.get("tool_choice") == "none":
        return None
    if isinstance(choice := body.get("tool_choice"), dict):
        return next(tool for tool in tools if tool["name"] == choice["function"]["name"])
    if not _forced(body) and _is_served(body["messages"][-1]):
        return None
    reading = _read(body, {})
    return max(tools, key=lambda tool: len(_shared(tool["name"], reading.words)))


def _forced(body: Mapping[str, Any]) -> bool:
    return body.get("tool_choice") not in (None, "auto")


def _is_served(last: Json) -> bool:
    """Whether the tool has answered; to call it again would go on for ever."""
    return last["role"] == "tool" and FAILED not in _text(last)


_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_EXACT = 2**53  # beyond it a float skips integers
_NUMBER = re.compile(r"(?<![\w.,-])-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?![\w-]|[.,]\d)")

# "positive" and "negative" are left out: instructions name them, feelings seldom do.
_POSITIVE = """
    amazing awesome beautiful best brilliant delighted easy excellent fantastic fast friendly glad
    good great happy helpful impressed like liked love loved loves nice perfect perfectly pleased
    recommend satisfied smooth superb thank thanks wonderful works
"""
_NEGATIVE = """
    angry annoyed annoying awful bad broke broken bug complaint crash crashed crashes crashing
    damaged defective difficult disappointed disappointing error fail failed fails fault faulty
    frustrated frustrating furious hate hated horrible late lost missing never poor problem refund
    rude slow terrible unacceptable unhappy unusable upset useless worse worst wrong
"""
_TONES = {
    **dict.fromkeys(_POSITIVE.split(), "positive"),
    **dict.fromkeys(_NEGATIVE.split(), "negative"),
}
_OPPOSITE = {"positive": "negative", "negative": "positive"}
_NEGATIONS = ("not", "no", "isn't", "wasn't", "don't", "doesn't", "didn't", "won't", "hardly")


def _words(text: str) -> list[str]:
    return _WORD.findall(text)


def _stem(word: str) -> str:
    return word.lower().removesuffix("s")


def _shared(name: object, words: list[str]) -> tuple[str, ...]:
    """Return the words, lower-case, that the name has too; plurals count."""
    stems = {_stem(word) for word in _words(str(name))}
    return tuple(dict.fromkeys(word.lower() for word in words if _stem(word) in stems))


def _tone(words: list[str]) -> tuple[str, tuple[str, ...]]:
    """Return positive, negative or neutral, and the words that say so."""
    hits: dict[str, list[str]] = {"positive": [], "negative": []}
    for before, word in pairwise(("", *(word.lower().replace("’", "'") for word in words))):
        tone = _TONES.get(word)
        if tone is not None:
            hits[_OPPOSITE[tone] if before in _NEGATIONS else tone].append(word)
    if len(hits["positive"]) == len(hits["negative"]):
        return "neutral", ()
    tone = max(hits, key=lambda tone: len(hits[tone]))
    return tone, tuple(hits[tone])


def _pick(members: list[Any], reading: _Reading) -> tuple[Any, tuple[str, ...]]:
    """Return the member that suits the user text best, and the words that say so."""
    tones = {_stem(word): member for member in members for word in _words(str(member))}
    if {"positive", "negative"} <= tones.keys():
        tone, matched = _tone(reading.words)
        if tone in tones:
            return tones[tone], matched
    return _closest(members, reading.words)


def _closest(members: list[Any], words: list[str]) -> tuple[Any, tuple[str, ...]]:
    def closeness(member: object) -> tuple[int, float]:
        shared = len(_shared(member, words))
        return shared, shared / max(len(_words(str(member))), 1)

    best = max(members, key=closeness)
    return best, _shared(best, words)


def _matches(node: object, reading: _Reading) -> Iterator[str]:
    """Yield the words matched by the enums of a schema."""
    if isinstance(node, list):
        for child in node:
            yield from _matches(child, reading)
    elif isinstance(node, dict):
        if isinstance(node.get("enum"), list) and node["enum"]:
            yield from _pick(node["enum"], reading)[1]
        yield from _matches(list(node.values()), reading)


def _value(node: Any, spot: _Spot, reading: _Reading) -> Any:
    node, spot = _resolved(node if isinstance(node, dict) else {}, spot, reading)
    if "const" in node:
        return node["const"]
    if node.get("enum"):
        return _member(node["enum"], spot, reading)
    for key in ("anyOf", "oneOf"):
        if key in node:
            rest = {k: v for k, v in node.items() if k != key}
            return _value(_merged(rest, _branch(node[key], spot)), spot, reading)
    return _typed(_kind(node), node, spot, reading)


def _typed(kind: str, node: Json, spot: _Spot, reading: _Reading) -> Any:
    match kind:
        case "object":
            return _object(node, spot, reading)
        case "array":
            return _array(node, spot, reading)
        case "number" | "integer":
            return _number(node, spot, reading, whole=kind == "integer")
        case "boolean":
            return bool(_shared(spot.name, reading.words))
        case "null":
            return None
    return _string(node, spot, reading)


def _kind(node: Json) -> str:
    kinds = node.get("type", "object" if "properties" in node else "array")
    if "type" not in node and not node.keys() & {"properties", "items", "prefixItems"}:
        return "string"
    kinds = [kinds] if isinstance(kinds, str) else kinds
    return str(min(kinds, key=lambda kind: kind == "null"))


def _resolved(node: Json, spot: _Spot, reading: _Reading) -> tuple[Json, _Spot]:
    """Follow the references; a value that must hold itself has no end, and gets none."""
    while "$ref" in node:
        ref = str(node["$ref"])
        if spot.seen.count(ref) > 2:
            return {"type": "null"}, spot
        rest = {k: v for k, v in node.items() if k != "$ref"}
        node, spot = _merged(_pointed(reading.schema, ref), rest), _following(spot, ref)
    for part in node.get("allOf", ()):
        merged, spot = _resolved(part, spot, reading)
        node = _merged(node, merged)
    return node, spot


def _following(spot: _Spot, ref: str) -> _Spot:
    return replace(spot, seen=(*spot.seen, ref))


def _pointed(schema: Json, ref: str) -> Json:
    node: Any = schema
    for step in ref.removeprefix("#").split("/")[1:]:
        key = unquote(step).replace("~1", "/").replace("~0", "~")
        node = node[int(key)] if isinstance(node, list) else node.get(key, {})
    return node if isinstance(node, dict) else {}


def _merged(first: Json, second: Json) -> Json:
    made = {**first, **second}
    if "properties" in first and "properties" in second:
        made["properties"] = {**first["properties"], **second["properties"]}
    if "required" in first and "required" in second:
        made["required"] = [*first["required"], *second["required"]]
    return made


def _branch(branches: list[Json], spot: _Spot) -> Json:
    """Return the first branch that ends and is not null, else one that ends."""
    return min(branches, key=lambda branch: (_loops(branch, spot), branch.get("type") == "null"))


def _loops(node: Any, spot: _Spot) -> bool:
    if not isinstance(node, dict):
        return False
    branches: list[Any] = node.get("anyOf") or node.get("oneOf") or []
    return node.get("$ref") in spot.seen or (
        bool(branches) and all(_loops(branch, spot) for branch in branches)
    )


def _member(members: list[Any], spot: _Spot, reading: _Reading) -> Any:
    best, _ = _pick(members, reading)
    return [best, *(member for member in members if member != best)][spot.nth % len(members)]


def _object(node: Json, spot: _Spot, reading: _Reading) -> Json:
    fields = node.get("properties", {})
    kept = [
        name
        for name, child in fields.items()
        if name in node.get("required", ()) or not _loops(child, spot)
    ]
    if not fields:
        return _entries(node, spot, reading)
    return {name: _value(fields[name], replace(spot, name=name, nth=0), reading) for name in kept}


def _entries(node: Json, spot: _Spot, reading: _Reading) -> Json:
    """Fill a mapping with `minProperties` entries, else with one."""
    patterns = node.get("patternProperties") or {"": node.get("additionalProperties", True)}
    pattern, child = next(iter(patterns.items()))
    usual = 0 if isinstance(child, bool) or _loops(child, spot) else 1
    names = {"type": "string", "pattern": pattern, **node.get("propertyNames", {})}
    spots = [replace(spot, nth=i) for i in range(max(node.get("minProperties", 0), usual))]
    if pattern or "propertyNames" in node:
        return {_value(names, at, reading): _value(child, at, reading) for at in spots}
    return {f"item_{at.nth + 1}": _value(child, at, reading) for at in spots}


def _array(node: Json, spot: _Spot, reading: _Reading) -> list[Any]:
    heads, rest = node.get("prefixItems", []), node.get("items", {})
    usual = 0 if heads or rest is False or _loops(rest, spot) else 1
    least = max(node.get("minItems", 0), usual, len(heads))
    count = min(least, node.get("maxItems", least))
    schemas = [*heads, *[rest] * (count - len(heads))]
    return [_value(s, replace(spot, nth=i), reading) for i, s in enumerate(schemas[:count])]


_SURE = ("confidence", "score", "probability")


def _number(node: Json, spot: _Spot, reading: _Reading, *, whole: bool) -> int | float:
    wanted = _sureness(node, reading) if spot.is_named(*_SURE) else _numbers(reading.text)
    tried = [*wanted, *_bounds(node), *(_low(node) + i for i in range(spot.nth + 1)), 0.0]
    fitting = list(dict.fromkeys(n for n in tried if _is_within(n, node, whole=whole)))
    number = fitting[min(spot.nth, len(fitting) - 1)] if fitting else 0.0
    return int(number) if number == int(number) else number


def _numbers(text: str) -> list[float]:
    numbers = (float(found.replace(",", "")) for found in _NUMBER.findall(text))
    return [number for number in numbers if abs(number) < _EXACT]


def _sureness(node: Json, reading: _Reading) -> list[float]:
    sure = 0.95 if reading.retrying else 0.9 if reading.matched else 0.55
    low, high = _low(node), _high(node)
    high = high if math.isfinite(high) else 1.0
    value = low + sure * (high - low) if high > 1 else min(max(sure, low), high)
    value = round(value, 6)
    return [value, math.ceil(value), math.floor(value)]


def _low(node: Json) -> float:
    return float(node["minimum"] if "minimum" in node else node.get("exclusiveMinimum", 0))


def _high(node: Json) -> float:
    return float(node["maximum"] if "maximum" in node else node.get("exclusiveMaximum", math.inf))


def _bounds(node: Json) -> list[float]:
    """Return numbers at the edges of what a node takes, the least first."""
    low, high = _low(node), _high(node)
    step = float(node.get("multipleOf", 1))
    first, last = math.ceil(low / step) * step, high - step
    middle = (low + high) / 2 if math.isfinite(high) else low + step
    below = math.floor(high / step) * step if math.isfinite(high) else low
    return [low, first, first + step, middle, below, high, last]


def _is_within(number: float, node: Json, *, whole: bool) -> bool:
    step = node.get("multipleOf")
    return (
        node.get("minimum", -math.inf) <= number <= node.get("maximum", math.inf)
        and node.get("exclusiveMinimum", -math.inf) < number
        and number < node.get("exclusiveMaximum", math.inf)
        and (not whole or float(number).is_integer())
        and (not step or math.isclose(number / step, round(number / step), abs_tol=1e-9))
    )


_REASONS = (
    "comment",
    "explanation",
    "justification",
    "rationale",
    "reason",
    "reasoning",
    "summary",
    "why",
)
_FORMATS: Mapping[str, tuple[str, str]] = {
    "date-time": (
        r"\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d)?(?:Z|[+-]\d\d:\d\d)",
        "2026-01-01T00:00:00Z",
    ),
    "time": (r"\b\d\d:\d\d:\d\dZ?\b", "00:00:00Z"),
    "duration": (r"\bPT\d+[HMS]\b", "PT1H"),
    "email": (r"[\w.+-]+@\w[\w-]*(?:\.\w[\w-]*)+", "someone@example.com"),
    "uri": (r"https?://[^\s<>\"']+", "https://example.com/"),
    "ipv4": (r"\b127\.0\.0\.1\b", "127.0.0.1"),
    "ipv6": (r"::1\b", "::1"),
    "hostname": (r"\blocalhost\b", "localhost"),
}


def _string(node: Json, spot: _Spot, reading: _Reading) -> str:
    plain = _sized(_plain(spot, reading), node)
    tried = [*_formatted(node.get("format", ""), spot, reading), *_strings(plain, node, reading)]
    fitting = list(dict.fromkeys(text for text in tried if _is_fit(text, node)))
    return fitting[min(spot.nth, len(fitting) - 1)] if fitting else plain


def _plain(spot: _Spot, reading: _Reading) -> str:
    if spot.is_named(*_REASONS):
        matched = ", ".join(repr(word) for word in reading.matched)
        return f"rule-based: matched {matched}" if matched else "rule-based: matched nothing"
    words = reading.ending or "rule-based"
    return f"{words} {spot.nth + 1}" if spot.nth else words


def _sized(text: str, node: Json) -> str:
    return text[: node.get("maxLength")].rstrip().ljust(node.get("minLength", 0), ".")


def _strings(plain: str, node: Json, reading: _Reading) -> Iterator[str]:
    yield plain
    for token in reading.text.split():
        yield token.strip(".,;:!?()[]<>\"'")
    if "pattern" not in node:
        return
    for spare in range(min(node.get("minLength", 0), 200) + 4):
        with suppress(IndexError, ValueError, re.error):
            yield _alternatives(node["pattern"], spare)[0]


def _is_fit(text: str, node: Json) -> bool:
    if not node.get("minLength", 0) <= len(text) <= node.get("maxLength", math.inf):
        return False
    try:
        return re.search(node.get("pattern", ""), text) is not None
    except re.error:  # a dialect that Python does not read
        return True


def _formatted(form: str, spot: _Spot, reading: _Reading) -> Iterator[str]:
    if form == "date":
        yield from _dates(reading.text)
    if form.startswith("uuid"):
        seed = digest([reading.text, spot.name, spot.nth])
        yield str(UUID(seed[:32], version=4))
    if form in _FORMATS:
        pattern, usual = _FORMATS[form]
        yield from re.findall(pattern, reading.text)
        yield usual


def _dates(text: str) -> Iterator[str]:
    for found in re.findall(r"\b\d{4}-\d\d-\d\d\b", text):
        with suppress(ValueError):
            yield date.fromisoformat(found).isoformat()
    yield "2026-01-01"


def _alternatives(rest: str, spare: int) -> tuple[str, str]:
    """Return a string for the first alternative of a pattern, and what follows it.

    Parts come as often as they must; `spare` times if they may. Lookaheads are not understood.
    """
    made, rest = _sequence(rest, spare)
    while rest.startswith("|"):
        _, rest = _sequence(rest[1:], spare)
    return made, rest


def _sequence(rest: str, spare: int) -> tuple[str, str]:
    made = ""
    while rest and rest[0] not in "|)":
        part, rest = _atom(rest, spare)
        times, rest = _times(rest, spare)
        made += part * times
    return made, rest


def _atom(rest: str, spare: int) -> tuple[str, str]:
    match rest[0]:
        case "(":
            made, after = _alternatives(re.sub(r"^\((\?(:|P?<\w+>))?", "", rest), spare)
            return made, after[1:]
        case "[":
            end = rest.index("]", 2) + 1
            return _sign(rest[:end], spare), rest[end:]
        case "\\":
            return _escaped(rest[:2], spare), rest[2:]
        case "^" | "$":
            return "", rest[1:]
        case ".":
            return "a", rest[1:]
    return rest[0], rest[1:]


def _times(rest: str, spare: int) -> tuple[int, str]:
    found = re.match(r"(?:\{(\d+)(,?)(\d*)\}|([*+?]))[?+]?", rest)
    if found is None:
        return 1, rest
    low, comma, high, sign = found.groups()
    least = int(low) if low else int(sign == "+")
    most = 1 if sign == "?" else math.inf if sign else _most(least, comma, high)
    return int(min(max(least, spare), most)), rest[found.end() :]


def _most(least: int, comma: str, high: str) -> float:
    return least if not comma else int(high) if high else math.inf


def _escaped(escape: str, spare: int) -> str:
    if escape[1] in "AbZz":
        return ""
    return _sign(escape, spare)


def _sign(pattern: str, spare: int) -> str:
    """Return one of the characters that the one-character pattern takes, each `spare` its own."""
    signs = string.ascii_letters + string.digits + string.punctuation + " "
    taken = [sign for sign in signs if re.fullmatch(pattern, sign)]
    return taken[spare % len(taken)] if taken else ""
