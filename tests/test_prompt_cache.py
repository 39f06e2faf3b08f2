"""Claude models are told to remember the beginning of a prompt where that pays."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from stratum import ConfigurationError, LiteLLMClient, Reply, Settings, infer
from stratum.attempts import begin
from stratum.clients import prompt_cache
from stratum.clients.prompt_cache import Cached, Watch, minimum
from stratum.redact import Secrets
from stratum.settings import Price
from tests.providers import Provider

MODEL = "anthropic/claude-sonnet-4-5"
LONG = " ".join(f"Rule {n}: be brief, kind and exact." for n in range(900))
MARK = {"cache_control": {"type": "ephemeral"}}


@infer(intent="Say it", context=LONG, model=MODEL, wire="prompt")
def long(text: str) -> str: ...


@infer(intent="Say it", model=MODEL, wire="prompt")
def short(text: str) -> str: ...


@infer(intent="Say it", context=LONG[:2000], model=MODEL, wire="prompt")
def middling(text: str) -> str: ...


class Anthropic:
    """Answers as the Messages API does, on loopback, and keeps the bodies."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.usage: dict[str, int] = {}

    @contextmanager
    def serving(self) -> Iterator[str]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                outer.bodies.append(json.loads(raw))
                content = json.dumps(outer.response()).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *args: object) -> None: ...

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            server.server_close()

    def response(self) -> dict[str, Any]:
        return {
            "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5",
            "content": [{"type": "text", "text": '{"value": "good"}'}], "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": {"input_tokens": 10, "output_tokens": 10, **self.usage},
        }  # fmt: skip


def replies(function: Any, *texts: str, times: int = 1, **client: Any) -> tuple[Any, list[Reply]]:
    """Return what the provider got and what became of it, of one client's calls."""
    provider = Anthropic()
    provider.usage = client.pop("usage", {})
    with provider.serving() as address:
        one = LiteLLMClient(params={"api_base": address, "api_key": "sk-ant-none"}, **client)
        question = function.question
        asks = [
            begin(question, {"text": text}, model=question.model, secrets=Secrets())
            for text in texts or ["hi"] * times
        ]
        found = [asyncio.run(one.complete(ask.request)) for ask in asks]
    return provider.bodies, found


def marks(bodies: Any) -> list[bool]:
    return ["cache_control" in json.dumps(body) for body in bodies]


def test_the_second_prompt_that_begins_alike_is_marked() -> None:
    bodies, _ = replies(long, "one", "two", "three")
    assert marks(bodies) == [False, True, True]
    (part,) = bodies[1]["system"]
    assert part["cache_control"] == MARK["cache_control"]
    assert part["text"].startswith("Say it\n\nRule 0")
    assert "cache_control" not in json.dumps(bodies[1]["messages"])


@pytest.mark.parametrize("function", [short, middling], ids=["short", "middling"])
def test_a_short_beginning_is_never_marked(function: Any) -> None:
    bodies, _ = replies(function, times=3)
    assert marks(bodies) == [False] * 3


@pytest.mark.parametrize(
    ("when", "marked"), [("always", [True] * 3), ("never", [False] * 3)], ids=["always", "never"]
)
def test_a_declared_choice_holds_from_the_first_request(when: Any, marked: Any) -> None:
    bodies, _ = replies(long, times=3, prompt_cache=when)
    assert marks(bodies) == marked


def test_a_misspelt_choice_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r'it takes one of "auto", "always", "never"'):
        LiteLLMClient(prompt_cache="allways")  # type: ignore[arg-type]


def test_other_providers_are_sent_no_marker() -> None:
    function = long.with_(model="openai/gpt-4o")
    with Provider(lambda body: '{"value": "good"}') as provider:
        for _ in range(3):
            provider.reply(function)
        assert marks(provider.bodies) == [False] * 3


def test_a_marker_is_neither_in_the_key_nor_in_the_exchange() -> None:
    _, found = replies(long, times=2)
    assert found[0].wire == found[1].wire == {"wire": "prompt"}


def test_a_beginning_is_forgotten_with_the_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch("auto")
    assert [watch.pays("m", "text"), watch.pays("m", "text")] == [False, True]
    monkeypatch.setattr(prompt_cache, "REMEMBERED", 0.0)
    assert not watch.pays("m", "text")


def test_few_beginnings_are_watched_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompt_cache, "KEPT", 2)
    watch = Watch("auto")
    for text in ("a", "b", "c", "b", "a"):
        last = watch.pays("m", text)
    assert (last, len(watch._sent)) == (False, 2)


@pytest.mark.parametrize(
    ("model", "entry", "tokens"),
    [
        ("anthropic/claude-x", {"supports_prompt_caching": True, "prompt_cache_min_tokens": 9}, 9),
        ("anthropic/claude-x", {"supports_prompt_caching": True}, 4096),
        ("anthropic/claude-x", {}, None),
        ("gemini/gemini-3", {"supports_prompt_caching": True}, None),
    ],
    ids=["listed", "no-minimum", "unknown", "gemini"],
)
def test_the_minimum_is_the_models_own(model: str, entry: Any, tokens: int | None) -> None:
    assert minimum(model, entry) == tokens


def test_the_cost_counts_what_was_written_and_read() -> None:
    usage = {"cache_creation_input_tokens": 1_000_000, "cache_read_input_tokens": 2_000_000}
    _, (reply,) = replies(long, usage=usage)
    assert reply.usage.input == 3_000_010
    assert reply.cost == pytest.approx(3.75 + 2 * 0.3 + 20e-6 * 3 + 10e-6 * 12, abs=1e-4)


def test_under_a_configured_price_reading_counts_in_full() -> None:
    settings = Settings(root=Path(), prices={MODEL: Price(2.0, 0.0)})
    usage = {"cache_creation_input_tokens": 1_000_000, "cache_read_input_tokens": 1_000_000}
    _, (reply,) = replies(long, usage=usage, settings=settings)
    assert reply.cost == pytest.approx(2.5 + 2.0, abs=1e-4)


def test_a_quote_leaves_room_for_writing() -> None:
    request = begin(long.question, {"text": "hi"}, model=MODEL, secrets=Secrets()).request
    quotes = [
        asyncio.run(LiteLLMClient(prompt_cache=when).quote(request)) for when in ("never", "auto")
    ]
    never, auto = (quote.input_tokens or 0 for quote in quotes)
    assert auto > never * 1.15


def test_cached_tokens_of_openai_are_read_ones() -> None:
    class Details:
        cached_tokens = 5

    class Usage:
        prompt_tokens_details = Details()

    assert Cached.of(Usage()) == Cached(written=0, read=5)
