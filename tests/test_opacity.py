import dataclasses
from dataclasses import dataclass
from typing import Annotated, Any, Generic, NamedTuple, Optional, TypedDict, TypeVar

import pytest
from pydantic import BaseModel, Field, RootModel, computed_field

from stratum.errors import DeclarationError
from stratum.opacity import has_opaque, hides, names, opaque, repeats, split, veil

T = TypeVar("T")


class Ticket(BaseModel):
    id: int
    body: opaque[str]
    note: opaque[str] | None = None


class Thread(BaseModel):
    title: str
    tickets: list[Ticket] = []
    replies: list["Thread"] = []


class Shouting(Ticket):
    @computed_field  # type: ignore[prop-decorator]
    @property
    def shout(self) -> str:
        return self.body.upper()


class Mail(BaseModel):
    body: opaque[str] = Field(alias="from", max_length=9)


class Open(BaseModel, extra="allow"):
    body: opaque[str]


class Notes(RootModel[list[opaque[str]]]):
    pass


class Box(BaseModel, Generic[T]):
    content: T


@dataclass
class Record:
    key: str
    body: opaque[str]


@dataclass
class Pair(Generic[T]):
    left: T
    right: int


class Row(TypedDict):
    key: str
    body: opaque[str]


class Point(NamedTuple):
    x: int
    label: opaque[str]


TICKET = Ticket(id=1, body="Hello")

PLACES = {
    "the root": (opaque[str], "text", ("text",)),
    "an optional": (Optional[opaque[str]], "text", ("text",)),  # noqa: UP045 (another class)
    "a list": (list[opaque[str]], "texts", ("texts[]",)),
    "a dict": (dict[str, opaque[str]], "texts", ("texts[]",)),
    "a tuple": (tuple[int, opaque[str]], "pair", ("pair[1]",)),
    "a tuple of any length": (tuple[opaque[str], ...], "texts", ("texts[]",)),
    "a model": (Ticket, "ticket", ("ticket.body", "ticket.note")),
    "a list of models": (list[Ticket], "tickets", ("tickets[].body", "tickets[].note")),
    "a recursive model": (Thread, "t", ("t.tickets[].body", "t.tickets[].note")),
    "a union": (Ticket | Record, "x", ("x.body", "x.note")),
    "other metadata": (Annotated[list[opaque[str]], Field(max_length=2)], "x", ("x[]",)),
    "a field with an alias": (Mail, "mail", ("mail.body",)),
    "a root model": (Notes, "notes", ("notes.root[]",)),
    "a generic model": (Box[opaque[str]], "box", ("box.content",)),
    "a dataclass": (Record, "record", ("record.body",)),
    "a generic dataclass": (Pair[opaque[str]], "pair", ("pair.left",)),
    "a TypedDict": (Row, "row", ("row.body",)),
    "a named tuple": (Point, "point", ("point.label",)),
    "nowhere": (dict[str, list[int]], "x", ()),
}


@pytest.mark.parametrize(("annotation", "root", "expected"), PLACES.values(), ids=PLACES)
def test_opaque_places_are_named(annotation: Any, root: str, expected: tuple[str, ...]) -> None:
    assert names(annotation, root) == expected
    assert has_opaque(annotation) is bool(expected)


SPLITS = {
    "the root": (opaque[str], "a", "<data: x>", {"x": "a"}),
    "data that is no text": (opaque[dict[str, int]], {"a": 1}, "<data: x>", {"x": {"a": 1}}),
    "a list": (list[opaque[str]], ["a"], ["<data: x[0]>"], {"x[0]": "a"}),
    "a dict": (dict[str, opaque[int]], {"k": 1}, {"k": '<data: x["k"]>'}, {'x["k"]': 1}),
    "the keys of a dict": (dict[opaque[str], int], {"k": 1}, "<data: x>", {"x": {"k": 1}}),
    "a set": (
        set[opaque[str]],
        {"b", "a"},
        ["<data: x[0]>", "<data: x[1]>"],
        {"x[0]": "a", "x[1]": "b"},
    ),
    "a tuple": (tuple[int, opaque[str]], (1, "a"), [1, "<data: x[1]>"], {"x[1]": "a"}),
    "a root model": (Notes, Notes(["a"]), ["<data: x.root[0]>"], {"x.root[0]": "a"}),
    "a dataclass": (
        Record,
        Record("k", "a"),
        {"key": "k", "body": "<data: x.body>"},
        {"x.body": "a"},
    ),
    "a generic dataclass": (
        Pair[opaque[str]],
        Pair("a", 1),
        {"left": "<data: x.left>", "right": 1},
        {"x.left": "a"},
    ),
    "a TypedDict": (
        Row,
        Row(key="k", body="a"),
        {"key": "k", "body": "<data: x.body>"},
        {"x.body": "a"},
    ),
    "a named tuple": (Point, Point(1, "a"), [1, "<data: x.label>"], {"x.label": "a"}),
    "None": (opaque[str] | None, None, None, {}),
    "another member of a union": (opaque[str] | int, 5, 5, {}),
    "no opaque place": (list[int], [1], [1], {}),
    "an undeclared extra": (
        Open,
        Open(body="a", n=1),
        {"body": "<data: x.body>", "n": 1},
        {"x.body": "a"},
    ),
    "a subclass with opaque fields": (
        Box[Ticket],
        Box[Ticket](content=TICKET),
        {"content": {"id": 1, "body": "<data: x.content.body>", "note": None}},
        {"x.content.body": "Hello"},
    ),
}


