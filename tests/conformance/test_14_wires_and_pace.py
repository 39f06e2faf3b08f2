"""SPEC 14.1 to 14.4: wires, pace, limits and fallback models."""

import asyncio
import gc
import json
import time
import warnings
from typing import Any

import pytest

from stratum import (
    AuthenticationFailed,
    Budget,
    BudgetExceeded,
    ConfigurationError,
    DeclarationError,
    LiteLLMClient,
    ProviderError,
    infer,
    parallel,
    using,
)
from stratum.clients.litellm import _import_litellm
from stratum.settings import Price
from stratum.testing.local_model import LocalModel, failure
from tests.provider_texts import CONTRACT_REFUSALS, MODEL_REFUSALS
from tests.providers import Provider, tool_calls

GOOD = {"value": "good"}
NO_SCHEMA = MODEL_REFUSALS["groq-schema"].response


@infer(intent="Say it", model="openai/test-model", retries=1)
def say(text: str) -> str: ...


@infer(intent="Say it", model="openai/test-model", wire="tool", retries=1)
def call(text: str) -> str: ...


@infer(intent="Say it", model=["openai/one", "openai/two"])
def either(text: str) -> str: ...


def without_schema(body: Any) -> Any:
    return NO_SCHEMA if "response_format" in body else GOOD


def test_14_1_1_auto_takes_the_first_wire_that_the_model_has() -> None:
    heard = Provider(lambda body: GOOD).ask(say)
    assert "response_format" in heard.bodies[0]


@pytest.mark.parametrize("wire", ["schema", "tool"])
def test_14_1_1_a_declared_wire_is_never_replaced(wire: Any) -> None:
    @infer(intent="Say it", model="openai/test-model", wire=wire)
    def declared(text: str) -> str: ...

    said = MODEL_REFUSALS[f"openai-{wire}" if wire == "schema" else "openai-tools"].response
    heard = Provider(lambda body: said).ask(declared)
    assert isinstance(heard.error, ConfigurationError)
    assert len(heard.bodies) == 1


def test_14_1_2_a_rejection_about_something_else_raises_at_once() -> None:
    heard = Provider(lambda body: failure(400, "temperature is too high")).ask(say)
    assert isinstance(heard.error, ConfigurationError)
    assert len(heard.bodies) == 1


def test_14_1_2_a_refusal_is_remembered_and_said_by_each_reply() -> None:
    with Provider(without_schema) as provider:
        first, second = provider.reply(say), provider.reply(say)
        assert len(provider.bodies) == 3
    assert first.wire == second.wire
    assert first.wire["refused"] == ["schema: response_format"]


def test_14_1_2_a_refused_schema_holds_for_its_contract() -> None:
    @infer(intent="Count", model="openai/test-model")
    def count(text: str) -> int: ...

    model = lambda body: (  # noqa: E731
        CONTRACT_REFUSALS["openai-schema"].response if "response_format" in body else GOOD
    )
    with Provider(model) as provider:
        provider.reply(say)
        provider.answer = lambda body: {"value": 1}
        provider.reply(count)
        assert "response_format" in provider.bodies[-1]


def test_14_1_3_different_calls_are_a_list_that_is_judged() -> None:
    script = [tool_calls(None, GOOD, {"value": "bad"}), tool_calls(None, GOOD, GOOD)]
    heard = Provider(lambda body: script.pop(0)).ask(call)
    assert (heard.value, heard.trace.attempts) == ("good", 2)


def test_14_1_4_every_call_gets_a_result_under_an_id_of_ours() -> None:
    script = [tool_calls(None, GOOD, {"value": "bad"}), tool_calls(None, GOOD)]
    sent = Provider(lambda body: script.pop(0)).ask(call).bodies[1]["messages"]
    ids = [each["id"] for each in sent[2]["tool_calls"]]
    assert [each["tool_call_id"] for each in sent[3:]] == ids
    assert "call_of_provider" not in json.dumps(sent)


def test_14_2_1_a_pause_that_does_not_fit_is_not_slept() -> None:
    started = time.monotonic()
    heard = Provider(lambda body: failure(429, "slow down", retry_after=40)).ask(
        say.with_(budget=Budget(ms=30_000))
    )
    assert isinstance(heard.error, ProviderError)
    assert "It was not asked again: the pause takes 4" in str(heard.error)
    assert time.monotonic() - started < 20


