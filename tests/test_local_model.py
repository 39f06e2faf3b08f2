"""The local model answers as the API would, over real HTTP, and says what it is."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from http.client import HTTPConnection
from typing import Annotated, Any, Literal
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import ProxyHandler, Request, build_opener
from uuid import UUID

import pytest
from pydantic import BaseModel, Field, TypeAdapter

from stratum.errors import ConfigurationError
from stratum.testing.local_model import (
    MODEL,
    SCHEMA_LINE,
    Choice,
    LocalModel,
    Response,
    cut,
    failure,
    refusal,
    rules,
    serve,
)

RETRY = "Previous attempt failed:\n  - ensure: r.confidence > 0.7 (actual: 0.55)"
STRICT = {"additionalProperties": False, "type": "object"}
open_url = build_opener(ProxyHandler({})).open


@dataclass(frozen=True)
class Heard:
    status: int
    body: Any
    headers: dict[str, str]

    @property
    def choice(self) -> Any:
        return self.body["choices"][0]

    @property
    def message(self) -> Any:
        return self.choice["message"]

    @property
    def data(self) -> Any:
        return json.loads(self.message["content"])

    @property
    def error(self) -> Any:
        return self.body["error"]


@pytest.fixture(scope="module")
def model() -> Iterator[LocalModel]:
    with LocalModel() as running:
        yield running


def send(
    model: LocalModel, content: bytes | None, path: str = "/chat/completions", **options: Any
) -> Heard:
    request = Request(model.base_url + path, data=content, **options)
    try:
        with open_url(request, timeout=10) as found:
            return Heard(found.status, json.loads(found.read()), dict(found.headers))
    except HTTPError as error:
        with error:
            return Heard(error.code, json.loads(error.read()), dict(error.headers))


def ask(model: LocalModel, *texts: str, **more: Any) -> Heard:
    messages = [{"role": "user", "content": text} for text in texts]
    return send(model, json.dumps({"model": MODEL, "messages": messages, **more}).encode())


def fitting(schema: Any, *, strict: bool = False, name: str = "answer") -> Any:
    spec = {"name": name, "schema": schema, "strict": strict}
    return {"type": "json_schema", "json_schema": spec}


def fill(model: LocalModel, schema: Any, *texts: str) -> Any:
    """Ask for one field and return its value."""
    wanted = {"type": "object", "properties": {"it": schema}, "required": ["it"]}
    return ask(model, *texts, response_format=fitting(wanted)).data["it"]


def tool(name: str = "route", *, strict: bool = False, **fields: Any) -> Any:
    parameters = {"type": "object", "properties": fields}
    function = {"name": name, "parameters": parameters, "strict": strict}
    return {"type": "function", "function": function}


def forced(name: str) -> Any:
    return {"type": "function", "function": {"name": name}}


LABEL = {"enum": ["positive", "negative", "neutral"]}
SENTIMENT = {
    "type": "object",
    "properties": {
        "label": LABEL,
        "confidence": {"type": "number", "minimum": 0, "maximum": 1},
        "reasoning": {"type": "string"},
    },
}


def test_a_text_answer_names_itself(model: LocalModel) -> None:
    text = ask(model, "What is the capital of France?").message["content"]
    assert text.startswith(f"{MODEL}, a rule-based stand-in, not a language model")
    assert text.endswith("read: 'What is the capital of France?'.")


def test_a_reply_has_the_form_of_a_chat_completion(model: LocalModel) -> None:
    body = ask(model, "Hello").body
    assert body["object"] == "chat.completion"
    assert body["model"] == MODEL
    assert body["system_fingerprint"] == "rule-based stand-in, not a language model"
    assert body["choices"][0]["finish_reason"] == "stop"
    assert body["id"].startswith("chatcmpl-")
    assert abs(body["created"] - time.time()) < 60


def test_a_token_is_four_characters(model: LocalModel) -> None:
    heard = ask(model, "x" * 400, "yy")
    completion = -(-len(heard.message["content"]) // 4)
    assert heard.body["usage"] == {
        "prompt_tokens": 101,
        "completion_tokens": completion,
        "total_tokens": 101 + completion,
    }


def test_the_schema_counts_as_prompt(model: LocalModel) -> None:
    plain = ask(model, "Hello").body["usage"]["prompt_tokens"]
    asked = ask(model, "Hello", response_format=fitting(SENTIMENT)).body["usage"]["prompt_tokens"]
    assert asked > plain


def test_the_same_request_gets_the_same_answer(model: LocalModel) -> None:
    first, second = (ask(model, "Good", response_format=fitting(SENTIMENT)) for _ in "ab")
    assert (first.body["id"], first.choice) == (second.body["id"], second.choice)


def test_each_request_gets_its_own_id(model: LocalModel) -> None:
    assert ask(model, "one").body["id"] != ask(model, "two").body["id"]


def test_the_model_is_listed(model: LocalModel) -> None:
    listed = send(model, None, "/models").body["data"]
    assert [(entry["id"], entry["owned_by"]) for entry in listed] == [
        (MODEL, "rule-based stand-in, not a language model")
    ]


def test_sentiment_words_choose_label_confidence_and_reason(model: LocalModel) -> None:
    heard = ask(model, "text: I love it", response_format=fitting(SENTIMENT))
    assert heard.data == {
        "label": "positive",
        "confidence": 0.9,
        "reasoning": "rule-based: matched 'love'",
    }


def test_without_a_match_the_answer_is_unsure(model: LocalModel) -> None:
    heard = ask(model, "text: It arrived", response_format=fitting(SENTIMENT))
    assert heard.data == {
        "label": "neutral",
        "confidence": 0.55,
        "reasoning": "rule-based: matched nothing",
    }


@pytest.mark.parametrize("role", ["user", "tool"])
def test_a_retry_is_surer_of_the_same_label(model: LocalModel, role: str) -> None:
    told = {"role": role, "tool_call_id": "call_1", "content": RETRY + "\nnot positive, awful"}
    messages = [{"role": "user", "content": "text: I love it"}, told]
    body = {"messages": messages, "response_format": fitting(SENTIMENT)}
    data = send(model, json.dumps(body).encode()).data
    assert (data["label"], data["confidence"]) == ("positive", 0.95)


@pytest.mark.parametrize(
    ("members", "text", "chosen"),
    [
        pytest.param(LABEL["enum"], "It broke and I hate it", "negative", id="negative"),
        pytest.param(LABEL["enum"], "This is not good", "negative", id="negated"),
        pytest.param(LABEL["enum"], "Great screen, terrible case", "neutral", id="mixed"),
        pytest.param(["POSITIVE", "NEGATIVE"], "Great!", "POSITIVE", id="upper-case"),
        pytest.param(["card_arrival", "lost-card"], "my card is lost", "lost-card", id="overlap"),
        pytest.param(["lost_card_or_pin", "lost_card"], "lost card", "lost_card", id="nearest"),
        pytest.param(["billing", "refund"], "two refunds please", "refund", id="plural"),
        pytest.param(["billing", "support"], "hello", "billing", id="first"),
        pytest.param([1, 2, 3], "take 2 of them", 2, id="numbers"),
        pytest.param([None, "tea"], "some tea", "tea", id="nullable"),
    ],
)
def test_an_enum_member_is_chosen_by_words(
    model: LocalModel, members: list[Any], text: str, chosen: Any
) -> None:
    assert fill(model, {"enum": members}, text) == chosen


def test_only_the_user_text_chooses(model: LocalModel) -> None:
    system = {"role": "system", "content": "Choose support for hardware"}
    user = {"role": "user", "content": [{"type": "text", "text": "sales question"}]}
    wanted = fitting({"type": "object", "properties": {"team": {"enum": ["support", "sales"]}}})
    body = {"messages": [system, user], "response_format": wanted}
    assert send(model, json.dumps(body).encode()).data == {"team": "sales"}


@pytest.mark.parametrize(
    ("schema", "text", "value"),
    [
        pytest.param({"type": "integer"}, "order 42 of 7", 42, id="first-in-text"),
        pytest.param({"type": "integer"}, "v2 on 2026-01-02, 3rd", 0, id="not-in-words"),
        pytest.param({"type": "integer"}, "99999999999999999999 or 5", 5, id="exact"),
        pytest.param({"type": "integer"}, "1,250 items", 1250, id="thousands"),
        pytest.param({"type": "integer", "maximum": 10}, "42 or 7", 7, id="first-that-fits"),
        pytest.param({"type": "integer"}, "costs 12.5", 0, id="whole"),
        pytest.param({"type": "number"}, "costs $12.50", 12.5, id="decimal"),
        pytest.param({"type": "integer", "minimum": 3}, "none", 3, id="minimum"),
        pytest.param({"type": "integer", "exclusiveMinimum": 3}, "none", 4, id="above"),
        pytest.param({"type": "integer", "maximum": -5}, "none", -5, id="maximum"),
        pytest.param({"type": "number", "exclusiveMinimum": 0, "maximum": 0.1}, "", 0.05, id="gap"),
        pytest.param({"type": "integer", "minimum": 10, "multipleOf": 7}, "", 14, id="multiple"),
        pytest.param({"type": ["integer", "null"]}, "5", 5, id="nullable"),
    ],
)
def test_a_number_comes_from_the_text_or_the_bounds(
    model: LocalModel, schema: Any, text: str, value: float
) -> None:
    assert fill(model, schema, text) == value


@pytest.mark.parametrize(
    ("schema", "first", "retried"),
    [
        pytest.param({"type": "number"}, 0.55, 0.95, id="unbounded"),
        pytest.param({"type": "number", "maximum": 0.5}, 0.5, 0.5, id="clamped"),
        pytest.param({"type": "integer", "minimum": 0, "maximum": 100}, 55, 95, id="percent"),
        pytest.param({"type": "integer", "minimum": 1, "maximum": 10}, 6, 10, id="ten-points"),
        pytest.param({"anyOf": [{"type": "number"}, {"type": "null"}]}, 0.55, 0.95, id="optional"),
    ],
)
@pytest.mark.parametrize("name", ["confidence", "quality_score", "probability"])
def test_a_retry_raises_what_is_like_confidence(
    model: LocalModel, name: str, schema: Any, first: float, retried: float
) -> None:
    wanted = fitting({"type": "object", "properties": {name: schema}})
    assert ask(model, "text 3", response_format=wanted).data == {name: first}
    assert ask(model, "text 3", RETRY, response_format=wanted).data == {name: retried}


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        pytest.param(
            {"type": "string"}, "it to Ann ann@x.org ABC-12 by 2026-03-31 please.", id="words"
        ),
        pytest.param({"type": "string", "maxLength": 6}, "it to", id="cut"),
        pytest.param({"type": "string", "pattern": r"^[A-Z]{3}-\d+$"}, "ABC-12", id="token"),
        pytest.param({"type": "string", "pattern": "^(?:x|y)_[^a]{2,3}$"}, "x_bb", id="made"),
        pytest.param({"type": "string", "format": "date"}, "2026-03-31", id="date"),
        pytest.param({"type": "string", "format": "email"}, "ann@x.org", id="email"),
        pytest.param({"const": "fixed"}, "fixed", id="const"),
        pytest.param({"type": "null"}, None, id="null"),
        pytest.param({"anyOf": [{"type": "null"}, {"const": 3}]}, 3, id="not-null-first"),
        pytest.param({"allOf": [{"enum": ["tea", "by"]}]}, "by", id="all-of"),
        pytest.param({"type": "array", "items": {"const": 1}}, [1], id="one-item"),
        pytest.param({"type": "array", "items": {"const": 1}, "minItems": 2}, [1, 1], id="items"),
        pytest.param({"type": "array", "maxItems": 0}, [], id="no-items"),
        pytest.param(
            {"items": {"properties": {"a": {"enum": ["it", "by"]}}}, "minItems": 2},
            [{"a": "it"}, {"a": "it"}],
            id="objects",
        ),
        pytest.param({"type": "object"}, {}, id="open"),
        pytest.param(
            {
                "allOf": [
                    {"properties": {"a": {"const": 1}}, "required": ["a"], "type": "object"},
                    {"properties": {"b": {"const": 2}}, "required": ["b"]},
                ]
            },
            {"a": 1, "b": 2},
            id="both",
        ),
        pytest.param({"prefixItems": [{"const": 1}, {"const": 2}]}, [1, 2], id="tuple"),
        pytest.param(
            {"additionalProperties": {"const": 1}, "type": "object"}, {"item_1": 1}, id="map"
        ),
    ],
)
def test_a_value_fits_its_schema(model: LocalModel, schema: Any, value: Any) -> None:
    text = "Send it to Ann ann@x.org ABC-12 by 2026-03-31 please."
    assert fill(model, schema, text) == value


def test_a_short_text_is_padded(model: LocalModel) -> None:
    assert fill(model, {"type": "string", "minLength": 6}, "Hi") == "Hi...."


@pytest.mark.parametrize(("text", "flag"), [("this is spam", True), ("a letter", False)])
def test_a_boolean_is_whether_the_text_has_its_name(
    model: LocalModel, text: str, flag: bool
) -> None:
    wanted = fitting({"type": "object", "properties": {"spam": {"type": "boolean"}}})
    assert ask(model, text, response_format=wanted).data == {"spam": flag}


class Tree(BaseModel):
    value: int
    children: list["Tree"]
    parent: "Tree | None" = None


class Leaf(BaseModel):
    kind: Literal["leaf"]
    number: float


class Sum(BaseModel):
    kind: Literal["sum"]
    left: "Sum | Leaf"


Slug = Annotated[str, Field(pattern=r"^(?P<a>foo|bar)[-_]?\w+$", min_length=9, max_length=12)]


class Everything(BaseModel):
    tree: Tree
    total: Sum
    either: Annotated[Leaf | Sum, Field(discriminator="kind")]
    on: date
    key: UUID
    pair: tuple[int, str]
    ids: set[int] = Field(min_length=3)
    tags: frozenset[str] = Field(min_length=2)
    labels: set[Literal["a", "b"]] = Field(min_length=2)
    shares: dict[Literal["x", "y"], float]
    codes: dict[Annotated[str, Field(pattern=r"^[a-z]{2}\d$")], bool] = Field(min_length=2)
    slug: Slug
    maybe: int | None


@pytest.mark.parametrize(
    "wanted",
    [Tree, Everything, list[Tree], dict[str, list[int]], Literal["a", "b"], int, Slug, str],
    ids=["root-ref", "everything", "array", "map", "enum", "integer", "pattern", "text"],
)
@pytest.mark.parametrize("text", ["", "I got 42 on 2026-02-30 \ud83d ☃"], ids=["empty", "odd"])
def test_an_answer_is_read_by_pydantic(model: LocalModel, wanted: Any, text: str) -> None:
    contract: TypeAdapter[Any] = TypeAdapter(wanted)
    heard = ask(model, text, response_format=fitting(contract.json_schema()))
    contract.validate_json(heard.message["content"])


def test_recursion_to_the_root_ends(model: LocalModel) -> None:
    node = {
        "type": "object",
        "properties": {
            "next": {"$ref": "#"},
            "kids": {"type": "array", "items": {"anyOf": [{"$ref": "#"}]}},
        },
        "required": ["kids"],
    }
    assert ask(model, "go", response_format=fitting(node)).data == {"kids": []}


def test_endless_recursion_ends(model: LocalModel) -> None:
    node = {"properties": {"next": {"$ref": "#"}}, "required": ["next"], "type": "object"}
    assert ask(model, "go", response_format=fitting(node)).data == {
        "next": {"next": {"next": None}}
    }


@pytest.mark.parametrize("fence", ["\n```json\n{}\n```\n", "\n{}\n", " {}"], ids=["a", "b", "c"])
@pytest.mark.parametrize("role", ["system", "user"])
def test_a_schema_in_the_prompt_is_answered(model: LocalModel, role: str, fence: str) -> None:
    described = {**SENTIMENT, "description": "awful, bad, broken"}
    prompt = SCHEMA_LINE + fence.replace("{}", json.dumps(described, indent=1))
    messages = [{"role": role, "content": prompt}, {"role": "user", "content": "I love it"}]
    heard = send(model, json.dumps({"messages": messages}).encode())
    assert heard.data["label"] == "positive"


def test_a_json_object_is_json(model: LocalModel) -> None:
    heard = ask(model, "Hello in JSON", response_format={"type": "json_object"})
    assert heard.data == {"answer": "Hello in JSON"}


def test_an_answer_ends_at_max_tokens(model: LocalModel) -> None:
    heard = ask(model, "I love it", response_format=fitting(SENTIMENT), max_tokens=5)
    assert heard.choice["finish_reason"] == "length"
    assert heard.message["content"] == '{"label": "positive"'
    assert heard.body["usage"]["completion_tokens"] == 5


@pytest.mark.parametrize(
    ("choice", "finish"),
    [(forced("route"), "stop"), ("required", "tool_calls"), ("auto", "tool_calls")],
    ids=["named", "required", "auto"],
)
def test_a_tool_is_called_with_fitting_arguments(
    model: LocalModel, choice: Any, finish: str
) -> None:
    heard = ask(model, "I love it", tools=[tool(label=LABEL)], tool_choice=choice)
    (call,) = heard.message["tool_calls"]
    assert call["type"] == "function"
    assert call["function"] == {"name": "route", "arguments": '{"label": "positive"}'}
    assert (heard.message["content"], heard.choice["finish_reason"]) == (None, finish)


def test_the_tool_whose_name_is_nearest_is_called(model: LocalModel) -> None:
    heard = ask(model, "what is the weather", tools=[tool("send_mail"), tool("get_weather")])
    assert heard.message["tool_calls"][0]["function"]["name"] == "get_weather"


@pytest.mark.parametrize(
    ("result", "called"), [("It is sunny.", False), (RETRY, True)], ids=["result", "retry"]
)
def test_a_tool_is_called_again_only_for_a_retry(
    model: LocalModel, result: str, called: bool
) -> None:
    told = {"role": "tool", "tool_call_id": "call_1", "content": result}
    body = {"messages": [{"role": "user", "content": "go"}, told], "tools": [tool()]}
    message = send(model, json.dumps(body).encode()).message
    assert ("tool_calls" in message) is called


def test_a_forced_tool_is_called_again(model: LocalModel) -> None:
    told = {"role": "tool", "tool_call_id": "call_1", "content": "It is sunny."}
    body = {"messages": [told], "tools": [tool()], "tool_choice": "required"}
    assert "tool_calls" in send(model, json.dumps(body).encode()).message


def test_no_tool_is_called_when_told_so(model: LocalModel) -> None:
    assert "tool_calls" not in ask(model, "go", tools=[tool()], tool_choice="none").message


def strict(schema: Any) -> Any:
    return {"response_format": fitting(schema, strict=True)}


def field_of(schema: Any) -> Any:
    return strict({**STRICT, "properties": {"a": schema}, "required": ["a"]})


@pytest.mark.parametrize(
    ("request_body", "reason"),
    [
        (strict({"type": "object"}), "In context=(), 'additionalProperties' is required"),
        (field_of({"type": "object"}), "In context=('properties', 'a'), 'additionalProperties'"),
        (strict({**STRICT, "properties": {"a": {}}}), "Missing 'a'."),
        (field_of({"items": {**STRICT, "properties": {"b": {}}}}), "'a', 'items'), 'required'"),
        (strict({**STRICT, "$defs": {"D": {"default": 1}}}), "('$defs', 'D'), 'default' is not"),
        (field_of({"anyOf": [{}, {"minLength": 1}]}), "'anyOf', '1'), 'minLength' is not"),
        (strict({"type": "array"}), "'type: \"object\"', got 'type: \"array\"'"),
        (strict({"$ref": "#/$defs/A"}), "got 'type: null'"),
        (strict({"anyOf": [STRICT]}), "not have 'anyOf' at the top level"),
    ],
    ids=["open", "nested", "optional", "items", "defs", "any-of", "array", "ref", "root-any-of"],
)
def test_the_strict_form_is_kept(model: LocalModel, request_body: Any, reason: str) -> None:
    heard = ask(model, "go", **request_body)
    assert (heard.status, heard.error["param"]) == (400, "response_format")
    assert heard.error["message"].startswith("Invalid schema for response_format 'answer': ")
    assert reason in heard.error["message"]


FORBIDDEN = """
    allOf oneOf not if then else patternProperties prefixItems uniqueItems minLength maxLength
    default
