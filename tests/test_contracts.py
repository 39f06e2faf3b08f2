import enum
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from inspect import Parameter
from ipaddress import IPv4Address
from typing import (
    Annotated,
    Any,
    Generic,
    Literal,
    NamedTuple,
    NoReturn,
    SupportsInt,
    TypedDict,
    TypeVar,
)

import pytest
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    RootModel,
    ValidationError,
    field_validator,
    model_validator,
)

from stratum.annotations import type_name
from stratum.contracts import Contract, Unreadable, contract
from stratum.errors import DeclarationError
from stratum.opacity import opaque

T = TypeVar("T")


def of(annotation: Any) -> Contract:
    return Contract.of(annotation, where="app.classify")


def problems(annotation: Any, data: Any) -> tuple[str, ...]:
    with pytest.raises(Unreadable) as caught:
        of(annotation).read(data)
    return caught.value.problems


# Declaring


@contract
class Verdict:
    """What a text is."""

    label: Literal["positive", "negative", "neutral"]
    confidence: float = Field(ge=0, le=1)
    reasoning: str = ""

    def shout(self) -> str:
        return super().__str__().upper()

    @field_validator("reasoning")
    @classmethod
    def trimmed(cls, text: str) -> str:
        return text.strip()


def test_a_plain_class_becomes_a_model_of_the_same_name() -> None:
    assert issubclass(Verdict, BaseModel)
    assert (Verdict.__name__, Verdict.__qualname__) == ("Verdict", "Verdict")
    assert (Verdict.__module__, Verdict.__doc__) == (__name__, "What a text is.")


def test_a_plain_class_keeps_its_methods_defaults_and_validators() -> None:
    verdict = Verdict(label="neutral", confidence=1)
    assert verdict.shout() == "LABEL='NEUTRAL' CONFIDENCE=1.0 REASONING=''"
    assert Verdict(label="neutral", confidence=1, reasoning=" a ").reasoning == "a"


def test_a_model_is_returned_as_it_is() -> None:
    class Model(BaseModel):
        a: int

    assert contract(Model) is Model


def test_a_contract_can_be_the_base_of_another() -> None:
    @contract
    class Longer(Verdict):
        length: int

    assert list(Longer.model_fields) == ["label", "confidence", "reasoning", "length"]


def test_local_classes_may_be_named_in_quotes() -> None:
    @contract
    class Inner:
        x: int

    @contract
    class Outer:
        inner: "Inner"
        outer: "Outer | None" = None

    value = of(Outer).read({"inner": {"x": 1}, "outer": {"inner": {"x": 2}}})
    assert value.outer.inner.x == 2


def test_a_generic_class_is_a_contract_for_each_argument() -> None:
    @contract
    class Box(Generic[T]):
        content: T

    assert of(Box[int]).read({"content": 1}).content == 1


class Color(enum.Enum):
    RED = "red"


@dataclass
class Data:
    a: int


class Empty:
    pass


class Unannotated:
    a = 5


class Typed(TypedDict):
    a: int


class Point(NamedTuple):
    x: int


MISUSES = {
    "a value": (5, "no class"),
    "a dataclass": (Data, "Remove @dataclass"),
    "an enum": (Color, "enum"),
    "a TypedDict": (Typed, "TypedDict"),
    "a named tuple": (Point, "tuple"),
    "a protocol": (SupportsInt, "protocol"),
    "a class without fields": (Empty, "it has no fields.\n  Annotate at least one"),
    "a model without fields": (type("Model", (BaseModel,), {}), "it has no fields"),
    "a field without annotation": (Unannotated, "`a = 5`.\n  Annotate every field"),
}


@pytest.mark.parametrize(("given", "message"), MISUSES.values(), ids=MISUSES)
def test_a_misused_decorator_says_what_to_do(given: Any, message: str) -> None:
    with pytest.raises(DeclarationError) as caught:
        contract(given)
    assert message in str(caught.value)


# Annotations that are no contract

