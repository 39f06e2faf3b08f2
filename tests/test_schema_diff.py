from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from stratum.contracts import Contract
from stratum.schema_diff import difference
from stratum.schemas import Schema, fingerprint


def schema(annotation: Any) -> Schema:
    return Contract.of(annotation, where="test").schema


def model(**fields: Any) -> Any:
    defaults = {name: field[1] for name, field in fields.items() if isinstance(field, tuple)}
    hints = {n: field[0] if isinstance(field, tuple) else field for n, field in fields.items()}
    return type("Model", (BaseModel,), {"__annotations__": hints, **defaults})


class Node(BaseModel):
    value: int
    next: "Node | None" = None


class Other(BaseModel):
    value: str
    next: "Other | None" = None


def bounded(**bounds: Any) -> Any:
    return model(n=(float, Field(**bounds)))


CHANGES = {
    "a field added": (model(a=int), model(a=int, b=str), ["+ b: string (required)"]),
    "an optional field added": (
        model(a=int),
        model(a=int, b=(str | None, None)),
        ["+ b: string or null (optional)"],
    ),
    "a field removed": (model(a=int, b=str), model(a=int), ["- b"]),
    "a nested field": (
        model(home=model(city=str)),
        model(home=model(city=str, zip=list[int])),
        ["+ home.zip: list of integer (required)"],
    ),
    "a field of an element": (
        model(x=list[model(a=int)]),
        model(x=list[model(a=str)]),
        ["~ x[].a: type integer -> string"],
    ),
    "a field of an optional": (
        model(x=(model(a=int) | None, None)),
        model(x=(model(a=str) | None, None)),
        ["~ x.a: type integer -> string"],
    ),
    "a value of a dict": (dict[str, int], dict[str, bool], ["~ []: type integer -> boolean"]),
    "a position of a tuple": (tuple[int, str], tuple[int, bool], ["~ [1]: type string -> boolean"]),
    "a type": (model(a=int), model(a=list[str]), ["~ a: type integer -> list of string"]),
    "a type at the root": (int, str, ["~ type integer -> string"]),
    "a value removed": (
        model(a=Literal["x", "y", "z"]),
        model(a=Literal["x", "z"]),
        ['~ a: "y" removed'],
    ),
    "a value added": (model(a=Literal["x"]), model(a=Literal["x", "y"]), ['~ a: "y" added']),
    "values reordered": (
        model(a=Literal["x", "y"]),
        model(a=Literal["y", "x"]),
        ['~ a: reordered: "x", "y" -> "y", "x"'],
    ),
    "values for any": (model(a=Literal["x"]), model(a=str), ['~ a: values "x" -> any']),
    "a bound lowered": (bounded(le=1), bounded(le=0.9), ["~ n: narrowed: maximum 1 -> 0.9"]),
    "a bound raised": (bounded(le=1), bounded(le=2), ["~ n: widened: maximum 1 -> 2"]),
    "a lower bound raised": (bounded(ge=0), bounded(ge=1), ["~ n: narrowed: minimum 0 -> 1"]),
    "a bound added": (model(n=float), bounded(gt=0), ["~ n: narrowed: exclusiveMinimum none -> 0"]),
    "a bound removed": (
        bounded(gt=0),
        model(n=float),
        ["~ n: widened: exclusiveMinimum 0 -> none"],
    ),
    "a description": (
        model(a=(int, Field(description="a"))),
        model(a=(int, Field(description="b"))),
        ['~ a: description "a" -> "b"'],
    ),
    "a description added": (
        model(a=int),
        model(a=(int, Field(description="b"))),
        ['~ a: description none -> "b"'],
    ),
    "a description of an optional": (
        model(a=int | None),
        model(a=(int | None, Field(description="b"))),
        ['~ a: description none -> "b"'],
    ),
    "a default": (
        model(a=(int, 1)),
        model(a=(int, 2)),
        ["~ a: default 1 -> 2"],
    ),
    "optional": (
        model(a=int),
        model(a=(int, 1)),
        ["~ a: default none -> 1", "~ a: is now optional"],
    ),
    "required": (
        model(a=(int, 1)),
        model(a=int),
        ["~ a: default 1 -> none", "~ a: is now required"],
    ),
    "null": (model(a=int), model(a=int | None), ["~ a: may be null"]),
    "no null": (model(a=int | None), model(a=int), ["~ a: may no longer be null"]),
    "order": (model(a=int, b=int), model(b=int, a=int), ["reordered: a, b -> b, a"]),
    "order of a nested class": (
        model(x=model(a=int, b=int)),
        model(x=model(b=int, a=int)),
        ["~ x: reordered: a, b -> b, a"],
    ),
    "a member of a union": (int | str, int | bool | str, ["~ boolean added"]),
    "a class of a union": (
        model(k=Literal["cat"]) | model(k=Literal["dog"]),
        model(k=Literal["cat"]) | model(k=Literal["dog"], n=int),
        ["+ n: integer (required)"],
    ),
    "a recursive class": (Node, Other, ["~ value: type integer -> string"]),
    "control characters": (
        model(a=(int, Field(title="a"))),
        model(a=(int, Field(title="\x1b"))),
        ['~ a: title "a" -> "\\u001b"'],
    ),
    "additional fields": (
        type("Model", (model(a=int),), {"model_config": {"extra": "allow"}}),
        type("Model", (model(a=int),), {"model_config": {"extra": "forbid"}}),
        ["~ additionalProperties true -> false"],
    ),
}


