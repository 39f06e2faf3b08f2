"""The litellm client, through the real litellm over real HTTP."""

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from stratum import (
    AuthenticationFailed,
    Budget,
    ConfigurationError,
    ContractViolated,
    CutOff,
    LiteLLMClient,
    ProviderError,
    Refused,
    Settings,
    TraceRecord,
    flow,
    infer,
    opaque,
    parallel,
    traces,
    using,
)
from stratum.clients import transport
from stratum.clients.messages import SCHEMA_FOLLOWS
from stratum.scope import process
from stratum.settings import Price
from stratum.testing.local_model import LocalModel, Response, cut, failure, refusal
from tests.support import clean_environment

KEY = "-".join(["sk", "local", "a1B2" * 4])
GOOD = {"value": "good"}


@infer(intent="Say it", model="openai/test-model", retries=1)
def say(text: str) -> str: ...


@infer(intent="Count words", model="openai/test-model")
def count(text: str) -> dict[str, int]: ...


@infer(intent="Read it", model="openai/test-model")
def read(text: str, letter: opaque[str]) -> str: ...


@dataclass(frozen=True)
class Heard:
    """What came of a call: its value or error, and the bodies that the server got."""

    value: Any
    error: Exception | None
    bodies: list[dict[str, Any]]
    trace: TraceRecord

    @property
    def text(self) -> str:
        return str(self.error)


def answers(*script: Any) -> Callable[[Any], Any]:
    """Return the script's entries one after the other, the last one for ever."""
    rest = list(script)
    return lambda body: rest.pop(0) if len(rest) > 1 else rest[0]


def ask(
    *script: Any, function: Any = say, prices: Any = None, inputs: Any = None, **params: Any
) -> Heard:
    settings = Settings(root=Path(), prices=prices or {})
    with LocalModel(answer=answers(*script)) as model:
        given = {"api_base": model.base_url, "api_key": KEY, **params}
        value = error = None
        with using(client=LiteLLMClient(settings=settings, params=given)):
            try:
                value = function.run(**(inputs or {"text": "hi"}))
            except Exception as raised:
                error = raised
        return Heard(value, error, model.requests, traces()[-1])


def test_a_call_is_one_request() -> None:
    heard = ask(GOOD)
    assert heard.value == "good"
    schema = {
        "type": "object",
        "properties": {"value": {"type": "string"}},
        "required": ["value"],
        "additionalProperties": False,
    }
    assert heard.bodies == [
        {
            "model": "test-model",
            "messages": [
                {"role": "system", "content": "Say it"},
                {"role": "user", "content": "text: hi"},
            ],
            "max_tokens": 4096,
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "answer", "schema": schema, "strict": True},
            },
        }
    ]


def test_concurrent_calls_are_a_request_each() -> None:
    @flow
    async def many(text: str) -> int:
        return len(await parallel(*(say(text=f"{text} {n}") for n in range(20))))

    heard = ask(GOOD, function=many)
    assert (heard.value, len(heard.bodies)) == (20, 20)


