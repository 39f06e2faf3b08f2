"""Contracts through the real litellm to providers that refuse what the real ones refuse."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import Enum
from typing import Annotated, Any, Literal
from urllib.error import HTTPError
from urllib.request import Request as HTTPRequest
from urllib.request import urlopen

import pytest
from pydantic import BaseModel, Field, create_model

from stratum import ConfigurationError, LiteLLMClient, infer, opaque, using
from stratum.calls import Quote, Reply, Request
from stratum.clients.lowering import Lowered
from stratum.contracts import Contract
from stratum.schemas import wire_schema
from tests.provider_emulations import (
    ANTHROPIC,
    GEMINI,
    GROQ,
    MISTRAL,
    OPENAI,
    VLLM,
    Emulation,
    Heard,
    NotTaken,
    Protocol,
)
from tests.provider_emulations.model import nodes

TEXT = "4 parcels to Bern on 2026-02-03, at 2026-02-03T04:05:06Z, all fine"


class Optional(BaseModel):
    a: int
    b: str | None = None


class Defaulted(BaseModel):
    a: int = 3
    b: list[str] = Field(default=["x"], description="Some.")


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int


class Dog(BaseModel):
    kind: Literal["dog"]
    home: "Place | None" = None


class Place(BaseModel):
    town: str = Field(description="The town.")


class Owner(BaseModel):
    pet: Annotated[Cat | Dog, Field(discriminator="kind")]
    place: Place = Field(description="Where they live.")


class Tree(BaseModel):
    label: str
    children: list["Tree"] = []


class Chain(BaseModel):
    label: str
    next: "Chain | None"


class Bounded(BaseModel):
    a: Annotated[int, Field(ge=1, le=9)]
    b: Annotated[int, Field(gt=0, lt=10)]
    c: Annotated[float, Field(gt=0.5)]
    d: Annotated[int, Field(multiple_of=2)]
    e: Annotated[str, Field(min_length=2, max_length=9)]
    f: Annotated[list[int], Field(min_length=2, max_length=3)]
    g: Annotated[str, Field(pattern=r"^\d+$")]


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Choices(BaseModel):
    colour: Colour
    level: Literal[1, 2]
    sure: Literal[True]
    mixed: Literal["a", 1] | None
    empty: Literal["", "x"]


class Times(BaseModel):
    day: date
    moment: datetime


class Counted(BaseModel):
    label: str
    counts: dict[str, int]


class Letter(BaseModel):
    label: str
    body: opaque[str]


class Unlucky(BaseModel):
    strict: bool
    additional: int


CONTRACTS: Mapping[str, Any] = {
    "an optional field": Optional,
    "a default": Defaulted,
    "a union": int | str,
    "a tagged union": Owner,
    "recursion": Tree,
    "recursion in a required field": Chain,
    "a dict": dict[str, int],
    "a dict in a field": Counted,
    "a dict with constrained keys": dict[Annotated[str, Field(min_length=2)], int],
    "bounds": Bounded,
    "an enum": Colour,
    "choices": Choices,
    "times": Times,
    "a root list": list[int],
    "a root literal": Literal["good", "bad"],
    "a list of models": list[Place],
    "a tuple": tuple[int, str],
    "a set": set[str],
    "an opaque field": Letter,
    "anything": list[Any],
    "a field that litellm takes out": Unlucky,
    "many unions": create_model("Wide", **{f"f{n}": (int | str, ...) for n in range(17)}),
    "the edge of a word": Annotated[str, Field(pattern=r"\bBern\b")],
}


@dataclass(frozen=True)
class Endpoint:
    """A model, the server it is asked at, and the contracts that leave the schema wire."""

    model: str
    protocol: Protocol
    by_tool: frozenset[str] = frozenset()
    by_prompt: frozenset[str] = frozenset()


_DICTS = {"a dict", "a dict in a field", "a dict with constrained keys"}
_RECURSIVE = {"recursion", "recursion in a required field"}
_NOT_CLAUDE = frozenset({*_DICTS, *_RECURSIVE, "a tuple", "anything", "many unions"})
ENDPOINTS = {
    "openai": Endpoint("openai/gpt-4o-mini", OPENAI),
    "claude": Endpoint(
        "anthropic/claude-sonnet-4-5",
        ANTHROPIC,
        by_tool=_NOT_CLAUDE,
    ),
    "an older claude": Endpoint(
        "anthropic/claude-3-7-sonnet-20250219",
        ANTHROPIC,
        by_tool=_NOT_CLAUDE,
    ),
    "gemini": Endpoint(
        "gemini/gemini-2.5-flash",
        GEMINI,
        by_prompt=frozenset({"anything", "a field that litellm takes out"}),
    ),
    "groq": Endpoint("groq/openai/gpt-oss-20b", GROQ),
    "groq without strict": Endpoint("groq/moonshotai/kimi-k2-instruct-0905", GROQ),
    "groq with a tool": Endpoint("groq/llama-3.3-70b-versatile", GROQ),
    "mistral": Endpoint("mistral/mistral-small-latest", MISTRAL),
    "vllm": Endpoint("hosted_vllm/qwen", VLLM),
}


@dataclass
class Listening:
    """A client that keeps the replies of the one it wraps."""

    inner: LiteLLMClient
    replies: list[Reply] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)

    async def complete(self, request: Request) -> Reply:
        self.requests.append(request)
        self.replies.append(await self.inner.complete(request))
        return self.replies[-1]

    async def quote(self, request: Request) -> Quote:
        return await self.inner.quote(request)


@dataclass(frozen=True)
class Outcome:
    """The answer, what arrived, and the client that asked."""

    value: Any
    heard: list[Heard]
    client: Listening

    @property
    def wire(self) -> Mapping[str, Any]:
        return self.client.replies[-1].wire

    @property
    def refusals(self) -> list[str]:
        return [heard.refused for heard in self.heard if heard.refused]


def ask(annotation: Any, endpoint: Endpoint, *, wire: Any = "auto", times: int = 1) -> Outcome:
    def read(text: str) -> Any: ...

    read.__annotations__["return"] = annotation
    call = infer(intent="Read it", model=endpoint.model, retries=0, wire=wire)(read)
    with Emulation(endpoint.protocol) as emulation:
        params = {"api_base": emulation.base_url, "api_key": "sk-emulated-0123456789"}
        if endpoint.protocol is GEMINI:
            params["api_base"] += f"/models/{endpoint.model.partition('/')[2]}"
        client = Listening(LiteLLMClient(params=params))
        with using(client=client):
            for _ in range(times):
                value = call.run(text=TEXT)
        return Outcome(value, emulation.heard, client)


def schema_in(body: Mapping[str, Any]) -> Any:
    """Return the schema that arrived, whatever the protocol; None in a prompt."""
    if "generationConfig" in body and "response_json_schema" in body["generationConfig"]:
        return body["generationConfig"]["response_json_schema"]
    if "output_format" in body:
        return body["output_format"]["schema"]
    if "response_format" in body:
        return body["response_format"]["json_schema"]["schema"]
    tool = body.get("tools", [{}])[0]
    tool = tool.get("function_declarations", [tool])[0]
    return tool.get("input_schema", tool.get("function", tool).get("parameters"))


def names(schema: Any) -> set[str]:
    """Return the names of all fields, those of definitions included."""
    inner = schema.get("$defs", {}).values()
    found = [*nodes(schema), *(node for one in inner for node in nodes(one))]
    return {name for node in found for name in node.get("properties", {})}


def check_names(outcome: Outcome, annotation: Any) -> None:
    """Assert that no field was lost on the way."""
    arrived = schema_in(outcome.heard[-1].body)
    contract = Contract.of(annotation, where="test")
    assert arrived is None or names(contract.wire) <= names(arrived)


PAIRS = [
    pytest.param(endpoint, contract, id=f"{name}-{contract}".replace(" ", "_"))
    for name, endpoint in ENDPOINTS.items()
    for contract in CONTRACTS
]


@pytest.mark.parametrize(("endpoint", "contract"), PAIRS)
def test_a_contract_is_taken_and_read(endpoint: Endpoint, contract: str) -> None:
    outcome = ask(CONTRACTS[contract], endpoint)
    assert outcome.refusals == []
    check_names(outcome, CONTRACTS[contract])
    by_tool, by_prompt = contract in endpoint.by_tool, contract in endpoint.by_prompt
    assert outcome.wire["wire"] == ("tool" if by_tool else "prompt" if by_prompt else "schema")


FORCED = {
    "openai": "openai/gpt-4o-mini",
    "claude": "anthropic/claude-sonnet-4-5",
    "gemini": "gemini/gemini-2.5-flash",
    "groq": "groq/openai/gpt-oss-20b",
    "mistral": "mistral/mistral-small-latest",
    "vllm": "hosted_vllm/qwen",
}
# What litellm would empty on the way to a Gemini tool; OpenAI's and Claude's take everything.
_NO_GEMINI_TOOL = {
    *_DICTS,
    *_RECURSIVE,
    "a tuple",
    "anything",
    "a field that litellm takes out",
}
_TAKES_OUT = ("mistral", "vllm")
TOOL_PAIRS = [
    pytest.param(ENDPOINTS[name], contract, id=f"{name}-{contract}".replace(" ", "_"))
    for name in FORCED
    for contract in CONTRACTS
    if name != "gemini" or contract not in _NO_GEMINI_TOOL
    if name not in _TAKES_OUT or contract != "a field that litellm takes out"
]


@pytest.mark.parametrize(("endpoint", "contract"), TOOL_PAIRS)
def test_a_forced_tool_is_taken_and_read(endpoint: Endpoint, contract: str) -> None:
    outcome = ask(CONTRACTS[contract], endpoint, wire="tool")
    assert outcome.refusals == []
    check_names(outcome, CONTRACTS[contract])
    assert outcome.wire["wire"] == "tool"


@pytest.mark.parametrize("contract", sorted(_NO_GEMINI_TOOL))
def test_what_litellm_would_empty_is_not_sent(contract: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot be sent to gemini"):
        ask(CONTRACTS[contract], ENDPOINTS["gemini"], wire="tool")


WIRES = [
    pytest.param(endpoint, wire, id=f"{name}-{wire}".replace(" ", "_"))
    for name, endpoint in ENDPOINTS.items()
    for wire in ("auto", "tool", "prompt")
    if (name, wire) != ("gemini", "tool")
]


@pytest.mark.parametrize(("endpoint", "wire"), WIRES)
def test_a_dict_of_integers_keeps_its_entries(endpoint: Endpoint, wire: str) -> None:
    assert ask(dict[str, int], endpoint, wire=wire).value == {"item_1": 4}


@pytest.mark.parametrize("wire", ["auto", "tool"])
@pytest.mark.parametrize("endpoint", ENDPOINTS.values(), ids=ENDPOINTS)
def test_the_second_request_is_the_first_again(endpoint: Endpoint, wire: str) -> None:
    first, second = ask(Bounded, endpoint, wire=wire, times=2).heard
    assert first.body == second.body


ARRIVED = {
    "openai": {"type": "integer", "minimum": 1, "maximum": 9},
    "claude": {"type": "integer", "description": "At least 1. At most 9."},
    "gemini": {"type": "integer", "minimum": 1, "maximum": 9},
    "groq": {"type": "integer", "description": "At least 1. At most 9."},
    "mistral": {"type": "integer", "minimum": 1, "maximum": 9},
    "vllm": {"type": "integer", "minimum": 1, "maximum": 9},
}


@pytest.mark.parametrize(("name", "expected"), ARRIVED.items(), ids=ARRIVED)
def test_bounds_arrive_as_the_provider_takes_them(name: str, expected: Any) -> None:
    (heard,) = ask(Bounded, ENDPOINTS[name]).heard
    assert schema_in(heard.body)["properties"]["a"] == expected


@pytest.mark.parametrize("endpoint", ENDPOINTS.values(), ids=ENDPOINTS)
def test_litellm_rewrites_no_schema_of_ours(endpoint: Endpoint) -> None:
    client = ask(Optional, endpoint, wire="tool").client
    (request,) = client.requests
    used, fresh = client.inner, LiteLLMClient()
    assert asyncio.run(used.quote(request)) == asyncio.run(fresh.quote(request))


def test_claude_gets_a_dict_as_the_input_of_a_tool() -> None:
    (heard,) = ask(dict[str, int], ENDPOINTS["claude"]).heard
    assert schema_in(heard.body)["additionalProperties"] == {"type": "integer"}


def test_gemini_gets_recursion_in_a_field_that_is_not_required() -> None:
    (heard,) = ask(Chain, ENDPOINTS["gemini"]).heard
    (chain,) = schema_in(heard.body)["$defs"].values()
    assert chain["required"] == ["label"]
    assert chain["properties"]["next"]["description"] == "Required."


def test_an_older_claude_gets_no_reference() -> None:
    (heard,) = ask(Owner, ENDPOINTS["an older claude"]).heard
    assert "$ref" not in str(heard.body)
    assert heard.body["tool_choice"] == {"type": "tool", "name": "json_tool_call"}


def test_what_lowering_made_is_noted_in_the_exchange() -> None:
    wire = ask(list[int], ENDPOINTS["claude"]).wire
    assert wire["lowering"] == ["answer: tightened: no fields but the declared ones"]
    (note,) = ask(dict[str, int], ENDPOINTS["openai"]).wire["lowering"]
    assert note.startswith("answer: impossible: the strict form cannot say an object with keys")


NOT_TAKEN = {
    "openai": (OPENAI, {"type": "object", "properties": {"a": {"type": "null"}}}, "required"),
    "groq": (GROQ, {"type": "object", "additionalProperties": {}}, "additionalProperties"),
    "mistral": (MISTRAL, {"type": "object"}, "closes every object"),
    "vllm": (VLLM, {"type": "object", "properties": {"a": {"multipleOf": 2}}}, "xgrammar"),
}


@pytest.mark.parametrize(("protocol", "schema", "text"), NOT_TAKEN.values(), ids=NOT_TAKEN)
def test_an_emulation_refuses_what_the_pages_say(
    protocol: Protocol, schema: Any, text: str
) -> None:
    spec = {"name": "answer", "schema": schema, "strict": True}
    body = {
        "model": "openai/gpt-oss-20b",
        "messages": [{"role": "user", "content": "hi"}],
        "response_format": {"type": "json_schema", "json_schema": spec},
    }
    heard = Heard("/chat/completions", {"authorization": "Bearer x"}, body)
    with pytest.raises(NotTaken, match=text):
        protocol.answer(heard)


CLAUDE_REFUSES = {
    "a bound": ({"type": "integer", "minimum": 1}, "minimum is not supported"),
    "an open object": ({"type": "object"}, "must be explicitly set to false"),
    "anything": ({}, "must have a type"),
    "a lookahead": ({"type": "string", "pattern": "^(?=a)"}, "pattern is not supported"),
    "a reference that litellm broke": ({"$ref": "/$defs/1"}, "cannot be resolved"),
}


@pytest.mark.parametrize(("field", "text"), CLAUDE_REFUSES.values(), ids=CLAUDE_REFUSES)
def test_the_emulated_claude_refuses(field: Any, text: str) -> None:
    schema = {"type": "object", "properties": {"a": field}, "additionalProperties": False}
    headers = {"x-api-key": "k", "anthropic-version": "1", "anthropic-beta": "structured-outputs"}
    body = {"model": "m", "max_tokens": 9, "output_config": {"format": {"schema": schema}}}
    with pytest.raises(NotTaken, match=text):
        ANTHROPIC.answer(Heard("/v1/messages", headers, body))


GEMINI_REFUSES = {
    "an unknown keyword": ({"type": "string", "minLength": 1}, "minLength"),
    "words beside a reference": ({"$ref": "#/$defs/1", "title": "T"}, "beside"),
    "a required cycle": ({"$ref": "#/$defs/1"}, "cyclic"),
    "a boolean enum": ({"type": "boolean", "enum": [True]}, "strings and numbers"),
}


@pytest.mark.parametrize(("field", "text"), GEMINI_REFUSES.values(), ids=GEMINI_REFUSES)
def test_the_emulated_gemini_refuses(field: Any, text: str) -> None:
    ref = {"$ref": "#/$defs/1"}
    endless = {"type": "object", "properties": {"b": ref}, "required": ["b"]}
    schema = {"$defs": {"1": endless}, "type": "object", "properties": {"a": field}}
    config = {"response_mime_type": "application/json", "response_json_schema": schema}
    heard = Heard(":generateContent?key=k", {}, {"contents": [], "generationConfig": config})
    with pytest.raises(NotTaken, match=text):
        GEMINI.answer(heard)


@pytest.mark.parametrize("name", ["openai", "gemini", "groq", "mistral", "vllm"])
def test_a_schema_that_lowering_let_through_leads_to_a_tool(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unlowered(schema: Any, **options: Any) -> Lowered:
        return Lowered(wire_schema(schema), strict=True, notes=())

    monkeypatch.setattr("stratum.clients.litellm.lower", unlowered)
    outcome = ask(Bounded, ENDPOINTS[name])
    assert len(outcome.refusals) == 1
    assert outcome.wire["wire"] == "tool"


ERRORS = {
    "openai": (OPENAI, "error.message", "didn't provide an API key"),
    "mistral": (MISTRAL, "message", "didn't provide an API key"),
    "vllm": (VLLM, "error.type", "BadRequestError"),
    "claude": (ANTHROPIC, "error.type", "invalid_request_error"),
    "gemini": (GEMINI, "error.status", "INVALID_ARGUMENT"),
}


@pytest.mark.parametrize(("protocol", "path", "text"), ERRORS.values(), ids=ERRORS)
def test_a_refusal_is_a_400_in_the_words_of_the_provider(
    protocol: Protocol, path: str, text: str
) -> None:
    with Emulation(protocol) as emulation:
        asked = HTTPRequest(emulation.base_url, data=b"{}", headers={"content-type": "x"})
        with pytest.raises(HTTPError) as refused:
            urlopen(asked)
    with refused.value as response:
        said = json.load(response)
    for step in path.split("."):
        said = said[step]
    assert refused.value.code == 400
    assert text in said
