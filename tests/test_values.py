"""Our dataclasses are the standard ones, made later."""

import copy
import dataclasses
import inspect
import typing

import pytest

import stratum
from stratum import calls, values

T = typing.TypeVar("T")
OPTIONS = [
    pytest.param({}, id="plain"),
    pytest.param({"slots": True}, id="slots"),
    pytest.param({"frozen": True}, id="frozen"),
    pytest.param({"frozen": True, "slots": True}, id="frozen-slots"),
    pytest.param({"eq": False, "slots": True}, id="no-equality"),
    pytest.param({"eq": False, "frozen": True}, id="frozen-no-equality"),
]
EXAMPLES = {
    "positional": lambda cls: cls(1, ["b"]),
    "named": lambda cls: cls(a=1, note="x"),
    "repr": lambda cls: repr(cls(1)),
    "equal": lambda cls: cls(1, ["b"], "x") == cls(1, ["b"], "y"),
    "unequal": lambda cls: cls(1) == cls(2),
    "other class": lambda cls: cls(1) == 1,
    "hashes alike": lambda cls: len({*map(hash, [cls(1, (), "x"), cls(1, (), "y")])}),
    "each has its own default": lambda cls: cls(1).b is cls(1).b,
    "signature": lambda cls: str(inspect.signature(cls)),
    "too few": lambda cls: cls(),
    "too many": lambda cls: cls(1, [], "", 4),
    "unknown": lambda cls: cls(1, c=2),
    "checked afterwards": lambda cls: cls(-1),
    "assign": lambda cls: setattr(cls(1), "a", 2),
    "delete": lambda cls: delattr(cls(1), "a"),
    "replace": lambda cls: repr(dataclasses.replace(cls(1, ["b"]), a=3)),
    "as dict": lambda cls: dataclasses.asdict(cls(1)),
    "copied": lambda cls: repr(copy.copy(cls(1, ["b"]))),
    "copied deeply": lambda cls: repr(copy.deepcopy(cls(1, ["b"]))),
    "has a dict": lambda cls: hasattr(cls(1), "__dict__"),
    "matched by": lambda cls: cls.__match_args__,
    "its own method": lambda cls: cls(1).twice,
}


def made_by(decorator: typing.Any, options: dict[str, bool]) -> type:
    @decorator(**options)
    class Point:
        """A point."""

        a: int
        b: typing.Sequence[str] = dataclasses.field(default_factory=list)
        note: str = dataclasses.field(default="", compare=False, repr=False)

        def __post_init__(self) -> None:
            if self.a < 0:
                raise ValueError(f"a is {self.a}")

        @property
        def twice(self) -> int:
            return 2 * self.a

    return Point


def outcome(example: typing.Callable[[type], object], cls: type) -> str:
    try:
        return str(example(cls))
    except (TypeError, ValueError, AttributeError) as error:
        return f"{type(error).__name__}: {error}"


@pytest.mark.parametrize("example", EXAMPLES.values(), ids=EXAMPLES)
@pytest.mark.parametrize("options", OPTIONS)
def test_it_does_what_the_standard_one_does(options, example):
    ours, standard = made_by(values.dataclass, options), made_by(dataclasses.dataclass, options)
    assert outcome(example, ours) == outcome(example, standard)


def test_no_method_is_made_before_its_first_use():
    cls = made_by(values.dataclass, {"frozen": True})
    cls(1)
    made = {
        name for name in ("__init__", "__repr__", "__eq__") if inspect.isfunction(vars(cls)[name])
    }
    assert made == {"__init__"}


def test_a_method_is_made_once():
    cls = made_by(values.dataclass, {})
    assert cls(1) == cls(1)
    assert vars(cls)["__eq__"] is cls.__eq__


def test_a_method_of_the_class_itself_stays():
    @values.dataclass(frozen=True)
    class Quiet:
        """Says little."""

        a: int

        def __repr__(self) -> str:
            return "quiet"

    assert repr(Quiet(1)) == "quiet"


def test_a_frozen_class_with_slots_may_be_generic():
    @values.dataclass(frozen=True, slots=True)
    class Box(typing.Generic[T]):
        held: T

    assert Box[int](held=1) == Box(1)


def test_a_frozen_class_with_slots_may_have_subclasses():
    @values.dataclass(frozen=True, slots=True)
    class Point:
        a: int
        b: tuple[int, ...] = dataclasses.field(default_factory=tuple)

    class Named(Point):
        name = "origin"

    assert (Named(1), Named(1).b, Named(1).name) == (Named(1), (), "origin")
    assert type(Named(1)) is Named
    with pytest.raises(dataclasses.FrozenInstanceError):
        Named(1).a = 2


def test_fields_are_read_at_their_first_use():
    cls = made_by(values.dataclass, {"frozen": True, "slots": True})
    assert not isinstance(vars(cls)["__dataclass_fields__"], dict)
    assert [field.name for field in dataclasses.fields(cls)] == ["a", "b", "note"]
    assert isinstance(vars(cls)["__dataclass_fields__"], dict)


MADE = {
    "positional": lambda make: repr(make(1, ["b"])),
    "a default of its own": lambda make: make(1).b is make(1).b,
    "checked afterwards": lambda make: make(-1),
    "too few": lambda make: make(),
    "too many": lambda make: make(1, [], "", 4),
    "assign": lambda make: setattr(make(1), "a", 2),
    "delete": lambda make: delattr(make(1), "a"),
    "as dict": lambda make: dataclasses.asdict(make(1)),
    "copied": lambda make: repr(copy.copy(make(1, ["b"]))),
    "has a dict": lambda make: hasattr(make(1), "__dict__"),
}


@pytest.mark.parametrize("example", MADE.values(), ids=MADE)
def test_a_maker_makes_what_the_class_makes(example):
    cls = made_by(values.dataclass, {"frozen": True, "slots": True})
    assert outcome(example, values.maker(cls)) == outcome(example, cls)


def test_a_maker_makes_values_of_the_class():
    cls = made_by(values.dataclass, {"frozen": True, "slots": True})
    made = values.maker(cls)(1, ["b"])
    assert type(made) is cls
    assert made == cls(1, ["b"])


def test_a_maker_takes_no_names():
    cls = made_by(values.dataclass, {"frozen": True, "slots": True})
    with pytest.raises(TypeError, match="unexpected keyword argument 'a'"):
        values.maker(cls)(a=1)


def test_our_public_values_are_dataclasses():
    for cls in (stratum.Budget, stratum.Reply, stratum.TraceRecord, calls.Request):
        assert dataclasses.is_dataclass(cls), cls
    assert stratum.Budget(ms=1) == dataclasses.replace(stratum.Budget(ms=2), ms=1)
