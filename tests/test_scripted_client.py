"""A scripted client answers from a list or a function, and says so when it cannot."""

import asyncio
from typing import Any

import pytest

from stratum import (
    Budget,
    BudgetExceeded,
    ConfigurationError,
    ProviderError,
    Reply,
    Request,
    ScriptedClient,
    Usage,
    infer,
    traces,
    using,
)
from stratum.clients.scripted import Scripted


@infer(intent="Say", model="test/model", retries=1)
def say(text: str) -> str: ...


async def asked(script: Any, *texts: str, **options: Any) -> list[str]:
    client = ScriptedClient(script, **options)
    with using(client=client):
        return [await say(text=text) for text in texts]


async def test_a_list_answers_in_order() -> None:
    assert await asked(["one", {"value": "two"}], "a", "b") == ["one", "two"]


async def test_a_function_gets_the_request() -> None:
    assert await asked(lambda request: request.prompt.text, "a") == ["text: a"]


async def test_a_function_may_be_async() -> None:
    async def answer(request: Request) -> str:
        await asyncio.sleep(0)
        return request.model

    assert await asked(answer, "a") == ["test/model"]


async def test_an_exception_is_raised() -> None:
    with pytest.raises(ProviderError, match="down"):
        await asked([ProviderError("down")], "a")


async def test_a_reply_is_taken_as_it_is() -> None:
    await asked([Reply("x", Usage(3, 4), "spoken", cost=0.5)], "a")
    record = traces()[-1]
    assert (record.input_tokens, record.output_tokens, record.cost_usd) == (3, 4, 0.5)
    assert record.origin == "scripted"


async def test_tokens_and_prices_make_the_cost() -> None:
    await asked(["x"], "a", tokens=(1_000_000, 100_000), price=(1.0, 10.0))
    assert traces()[-1].cost_usd == 2.0


async def test_an_entry_has_its_own_tokens_and_cost() -> None:
    await asked([Scripted("x", tokens=(1, 2), cost=0.25)], "a", tokens=(9, 9), price=(1.0, 1.0))
    record = traces()[-1]
    assert (record.input_tokens, record.output_tokens, record.cost_usd) == (1, 2, 0.25)


async def test_a_delay_runs_into_a_time_limit() -> None:
    client = ScriptedClient([Scripted("late", delay=5)])
    with using(client=client), pytest.raises(BudgetExceeded) as caught:
        await say.with_(budget=Budget(ms=20))(text="a")
    assert caught.value.limit == "ms"


async def test_an_empty_script_names_the_call_and_the_remedy() -> None:
    with pytest.raises(ConfigurationError) as caught:
        await asked(["one"], "a", "b")
    assert str(caught.value) == (
        "say: the script has no answer left for call 2.\n"
        "  Add one to ScriptedClient([...]), or pass a function."
    )


@pytest.mark.parametrize("script", ["one", b"one", {"value": "one"}], ids=["text", "bytes", "dict"])
def test_a_single_answer_is_no_script(script: Any) -> None:
    with pytest.raises(ConfigurationError, match="Put a single answer into a list"):
        ScriptedClient(script)


async def test_it_keeps_what_it_was_asked() -> None:
    client = ScriptedClient([1, "good"])
    with using(client=client):
        await say(text="a")
    assert [request.attempt for request in client.requests] == [0, 1]


async def test_any_number_of_calls_may_share_it() -> None:
    client = ScriptedClient(lambda request: request.prompt.text)
    with using(client=client):
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_say(str(n))) for n in range(20)]
    assert [task.result() for task in tasks] == [f"text: {n}" for n in range(20)]


async def _say(text: str) -> str:
    return await say(text=text)
