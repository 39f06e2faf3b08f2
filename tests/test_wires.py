"""How a contract travels, and what happens when a provider does not take the wire."""

import json
from typing import Any

import pytest

from stratum import ConfigurationError, ContractViolated, infer
from stratum.clients.messages import SCHEMA_FOLLOWS
from stratum.clients.wires import LADDER, Ladder, Refusal, Rung, refusal_of
from stratum.testing.local_model import Response, cut, refusal
from tests.provider_texts import CONTRACT_REFUSALS, MODEL_REFUSALS, OTHERS, Said
from tests.providers import Heard, Provider, tool_calls

GOOD = {"value": "good"}


@infer(intent="Say it", model="openai/test-model", retries=1)
def say(text: str) -> str: ...


@infer(intent="Count words", model="openai/test-model", retries=1)
def count(text: str) -> dict[str, int]: ...


@infer(intent="Say it", model="openai/test-model", wire="tool", retries=1)
def call(text: str) -> str: ...


@infer(intent="Count", model="openai/test-model", wire="tool", retries=1)
def number(text: str) -> int: ...


def wire_of(body: Any) -> Rung:
    if "response_format" in body:
        return "schema"
    return "tool" if "tools" in body else "prompt"


def wires(heard: Heard) -> list[Rung]:
    return [wire_of(body) for body in heard.bodies]


def refusing(*refused: Said) -> Any:
    """Return a model that turns down what a provider's texts are about."""
    responses = {said.rung: said.response for said in refused}
    return lambda body: responses.get(wire_of(body)) or '{"value": "good"}'


@pytest.mark.parametrize("name", MODEL_REFUSALS)
def test_a_text_that_names_the_feature_refuses_the_wire(name: str) -> None:
    said = MODEL_REFUSALS[name]
    found = refusal_of(said.text, said.rung)
    assert found is not None
    assert (found.rung, found.scope) == (said.rung, "model")


@pytest.mark.parametrize("name", CONTRACT_REFUSALS)
def test_a_text_about_the_schema_refuses_this_contract_only(name: str) -> None:
    said = CONTRACT_REFUSALS[name]
    found = refusal_of(said.text, said.rung)
    assert found is not None
    assert (found.rung, found.scope) == (said.rung, "contract")


@pytest.mark.parametrize("name", OTHERS)
def test_a_text_about_something_else_refuses_no_wire(name: str) -> None:
    assert refusal_of(OTHERS[name].text, OTHERS[name].rung) is None


def test_the_last_wire_cannot_be_refused() -> None:
    assert refusal_of(MODEL_REFUSALS["openai-schema"].text, "prompt") is None


@pytest.mark.parametrize(
    "name", [name for name, said in MODEL_REFUSALS.items() if said.rung == "schema"]
)
def test_a_refused_schema_becomes_a_tool(name: str) -> None:
    heard = Provider(refusing(MODEL_REFUSALS[name])).ask(say)
    assert (heard.value, wires(heard)) == ("good", ["schema", "tool"])


@pytest.mark.parametrize(
    "name", [name for name, said in MODEL_REFUSALS.items() if said.rung == "tool"]
)
def test_a_refused_tool_becomes_a_prompt(name: str) -> None:
    model = refusing(MODEL_REFUSALS["groq-schema"], MODEL_REFUSALS[name])
    heard = Provider(model).ask(say)
    assert (heard.value, wires(heard)) == ("good", ["schema", "tool", "prompt"])


@pytest.mark.parametrize("name", OTHERS)
def test_any_other_rejection_raises_at_once(name: str) -> None:
    heard = Provider(lambda body: OTHERS[name].response).ask(say)
    assert isinstance(heard.error, ConfigurationError)
    assert "say: openai/test-model does not take the request: " in str(heard.error)
    assert len(heard.bodies) == 1


def test_a_step_down_is_remembered_and_noted_alike() -> None:
    with Provider(refusing(MODEL_REFUSALS["groq-schema"])) as provider:
        replies = [provider.reply(say) for _ in range(3)]
        assert [wire_of(body) for body in provider.bodies] == ["schema", "tool", "tool", "tool"]
    assert replies[0].wire["wire"] == "tool"
    assert replies[0].wire["refused"] == ["schema: response_format"]
    assert replies[0].wire == replies[1].wire == replies[2].wire


