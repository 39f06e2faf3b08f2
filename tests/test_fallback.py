"""When a model fails, the next one in the list is asked."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stratum import (
    AuthenticationFailed,
    Budget,
    BudgetExceeded,
    ConfigurationError,
    DeclarationError,
    ProviderError,
    Quote,
    Reply,
    Request,
    ScriptedClient,
    UnpricedModel,
    Usage,
    infer,
    traces,
    using,
)
from stratum.fallback import FallbackClient
from stratum.settings import Price
from stratum.testing.local_model import failure
from tests.providers import Provider
from tests.support import asked, project, run_pytest

GOOD = {"value": "good"}


@infer(intent="Say it", model=["test/first", "test/second", "test/third"], retries=0)
def say(text: str) -> str: ...


def scripted(**answers: Any) -> ScriptedClient:
    """Return a client that answers by the last part of the model's name."""
    return ScriptedClient(lambda request: answers[request.model.rpartition("/")[2]])


def models(client: ScriptedClient) -> list[str]:
    return [request.model for request in client.requests]


DOWN = ProviderError("say: test/first failed 4 times: out of order\n  Wait.")


def test_the_first_model_that_answers_settles_the_call() -> None:
    client = scripted(first="one")
    with using(client=client):
        assert say.run(text="hi") == "one"
    assert models(client) == ["test/first"]


def test_a_failure_leads_on_to_the_next_model() -> None:
    client = scripted(first=DOWN, second=ProviderError("also down"), third="three")
    with using(client=client):
        assert say.run(text="hi") == "three"
    assert models(client) == ["test/first", "test/second", "test/third"]


def test_all_requests_of_a_call_have_the_key_of_the_first_model() -> None:
    client = scripted(first=DOWN, second="two")
    plain = ScriptedClient(["one"])
    with using(client=client):
        say.run(text="hi")
    with using(client=plain):
        say.with_(model="test/first").run(text="hi")
    assert {request.key for request in client.requests} == {plain.requests[0].key}


def test_the_reply_says_who_failed_and_why() -> None:
    reply = asyncio.run(FallbackClient(scripted(first=DOWN, second="two")).complete(request()))
    assert reply.model == "test/second"
    assert reply.wire["fallback"] == [
        {"model": "test/first", "reason": "say: test/first failed 4 times: out of order"}
    ]


def request(function: Any = say) -> Request:
    client = ScriptedClient(lambda request: "x")
    with using(client=client):
        function.run(text="hi")
    (found,) = client.requests
    return found if found.fallbacks else with_fallbacks(found)


def with_fallbacks(found: Request) -> Request:
    return replace(found, fallbacks=("test/second", "test/third"))


def test_the_trace_says_which_model_answered_an_attempt() -> None:
    with using(client=scripted(first=DOWN, second="two")):
        say.run(text="hi")
    record = traces()[-1]
    assert record.model == "test/first"
    assert [call.model for call in record.calls] == ["test/second"]


def test_every_attempt_begins_with_the_first_model() -> None:
    client = ScriptedClient([DOWN, 1, "two"])
    with using(client=client):
        assert say.with_(retries=1).run(text="hi") == "two"
    assert models(client) == ["test/first", "test/second", "test/first"]


def test_when_none_answers_all_reasons_are_told() -> None:
    client = scripted(first=DOWN, second=ProviderError("second is down"), third=ProviderError("x"))
    with using(client=client), pytest.raises(ProviderError) as caught:
        say.run(text="hi")
    assert str(caught.value) == (
        "say: none of 3 models answered:\n"
        "  - say: test/first failed 4 times: out of order\n"
        "  - second is down\n"
        "  - x"
    )
    assert str(caught.value.__cause__) == "x"


@pytest.mark.parametrize("error", [AuthenticationFailed("no key"), ConfigurationError("no model")])
def test_what_would_fail_every_time_raises_at_once(error: Exception) -> None:
    client = scripted(first=error)
    with using(client=client), pytest.raises(type(error)):
        say.run(text="hi")
    assert models(client) == ["test/first"]


def test_a_wrong_second_model_tells_why_it_was_asked() -> None:
    client = scripted(first=DOWN, second=ConfigurationError("no such model"))
    with using(client=client), pytest.raises(ConfigurationError) as caught:
        say.run(text="hi")
    assert caught.value.__notes__ == [
        "It was asked because test/first had failed: say: test/first failed 4 times: out of order"
    ]


def test_a_failure_that_may_cost_leads_on_without_a_budget() -> None:
    late = ProviderError("timed out", billed=True)
    with using(client=scripted(first=late, second="two")):
        assert say.run(text="hi") == "two"


def test_a_failure_that_may_cost_ends_the_call_under_a_budget() -> None:
    client = scripted(first=ProviderError("timed out", billed=True), second="two")
    with using(client=client), pytest.raises(ProviderError, match="timed out"):
        say.with_(budget=Budget(usd=1)).run(text="hi")
    assert models(client) == ["test/first"]


class Priced:
    """A client whose models have prices, in dollars per million tokens."""

    live = False

    def __init__(self, **prices: float | None) -> None:
        self.prices = prices
        self.caps: list[int | None] = []

    async def complete(self, request: Request) -> Reply:
        self.caps.append(request.cap)
        return Reply("x", Usage(1, 1), request.model, cost=0.0)

    async def quote(self, request: Request) -> Quote:
        return Quote(0, 0.0, self.prices[request.model.rpartition("/")[2]])


