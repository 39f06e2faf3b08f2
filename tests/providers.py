"""Functions asked through the real litellm, over HTTP on loopback, of a scripted provider."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pytest

from stratum import LiteLLMClient, Reply, Request, Settings, TraceRecord, traces, using
from stratum.attempts import begin
from stratum.redact import Secrets
from stratum.settings import Price
from stratum.testing.local_model import LocalModel, Response

KEY = "-".join(["sk", "local", "a1B2" * 4])
ADDRESSES = ("OPENAI_BASE_URL", "OPENAI_API_BASE", "GROQ_API_BASE", "HOSTED_VLLM_API_BASE")
KEYS = ("OPENAI_API_KEY", "GROQ_API_KEY", "HOSTED_VLLM_API_KEY")


@dataclass(frozen=True)
class Heard:
    """What came of a call: its value or error, and the bodies that the provider got."""

    value: Any
    error: Exception | None
    bodies: list[dict[str, Any]]
    trace: TraceRecord

    @property
    def outcome(self) -> str:
        return self.trace.outcome


class Provider:
    """A provider that answers by a function, and one client that knows its address."""

    def __init__(
        self,
        answer: Callable[[Any], Any],
        *,
        prices: dict[str, Price] | None = None,
        by_environment: pytest.MonkeyPatch | None = None,
        **params: Any,
    ) -> None:
        self.answer = answer
        self.model = LocalModel(answer=lambda body: self.answer(body))
        self._environment = by_environment
        self._settings = Settings(root=Path(), prices=prices or {})
        self._params = params

    def __enter__(self) -> Self:
        self.model.start()
        given = {"api_base": self.model.base_url, "api_key": KEY}
        if self._environment is not None:
            for name in ADDRESSES:
                self._environment.setenv(name, self.model.base_url)
            for name in KEYS:
                self._environment.setenv(name, KEY)
            given = {}
        self.client = LiteLLMClient(settings=self._settings, params={**given, **self._params})
        return self

    def __exit__(self, *error: object) -> None:
        self.model.stop()

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return self.model.requests

    def run(self, function: Any, **inputs: Any) -> Any:
        with using(client=self.client):
            return function.run(**(inputs or {"text": "hi"}))

    def request(self, function: Any) -> Request:
        question = function.question
        ask = begin(question, {"text": "hi"}, model=question.model, secrets=Secrets())
        return ask.request

    def reply(self, function: Any) -> Reply:
        """Return what the client makes of the first attempt."""
        return asyncio.run(self.client.complete(self.request(function)))

    def ask(self, function: Any, **inputs: Any) -> Heard:
        with self:
            value = error = None
            try:
                value = self.run(function, **inputs)
            except Exception as raised:
                error = raised
            return Heard(value, error, self.bodies, traces()[-1])


def tool_calls(text: str | None, *arguments: Any, thinking: str | None = None) -> Response:
    """Return a response with a text, and a tool call for each of the arguments."""
    calls = [
        {
            "id": f"call_of_provider_{number}",
            "type": "function",
            "function": {
                "name": "answer",
                "arguments": each if isinstance(each, str) else json.dumps(each),
            },
        }
        for number, each in enumerate(arguments)
    ]
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if calls:
        message["tool_calls"] = calls
    if thinking:
        message["reasoning_content"] = thinking
    finish = "tool_calls" if calls else "stop"
    body = {
        "id": "1", "object": "chat.completion", "created": 1, "model": "spoken-1",
        "service_tier": "default",
        "choices": [{"index": 0, "finish_reason": finish, "message": message}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14},
    }  # fmt: skip
    return Response(200, body)