@pytest.mark.parametrize(("annotation", "value", "shown", "taken"), SPLITS.values(), ids=SPLITS)
def test_opaque_values_are_taken_out(
    annotation: Any, value: Any, shown: Any, taken: dict[str, Any]
) -> None:
    assert split(annotation, value, "x") == (shown, taken)


def test_values_of_a_recursive_model_are_taken_out_at_every_depth() -> None:
    inner = Thread(title="b", tickets=[TICKET])
    _, taken = split(Thread, Thread(title="a", replies=[inner]), "t")
    assert taken == {"t.replies[0].tickets[0].body": "Hello"}


def test_a_computed_field_may_repeat_an_opaque_one_and_is_taken_out() -> None:
    shown, taken = split(Shouting, Shouting(id=1, body="a"), "x")
    assert shown["shout"] == "<data: x.shout>"
    assert taken["x.shout"] == "A"


def test_a_subclass_of_the_annotated_class_is_taken_apart_as_what_it_is() -> None:
    class Longer(Ticket):
        length: int
        sender: opaque[str]

    shown, taken = split(Ticket, Longer(id=1, body="a", length=2, sender="b"), "x")
    assert shown["length"] == 2
    assert taken == {"x.body": "a", "x.sender": "b"}


def test_a_value_without_a_text_is_named_by_its_path() -> None:
    with pytest.raises(TypeError, match=r"x\[0\] is a object"):
        split(list[opaque[Any]], [object()], "x")


VEILS = {
    "a text": (opaque[str], "Hello", {"opaque": 5}),
    "an object": (opaque[dict[str, int]], {"a": 1}, {"opaque": 7}),
    "a model": (Ticket, TICKET, {"id": 1, "body": {"opaque": 5}, "note": None}),
    "no opaque place": (int, 5, 5),
}


@pytest.mark.parametrize(("annotation", "value", "expected"), VEILS.values(), ids=VEILS)
def test_a_trace_holds_the_size_of_an_opaque_value(
    annotation: Any, value: Any, expected: Any
) -> None:
    assert veil(annotation, value) == expected


HIDDEN = {
    "the place itself": (Ticket, ("body",)),
    "inside it": (opaque[dict[str, int]], ("a",)),
    "what contains it": (Ticket, ()),
    "an element, its position left out": (Thread, ("tickets", "body")),
    "an element by position": (Thread, ("tickets", "0", "body")),
    "an element by position in brackets": (Thread, ("tickets", "[0]", "body")),
    "a key": (dict[str, Ticket], ("k", "body")),
    "an alias": (Mail, ("from",)),
    "a property": (Shouting, ("shout",)),
    "a member of a union": (Ticket | int, ("body",)),
    "a position of a tuple": (tuple[int, opaque[str]], ("1",)),
    "deep in a recursive model": (Thread, ("replies", "replies", "tickets", "note")),
}
SHOWN = {
    "a field beside it": (Ticket, ("id",)),
    "beside it in a list": (Thread, ("tickets", "id")),
    "another position of a tuple": (tuple[int, opaque[str]], ("0",)),
    "a class without any": (Box[int], ("content",)),
    "anything of a class without any": (Box[int], ("whatever",)),
}


@pytest.mark.parametrize(("annotation", "path"), HIDDEN.values(), ids=HIDDEN)
def test_a_path_to_an_opaque_value_is_hidden(annotation: Any, path: tuple[str, ...]) -> None:
    assert hides(annotation, path)


@pytest.mark.parametrize(("annotation", "path"), SHOWN.values(), ids=SHOWN)
def test_a_path_to_another_value_is_shown(annotation: Any, path: tuple[str, ...]) -> None:
    assert not hides(annotation, path)


REPEATED = {
    "all of a short value": ({"id": 1, "body": "Bob"}, "no bob here", True),
    "a part of a long value": ({"id": 1, "body": "a rather long text"}, "bad: 'Rather long'", True),
    "a value of the wrong type": ({"id": 1, "body": {"a": ["secretly"]}}, "secretly", True),
    "JSON of the wrong shape": (["secretly"], "secretly", True),
    "another field": ({"id": 12345678, "body": "a rather long text"}, "12345678", False),
}


@pytest.mark.parametrize(("answer", "text", "expected"), REPEATED.values(), ids=REPEATED)
def test_a_text_that_repeats_an_opaque_value_is_found(
    answer: Any, text: str, expected: bool
) -> None:
    assert repeats(Ticket, answer, text) is expected


def test_metadata_without_a_hash_is_no_obstacle() -> None:
    assert has_opaque(Annotated[list[opaque[str]], ["no hash"]])


def test_a_class_that_refers_to_nothing_is_an_error() -> None:
    class Broken(BaseModel):
        inner: "Nowhere"  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(DeclarationError, match="not defined yet"):
        has_opaque(Broken)


def test_a_dataclass_with_names_for_the_type_checker_only_goes_by_its_text() -> None:
    kind = dataclasses.make_dataclass("Late", [("a", "Nowhere"), ("b", "opaque[Nowhere]")])
    assert names(kind, "x") == ("x.b",)