def test_another_model_or_client_starts_at_the_top() -> None:
    with Provider(refusing(MODEL_REFUSALS["groq-schema"])) as provider:
        provider.reply(say)
        provider.reply(say.with_(model="openai/other"))
        assert [wire_of(body) for body in provider.bodies] == ["schema", "tool"] * 2


def test_a_refused_schema_holds_for_its_contract_only() -> None:
    with Provider(refusing(CONTRACT_REFUSALS["openai-schema"])) as provider:
        for _ in range(2):
            provider.reply(say)
        provider.answer = lambda body: '{"a": 1}'
        provider.reply(count)
        sent = [wire_of(body) for body in provider.bodies]
    assert sent == ["schema", "tool", "tool", "schema"]


def test_nothing_is_remembered_when_no_wire_is_taken() -> None:
    with Provider(lambda body: MODEL_REFUSALS["groq-schema"].response) as provider:
        for _ in range(2):
            with pytest.raises(ConfigurationError, match="response format"):
                provider.reply(say)
        provider.answer = lambda body: GOOD
        provider.reply(say)
        assert wire_of(provider.bodies[-1]) == "schema"


@pytest.mark.parametrize("wire", ["schema", "tool", "prompt"])
def test_a_declared_wire_never_steps_down(wire: Any) -> None:
    @infer(intent="Say it", model="openai/test-model", wire=wire)
    def declared(text: str) -> str: ...

    said = MODEL_REFUSALS["groq-tool" if wire == "tool" else "groq-schema"]
    heard = Provider(lambda body: said.response).ask(declared)
    assert isinstance(heard.error, ConfigurationError)
    assert wires(heard) == [wire]


