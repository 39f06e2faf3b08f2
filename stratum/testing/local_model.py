"""Answer OpenAI-style chat requests by rules, over HTTP on this machine.

A rule-based stand-in, not a language model: it lets a project record through the real litellm
without a key. It walks the schema of the request and fills it from the messages:

    enum            sentiment words decide positive, negative, neutral; else the member that shares
                    most words with the user text; else the first
    confidence      also score, probability: 0.9 if an enum matched words, else 0.55; 0.95 once a
                    message says "Previous attempt failed:" or "Your last answer will not do
                    yet:"; spread over bounds that go beyond 1
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
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import SHUT_RDWR, socket
from socketserver import TCPServer
from threading import Lock, Thread
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from stratum.errors import ConfigurationError
from stratum.hashing import digest, short
from stratum.testing.chat import (
    MODEL,
    NATURE,
    SCHEMA_LINE,
    Answer,
    Choice,
    Json,
    Response,
    cut,
    decoded,
    error,
    failure,
    refusal,
    tokens,
)
from stratum.testing.chat_checks import problems
from stratum.testing.chat_reading import is_forced, text_of, tool_of
from stratum.testing.rules import rules

__all__ = [
    "MODEL",
    "NATURE",
    "SCHEMA_LINE",
    "Choice",
    "LocalModel",
    "Response",
    "cut",
    "failure",
    "refusal",
    "rules",
    "serve",
]


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
                return error(405, f"Not allowed to {method} on {path}.")
            case _, path:
                return error(404, f"Invalid URL ({method} {path})", code="unknown_url")

    def _chat(self, raw: bytes) -> Response:
        body = decoded(raw)
        if body is None:
            return error(400, "We could not parse the JSON body of your request: send an object.")
        with self._lock:
            self._requests.append(body)
        time.sleep(self._delay)
        return self._answered(body)

    def _answered(self, body: Json) -> Response:
        try:
            return next(problems(body), None) or _response(body, self._answer(body))
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

  export OPENAI_API_BASE={base_url}   # litellm reads this one
  export OPENAI_BASE_URL={base_url}   # and the openai client this one
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
    server: "_Server"  # pyright: ignore[reportIncompatibleVariableOverride]

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
    asked = [text_of(message) for message in body["messages"]]
    asked += [json.dumps(body[key]) for key in ("tools", "response_format") if body.get(key)]
    prompt, completion = tokens("".join(asked)), tokens(choice.text)
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
        "service_tier": "default",
    }


def _said(body: Json, choice: Choice, mark: str) -> Json:
    tool = tool_of(body)
    if choice.refused:
        return _message(None, choice.finish, refusal=choice.text)
    if tool is None or not (is_forced(body) or _is_object(choice.text)):
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
    return decoded(text.encode(errors="replace")) is not None
