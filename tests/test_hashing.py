"""Canonical JSON: one text for equal values, and none for what has no deterministic text."""

import json
import math
import random
from collections import OrderedDict, defaultdict
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from functools import cached_property
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Annotated, Any, Literal, NamedTuple
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    RootModel,
    computed_field,
    field_serializer,
)

from stratum.hashing import canonical, digest, digest_texts, jsonable, short

SCALARS = st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False)
FINITE = SCALARS.filter(lambda v: not (isinstance(v, float) and math.isinf(v)))
JSON = st.recursive(
    FINITE,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


class Colour(Enum):
    RED = "red"


class Level(IntEnum):
    HIGH = 3


class Word(StrEnum):
    YES = "yes"


class Model(BaseModel):
    name: str
    tags: set[str] = set()


class Text(str):
    def __str__(self) -> str:
        return "something else"


@dataclass
class Point:
    x: int
    y: int


class Pair(NamedTuple):
    a: int
    b: tuple[int, ...]


def reordered(value: Any, chance: random.Random) -> Any:
    """Return an equal value whose objects have their keys in another order."""
    if isinstance(value, list):
        return [reordered(each, chance) for each in value]
    if isinstance(value, dict):
        names = chance.sample(list(value), len(value))
        return {name: reordered(value[name], chance) for name in names}
    return value


@given(JSON, st.randoms(use_true_random=False))
def test_equal_values_have_one_text(value: Any, chance: random.Random) -> None:
    other = reordered(value, chance)
    assert canonical(other) == canonical(value)
    assert digest(other) == digest(value)


@given(JSON)
def test_the_text_reads_back_as_the_value(value: Any) -> None:
    text = canonical(value)
    assert json.loads(text) == value
    assert canonical(json.loads(text)) == text
    assert text.isascii()


@given(JSON, JSON)
def test_different_texts_have_different_digests(one: Any, other: Any) -> None:
    assert (canonical(one) == canonical(other)) is (digest(one) == digest(other))


@given(JSON)
def test_json_data_is_its_own_form(value: Any) -> None:
    assert jsonable(value) == value
    assert canonical(jsonable(value)) == canonical(value)


@given(st.sets(st.text() | st.integers()), st.randoms(use_true_random=False))
def test_a_set_has_one_order(values: set[Any], chance: random.Random) -> None:
    shuffled = chance.sample(sorted(values, key=repr), len(values))
    assert jsonable(set(shuffled)) == jsonable(values) == jsonable(frozenset(values))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(1, 1.0, id="whole-number"),
        pytest.param(1, True, id="truth-value"),
        pytest.param(1, "1", id="text"),
        pytest.param(None, "null", id="null"),
        pytest.param([], {}, id="empty"),
        pytest.param(["ab"], ["a", "b"], id="split"),
        pytest.param({"a": 1}, [["a", 1]], id="pairs"),
        pytest.param("é", "e\u0301", id="normal-form"),
    ],
)
def test_values_that_differ_in_kind_differ_in_digest(one: Any, other: Any) -> None:
    assert digest(one) != digest(other)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(Colour.RED, "red", id="enum"),
        pytest.param(Level.HIGH, 3, id="int-enum"),
        pytest.param(Word.YES, "yes", id="str-enum"),
        pytest.param(
            Model(name="n", tags={"b", "a"}), {"name": "n", "tags": ["a", "b"]}, id="model"
        ),
        pytest.param(Point(1, 2), {"x": 1, "y": 2}, id="dataclass"),
        pytest.param(Pair(1, (2,)), [1, [2]], id="namedtuple"),
        pytest.param({"k": Point(0, 0)}, {"k": {"x": 0, "y": 0}}, id="nested"),
        pytest.param(OrderedDict(b=1, a=2), {"b": 1, "a": 2}, id="ordered-dict"),
        pytest.param(defaultdict(list, a=[1]), {"a": [1]}, id="default-dict"),
        pytest.param({Colour.RED: 1}, {"red": 1}, id="enum-key"),
        pytest.param(date(2026, 1, 2), "2026-01-02", id="date"),
        pytest.param(datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02T00:00:00+00:00", id="datetime"),
        pytest.param(time(3, 4), "03:04:00", id="time"),
        pytest.param(timedelta(minutes=1), 60.0, id="timedelta"),
        pytest.param(Decimal("1.50"), "1.50", id="decimal"),
        pytest.param(UUID(int=1), "00000000-0000-0000-0000-000000000001", id="uuid"),
        pytest.param(PurePosixPath("a/b"), "a/b", id="path"),
        pytest.param(PureWindowsPath("a\\b"), "a/b", id="windows-path"),
        pytest.param(Text("as it is"), "as it is", id="subclass-of-str"),
    ],
)
def test_what_is_no_json_has_one_form(value: Any, expected: Any) -> None:
    found = jsonable(value)
    assert found == expected
    assert json.loads(canonical(found)) == expected


