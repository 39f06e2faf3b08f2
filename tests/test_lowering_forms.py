"""What each form makes of a node."""

from typing import Annotated, Any, Literal

import pytest
from pydantic import AnyUrl, BaseModel, Field, create_model

from stratum.clients.lowering import Form, Lowered, form_of, lower, lower_tool
from stratum.contracts import Contract
from stratum.schemas import Schema


class Place(BaseModel):
    town: str


class Home(BaseModel):
    place: Place = Field(description="Where.")
    rooms: int = 3


class Node(BaseModel):
    label: str
    next: "Node | None" = None


class Link(BaseModel):
    label: str
    next: "Link"


class Left(BaseModel):
    right: "Right"


class Right(BaseModel):
    left: Left | None = None


class Blank(BaseModel):
    label: Literal["", "x"]
    size: Literal[1, 2]


class Nothing(BaseModel):
    pass


def lowered(annotation: Any, form: Form) -> Lowered:
    return lower(Contract.of(annotation, where="test").schema, form=form, name="A")


def tool(annotation: Any, form: Form) -> Lowered:
    return lower_tool(Contract.of(annotation, where="test").schema, form=form, name="A")


def value(annotation: Any, form: Form) -> Schema:
    node: Schema = lowered(annotation, form).schema["properties"]["value"]
    return node


PROVIDERS = {
    "openai": ("openai", "gpt-4o-mini", "openai"),
    "azure": ("azure", "my-deployment", "openai"),
    "claude": ("anthropic", "claude-sonnet-4-5", "anthropic"),
    "claude at vertex": ("vertex_ai", "claude-sonnet-4-5", "anthropic"),
    "claude at bedrock": ("bedrock", "anthropic.claude-3-5-sonnet", "anthropic"),
    "gemini": ("gemini", "gemini-2.5-flash", "gemini"),
    "gemini at vertex": ("vertex_ai", "gemini-3-pro-preview", "gemini"),
    "the first gemini": ("gemini", "gemini-1.5-pro", "openapi"),
    "groq": ("groq", "openai/gpt-oss-120b", "groq"),
    "groq without strict": ("groq", "llama-3.3-70b-versatile", "hint"),
    "mistral": ("mistral", "mistral-small-latest", "mistral"),
    "vllm": ("hosted_vllm", "qwen", "vllm"),
}


@pytest.mark.parametrize(("provider", "model", "form"), PROVIDERS.values(), ids=PROVIDERS)
def test_a_provider_has_a_form(provider: str, model: str, form: Form) -> None:
    assert form_of(provider, model) == form


NODES: dict[str, tuple[Any, Form, Schema]] = {
    "claude: a list": (
        Annotated[list[int], Field(min_length=1)],
        "anthropic",
        {"type": "array", "items": {"type": "integer"}, "description": "At least 1 items."},
    ),
    "claude: a format": (
        AnyUrl,
        "anthropic",
        {"type": "string", "format": "uri", "description": "At least 1 characters."},
    ),
    "claude: mixed members": (
        Literal["a", 1],
        "anthropic",
        {"anyOf": [{"type": "string", "enum": ["a"]}, {"type": "integer", "enum": [1]}]},
    ),
    "claude: a word edge": (
        Annotated[str, Field(pattern=r"\ba")],
        "anthropic",
        {"type": "string", "description": r"Must match \ba."},
    ),
    "claude: a pattern": (
        Annotated[str, Field(pattern="^a$")],
        "anthropic",
        {"type": "string", "pattern": "^a$"},
    ),
    "gemini: an exclusive bound": (
        Annotated[int, Field(gt=0, lt=9)],
        "gemini",
        {"type": "integer", "minimum": 1, "maximum": 8},
    ),
    "gemini: an exclusive bound of a fraction": (
        Annotated[float, Field(gt=0.5)],
        "gemini",
        {"type": "number", "description": "More than 0.5."},
    ),
    "gemini: a truth": (
        Literal[True],
        "gemini",
        {"type": "boolean", "description": "One of: true."},
    ),
    "gemini: a tuple": (
        tuple[int, str],
        "gemini",
        {
            "type": "array",
            "prefixItems": [{"type": "integer"}, {"type": "string"}],
            "minItems": 2,
            "maxItems": 2,
        },
    ),
    "gemini: a length": (
        Annotated[str, Field(min_length=1, max_length=3)],
        "gemini",
        {"type": "string", "description": "At least 1 characters. At most 3 characters."},
    ),
    "groq: a bound": (
        Annotated[int, Field(ge=1, multiple_of=2)],
        "groq",
        {"type": "integer", "description": "At least 1. A multiple of 2."},
    ),
    "mistral: a length": (
        Annotated[str, Field(max_length=3)],
        "mistral",
        {"type": "string", "maxLength": 3},
    ),
    "vllm: a length beside a pattern": (
        Annotated[str, Field(pattern="^a", max_length=3)],
        "vllm",
        {"type": "string", "pattern": "^a", "description": "At most 3 characters."},
    ),
    "vllm: a length": (
        Annotated[str, Field(max_length=3)],
        "vllm",
        {"type": "string", "maxLength": 3},
    ),
    "vllm: a set": (
        set[int],
        "vllm",
        {"type": "array", "items": {"type": "integer"}, "description": "No element twice."},
    ),
    "vllm: a lookahead": (
        Annotated[str, Field(json_schema_extra={"pattern": "^(?=a)"})],
        "vllm",
        {"type": "string", "description": "Must match ^(?=a)."},
    ),
}


@pytest.mark.parametrize(("annotation", "form", "expected"), NODES.values(), ids=NODES)
def test_a_node_is_put_into_a_form(annotation: Any, form: Form, expected: Schema) -> None:
    assert value(annotation, form) == expected