UNSUPPORTED = {
    "missing": (Parameter.empty, "has no annotation"),
    "Any": (Any, "Any is no contract.\n  Say what the answer looks like"),
    "object": (object, "object is no contract"),
    "None": (None, "an answer of None says nothing"),
    "NoReturn": (NoReturn, "says nothing"),
    "a callable": (Callable[[int], int], "JSON can carry"),
    "a function": (len, "JSON can carry"),
    "an awaitable": (Awaitable[int], "JSON can carry"),
    "an async iterator": (AsyncIterator[int], "JSON can carry"),
    "an iterator": (Iterator[int], "JSON can carry"),
    "an iterable inside": (dict[str, Iterable[int]], "JSON can carry"),
    "a callable in a union": (int | Callable[[], int], "JSON can carry"),
    "a protocol": (SupportsInt, "SupportsInt is a protocol"),
    "a type variable": (list[T], "stands for no type"),  # type: ignore[valid-type]
    "an unknown name": ("Nope", "the type 'Nope' cannot be found.\n  Define or import it"),
    "an unknown name inside": (list["Nope"], "'Nope'"),  # type: ignore[name-defined]  # noqa: F821
    "a class pydantic does not know": (Empty, "Empty cannot be a contract"),
}


@pytest.mark.parametrize(("annotation", "message"), UNSUPPORTED.values(), ids=UNSUPPORTED)
def test_an_unsupported_annotation_says_where_and_what_to_do(annotation: Any, message: str) -> None:
    with pytest.raises(DeclarationError) as caught:
        of(annotation)
    assert str(caught.value).startswith("app.classify: ")
    assert message in str(caught.value)


def test_a_field_that_no_answer_can_have_is_an_error() -> None:
    class Model(BaseModel):
        run: Callable[[], int] | int

    with pytest.raises(DeclarationError, match="Model cannot be a contract"):
        of(Model)


def test_a_model_that_refers_to_nothing_is_an_error() -> None:
    class Model(BaseModel):
        inner: "Nope"  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(DeclarationError, match="Model cannot be a contract"):
        of(Model)


NAMES = {
    "a class": (Verdict, "Verdict"),
    "a list": (list[Verdict], "list[Verdict]"),
    "a literal": (Literal["a.b", 1], "Literal['a.b', 1]"),
    "an optional": (Verdict | None, "Verdict | None"),
    "a dict": (dict[str, tuple[int, ...]], "dict[str, tuple[int, ...]]"),
    "an opaque text": (opaque[str], "str"),
}


@pytest.mark.parametrize(("annotation", "name"), NAMES.values(), ids=NAMES)
def test_a_contract_has_a_name_for_people(annotation: Any, name: str) -> None:
    assert of(annotation).name == type_name(annotation) == name


# What the hash covers


def model(name: str = "Model", doc: str | None = None, **fields: Any) -> type[BaseModel]:
    body = {n: f[1] for n, f in fields.items() if f[1] is not ...}
    hints = {n: f[0] for n, f in fields.items()}
    return type(name, (BaseModel,), {"__annotations__": hints, "__doc__": doc, **body})


BASE = {"a": (int, Field(ge=1)), "b": (str, ...)}
SAME = {
    "another class name": model("Other", **BASE),
    "a docstring": model(doc="Words.", **BASE),
}
DIFFERENT = {
    "swapped fields": model(b=BASE["b"], a=BASE["a"]),
    "a description": model(a=(int, Field(ge=1, description="x")), b=BASE["b"]),
    "a title": model(a=(int, Field(ge=1, title="A")), b=BASE["b"]),
    "an example": model(a=(int, Field(ge=1, examples=[1])), b=BASE["b"]),
    "a bound": model(a=(int, Field(ge=2)), b=BASE["b"]),
    "a default": model(a=BASE["a"], b=(str, "x")),
    "another type": model(a=BASE["a"], b=(bool, ...)),
    "another field": model(**BASE, c=(int, ...)),
}


@pytest.mark.parametrize("changed", SAME.values(), ids=SAME)
def test_the_hash_does_not_depend_on_what_is_not_sent(changed: type[BaseModel]) -> None:
    assert of(changed) == of(model(**BASE))