def test_the_key_does_not_depend_on_the_wire_that_was_taken() -> None:
    with Provider(refusing(MODEL_REFUSALS["groq-schema"])) as provider:
        first, second = (provider.request(say) for _ in range(2))
    assert first.key == second.key


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("openai/gpt-4o", "schema"),
        ("openai/nobody", "schema"),
        ("hosted_vllm/nobody", "schema"),
        ("groq/openai/gpt-oss-20b", "schema"),
        ("groq/nobody", "tool"),
        ("custom_openai/nobody", "prompt"),
    ],
)
def test_the_best_wire_that_a_model_is_known_for_is_tried_first(
    name: str, first: Rung, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = tool_calls('{"value": "good"}')
    with Provider(lambda body: said, by_environment=monkeypatch) as provider:
        provider.reply(say.with_(model=name))
        assert wire_of(provider.bodies[0]) == first


def test_a_function_with_tools_of_its_own_is_forced_none() -> None:
    tools = [{"type": "function", "function": {"name": "search", "parameters": {}}}]
    function = say.with_(params={"tools": tools, "tool_choice": "none"})
    model = lambda body: (  # noqa: E731
        MODEL_REFUSALS["groq-schema"].response if "response_format" in body else '{"value": "x"}'
    )
    heard = Provider(model).ask(function)
    assert heard.value == "x"
    assert [body["tools"][0]["function"]["name"] for body in heard.bodies] == ["search"] * 2
    assert SCHEMA_FOLLOWS in heard.bodies[1]["messages"][0]["content"]


def test_a_forced_tool_holds_the_contract() -> None:
    heard = Provider(lambda body: GOOD).ask(call)
    (body,) = heard.bodies
    assert heard.value == "good"
    assert "response_format" not in body
    assert body["tool_choice"] == {"type": "function", "function": {"name": "answer"}}
    function = body["tools"][0]["function"]
    assert function["parameters"]["properties"] == {"value": {"type": "string"}}
    assert (function["name"], function["strict"]) == ("answer", True)


def test_an_answer_in_words_is_read_as_such_and_judged() -> None:
    heard = Provider(lambda body: tool_calls("It is good.")).ask(number)
    assert isinstance(heard.error, ContractViolated)
    second = heard.bodies[1]["messages"]
    assert second[2] == {"role": "assistant", "content": "It is good."}
    assert second[3]["role"] == "user"


def test_an_answer_in_json_without_a_call_settles() -> None:
    assert Provider(lambda body: tool_calls('{"value": "good"}')).ask(call).value == "good"


def test_equal_calls_are_one_answer() -> None:
    heard = Provider(lambda body: tool_calls(None, GOOD, GOOD)).ask(call)
    assert (heard.value, len(heard.bodies)) == ("good", 1)


def test_every_call_of_a_rejected_answer_gets_a_result() -> None:
    script = [tool_calls(None, GOOD, {"value": "bad"}), tool_calls(None, GOOD)]
    heard = Provider(lambda body: script.pop(0)).ask(call)
    assert heard.value == "good"
    first, second = (body["messages"] for body in heard.bodies)
    assert second[: len(first)] == first
    assistant, *results = second[len(first) :]
    ids = [each["id"] for each in assistant["tool_calls"]]
    assert ids == ["stratum01", "stratum02"]
    assert [each["tool_call_id"] for each in results] == ids
    assert results[0]["content"] == "Not accepted; the next result says why."
    assert results[1]["content"].startswith("Previous attempt failed:\n  - contract: ")


def test_ids_and_thoughts_of_a_provider_are_never_kept() -> None:
    with Provider(lambda body: tool_calls(None, {"value": 1}, thinking="secretly")) as provider:
        reply = provider.reply(call)
        with pytest.raises(ContractViolated):
            provider.run(call)
        sent = json.dumps(provider.bodies)
    assert reply.data == {"value": 1}
    assert "call_of_provider" not in str(reply) + sent
    assert "secretly" not in str(reply) + sent


def test_an_answer_of_another_wire_goes_back_as_a_call() -> None:
    script = ['{"value": 1}', MODEL_REFUSALS["groq-schema"].response, tool_calls(None, GOOD)]
    heard = Provider(lambda body: script.pop(0)).ask(say)
    assert (heard.value, wires(heard)) == ("good", ["schema", "schema", "tool"])
    arguments = heard.bodies[2]["messages"][2]["tool_calls"][0]["function"]["arguments"]
    assert arguments == '{"value": 1}'


@pytest.mark.parametrize("arguments", ['{"value": ', "[1]", ""], ids=["broken", "list", "empty"])
def test_arguments_that_are_no_object_go_back_as_text(arguments: str) -> None:
    script = [tool_calls(None, arguments), tool_calls(None, {"value": 3})]
    heard = Provider(lambda body: script.pop(0)).ask(number)
    assert heard.value == 3
    assert [message["role"] for message in heard.bodies[1]["messages"]][2:] == ["assistant", "user"]


def test_a_call_that_was_cut_is_no_answer() -> None:
    heard = Provider(lambda body: cut('{"value": "go')).ask(call)
    assert heard.outcome == "cut"


def test_a_refusal_instead_of_a_call_is_an_outcome() -> None:
    assert Provider(lambda body: refusal("No.")).ask(call).outcome == "refused"


def test_a_model_that_wants_another_name_for_the_limit_gets_it() -> None:
    said = (
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
        "'max_completion_tokens' instead."
    )

    def model(body: Any) -> Any:
        return Response(400, {"error": {"message": said}}) if "max_tokens" in body else GOOD

    with Provider(model) as provider:
        for _ in range(2):
            provider.reply(say)
        limits = [body.get("max_completion_tokens") for body in provider.bodies]
    assert limits == [None, 4096, 4096]


@pytest.mark.parametrize("name", ["openai/o3", "openai/gpt-5-mini", "openai/gpt-5.1"])
def test_litellm_renames_the_limit_for_models_it_knows(name: str) -> None:
    heard = Provider(lambda body: GOOD).ask(say.with_(model=name))
    assert (heard.bodies[0].get("max_completion_tokens"), "max_tokens" in heard.bodies[0]) == (
        4096,
        False,
    )


def test_a_ladder_without_refusals_is_whole() -> None:
    assert tuple(Ladder().rungs("schema", ("m", ""), "c")) == LADDER


def test_a_ladder_tells_addresses_apart() -> None:
    ladder = Ladder()
    ladder.remember([Refusal("schema", "response_format", "model")], ("m", "one"), "c")
    assert next(ladder.rungs("schema", ("m", "two"), "c")) == "schema"


def test_a_declared_wire_that_cannot_hold_the_contract_is_refused_unsent() -> None:
    @infer(intent="Say it", model="gemini/gemini-1.0-pro", wire="schema")
    def declared(text: str) -> str: ...

    heard = Provider(lambda body: GOOD).ask(declared)
    assert isinstance(heard.error, ConfigurationError)
    assert 'cannot be sent to gemini/gemini-1.0-pro with wire="schema": ' in str(heard.error)
    assert 'Write wire="auto" or wire="prompt"' in str(heard.error)
    assert heard.bodies == []