def test_claude_gets_a_schema_without_references() -> None:
    home = lowered(Home, "anthropic").schema
    assert home["properties"]["place"] == {
        "type": "object",
        "properties": {"town": {"type": "string"}},
        "required": ["town"],
        "additionalProperties": False,
        "description": "Where.",
    }
    assert home["required"] == ["place", "rooms"]


def test_gemini_leaves_out_what_the_contract_leaves_out() -> None:
    home = lowered(Home, "gemini").schema
    assert home["required"] == ["place"]
    assert home["properties"]["rooms"]["description"] == "Default: 3."


def test_gemini_keeps_recursion_that_may_end() -> None:
    made = lowered(Node, "gemini")
    assert made.schema["$defs"]["1"]["required"] == ["label"]
    assert all(note.text != "Required." for note in made.notes)


def test_gemini_is_told_what_is_required_where_recursion_may_not_be() -> None:
    made = lowered(Link, "gemini")
    assert made.schema["$defs"]["1"]["required"] == ["label"]
    assert made.schema["$defs"]["1"]["properties"]["next"] == {
        "anyOf": [{"$ref": "#/$defs/1"}],
        "description": "Required.",
    }


def test_gemini_requires_a_field_of_a_cycle_that_ends_elsewhere() -> None:
    assert lowered(Left, "gemini").schema["required"] == ["right"]


def test_a_pattern_of_keys_is_told_to_gemini() -> None:
    made = lowered(dict[Annotated[str, Field(pattern="^a")], int], "gemini")
    assert made.schema["additionalProperties"] == {"type": "integer"}
    assert made.schema["description"] == 'Every key fits {"pattern":"^a"}.'


def test_a_pattern_of_keys_is_kept_by_vllm() -> None:
    made = lowered(dict[Annotated[str, Field(pattern="^a")], int], "vllm")
    assert made.schema["patternProperties"] == {"^a": {"type": "integer"}}


def test_a_gemini_tool_gets_in_words_what_litellm_would_take_out() -> None:
    fields = tool(Blank, "gemini").schema["properties"]
    assert fields["label"] == {"type": "string", "description": 'One of: "", "x".'}
    assert fields["size"] == {"type": "integer", "description": "One of: 1, 2."}


def test_a_gemini_tool_gets_bounds_that_may_be_reached() -> None:
    fields = tool(Annotated[int, Field(gt=0)], "gemini").schema["properties"]
    assert fields["value"] == {"type": "integer", "minimum": 1}


def test_a_schema_that_grows_without_references_is_not_for_claude() -> None:
    defs: Schema = {"0": {"type": "integer"}}
    for n in range(1, 12):
        half = {"$ref": f"#/$defs/{n - 1}"}
        defs[str(n)] = {"type": "object", "properties": {"a": half, "b": half}}
    schema = {"$defs": defs, "$ref": "#/$defs/11"}
    assert not lower(schema, form="anthropic").fits


UNFIT = {
    "claude: recursion": (Node, "anthropic", lower, "contains itself"),
    "claude: a dict": (dict[str, int], "anthropic", lower, "not known in advance"),
    "claude: anything": (list[Any], "anthropic", lower, "anything at all"),
    "claude: a tuple": (tuple[int, str], "anthropic", lower, "for each position"),
    "gemini: anything": (list[Any], "gemini", lower, "anything at all"),
    "a gemini tool: recursion": (Node, "gemini", lower_tool, "contains itself"),
    "a gemini tool: a dict": (dict[str, int], "gemini", lower_tool, "not known in advance"),
    "a gemini tool: no fields": (Nothing, "gemini", lower_tool, "without fields"),
    "the first gemini": (Place, "openapi", lower, "take no schema"),
}


@pytest.mark.parametrize(("annotation", "form", "lowering", "text"), UNFIT.values(), ids=UNFIT)
def test_what_would_be_refused_or_emptied_does_not_fit(
    annotation: Any, form: Form, lowering: Any, text: str
) -> None:
    made = lowering(Contract.of(annotation, where="test").schema, form=form)
    assert not made.fits
    assert not made.strict
    assert [note.verdict for note in made.notes if text in note.text] == ["impossible"]


LOOSE = {
    "groq: recursion": (Node, "groq"),
    "groq: a dict": (dict[str, int], "groq"),
    "mistral: a dict": (dict[str, int], "mistral"),
    "hint: a dict": (dict[str, int], "hint"),
}


@pytest.mark.parametrize(("annotation", "form"), LOOSE.values(), ids=LOOSE)
def test_what_is_not_enforced_goes_out_as_it_is(annotation: Any, form: Form) -> None:
    made = lowered(annotation, form)
    assert (made.fits, made.strict) == (True, False)
    assert made.schema == Contract.of(annotation, where="test").wire


@pytest.mark.parametrize("form", ["gemini", "mistral", "vllm"])
def test_a_field_that_litellm_takes_out_of_a_tool_does_not_fit(form: Form) -> None:
    made = tool(create_model("Unlucky", strict=(bool, ...)), form)
    assert not made.fits
    assert "litellm takes a field named 'strict' out" in made.notes[-1].text


def test_claude_takes_sixteen_unions() -> None:
    fields: dict[str, Any] = {f"f{n}": (int | str, ...) for n in range(17)}
    fits, beyond = create_model("S", **dict(list(fields.items())[1:])), create_model("T", **fields)
    assert lowered(fits, "anthropic").fits
    assert not lowered(beyond, "anthropic").fits
    assert "17 unions; Claude's form takes 16" in lowered(beyond, "anthropic").notes[-1].text


def test_many_patterns_of_keys_are_not_for_vllm() -> None:
    schema = {"type": "object", "patternProperties": {"^a": {}, "^b": {}}}
    assert not lower(schema, form="vllm").fits
