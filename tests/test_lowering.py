from datetime import date
from typing import Annotated, Any, Literal

import pytest
from pydantic import AnyUrl, BaseModel, ConfigDict, Field

from stratum.clients.lowering import Lowered, Note, lower_openai
from stratum.contracts import Contract
from stratum.schemas import Schema, reachable


def lower(annotation: Any) -> Lowered:
    return lower_openai(Contract.of(annotation, where="test").schema, name="Answer")


def value_of(annotation: Any) -> Any:
    """Return what became of a contract that is wrapped."""
    return lower(annotation).schema["properties"]["value"]


class Address(BaseModel):
    street: str
    city: str = Field(default="Bern", description="The town.")


class Person(BaseModel):
    home: Address = Field(description="Where they live.")
    work: Address | None = None


class Tree(BaseModel):
    children: list["Tree"] = Field(default=[], description="Its branches.")
    parent: "Tree | None" = Field(default=None)
    first: "Tree" = Field(description="The first.")


class Cat(BaseModel):
    kind: Literal["cat"]


class Dog(BaseModel):
    kind: Literal["dog"]


class Closed(BaseModel):
    model_config = ConfigDict(extra="forbid")
    a: int


class Opened(BaseModel):
    model_config = ConfigDict(extra="allow")
    a: int


Pet = Annotated[Cat | Dog, Field(discriminator="kind")]