@pytest.mark.parametrize(
    ("value", "said"),
    [
        pytest.param(object(), "value is a object", id="object"),
        pytest.param({"a": [1, object()]}, "value['a'][1] is a object", id="nested"),
        pytest.param(b"raw", "value is a bytes", id="bytes"),
        pytest.param(1j, "value is a complex", id="complex"),
        pytest.param(len, "value is a builtin_function_or_method", id="function"),
        pytest.param(Point, "value is a type", id="class"),
        pytest.param((n for n in ()), "value is a generator", id="generator"),
        pytest.param({1: "a"}, "value has the key 1 of type int", id="number-as-key"),
        pytest.param([math.nan], "value[0] is nan", id="nan"),
        pytest.param({"a": -math.inf}, "value['a'] is -inf", id="infinite"),
        pytest.param(Point(math.inf, 0), "value.x is inf", id="field"),
    ],
)
def test_what_has_no_deterministic_text_is_refused(value: Any, said: str) -> None:
    with pytest.raises(TypeError) as refused:
        jsonable(value)
    assert str(refused.value).startswith(said)


def test_two_keys_of_one_text_are_refused() -> None:
    with pytest.raises(TypeError, match="'red' twice"):
        jsonable({Colour.RED: 1, "red": 2})


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_canonical_json_has_no_nan(value: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical(value)


def test_people_see_12_hex_digits() -> None:
    assert short(digest("a")) == digest("a")[:12]
    assert len(digest("a")) == 64


@given(st.lists(st.text()))
def test_texts_have_the_digest_of_their_list(texts: list[str]) -> None:
    assert digest_texts(*texts) == digest(texts)


@pytest.mark.parametrize("code", [*range(128), 0x80, 0xFF, 0x2028, 0xD800, 0x1F600], ids=hex)
def test_every_character_is_digested_alike(code: int) -> None:
    assert digest_texts("a", f"b{chr(code)}c") == digest(["a", f"b{chr(code)}c"])


class Flat(BaseModel):
    label: Literal["a", "b"]
    score: float
    count: int | None = None


class Aliased(BaseModel):
    model_config = ConfigDict(serialize_by_alias=True)
    label: str = Field(alias="name")


class Left(BaseModel):
    label: str
    inner: str = Field(default="secret", exclude=True)


class Computed(BaseModel):
    label: str

    @computed_field
    def size(self) -> int:
        return len(self.label)


class Serialized(BaseModel):
    label: Annotated[str, PlainSerializer(str.upper)]


class ByMethod(BaseModel):
    label: str

    @field_serializer("label")
    def louder(self, label: str) -> str:
        return label.upper()


class Dumped(BaseModel):
    label: str

    def model_dump(self, **options: Any) -> dict[str, Any]:
        return {"own": self.label}


class DumpedBelow(Dumped):
    score: float = 0.5


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    label: str


class Remembering(BaseModel):
    label: str

    @cached_property
    def size(self) -> int:
        return len(self.label)


class Rooted(RootModel[str]):
    pass


def remembering() -> BaseModel:
    value = Remembering(label="a")
    assert value.size == 1
    return value


@pytest.mark.parametrize(
    ("value", "data"),
    [
        (Flat(label="a", score=0.5), {"label": "a", "score": 0.5, "count": None}),
        (Aliased(name="a"), {"name": "a"}),
        (Left(label="a"), {"label": "a"}),
        (Computed(label="a"), {"label": "a", "size": 1}),
        (Serialized(label="a"), {"label": "A"}),
        (ByMethod(label="a"), {"label": "A"}),
        (Dumped(label="a"), {"own": "a"}),
        (DumpedBelow(label="a"), {"own": "a"}),
        (Open(label="a", more=[1]), {"label": "a", "more": [1]}),
        (remembering(), {"label": "a"}),
        (Rooted("a"), "a"),
        (Flat.model_construct(label="a"), {"label": "a", "count": None}),
        (
            Flat.model_construct(label=Path("a"), score=1.0),
            {"label": "a", "score": 1.0, "count": None},
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
def test_a_model_is_the_data_that_it_dumps(value: BaseModel, data: Any) -> None:
    assert jsonable(value) == data


def test_the_data_of_a_model_is_its_own() -> None:
    value = Flat(label="a", score=0.5)
    jsonable(value)["label"] = "b"
    assert value.label == "a"


def test_a_model_with_an_endless_number_is_refused() -> None:
    with pytest.raises(TypeError, match="nan"):
        jsonable(Flat.model_construct(label="a", score=math.nan))