def test_14_2_2_after_a_429_other_calls_wait_too() -> None:
    times: list[float] = []

    def model(body: Any) -> Any:
        times.append(time.monotonic())
        return failure(429, "slow down", retry_after=0.3) if len(times) == 2 else GOOD

    async def staggered() -> None:
        with using(client=provider.client):
            await say(text="load litellm")
            late = asyncio.create_task(later())
            await say(text="refused")
            await late

    async def later() -> None:
        await asyncio.sleep(0.15)
        await say(text="comes after the 429")

    with Provider(model) as provider:
        asyncio.run(staggered())
    assert len(times) == 4
    assert times[2] - times[1] >= 0.3


def test_14_2_2_a_cancelled_call_gives_its_turn_back() -> None:
    async def cancelled() -> None:
        with using(client=provider.client):
            limiter = next(iter(provider.client._limiters.values()))
            limiter.pause(30)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await parallel(*(say(text=f"{n}") for n in range(3)))
            limiter._not_before = 0.0
            async with asyncio.timeout(10):
                assert await say(text="next") == "good"

    with Provider(lambda body: GOOD) as provider:
        provider.run(say)
        asyncio.run(cancelled())


@pytest.mark.parametrize("name", ["openai/test-model", "groq/test-model", "hosted_vllm/test"])
def test_14_2_3_connections_are_closed_with_their_loop(name: str) -> None:
    """litellm forgets what it keeps for a loop, and the collector warns of what it finds open."""
    asked = say.with_(model=name)

    async def once() -> str:
        with using(client=client):
            return await asked(text="hi")

    with LocalModel(answer=lambda body: GOOD) as model:
        client = LiteLLMClient(params={"api_base": model.base_url, "api_key": "none"})
        cache = _import_litellm().in_memory_llm_clients_cache
        others = set(cache.cache_dict)
        with warnings.catch_warnings(record=True) as warned:
            gc.collect()  # what other tests left
            warned.clear()
            warnings.simplefilter("always")
            assert [asyncio.run(once()) for _ in range(3)] == ["good"] * 3
            for key in set(cache.cache_dict) - others:
                cache.delete_cache(key)
            gc.collect()
    assert [str(each.message) for each in warned if each.category is ResourceWarning] == []


@pytest.mark.parametrize("name", ["openai/test-model", "openai/o3", "openai/gpt-5"])
def test_14_3_1_every_request_has_a_limit(name: str) -> None:
    (body,) = Provider(lambda body: GOOD).ask(say.with_(model=name)).bodies
    assert body.get("max_tokens") or body["max_completion_tokens"] == 4096


def test_14_4_1_what_would_fail_every_time_raises_at_once() -> None:
    heard = Provider(lambda body: failure(401, "Incorrect API key provided")).ask(either)
    assert isinstance(heard.error, AuthenticationFailed)
    assert [body["model"] for body in heard.bodies] == ["one"]


def test_14_4_1_a_timeout_under_a_budget_is_not_asked_elsewhere() -> None:
    def slow(body: Any) -> Any:
        time.sleep(0.4)
        return GOOD

    with Provider(slow, timeout=0.1) as provider, pytest.raises(ProviderError) as caught:
        provider.run(either.with_(budget=Budget(tokens=100_000)))
    assert caught.value.billed
    assert len(provider.bodies) == 1


def test_14_4_2_the_first_model_makes_the_key() -> None:
    with Provider(lambda body: GOOD) as provider:
        assert provider.request(either).key == provider.request(say.with_(model="openai/one")).key


def test_14_4_2_the_dearest_model_is_reserved() -> None:
    prices = {"openai/one": Price(0.1, 0.1), "openai/two": Price(0.1, 1_000_000)}
    heard = Provider(lambda body: GOOD, prices=prices).ask(either.with_(budget=Budget(usd=1)))
    assert isinstance(heard.error, BudgetExceeded)
    assert heard.bodies == []


def test_14_3_2_a_quote_leaves_room_for_writing() -> None:
    rules = " ".join(f"Rule {n}: be brief, kind and exact." for n in range(900))

    @infer(intent="Say it", context=rules, model="anthropic/claude-sonnet-4-5")
    def ruled(text: str) -> str: ...

    with Provider(lambda body: GOOD) as provider:
        request = provider.request(ruled)
    never, auto = (
        asyncio.run(LiteLLMClient(prompt_cache=when).quote(request)).input_tokens or 0
        for when in ("never", "auto")
    )
    assert auto >= never * 1.15


def test_14_4_3_a_bad_list_is_refused() -> None:
    for models in ([], ["a/b", ""], ["a/b", "a/b"]):
        with pytest.raises(DeclarationError, match="model"):
            infer(intent="Say it", model=models)(lambda: None)