@pytest.mark.parametrize("changed", DIFFERENT.values(), ids=DIFFERENT)
def test_the_hash_depends_on_what_is_sent(changed: type[BaseModel]) -> None:
    assert of(changed).hash != of(model(**BASE)).hash


def test_a_nested_class_may_be_renamed_too() -> None:
    inner, renamed = model("Inner", a=(int, ...)), model("Renamed", a=(int, ...))
    before = model(x=(inner, ...), y=(inner, ...))
    assert of(before) == of(model(x=(renamed, ...), y=(renamed, ...)))


def test_a_description_that_equals_the_docstring_counts_when_it_is_given() -> None:
    given = ConfigDict(json_schema_extra={"description": "Words."})
    described = type("Model", (model(**BASE),), {"__doc__": "Words.", "model_config": given})
    assert of(described).schema["description"] == "Words."


def test_a_contract_can_be_a_key_of_a_dict() -> None:
    assert {of(int): 1}[of(int)] == 1


# Reading


def test_an_answer_is_read() -> None:
    value = of(Verdict).read({"label": "neutral", "confidence": 0.5, "reasoning": "x"})
    assert value == Verdict(label="neutral", confidence=0.5, reasoning="x")


@pytest.mark.parametrize("data", [{"value": [1]}, [1]], ids=["wrapped", "bare"])
def test_a_wrapped_contract_reads_both_forms(data: Any) -> None:
    assert of(list[int]).wrapped
    assert of(list[int]).read(data) == [1]


def test_an_object_with_a_field_called_value_is_not_unwrapped() -> None:
    assert of(model(value=(int, ...))).read({"value": 1}).value == 1


@contract
class Strictly:
    model_config = ConfigDict(strict=True)

    on: date
    color: Color
    pair: tuple[int, str]
    tags: set[str]


STRICT = {"on": "2026-01-02", "color": "red", "pair": [1, "a"], "tags": ["b", "a"]}


def test_a_strict_model_takes_the_json_forms() -> None:
    assert of(Strictly).read(STRICT).on == date(2026, 1, 2)


def test_a_strict_model_names_only_what_is_wrong() -> None:
    assert problems(Strictly, {**STRICT, "pair": ["1", "a"]}) == (
        'pair[0]: must be an integer (got "1")',
    )


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int


class Dog(BaseModel):
    kind: Literal["dog"]


Pet = Annotated[Cat | Dog, Field(discriminator="kind")]
OK = {"label": "neutral", "confidence": 1}

PROBLEMS = {
    "a literal": (
        Verdict,
        {**OK, "label": "happy"},
        'label: must be "positive", "negative" or "neutral" (got "happy")',
    ),
    "an upper bound": (
        Verdict,
        {**OK, "confidence": 1.4},
        "confidence: must be at most 1 (got 1.4)",
    ),
    "a lower bound": (Verdict, {**OK, "confidence": -1}, "confidence: must be at least 0 (got -1)"),
    "a missing field": (Verdict, {"confidence": 1}, "label: is missing"),
    "a wrong type": (dict[str, int], {"a": "x"}, 'a: must be an integer (got "x")'),
    "a key that is no name": (
        dict[str, int],
        {"a b": "x"},
        '["a b"]: must be an integer (got "x")',
    ),
    "a fraction for an integer": (int, 1.5, "answer: must be an integer (got 1.5)"),
    "an element": (
        list[Cat],
        [{"kind": "cat", "lives": None}],
        "[0].lives: must be an integer (got null)",
    ),
    "a union": (int | list[int], "x", 'answer: must be an integer or a list (got "x")'),
    "an unknown tag": (Pet, {"kind": "cow"}, 'kind: must be one of "cat", "dog" (got "cow")'),
    "no tag": (Pet, {}, "kind: is missing"),
    "inside a tagged union": (Pet, {"kind": "cat"}, "lives: is missing"),
    "an extra field": (
        type("M", (model(a=(int, ...)),), {"model_config": {"extra": "forbid"}}),
        {"a": 1, "b": 2},
        "b: is not allowed (got 2)",
    ),
    "too few": (
        Annotated[list[int], Field(min_length=2)],
        [1],
        "answer: must have at least 2 items (got [1])",
    ),
    "a pattern": (Annotated[str, Field(pattern="^a$")], "b", 'answer: must match ^a$ (got "b")'),
    "a date": (date, "soon", 'answer: must be a date such as 2026-01-31 (got "soon")'),
    "an enum": (Color, "blue", 'answer: must be "red" (got "blue")'),
    "no JSON": (Verdict, "Sure! {", 'answer: is not JSON (got "Sure! {")'),
    "no object": (Verdict, 5, "answer: must be an object (got 5)"),
    "control characters": (
        dict[str, int],
        {"\x1b": "\x1b[31m"},
        '["\\u001b"]: must be an integer (got "\\u001b[31m")',
    ),
    "bidi marks": (int, "\u202e5", 'answer: must be an integer (got "\\u202e5")'),
    "a long value": (
        int,
        "x" * 300,
        f'answer: must be an integer (got "{"x" * 79}… (222 more characters))',
    ),
}