@pytest.mark.parametrize(("before", "after", "lines"), CHANGES.values(), ids=CHANGES)
def test_a_change_is_said_in_a_line(before: Any, after: Any, lines: list[str]) -> None:
    assert difference(schema(before), schema(after)) == lines


@pytest.mark.parametrize(
    "annotation", [int, Node, model(a=int)], ids=["text", "recursive", "model"]
)
def test_equal_schemas_do_not_differ(annotation: Any) -> None:
    assert difference(schema(annotation), schema(annotation)) == []


def test_a_change_without_words_is_named_by_its_path() -> None:
    before, after = {"$defs": {"1": {"type": "null"}}}, {"$defs": {"1": {"type": "string"}}}
    assert difference(before, after) == ["~ schema: #/$defs/1/type differs"]


SCALARS = st.none() | st.booleans() | st.integers(0, 2) | st.sampled_from(["", "a", "null"])
NAMES = st.sampled_from(["a", "b", "properties", "$ref"])


def nodes(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    named = st.dictionaries(NAMES, inner, max_size=3)
    listed = st.lists(inner, max_size=3)
    keywords = {
        "type": st.sampled_from(["string", "object", "array", "null"]),
        "$ref": st.sampled_from(["#/$defs/a", "#/$defs/b", "elsewhere"]),
        "properties": named,
        "required": st.lists(NAMES, max_size=2),
        "additionalProperties": inner | st.booleans(),
        "items": inner,
        "prefixItems": listed,
        "anyOf": listed,
        "oneOf": listed,
        "allOf": listed,
        "enum": st.lists(SCALARS, max_size=3),
        "const": SCALARS,
        "maximum": SCALARS,
        "minLength": SCALARS,
        "default": SCALARS | st.dictionaries(NAMES, SCALARS),
        "$defs": named,
    }
    return st.fixed_dictionaries({}, optional=keywords)


SCHEMAS = nodes(st.recursive(st.just({}), nodes, max_leaves=6))


@given(SCHEMAS, SCHEMAS)
def test_any_two_schemas_differ_exactly_when_their_hashes_do(before: Any, after: Any) -> None:
    assert bool(difference(before, after)) == (fingerprint(before) != fingerprint(after))


@given(SCHEMAS, st.data())
def test_a_small_change_is_never_overlooked(before: Any, data: st.DataObject) -> None:
    after = {**before, data.draw(st.sampled_from(["items", "const", "$ref"])): data.draw(SCALARS)}
    assert bool(difference(before, after)) == (fingerprint(before) != fingerprint(after))
