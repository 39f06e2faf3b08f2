"""A server that streams what a chat model says, on loopback."""

import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, Self


class StreamingModel:
    """Streams the words that `say` gives for a request's body, one chunk for each."""

    def __init__(self, say: Callable[[dict[str, Any]], list[str]]) -> None:
        self.requests: list[dict[str, Any]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.requests.append(body)
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.end_headers()
                for line in _lines(say(body), len(outer.requests)):
                    self.wfile.write(f"data: {line}\n\n".encode())

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.base_url = f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self) -> Self:
        Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def _lines(words: list[str], number: int) -> list[str]:
    head = {"id": f"chatcmpl-{number}", "object": "chat.completion.chunk", "created": number}
    head["model"] = "streaming"
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": word} for word in words]
    said = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    said.append({"index": 0, "delta": {}, "finish_reason": "stop"})
    lines = [json.dumps({**head, "choices": [each]}) for each in said]
    usage = {"prompt_tokens": 7, "completion_tokens": len(words), "total_tokens": 7 + len(words)}
    return [*lines, json.dumps({**head, "choices": [], "usage": usage}), "[DONE]"]
