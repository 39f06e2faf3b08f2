"""`example_of`, `examples_of` and `SchemaClient`: values that fit a contract."""

import subprocess
import sys
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from ipaddress import IPv4Address, IPv6Network
from pathlib import Path
from random import Random
from typing import Annotated, Any, Literal, Optional
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import AfterValidator, BaseModel, Field, HttpUrl, Json, create_model

from stratum import ConfigurationError, Contract, PostconditionFailed, infer, opaque, using
from stratum.testing import SchemaClient, example_of, examples_of
from stratum.testing.filling import filled
from tests.scripted import records
from tests.support import clean_environment
from tests.test_contract_hashes import CONTRACTS


class Order(BaseModel):
    code: str = Field(pattern=r"^[A-Z]{3}-\d{4}$")
    amount: Decimal = Field(gt=0, le=100, max_digits=5, decimal_places=2)
    count: int = Field(ge=3, lt=12, multiple_of=3)
    on: date
    tags: set[Literal["a", "b", "c"]] = Field(min_length=2)
    note: opaque[str] = Field(min_length=5, max_length=9)
    inner: Optional["Order"] = None


class Loop(BaseModel):
    loop: "Loop"


class Branching(BaseModel):
    left: "Branching | int"
    right: list["Branching"] = []
    by: dict[str, "Branching"] = {}


def even(n: int) -> int:
    if n % 2:
        raise ValueError("it is odd")
    return n


def never(n: int) -> int:
    raise ValueError("nothing is good enough")


@pytest.mark.parametrize("name", CONTRACTS)
def test_every_known_contract_has_examples(name: str) -> None:
    known = Contract.of(CONTRACTS[name], where=name)
    for value in examples_of(known, 20):
        assert known.dump(known.adapter.validate_python(value)) == known.dump(value)


@pytest.mark.parametrize("seed", range(20))
def test_bounds_patterns_and_formats_are_kept(seed: int) -> None:
    order = example_of(Order, seed=seed)
    assert Order.model_validate(order.model_dump()) == order
    assert order.code[3] == "-"
    assert order.count in (3, 6, 9)


FORMATS = [
    UUID, time, datetime, timedelta, Path, IPv4Address, IPv6Network, HttpUrl, bytes,
    Json[list[int]],
]  # fmt: skip


@pytest.mark.parametrize("kind", FORMATS, ids=str)
def test_every_format_has_a_value(kind: Any) -> None:
    assert len({repr(value) for value in examples_of(kind, 10)}) > 1


def test_the_same_seed_gives_the_same_value_in_another_process() -> None:
    text = (
        "from stratum.testing import example_of; print(example_of(dict[str, list[float]], seed=4))"
    )
    done = subprocess.run(
        [sys.executable, "-c", text], env=clean_environment(), capture_output=True, text=True
    )
    assert done.stdout.strip() == str(example_of(dict[str, list[float]], seed=4))


def test_other_seeds_give_other_values() -> None:
    assert len({order.code + str(order.amount) for order in examples_of(Order, 20)}) > 10
    assert example_of(Order, seed=5) == examples_of(Order, 3, seed=4)[1]


def test_a_recursive_type_ends() -> None:
    depths = [str(value).count("left") for value in examples_of(Branching, 100)]
    assert max(depths) > 1
    assert max(depths) < 500


def test_a_union_has_values_of_each_member() -> None:
    kinds = {type(value) for value in examples_of(int | str | None, 50)}
    assert kinds == {int, str, type(None)}


@pytest.mark.parametrize("seed", range(10))
def test_the_elements_of_a_set_differ(seed: int) -> None:
    schema = {"type": "array", "items": {"enum": [1, 2, 3]}, "uniqueItems": True, "minItems": 3}
    assert sorted(filled(schema, Random(seed))) == [1, 2, 3]


def test_a_validator_is_satisfied_by_trying_again() -> None:
    assert all(value % 2 == 0 for value in examples_of(Annotated[int, AfterValidator(even)], 20))


def test_an_example_helps_where_a_validator_takes_hardly_anything() -> None:
    picky = Annotated[str, Field(examples=["xyzzy"]), AfterValidator(lambda s: _only_xyzzy(s))]
    assert example_of(picky) == "xyzzy"


