"""Contract hashes are the same under every pydantic that we allow.

Needs only pytest and stratum, so that it also runs beside the oldest pydantic. After a
change that is meant, write the hashes anew: `python tests/test_contract_hashes.py`.
"""

import enum
import json
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Generic, Literal, NamedTuple, NotRequired, TypeVar
from uuid import UUID

import pydantic
import pytest
from pydantic import BaseModel, ConfigDict, Field, RootModel, StringConstraints
from typing_extensions import TypedDict

from stratum.contracts import Contract, contract
from stratum.opacity import opaque

FROZEN = Path(__file__).with_name("contract_hashes.json")
T = TypeVar("T")


class Color(enum.Enum):
    """A docstring that is not sent."""

    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Only(enum.StrEnum):
    ONE = "one"


@contract
class Plain:
    """A docstring that is not sent."""

    label: Literal["positive", "negative", "neutral"]
    confidence: float = Field(ge=0, le=1)
    reasoning: str = Field(description="One sentence.", max_length=200)


class Address(BaseModel):
    """Where somebody lives."""

    street: str
    city: str = Field(examples=["Bern", "Oslo"])


class Person(BaseModel):
    name: str = Field(title="Full name")
    home: Address
    work: Address | None = Field(default=None, description="Where they work.")


class Tree(BaseModel):
    """A recursive class."""

    value: int
    children: list["Tree"] = []


class Ping(BaseModel):
    pong: "Pong | None" = None


class Pong(BaseModel):
    ping: Ping


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int = 9


class Dog(BaseModel):
    kind: Literal["dog"]
    name: str


class Pet(BaseModel):
    pet: Annotated[Cat | Dog, Field(discriminator="kind")]


class Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", title="Explicit", json_schema_extra={"x-kind": "a"})
    amount: Decimal = Field(max_digits=8, decimal_places=2, ge=0)


class Opened(BaseModel):
    model_config = ConfigDict(extra="allow", str_max_length=9, str_min_length=1)
    text: str


class Renamed(BaseModel):
    model_config = ConfigDict(validate_by_alias=False, validate_by_name=True)
    inner: int = Field(alias="outer")


class Aliased(BaseModel):
    inner: int = Field(alias="outer")


class Strict(BaseModel):
    model_config = ConfigDict(strict=True)
    on: date
    tags: frozenset[str] = frozenset({"z", "a", "m"})


class Described(BaseModel):
    """A docstring."""

    model_config = ConfigDict(json_schema_extra={"description": "Given.", "title": "Described"})
    text: str


class Sets(BaseModel):
    inner: Strict = Strict(on=date(2026, 1, 2), tags=frozenset({"q", "b", "x"}))
    numbers: set[int] | None = {10, 9, 2}


class Times(BaseModel):
    at: datetime = datetime(2026, 1, 2, 3, 4, 5)
    of: time
    lasting: timedelta = timedelta(hours=1)
    id: UUID
    path: PurePosixPath | None = None


class Names(RootModel[list[str]]):
    """A docstring over a described root."""

    root: list[str] = Field(description="All names.")


class Counts(RootModel[dict[str, int]]):
    """Only a docstring."""


class Box(BaseModel, Generic[T]):
    content: T


class Confusing(BaseModel):
    properties: dict[str, int] = Field(alias="$ref", default={"properties": 1})
    default: Literal["default"] = "default"
    items: list[Color] = [Color.RED]


class Typed(TypedDict):
    """A docstring."""

    name: str
    age: NotRequired[int]


class Point(NamedTuple):
    """A docstring."""

    x: int
    y: int = 0


@dataclass
class Data:
    name: str
    tags: list[str] = field(default_factory=list)


@pydantic.dataclasses.dataclass
class Checked:
    """A docstring."""

    name: str = Field(description="Given.")


CONTRACTS: dict[str, Any] = {
    "text": str,
    "integer": int,
    "number": float,
    "truth": bool,
    "day": date,
    "decimal": Decimal,
    "decimal-digits": Annotated[Decimal, Field(max_digits=5)],
    "literal": Literal["a", "b"],
    "single-literal": Literal["a"],
    "mixed-literal": Literal["a", 1, True],
    "optional": int | None,
    "union": int | str | list[bool],
    "list": list[str],
    "bounded-list": Annotated[list[int], Field(min_length=1, max_length=3)],
    "set": set[str],
    "tuple": tuple[int, str],
    "tuple-of-any-length": tuple[int, ...],
    "dict": dict[str, int],
    "dict-of-lists": dict[str, list[Address]],
    "dict-with-key-pattern": dict[Annotated[str, StringConstraints(pattern="^a")], int],
    "anything-inside": dict[str, Any],
    "bytes": bytes,
    "constrained": Annotated[str, StringConstraints(min_length=2, pattern="^[a-z]+$")],
    "opaque": opaque[str],
    "enum": Color,
    "int-enum": Level,
    "single-enum": Only,
    "enum-twice": tuple[Color, Color],
    "plain-class": Plain,
    "nested": Person,
    "list-of-models": list[Person],
    "recursive": Tree,
    "recursive-list": list[Tree],
    "mutually-recursive": Pong,
    "discriminated": Pet,
    "undiscriminated": Cat | Dog,
    "closed": Closed,
    "opened": Opened,
    "by-name": Renamed,
    "by-alias": Aliased,
    "strict": Strict,
    "described": Described,
    "set-defaults": Sets,
    "times": Times,
    "root-list": Names,
    "root-in-a-field": Box[Names],
    "root-dict": Counts,
    "generic": Box[int],
    "generic-of-model": Box[Address],
    "confusing-names": Confusing,
    "typed-dict": Typed,
    "named-tuple": Point,
    "dataclass": Data,
    "pydantic-dataclass": Checked,
    "described-member": Annotated[Color, Field(description="Which one.")] | None,
}


def hash_of(name: str) -> str:
    return Contract.of(CONTRACTS[name], where=name).hash


@pytest.mark.parametrize("name", CONTRACTS)
def test_a_hash_is_the_frozen_one(name: str) -> None:
    assert hash_of(name) == json.loads(FROZEN.read_text())[name]


def test_every_frozen_hash_has_its_contract() -> None:
    assert list(json.loads(FROZEN.read_text())) == list(CONTRACTS)


def test_different_contracts_have_different_hashes() -> None:
    same_answers = {"opaque", "root-dict"}  # as "text" and "dict"
    names = CONTRACTS.keys() - same_answers
    assert len({hash_of(name) for name in names}) == len(names)


if __name__ == "__main__":
    FROZEN.write_text(json.dumps({name: hash_of(name) for name in CONTRACTS}, indent=1) + "\n")
