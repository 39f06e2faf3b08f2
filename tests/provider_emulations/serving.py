"""Serve one provider's protocol on 127.0.0.1, and keep what it was sent."""

import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import TracebackType
from typing import Any, NamedTuple, Self

Json = dict[str, Any]


class NotTaken(Exception):
    """What the provider answers HTTP 400 to; `args[0]` is its message."""


class Heard(NamedTuple):
    """A request that arrived: its path, headers in lower case, body, and the schema in it."""

    path: str
    headers: dict[str, str]
    body: Json
    refused: str = ""


class Protocol(NamedTuple):
    """How a provider answers a request, and the form of its errors.

    `answer` takes the request and returns a body, or raises `NotTaken`.
    """

    answer: Callable[[Heard], Json]
    error: Callable[[str], Json]
    base: str = ""  # what litellm is given after the address


class Emulation:
    """A provider that runs while the block does."""

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol
        self.heard: list[Heard] = []
        emulation = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                headers = {name.lower(): value for name, value in self.headers.items()}
                status, said = emulation._answered(Heard(self.path, headers, body))
                payload = json.dumps(said).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(payload)))
                self.end_headers()
                self.wfile.write(payload)

            def log_message(self, *args: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}{self._protocol.base}"

    @property
    def refusals(self) -> list[str]:
        return [heard.refused for heard in self.heard if heard.refused]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _answered(self, heard: Heard) -> tuple[int, Json]:
        try:
            said = self._protocol.answer(heard)
        except NotTaken as refused:
            message = str(refused.args[0])
            self.heard.append(heard._replace(refused=message))
            return 400, self._protocol.error(message)
        except Exception as error:  # a defect of the emulation, to be seen in the test
            self.heard.append(heard._replace(refused=repr(error)))
            return 418, self._protocol.error(repr(error))
        self.heard.append(heard)
        return 200, said