"""


@pytest.mark.parametrize("word", FORBIDDEN.split())
def test_the_strict_form_refuses(model: LocalModel, word: str) -> None:
    message = ask(model, "go", **field_of({word: []})).error["message"]
    assert message.endswith(f"In context=('properties', 'a'), '{word}' is not permitted.")


def test_a_strict_schema_is_answered(model: LocalModel) -> None:
    nested = {**STRICT, "properties": {"default": {"type": "string"}}, "required": ["default"]}
    assert ask(model, "Hello", **field_of(nested)).data == {"a": {"default": "Hello"}}


def test_a_strict_tool_is_checked_too(model: LocalModel) -> None:
    heard = ask(model, "go", tools=[tool(), tool("second", strict=True)])
    assert heard.error["message"].startswith("Invalid schema for function 'second': In context=()")
    assert heard.error["param"] == "tools[1].function.parameters"
    assert heard.error["code"] == "invalid_function_parameters"


HELLO = [{"role": "user", "content": "Hello"}]


@pytest.mark.parametrize(
    ("body", "param", "text"),
    [
        ({}, "messages", "Missing required parameter: 'messages'."),
        ({"messages": []}, "messages", "a non-empty array"),
        ({"messages": ["Hello"]}, "messages[0]", "expected an object"),
        ({"messages": [{"content": ""}]}, "messages[0].role", "Missing required"),
        ({"messages": HELLO, "stream": True}, "stream", "does not stream: send stream=false"),
        ({"messages": HELLO, "response_format": "json"}, "response_format", "Invalid type"),
        (
            {"messages": HELLO, "response_format": {"type": "json_schema"}},
            "response_format.json_schema.name",
            "Missing required",
        ),
        (
            {"messages": HELLO, "response_format": fitting({}, name="list[int]")},
            "response_format.json_schema.name",
            "'^[a-zA-Z0-9_-]{1,64}$'",
        ),
        ({"messages": HELLO, "response_format": fitting([])}, "response_format", "an object"),
        ({"messages": HELLO, "response_format": {"type": "xml"}}, "response_format", "Invalid"),
        ({"messages": HELLO, "tools": []}, "tools", "a non-empty array"),
        ({"messages": HELLO, "tools": [{}]}, "tools[0].function.name", "Missing required"),
        ({"messages": HELLO, "tool_choice": "auto"}, "tool_choice", "when 'tools' are specified"),
        (
            {"messages": HELLO, "tools": [tool()], "tool_choice": forced("other")},
            "tool_choice",
            "not found in 'tools'",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and " " not in value else None,
)
def test_a_malformed_request_is_refused(
    model: LocalModel, body: Any, param: str, text: str
) -> None:
    heard = send(model, json.dumps(body).encode())
    assert (heard.status, heard.error["param"]) == (400, param)
    assert heard.error["type"] == "invalid_request_error"
    assert text in heard.error["message"]
    assert heard.error.keys() == {"message", "type", "param", "code"}


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'{"a": NaN}', b"\xff", b"[" * 100_000],
    ids=["empty", "cut", "array", "nan", "binary", "deep"],
)
def test_what_is_no_json_object_is_refused(model: LocalModel, content: bytes) -> None:
    heard = send(model, content)
    assert heard.status == 400
    assert "could not parse the JSON body" in heard.error["message"]


@pytest.mark.parametrize(
    ("method", "path", "status", "text"),
    [
        ("POST", "/embeddings", 404, "Invalid URL (POST /v1/embeddings)"),
        ("GET", "/nothing", 404, "Invalid URL (GET /v1/nothing)"),
        ("GET", "/chat/completions", 405, "Not allowed to GET on /v1/chat/completions."),
        ("DELETE", "/models", 501, "Unsupported method ('DELETE')"),
    ],
    ids=["post", "get", "wrong-method", "unknown-method"],
)
def test_an_unknown_address_is_an_error(
    model: LocalModel, method: str, path: str, status: int, text: str
) -> None:
    heard = send(model, None, path, method=method)
    assert (heard.status, heard.error["message"]) == (status, text)


@pytest.mark.parametrize(
    "headers",
    [{"Transfer-Encoding": "chunked"}, {"Content-Length": "many"}],
    ids=["chunked", "no-number"],
)
def test_a_body_of_unknown_length_is_refused(model: LocalModel, headers: dict[str, str]) -> None:
    with closing(HTTPConnection(urlsplit(model.base_url).netloc, timeout=10)) as connection:
        connection.request("POST", "/v1/chat/completions", b"0\r\n\r\n", headers)
        response = connection.getresponse()
        error = json.loads(response.read())["error"]
    assert (response.status, response.getheader("Connection")) == (411, "close")
    assert error["message"] == "Send the body with a Content-Length."


@pytest.mark.parametrize(
    ("answer", "content"),
    [({"label": "x"}, '{"label": "x"}'), ("plain é", "plain é"), (None, "null"), ([1], "[1]")],
    ids=["data", "text", "null", "array"],
)
def test_an_answer_function_replaces_the_rules(answer: object, content: str) -> None:
    with LocalModel(answer=lambda body: answer) as model:
        assert ask(model, "go").message["content"] == content


def test_an_answer_function_sees_the_request() -> None:
    with LocalModel(answer=lambda body: body["messages"][0]["content"].upper()) as model:
        assert ask(model, "go").message["content"] == "GO"


def test_an_answer_function_can_fall_back_on_the_rules() -> None:
    with LocalModel(answer=rules) as model:
        assert MODEL in ask(model, "go").message["content"]


@pytest.mark.parametrize(
    ("answer", "choice", "arguments"),
    [({"a": 1}, "auto", '{"a": 1}'), ("{broken", forced("route"), "{broken")],
    ids=["data", "broken-text"],
)
def test_an_answer_function_gives_the_arguments_of_a_tool(
    answer: object, choice: Any, arguments: str
) -> None:
    with LocalModel(answer=lambda body: answer) as model:
        message = ask(model, "go", tools=[tool()], tool_choice=choice).message
    assert message["tool_calls"][0]["function"]["arguments"] == arguments


def test_an_answer_function_may_leave_the_tool_alone() -> None:
    with LocalModel(answer=lambda body: "no tool needed") as model:
        assert ask(model, "go", tools=[tool()]).message["content"] == "no tool needed"


def test_a_refusal_has_no_content() -> None:
    with LocalModel(answer=lambda body: refusal("I cannot help.")) as model:
        heard = ask(model, "go", response_format=fitting(SENTIMENT))
    assert (heard.status, heard.choice["finish_reason"]) == (200, "stop")
    assert (heard.message["refusal"], heard.message["content"]) == ("I cannot help.", None)


def test_a_cut_answer_says_so() -> None:
    with LocalModel(answer=lambda body: cut('{"label": "pos')) as model:
        heard = ask(model, "go")
        called = ask(model, "go", tools=[tool()], tool_choice="required")
    assert heard.message["content"] == '{"label": "pos'
    assert heard.choice["finish_reason"] == called.choice["finish_reason"] == "length"


def test_an_answer_may_be_filtered() -> None:
    with LocalModel(answer=lambda body: Choice("", finish="content_filter")) as model:
        assert ask(model, "go").choice["finish_reason"] == "content_filter"


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (401, "invalid_request_error", "invalid_api_key"),
        (404, "invalid_request_error", None),
        (429, "requests", "rate_limit_exceeded"),
        (503, "server_error", None),
    ],
    ids=["key", "missing", "limit", "down"],
)
def test_a_failure_is_worded_as_the_api_does(status: int, kind: str, code: str | None) -> None:
    with LocalModel(answer=lambda body: failure(status, "no", retry_after=1.5)) as model:
        heard = ask(model, "go")
    assert (heard.status, heard.headers["Retry-After"]) == (status, "1.5")
    assert heard.error == {"message": "no", "type": kind, "param": None, "code": code}


def test_a_response_is_sent_as_it_stands() -> None:
    page = Response(200, "[1]", {"Content-Type": "text/html", "X-Here": "yes"})
    with LocalModel(answer=lambda body: page) as model:
        heard = ask(model, "go")
    assert (heard.body, heard.headers["X-Here"]) == ([1], "yes")
    assert heard.headers["Content-Type"] == "text/html"


def test_an_answer_function_that_raises_is_told() -> None:
    with LocalModel(answer=lambda body: body["nothing"]) as model:
        heard = ask(model, "go")
    assert heard.status == 500
    assert heard.error["message"] == "Answering raised KeyError: 'nothing'"


def test_a_schema_beyond_understanding_is_told(model: LocalModel) -> None:
    heard = ask(model, "go", **strict({**STRICT, "properties": 1}))
    assert (heard.status, heard.error["type"]) == (500, "server_error")
    assert heard.error["message"].startswith("Answering raised TypeError: ")


def test_requests_are_kept_in_order() -> None:
    with LocalModel() as model:
        ask(model, "one", temperature=0)
        ask(model, "two", stream=True)
    contents = [request["messages"][0]["content"] for request in model.requests]
    assert contents == ["one", "two"]
    assert model.requests[0]["temperature"] == 0


def test_the_list_of_requests_is_a_copy() -> None:
    with LocalModel() as model:
        ask(model, "one")
        model.requests.clear()
    assert len(model.requests) == 1


def test_many_ask_at_once() -> None:
    with LocalModel(delay=0.1) as model, ThreadPoolExecutor(20) as pool:
        begun = time.monotonic()
        statuses = [heard.status for heard in pool.map(lambda i: ask(model, f"{i}"), range(20))]
        took = time.monotonic() - begun
    assert statuses == [200] * 20
    assert len(model.requests) == 20
    assert 0.1 <= took < 1.5


def hello(connection: HTTPConnection) -> int:
    connection.request("POST", "/v1/chat/completions", json.dumps({"messages": HELLO}))
    response = connection.getresponse()
    response.read()
    return response.status


def test_a_connection_is_kept(model: LocalModel) -> None:
    with closing(HTTPConnection(urlsplit(model.base_url).netloc, timeout=10)) as connection:
        assert hello(connection) == 200
        kept = connection.sock
        assert hello(connection) == 200
        assert connection.sock is kept is not None


def test_a_kept_connection_ends_with_the_model() -> None:
    with LocalModel() as model:
        connection = HTTPConnection(urlsplit(model.base_url).netloc, timeout=10)
        hello(connection)
    with closing(connection), pytest.raises(ConnectionError):
        hello(connection)


def test_a_request_that_waits_ends_with_the_model() -> None:
    with ThreadPoolExecutor(1) as pool, LocalModel(delay=3) as model:
        waiting = pool.submit(ask, model, "go")
        while not model.requests:
            time.sleep(0.01)
        model.stop()
        assert isinstance(waiting.exception(timeout=1), ConnectionError)


def test_without_a_start_there_is_no_address() -> None:
    with pytest.raises(ConfigurationError, match=r"not running\.\n  Call start\(\) first"):
        _ = LocalModel().base_url


def test_stopping_twice_is_harmless() -> None:
    model = LocalModel()
    model.start()
    model.stop()
    model.stop()
    with pytest.raises(ConfigurationError, match="not running"):
        _ = model.base_url


def test_nobody_listens_after_the_with_block() -> None:
    with LocalModel() as model:
        url = f"{model.base_url}/models"
    with pytest.raises(URLError, match="refused"):
        open_url(url, timeout=10)


def test_it_starts_again() -> None:
    model = LocalModel()
    for _ in range(2):
        with model:
            model.start()
            assert ask(model, "go").status == 200
    assert len(model.requests) == 2


def test_a_port_that_was_just_left_is_free() -> None:
    with LocalModel() as first:
        address = urlsplit(first.base_url)
        connection = HTTPConnection(address.netloc, timeout=10)
        hello(connection)
    connection.close()  # last, so that the server's end lingers
    with LocalModel(address.port or 0) as second:
        assert ask(second, "go").status == 200


def test_a_client_that_leaves_is_no_noise(capfd: pytest.CaptureFixture[str]) -> None:
    with LocalModel(answer=lambda body: "x" * 10_000_000, delay=0.2) as model:
        connection = HTTPConnection(urlsplit(model.base_url).netloc, timeout=10)
        connection.request("POST", "/v1/chat/completions", json.dumps({"messages": HELLO}))
        connection.close()
        time.sleep(0.4)
    assert capfd.readouterr() == ("", "")


def test_a_taken_port_is_a_clear_error(model: LocalModel) -> None:
    port = urlsplit(model.base_url).port or 0
    with pytest.raises(ConfigurationError) as raised:
        serve(port)
    assert str(raised.value).startswith(f"The local model cannot listen on 127.0.0.1:{port}: ")
    assert str(raised.value).endswith("or choose another port; port 0 takes a free one.")


def test_an_impossible_port_is_a_clear_error() -> None:
    with pytest.raises(ConfigurationError, match=r"127\.0\.0\.1:70000"):
        LocalModel(70_000).start()


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for a child there")
def test_serve_says_how_to_use_it_and_ends_at_ctrl_c() -> None:
    code = "from stratum.testing.local_model import serve; serve(0)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=-1, stderr=-1, text=True) as child:
        assert child.stdout is not None
        said = [child.stdout.readline().strip() for _ in range(11)]
        child.send_signal(signal.SIGINT)
        _, errors = child.communicate(timeout=10)
    assert said[0] == f"{MODEL}: a rule-based stand-in, not a language model."
    assert said[3].startswith("export OPENAI_API_BASE=http://127.0.0.1:")
    assert said[4].startswith("export OPENAI_BASE_URL=http://127.0.0.1:")
    assert {"export OPENAI_API_KEY=local", f'model = "openai/{MODEL}"'} <= set(said)
    assert (child.returncode, errors) == (0, "")


def test_the_openai_client_parses_an_answer(model: LocalModel) -> None:
    from openai import OpenAI

    schema = {**SENTIMENT, **STRICT, "required": ["label", "confidence", "reasoning"]}
    with OpenAI(base_url=model.base_url, api_key="local", max_retries=0) as client:
        completion = client.chat.completions.create(
            model=MODEL,
            messages=[{"role": "user", "content": "I love it"}],
            response_format=fitting(schema, strict=True),
        )
    assert json.loads(completion.choices[0].message.content or "")["label"] == "positive"
    assert completion.usage is not None
    assert completion.usage.total_tokens > 0


def test_the_openai_client_reads_its_errors() -> None:
    from openai import OpenAI, RateLimitError

    with (
        LocalModel(answer=lambda body: failure(429, "slow down", retry_after=1)) as model,
        OpenAI(base_url=model.base_url, api_key="local", max_retries=0) as client,
        pytest.raises(RateLimitError, match="slow down") as raised,
    ):
        client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "go"}])
    assert raised.value.code == "rate_limit_exceeded"
    assert raised.value.response.headers["retry-after"] == "1"