def test_the_quote_is_that_of_the_dearest_model() -> None:
    client = Priced(first=1, second=100, third=10)
    with using(client=client):
        say.with_(budget=Budget(usd=0.05), params={"max_tokens": 1000}).run(text="hi")
    assert client.caps == [500]


def test_a_budget_that_the_dearest_model_breaks_is_refused() -> None:
    client = Priced(first=1, second=10_000, third=10)
    with using(client=client), pytest.raises(BudgetExceeded):
        say.with_(budget=Budget(usd=0.05)).run(text="hi")
    assert client.caps == []


def test_one_unknown_price_leaves_the_call_unpriced() -> None:
    client = Priced(first=1, second=None, third=1)
    with using(client=client), pytest.raises(UnpricedModel) as caught:
        say.with_(budget=Budget(usd=1)).run(text="hi")
    assert "price of test/first or of test/second or of test/third, so" in str(caught.value)


def test_an_estimate_is_that_of_the_dearest_model() -> None:
    with using(client=Priced(first=1, second=100, third=10)):
        estimate = asyncio.run(say.with_(params={"max_tokens": 1000}).estimate(text="hi"))
    assert estimate.usd == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ([], "model=[]; it takes a model's name, or a list of names to ask in turn"),
        ({"a/b"}, "model={'a/b'}; it takes a model's name, or a list"),
        (["a/b", 3], "model[1]=3; it takes a model's name"),
        (["a/b", " "], "model[1]=' '; it takes a model's name"),
        (["a/b", "a/b"], "model lists 'a/b' twice; name each once"),
        ("", "model=''; it takes a model's name"),
    ],
    ids=["empty", "set", "number", "blank", "twice", "no-name"],
)
def test_a_bad_list_of_models_is_refused(model: Any, said: str) -> None:
    with pytest.raises(DeclarationError) as declared:

        @infer(intent="Say it", model=model)
        def wrong(text: str) -> str: ...

    assert said in str(declared.value)
    with pytest.raises(DeclarationError) as changed:
        say.with_(model=model)
    assert said in str(changed.value)


def test_with_another_model_there_are_no_fallbacks() -> None:
    client = scripted(other=DOWN)
    with using(client=client), pytest.raises(ProviderError):
        say.with_(model="test/other").run(text="hi")
    assert models(client) == ["test/other"]


def test_other_settings_keep_the_fallbacks() -> None:
    with using(client=scripted(first=DOWN, second="two")):
        assert say.with_(retries=1).run(text="hi") == "two"


def test_a_client_hears_how_a_call_ended_through_the_fallback() -> None:
    class Listening(ScriptedClient):
        ended: list[bool] = []  # noqa: RUF012

        def settled(self, requests: Any, ok: bool) -> None:
            self.ended.append(ok)

    with using(client=Listening(["x"])):
        say.run(text="hi")
    assert Listening.ended == [True]


def test_a_provider_that_is_down_is_left_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    function = say.with_(model=["openai/down", "openai/up"])

    def model(body: Any) -> Any:
        return failure(503, "down", retry_after=0) if body["model"] == "down" else GOOD

    prices = {"openai/down": Price(1, 1), "openai/up": Price(1, 1)}
    heard = Provider(model, prices=prices).ask(function)
    assert heard.value == "good"
    assert [body["model"] for body in heard.bodies] == ["down"] * 4 + ["up"]


CONFTEST = """
from pathlib import Path
import stratum


class Live:
    async def complete(self, request):
        with Path(__file__).with_name("asked.txt").open("a", encoding="utf-8") as file:
            file.write(request.model + chr(10))
        if request.model == "test/first":
            raise stratum.ProviderError("test/first is down")
        return stratum.Reply("good", stratum.Usage(1, 1), "spoken-2", cost=0.001)

    async def quote(self, request):
        return stratum.Quote(10, 1.0, 1.0)


stratum.configure(client=Live())
"""

TEST = """
from stratum import infer, traces

@infer(intent="Say it", model=["test/first", "test/second"])
def say(text: str) -> str: ...

def test_it():
    assert say.run(text="hi") == "good"
    assert traces()[-1].calls[0].model == "spoken-2"
"""


def test_an_answer_of_a_fallback_is_recorded_and_replayed(tmp_path: Path) -> None:
    folder = project(tmp_path, {"conftest.py": CONFTEST, "test_it.py": TEST})
    recorded = run_pytest(folder, "-q", "--stratum-record")
    assert recorded.returncode == 0, recorded.stdout
    assert asked(folder) == ["test/first", "test/second"]
    (file,) = (folder / "golden").rglob("say.json")
    text = file.read_text(encoding="utf-8")
    assert '"answered_by": "spoken-2"' in text
    assert '"reason": "test/first is down"' in text
    replayed = run_pytest(folder, "-q", "--stratum-replay")
    assert replayed.returncode == 0, replayed.stdout
    fewer = TEST.replace('["test/first", "test/second"]', '"test/first"')
    (folder / "test_it.py").write_text(fewer, encoding="utf-8")
    again = run_pytest(folder, "-q", "--stratum-replay")
    assert again.returncode == 0, again.stdout  # another list is no drift
    assert len(asked(folder)) == 2