def _only_xyzzy(text: str) -> str:
    if text != "xyzzy":
        raise ValueError("not xyzzy")
    return text


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        pytest.param(Annotated[int, AfterValidator(never)], "nothing is good enough", id="never"),
        pytest.param(Loop, "another one of its kind, without end", id="endless"),
    ],
)
def test_where_no_value_can_be_made_it_says_why(kind: Any, said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        example_of(kind)
    assert str(caught.value).startswith("example_of: no value of ")
    assert said in str(caught.value)
    assert "Field(examples=[...])" in str(caught.value)


# Contracts by chance

BOUNDED = st.builds(
    lambda low, span: Annotated[int, Field(ge=low, le=low + span)],
    st.integers(-1000, 1000), st.integers(0, 50),
)  # fmt: skip
LEAVES = st.one_of(
    st.sampled_from([str, int, float, bool, date, datetime, UUID, Decimal, type(None)]),
    BOUNDED,
    st.builds(
        lambda low, span: Annotated[float, Field(gt=low, lt=low + span)],
        st.floats(-100, 100), st.floats(0.01, 10),
    ),
    st.builds(
        lambda low, span: Annotated[str, Field(min_length=low, max_length=low + span)],
        st.integers(0, 30), st.integers(0, 30),
    ),
    st.sampled_from([r"^\d{2,4}$", r"^(ab|cd)+x?$", r"^[a-f0-9]{8}$", r"^\w+@\w+\.com$"]).map(
        lambda pattern: Annotated[str, Field(pattern=pattern)]
    ),
    st.lists(st.sampled_from(["a", "b", 1, 2, True]), min_size=1).map(lambda m: Literal[tuple(m)]),
)  # fmt: skip


def nested(inner: Any) -> Any:
    names = st.lists(st.sampled_from(["name", "items", "value", "class_", "x"]), unique=True)
    sizes = st.integers(0, 3)
    return st.one_of(
        inner.map(lambda kind: list[kind]),
        st.tuples(inner, sizes).map(lambda p: Annotated[list[p[0]], Field(min_length=p[1])]),
        st.tuples(inner, sizes).map(lambda p: Annotated[list[p[0]], Field(max_length=p[1])]),
        inner.map(lambda kind: dict[str, kind]),
        inner.map(lambda kind: str | None if kind is type(None) else kind | None),
        inner.map(lambda kind: opaque[kind]),
        st.lists(inner, min_size=1, max_size=3).map(lambda kinds: tuple[tuple(kinds)]),
        st.tuples(names, inner, st.booleans()).map(model),
    )


def model(parts: Any) -> Any:
    names, kind, required = parts
    fields = dict.fromkeys(names, (kind, ...) if required else (kind | None, None))
    return create_model("Made", always=(int, ...), **fields)


@settings(max_examples=150, deadline=None)
@given(st.recursive(LEAVES, nested, max_leaves=6), st.integers(0, 10**9))
def test_any_contract_has_an_example_that_it_reads(kind: Any, seed: int) -> None:
    if kind is type(None):
        return
    known = Contract.of(kind, where="made")
    value = example_of(known, seed=seed)
    assert repr(value) == repr(example_of(kind, seed=seed))
    known.adapter.validate_python(value)


# The client


@infer(intent="Make an order", model="any/model")
def order(text: str) -> Order: ...


@infer(intent="Rate", model="any/model", ensure=lambda r: r > 0.5, retries=30)
def rate(text: str) -> Annotated[float, Field(ge=0, le=1)]: ...


def test_the_schema_client_answers_every_call_alike_for_one_seed() -> None:
    def answers(seed: int) -> list[Any]:
        with using(client=SchemaClient(seed)):
            return [order.run(text=text) for text in ("a", "b", "a")]

    assert answers(1) == answers(1) != answers(2)
    assert answers(1)[0] == answers(1)[2] != answers(1)[1]


def test_a_retry_gets_another_value() -> None:
    client = SchemaClient()
    with using(client=client):
        rates = [rate.run(text=str(n)) for n in range(10)]
    assert min(rates) > 0.5
    assert len(client.requests) > 10
    assert {record.origin for record in records()} == {"scripted"}


def test_a_condition_that_no_value_holds_fails_as_ever() -> None:
    @infer(intent="Rate", model="any/model", ensure=lambda r: r > 2)
    def hopeless(text: str) -> Annotated[float, Field(ge=0, le=1)]: ...

    with using(client=SchemaClient()), pytest.raises(PostconditionFailed):
        hopeless.run(text="a")