@pytest.mark.parametrize(("annotation", "data", "line"), PROBLEMS.values(), ids=PROBLEMS)
def test_a_problem_is_said_in_words(annotation: Any, data: Any, line: str) -> None:
    assert problems(annotation, data) == (line,)


def test_every_problem_has_its_line() -> None:
    assert problems(Verdict, {"confidence": 2}) == (
        "label: is missing",
        "confidence: must be at most 1 (got 2)",
    )


def test_a_long_list_of_problems_is_cut() -> None:
    lines = problems(list[int], ["x"] * 30)
    assert len(lines) == 21
    assert lines[-1] == "... and 10 more"


class Checked(BaseModel):
    low: int
    high: int

    @model_validator(mode="after")
    def ordered(self) -> "Checked":
        if self.low > self.high:
            raise ValueError("low must not exceed high\x07")
        return self


def test_the_words_of_a_validator_are_kept_and_escaped() -> None:
    (line,) = problems(Checked, {"low": 2, "high": 1})
    assert line == 'answer: low must not exceed high\\x07 (got {"low": 2, "high": 1})'


# Opaque values


class Ticket(BaseModel):
    body: opaque[str] = Field(max_length=20)
    size: int = 0

    @model_validator(mode="after")
    def checked(self) -> "Ticket":
        if self.size == 1:
            raise ValueError("too small")
        if self.size == 2:
            raise ValueError(f"bad: {self.body[:9]}")
        return self


OPAQUE = {
    "the value": (
        {"body": "secret " * 9},
        "body: must be at most 20 characters long (got <opaque>)",
    ),
    "what contains it": ({"body": "a secret text", "size": 1}, "answer: too small (got <opaque>)"),
    "a validator's words": (
        {"body": "a secret text", "size": 2},
        "answer: is not acceptable (got <opaque>)",
    ),
    "a field beside it": (
        {"body": "a secret text", "size": "x"},
        'size: must be an integer (got "x")',
    ),
}


@pytest.mark.parametrize(("data", "line"), OPAQUE.values(), ids=OPAQUE)
def test_an_opaque_value_is_never_shown(data: Any, line: str) -> None:
    assert problems(Ticket, data) == (line,)


def test_an_opaque_answer_that_is_no_object_is_not_shown() -> None:
    assert problems(Ticket, "a secret text") == ("answer: is not JSON (got <opaque>)",)


# Numbers that JSON cannot carry


class Numbers(BaseModel):
    model_config = ConfigDict(extra="allow")

    one: float = 0
    inner: list["Numbers"] = []


ENDLESS = {
    "NaN": (float, math.nan, "answer: must be a finite number (got NaN)"),
    "infinity": (float, -math.inf, "answer: must be a finite number (got -Infinity)"),
    "a text": (float, "NaN", "answer: must be a finite number (got NaN)"),
    "a text that overflows": (float, "1e999", "answer: must be a finite number (got Infinity)"),
    "a nested field": (
        Numbers,
        {"inner": [{"one": "inf"}]},
        "inner[0].one: must be a finite number (got Infinity)",
    ),
    "an undeclared field": (Numbers, {"two": math.nan}, "two: must be a finite number (got NaN)"),
    "anything": (dict[str, Any], {"a": [math.nan]}, "a[0]: must be a finite number (got NaN)"),
    "a root model": (
        RootModel[list[float]],
        [math.nan],
        "[0]: must be a finite number (got NaN)",
    ),
    "a dataclass": (list[Data], [{"a": math.nan}], "[0].a: must be a finite number (got NaN)"),
    "a decimal": (Decimal, "NaN", 'answer: must be a finite number (got "NaN")'),
}