def test_address_and_key_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with LocalModel(answer=answers(GOOD)) as model, using(client=LiteLLMClient()):
        monkeypatch.setenv("OPENAI_BASE_URL", model.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        assert say.run(text="hi") == "good"
        assert len(model.requests) == 1


def test_a_client_works_in_one_loop_after_another() -> None:
    async def once() -> str:
        return await say(text="hi")

    with LocalModel(answer=answers(GOOD)) as model:
        client = LiteLLMClient(params={"api_base": model.base_url, "api_key": KEY})
        with using(client=client):
            assert [asyncio.run(once()) for _ in range(3)] == ["good"] * 3


@pytest.mark.parametrize(
    ("name", "wire", "schema"),
    [
        ("openai/test-model", "auto", True),
        ("openai/test-model", "schema", True),
        ("openai/test-model", "prompt", False),
        ("custom_openai/test-model", "auto", False),
        ("custom_openai/test-model", "schema", True),
    ],
    ids=["auto-openai", "schema", "prompt", "auto-unknown", "schema-unknown"],
)
def test_the_wire_says_how_the_schema_travels(
    name: str, wire: Any, schema: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    @infer(intent="Say it", model=name, wire=wire)
    def spoken(text: str) -> str: ...

    with LocalModel(answer=answers('{"value": "good"}')) as model, using(client=LiteLLMClient()):
        monkeypatch.setenv("OPENAI_BASE_URL", model.base_url)
        monkeypatch.setenv("OPENAI_API_BASE", model.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        assert spoken.run(text="hi") == "good"
        body = model.requests[0]
    assert ("response_format" in body) is schema
    assert (SCHEMA_FOLLOWS in body["messages"][0]["content"]) is not schema


def test_a_mapping_is_sent_unstrict_and_survives() -> None:
    heard = ask({"a": 1, "b": 2}, function=count)
    sent = heard.bodies[0]["response_format"]["json_schema"]
    assert heard.value == {"a": 1, "b": 2}
    assert sent["strict"] is False
    assert '"additionalProperties": {"type": "integer"}' in json.dumps(sent["schema"])


def test_opaque_data_is_a_content_part_of_its_own() -> None:
    heard = ask(GOOD, function=read, inputs={"text": "hi", "letter": "dear"})
    first, second = heard.bodies[0]["messages"][1]["content"]
    assert "dear" not in first["text"]
    assert '"letter": "dear"' in second["text"]


@pytest.mark.parametrize(
    "answer",
    ["It is good.", '{"value": NaN}', '{"value": "a", "value": "b"}', '{"value"', "",
     '{"value": 1}'],
    ids=["prose", "nan", "twice", "broken", "empty", "type"],
)  # fmt: skip
def test_a_malformed_answer_is_asked_for_again(answer: str) -> None:
    @infer(intent="Say it", model="openai/test-model", retries=1)
    def spoken(text: str) -> dict[str, str]: ...

    heard = ask(answer, '{"value": "good"}', function=spoken)
    assert heard.value == {"value": "good"}
    first, second = (body["messages"] for body in heard.bodies)
    assert second[:2] == first
    assert second[2]["role"] == "assistant"
    assert second[3]["content"].startswith("Previous attempt failed:\n  - contract: ")


def test_a_fenced_answer_is_read_at_once() -> None:
    heard = ask('```json\n{"value": "good"}\n```')
    assert (heard.value, len(heard.bodies)) == ("good", 1)


def test_half_a_surrogate_pair_leads_to_a_retry() -> None:
    heard = ask('{"value": 3, "more": "\\ud800"}', GOOD)
    assert heard.value == "good"
    assert heard.bodies[1]["messages"][2]["content"] == '{"value": 3, "more": "\\ud800"}'


def test_attempts_end_in_a_rejection() -> None:
    heard = ask({"value": 1})
    assert isinstance(heard.error, ContractViolated)
    assert len(heard.bodies) == 2


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_a_passing_failure_is_asked_again(status: int) -> None:
    heard = ask(failure(status, "later", retry_after=0), GOOD)
    assert (heard.value, len(heard.bodies), heard.trace.attempts) == ("good", 2, 1)


@pytest.mark.parametrize("status", [429, 500])
def test_a_lasting_failure_ends_after_four_requests(status: int) -> None:
    heard = ask(failure(status, "out of order", retry_after=0))
    assert isinstance(heard.error, ProviderError)
    assert "say: openai/test-model failed 4 times: " in heard.text
    assert "out of order" in heard.text
    assert "out of order" in str(heard.error.__cause__)
    assert (len(heard.bodies), heard.error.billed) == (4, False)


def test_a_spent_credit_is_not_asked_again() -> None:
    said = {"message": "You exceeded your current quota", "code": "insufficient_quota"}
    heard = ask(Response(429, {"error": {**said, "type": "insufficient_quota", "param": None}}))
    assert type(heard.error) is ProviderError
    assert "failed once: " in heard.text
    assert len(heard.bodies) == 1


def test_what_a_server_error_says_of_keys_does_not_matter() -> None:
    heard = ask(failure(500, "missing credentials for api_key store", retry_after=0))
    assert type(heard.error) is ProviderError


@dataclass
class Failed(Exception):
    """An error as litellm makes it."""

    litellm_response_headers: dict[str, str]


@pytest.mark.parametrize(
    ("said", "attempt", "least"),
    [("2", 1, 2.0), ("0.05", 3, 0.05), ("0", 1, 0.0), ("50", 1, 50.0), ("soon", 1, 0.5),
     ("nan", 2, 1.0), ("-3", 3, 2.0), ("Thu, 01 Jan 2026 00:00:00 GMT", 1, 0.0)],
    ids=["seconds", "fraction", "now", "long", "words", "nan", "negative", "past-date"],
)  # fmt: skip
def test_retry_after_is_honoured_with_jitter(said: str, attempt: int, least: float) -> None:
    pauses = {transport.pause_after(Failed({"retry-after": said}), attempt) for _ in range(30)}
    assert all(least <= pause <= least * 1.25 for pause in pauses)
    assert len(pauses) > 1 or least == 0


@pytest.mark.parametrize(
    ("ms", "seconds", "why"),
    [
        (5_000, 30, "of its time is left"),
        (None, 900, "and Stratum waits 60 s at most"),
    ],
    ids=["time-limit", "too-long"],
)
def test_a_pause_that_does_not_fit_ends_the_call_at_once(ms: Any, seconds: int, why: str) -> None:
    hurried = say.with_(budget=Budget(ms=ms))
    heard = ask(failure(429, "later", retry_after=seconds), function=hurried)
    assert isinstance(heard.error, ProviderError)
    assert "failed once: " in heard.text
    assert "\n  It was not asked again: the pause takes " in heard.text
    assert why in heard.text
    assert (heard.error.billed, len(heard.bodies)) == (False, 1)


def test_jitter_does_not_push_a_pause_out_of_the_time_that_is_left() -> None:
    pauses = {transport.pause_after(Failed({"retry-after": "2"}), 1, within=2.1) for _ in range(50)}
    assert 2.0 in pauses
    assert max(pauses) <= 2.1


@pytest.mark.parametrize(
    ("status", "message"),
    [(401, f"Incorrect API key provided: {KEY}"), (401, "who are you"), (403, "not for you")],
    ids=["wrong-key", "unknown", "forbidden"],
)
def test_a_rejected_key_raises_at_once(status: int, message: str) -> None:
    heard = ask(failure(status, message))
    assert isinstance(heard.error, AuthenticationFailed)
    assert message.replace(KEY, "<secret:api_key>") in heard.text
    assert "Set the provider's key in the environment, or start `stratum local-model`" in heard.text
    assert (KEY in heard.text, len(heard.bodies)) == (False, 1)
    cause = heard.error.__cause__
    assert cause is not None
    assert (cause.__traceback__, cause.__cause__, cause.__context__) == (None, None, None)


def test_a_missing_key_raises_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    heard = ask(GOOD, function=say.with_(budget=Budget(ms=400)), api_key=None)
    assert isinstance(heard.error, AuthenticationFailed)
    assert heard.bodies == []


@pytest.mark.parametrize("status", [400, 404, 413, 422])
def test_a_request_that_cannot_work_raises_at_once(status: int) -> None:
    heard = ask(failure(status, "no such thing"))
    assert isinstance(heard.error, ConfigurationError)
    assert "say: openai/test-model does not take the request: " in heard.text
    assert "no such thing" in heard.text
    assert "no such thing" in str(heard.error.__cause__)
    assert len(heard.bodies) == 1


def test_a_model_without_provider_is_a_configuration_error() -> None:
    heard = ask(GOOD, function=say.with_(model="test-model"))
    assert isinstance(heard.error, ConfigurationError)
    assert "Correct the model (provider/name)" in heard.text


def test_a_refusal_is_an_outcome() -> None:
    heard = ask(refusal("I can't\x1b[31m help"))
    assert isinstance(heard.error, Refused)
    assert heard.text == "say: the model declined to answer: I can't\\x1b[31m help"
    assert (heard.trace.outcome, len(heard.bodies)) == ("refused", 1)


def test_an_answer_that_was_cut_is_an_outcome() -> None:
    heard = ask(cut('{"value": "go'), function=say.with_(params={"max_tokens": 7}))
    assert isinstance(heard.error, CutOff)
    assert "the answer ended at max_tokens=7 before it was whole" in heard.text
    assert (heard.trace.outcome, len(heard.bodies)) == ("cut", 1)


def test_a_response_without_an_answer_is_the_providers_failure() -> None:
    body = {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": []}
    heard = ask(Response(200, body))
    assert isinstance(heard.error, ProviderError)
    assert (heard.error.billed, len(heard.bodies)) == (True, 1)


def test_a_providers_timeout_is_billed_and_not_repeated() -> None:
    with LocalModel(answer=answers(GOOD), delay=0.2) as model:
        params = {"api_base": model.base_url, "api_key": KEY, "timeout": 0.05}
        limited = say.with_(budget=Budget(ms=60_000))
        with using(client=LiteLLMClient(params=params)), pytest.raises(ProviderError) as caught:
            limited.run(text="hi")
        assert (caught.value.billed, len(model.requests)) == (True, 1)


def test_nobody_listening_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "FIRST_WAIT", 0)
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    heard = ask(GOOD, api_base=address)
    assert isinstance(heard.error, ProviderError)
    assert f"Is the server running at {address}?" in heard.text
    assert "start it with `stratum local-model`" in heard.text


@pytest.mark.parametrize(
    ("function", "sent"),
    [
        (say, 4096),
        (say.with_(params={"max_tokens": 50}), 50),
        (say.with_(budget=Budget(usd=0.001)), None),
    ],
    ids=["default", "declared", "lowered"],
)
def test_max_tokens_is_always_sent(function: Any, sent: int | None) -> None:
    prices = {"openai/test-model": Price(1.0, 10.0)}
    heard = ask(GOOD, function=function, prices=prices)
    limit = heard.bodies[0]["max_tokens"]
    assert limit == sent if sent else 16 <= limit < 100


@pytest.mark.parametrize(
    ("name", "prices", "cost"),
    [
        ("openai/test-model", {"openai/test-model": Price(2.0, 10.0)}, 2.0),
        ("openai/test-model", {}, None),
        ("openai/stratum-local-rules", {}, 0.0),
    ],
    ids=["configured", "unknown", "local"],
)
def test_the_response_says_what_a_call_took(name: str, prices: Any, cost: float | None) -> None:
    message = {"role": "assistant", "content": '{"value": "good"}'}
    body = {
        "id": "1", "object": "chat.completion", "created": 1, "model": "spoken-1",
        "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
        "usage": {"prompt_tokens": 900_000, "completion_tokens": 20_000, "total_tokens": 920_000},
    }  # fmt: skip
    trace = ask(Response(200, body), function=say.with_(model=name), prices=prices).trace
    assert (trace.input_tokens, trace.output_tokens, trace.cost_usd) == (900_000, 20_000, cost)


def test_no_live_call_is_possible_under_replay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "no_live_calls", "live calls are off")
    heard = ask(GOOD)
    assert isinstance(heard.error, ConfigurationError)
    assert (heard.text, heard.bodies) == ("say: live calls are off", [])


QUIET = """
import sys
reached = set()

def audit(event, args):
    if event == "socket.connect" and args[1][0] != "127.0.0.1":
        reached.add(str(args[1]))
    if event == "socket.getaddrinfo" and args[0] not in ("127.0.0.1", "localhost", None):
        reached.add(str(args[0]))

sys.addaudithook(audit)
import asyncio
from stratum import LiteLLMClient, StratumError, configure, infer
from stratum.testing.local_model import LocalModel, failure

@infer(intent="Say it", retries=0)
def say(text: str) -> str: ...

async def main(base):
    configure(client=LiteLLMClient(params={"api_base": base, "api_key": "sk-none"}))
    for name in ("openai/gpt-4o", "openai/nobody", "anthropic/claude-3-haiku-20240307",
                 "meta/llama-3-8b", "cohere/command-r", "replicate/llama-2-70b-chat"):
        await say.with_(model=name).estimate(text="hi")
    for name in ("openai/gpt-4o", "openai/nobody", "nobody"):
        try:
            await say.with_(model=name)(text="hi")
        except StratumError:
            pass

replies = [{"value": "good"}, failure(400, "bad")]
with LocalModel(answer=lambda body: replies.pop(0)) as model:
    asyncio.run(main(model.base_url))
assert not replies, replies
assert not reached, reached
"""


def test_litellm_prints_nothing_and_reaches_nobody_else() -> None:
    done = subprocess.run(
        [sys.executable, "-c", QUIET],
        env=clean_environment(),
        capture_output=True,
        encoding="utf-8",
        timeout=120,
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


SAY = """
import asyncio, gc, os, sys
from stratum import LiteLLMClient, configure, infer

configure(client=LiteLLMClient(params={"api_base": sys.argv[1], "api_key": "sk-none"}))

@infer(intent="Say it", model="openai/test-model")
def say(text: str) -> str: ...

async def awaited() -> str:
    return await say(text="in a loop")

"""
BOTH_WAYS = """
print(say.run(text="first"), asyncio.run(awaited()), say.run(text="last"))
gc.collect()
"""
FORKED = """
print(say.run(text="before"), flush=True)
child = os.fork()
print(say.run(text="after"), asyncio.run(awaited()), flush=True)
if child:
    assert os.waitpid(child, 0) == (child, 0)
"""


def _ran(script: str) -> subprocess.CompletedProcess[str]:
    with LocalModel(answer=answers(GOOD)) as model:
        return subprocess.run(
            [sys.executable, "-c", SAY + script, model.base_url],
            env=clean_environment(),
            capture_output=True,
            encoding="utf-8",
            timeout=60,
        )


def test_a_process_that_calls_both_ways_ends_without_a_word() -> None:
    done = _ran(BOTH_WAYS)
    assert (done.returncode, done.stdout, done.stderr) == (0, "good good good\n", "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
def test_a_forked_process_calls_too() -> None:
    done = _ran(FORKED)
    assert (done.returncode, done.stdout) == (0, "good\ngood good\ngood good\n"), done.stderr