VALUES = {
    "a bound": (
        Annotated[int, Field(ge=1, lt=9)],
        {"minimum": 1, "exclusiveMaximum": 9, "type": "integer"},
    ),
    "a multiple": (Annotated[int, Field(multiple_of=5)], {"multipleOf": 5, "type": "integer"}),
    "a list": (
        Annotated[list[int], Field(min_length=1, max_length=3)],
        {"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 3},
    ),
    "a pattern": (Annotated[str, Field(pattern="^a")], {"type": "string", "pattern": "^a"}),
    "a format": (date, {"type": "string", "format": "date"}),
    "an enum": (Literal["a", "b"], {"type": "string", "enum": ["a", "b"]}),
    "a constant": (Literal["a"], {"type": "string", "enum": ["a"]}),
    "mixed members": (
        Literal["a", 1, True],
        {"type": ["string", "boolean", "integer"], "enum": ["a", 1, True]},
    ),
    "an optional": (int | None, {"anyOf": [{"type": "integer"}, {"type": "null"}]}),
    "a length": (
        Annotated[str, Field(max_length=9)],
        {"type": "string", "description": "At most 9 characters."},
    ),
    "a length beside a description": (
        Annotated[str, Field(min_length=2, description="A name.")],
        {"type": "string", "description": "A name. At least 2 characters."},
    ),
    "a set": (
        set[int],
        {"type": "array", "items": {"type": "integer"}, "description": "No element twice."},
    ),
    "another format": (
        AnyUrl,
        {"type": "string", "description": "Format: uri. At least 1 characters."},
    ),
    "a pattern with a lookahead": (
        Annotated[str, Field(json_schema_extra={"pattern": "^(?=a)"})],
        {"type": "string", "description": "Must match ^(?=a)."},
    ),
    "an example": (
        Annotated[int, Field(examples=[1, 2])],
        {"type": "integer", "description": "Examples: [1,2]."},
    ),
    "an unknown keyword": (
        Annotated[int, Field(json_schema_extra={"x-unit": "m"})],
        {"type": "integer", "description": 'x-unit: "m".'},
    ),
}


@pytest.mark.parametrize(("annotation", "expected"), VALUES.values(), ids=VALUES)
def test_a_node_is_put_into_the_strict_form(annotation: Any, expected: Schema) -> None:
    assert value_of(annotation) == expected


def test_an_object_is_closed_and_all_its_fields_are_required() -> None:
    assert lower(Address) == Lowered(
        schema={
            "type": "object",
            "properties": {
                "street": {"type": "string"},
                "city": {"type": "string", "description": 'The town. Default: "Bern".'},
            },
            "required": ["street", "city"],
            "additionalProperties": False,
        },
        strict=True,
        notes=(
            Note("Answer", "tightened", "no fields but the declared ones"),
            Note("Answer.city", "tightened", "required, though it has a default"),
            Note("Answer.city", "prose", 'Default: "Bern".'),
        ),
    )


def test_a_closed_object_needs_no_note() -> None:
    assert lower(Closed).notes == ()


def test_a_reference_with_a_description_stands_alone_in_a_union() -> None:
    assert lower(Person).schema["properties"]["home"] == {
        "anyOf": [{"$ref": "#/$defs/1"}],
        "description": "Where they live.",
    }


def test_a_tagged_union_becomes_a_plain_one() -> None:
    members = [{"$ref": "#/$defs/1"}, {"$ref": "#/$defs/2"}]
    assert value_of(Pet) == {"anyOf": members}


def test_a_lone_member_of_all_of_is_merged() -> None:
    schema = {"allOf": [{"type": "integer", "minimum": 1}], "description": "x"}
    lowered = lower_openai(schema, name="Answer").schema["properties"]["value"]
    assert lowered == {"type": "integer", "minimum": 1, "description": "x"}


def test_a_recursive_class_keeps_its_references_under_an_object() -> None:
    schema = lower(Tree).schema
    assert schema["type"] == "object"
    assert schema["properties"]["children"]["items"] == {"$ref": "#/$defs/1"}
    assert schema["$defs"]["1"]["additionalProperties"] is False


STRICT = [Person, Tree, Pet, list[Pet], Closed, set[int], date, Literal["a", 1], Person | None]
TAKEN = {
    *("$defs", "$ref", "additionalProperties", "anyOf", "description", "enum", "exclusiveMaximum"),
    *("exclusiveMinimum", "format", "items", "maxItems", "maximum", "minItems", "minimum"),
    *("multipleOf", "pattern", "properties", "required", "title", "type"),
}


@pytest.mark.parametrize("annotation", STRICT, ids=str)
def test_nothing_that_the_strict_form_does_not_take_is_sent(annotation: Any) -> None:
    for node in reachable(lower(annotation).schema):
        assert node.keys() <= TAKEN
        assert "$ref" not in node or len(node) == 1
        if node.get("type") == "object":
            assert node["required"] == list(node["properties"])
            assert node["additionalProperties"] is False


IMPOSSIBLE = {
    "a dict": (dict[str, int], "Answer", "keys that are not known in advance"),
    "a dict in a field": (
        type("M", (BaseModel,), {"__annotations__": {"a": dict[str, int]}}),
        "Answer.a",
        "not known in advance",
    ),
    "extra fields": (Opened, "Answer", "not known in advance"),
    "a tuple": (tuple[int, str], "Answer.value", "a type for each position"),
    "anything": (list[Any], "Answer.value[]", "anything at all"),
    "a key with a pattern": (
        dict[Annotated[str, Field(pattern="^a")], int],
        "Answer",
        "keys follow a pattern",
    ),
}


@pytest.mark.parametrize(("annotation", "path", "text"), IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_what_the_strict_form_cannot_say_goes_out_whole(
    annotation: Any, path: str, text: str
) -> None:
    lowered = lower(annotation)
    (note,) = lowered.notes
    assert not lowered.strict
    assert lowered.schema == Contract.of(annotation, where="test").wire
    assert (note.path, note.verdict) == (path, "impossible")
    assert text in note.text


def test_a_dict_of_integers_survives() -> None:
    assert lower(dict[str, int]).schema == {
        "additionalProperties": {"type": "integer"},
        "type": "object",
    }


def test_several_schemas_at_once_are_impossible() -> None:
    schema = {"allOf": [{"type": "integer"}, {"minimum": 1}]}
    assert not lower_openai(schema, name="Answer").strict


def nested(levels: int) -> Schema:
    schema: Schema = {"type": "integer"}
    for _ in range(levels):
        schema = {"type": "object", "properties": {"a": schema}, "required": ["a"]}
    return schema


def wide(fields: int) -> Schema:
    return {"type": "object", "properties": {f"f{n}": {"type": "null"} for n in range(fields)}}


def listed(members: int, length: int) -> Schema:
    enum = [str(n).rjust(length) for n in range(members)]
    return {"type": "object", "properties": {"a": {"enum": enum, "type": "string"}}}


LIMITS = {
    "levels": (nested(10), nested(11), "11 levels of objects"),
    "properties": (wide(5_000), wide(5_001), "5,001 properties"),
    "enum members": (listed(1_000, 4), listed(1_001, 4), "1,001 enum members"),
    "a long enum": (listed(251, 59), listed(251, 60), "15,060 characters of a long enum"),
    "all characters": (listed(100, 1_199), listed(100, 1_200), "120,001 characters of names"),
}


@pytest.mark.parametrize(("within", "beyond", "text"), LIMITS.values(), ids=LIMITS)
def test_a_schema_beyond_the_limits_is_not_strict(
    within: Schema, beyond: Schema, text: str
) -> None:
    assert lower_openai(within, name="Answer").strict
    lowered = lower_openai(beyond, name="Answer")
    assert not lowered.strict
    assert text in lowered.notes[0].text