@pytest.mark.parametrize(("annotation", "data", "line"), ENDLESS.values(), ids=ENDLESS)
def test_a_number_that_is_not_finite_is_refused(annotation: Any, data: Any, line: str) -> None:
    assert problems(annotation, data) == (line,)


def test_the_text_nan_is_a_text() -> None:
    assert of(str).read("NaN") == "NaN"


@pytest.mark.parametrize("annotation", [list[int], Cat, str], ids=["integers", "a model", "a text"])
def test_contracts_without_fractions_are_not_searched_for_them(annotation: Any) -> None:
    assert not of(annotation).fractional


# Writing

DUMPS = {
    "a set": (set[str], {"b", "a"}, ["a", "b"]),
    "a date": (dict[str, date], {"a": date(2026, 1, 2)}, {"a": "2026-01-02"}),
    "a model": (Cat, Cat(kind="cat", lives=9), {"kind": "cat", "lives": 9}),
    "an enum": (Color, Color.RED, "red"),
    "an alias": (model(a=(int, Field(alias="b"))), model(a=(int, Field(alias="b")))(b=1), {"b": 1}),
    "integer keys": (dict[int, set[str]], {1: {"b", "a", "c"}}, {"1": ["a", "b", "c"]}),
    "bytes": (bytes, b"abc", "abc"),
    "an address": (IPv4Address, IPv4Address("127.0.0.1"), "127.0.0.1"),
}


@pytest.mark.parametrize(("annotation", "value", "data"), DUMPS.values(), ids=DUMPS)
def test_a_value_becomes_json_data(annotation: Any, value: Any, data: Any) -> None:
    assert of(annotation).dump(value) == data


@pytest.mark.parametrize(("annotation", "value", "data"), DUMPS.values(), ids=DUMPS)
def test_json_data_is_read_as_the_value_again(annotation: Any, value: Any, data: Any) -> None:
    read = of(annotation).read(data)
    assert of(annotation).dump(read) == data


# Travelling


def test_a_root_that_is_no_object_travels_in_one() -> None:
    assert of(int).wire == {
        "properties": {"value": {"type": "integer"}},
        "required": ["value"],
        "type": "object",
    }


def test_the_root_of_a_recursive_class_travels_as_an_object() -> None:
    class Node(BaseModel):
        next: "Node | None" = None

    assert of(Node).wire["type"] == "object"
    assert not of(Node).wrapped


SMALLEST = {
    "an object": (Verdict, '{"label":"neutral","confidence":1}'),
    "a list": (list[int], '{"value":[]}'),
    "a longer list": (Annotated[list[bool], Field(min_length=2)], '{"value":[true,true]}'),
    "a tuple": (tuple[int, str], '{"value":[1,""]}'),
    "a text": (Annotated[str, Field(min_length=3)], '{"value":"abc"}'),
    "a union": (Cat | Dog, '{"value":{"kind":"dog"}}'),
    "a literal": (Literal["long", "on"], '{"value":"on"}'),
}


@pytest.mark.parametrize(("annotation", "answer"), SMALLEST.values(), ids=SMALLEST)
def test_the_smallest_answer_is_known(annotation: Any, answer: str) -> None:
    assert of(annotation).smallest == len(answer)


def test_the_smallest_answer_of_a_recursive_class_ends() -> None:
    class Node(BaseModel):
        next: "Node | None"

    assert of(Node).smallest == len('{"next":null}')


def test_constructing_a_contract_validates() -> None:
    with pytest.raises(ValidationError):
        Verdict(label="happy", confidence=1)  # type: ignore[arg-type]
