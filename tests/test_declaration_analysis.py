"""What `@infer` refuses when it is put on a function, found in its code and its conditions."""

import enum
import functools
import linecache
import subprocess
import sys
import types
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from textwrap import dedent
from typing import Annotated, Any, Literal, NamedTuple, Self

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    RootModel,
    field_validator,
    model_validator,
    root_validator,
)
from typing_extensions import TypedDict

from stratum import DeclarationError, compute, contract, infer, opaque
from stratum.analysis import calls_infer
from stratum.testing import example_of


class Color(enum.Enum):
    RED = "red"

    @property
    def is_warm(self) -> bool:
        return True


class Item(BaseModel):
    price: float
    name: str | None = None
    color: Color = Color.RED

    def total(self) -> float:
        return self.price

    @property
    def is_cheap(self) -> bool:
        return True


class Sentiment(BaseModel):
    label: Literal["good", "bad"]
    confidence: float = Field(default=0.5, alias="conf")
    items: list[Item] = []
    first: Item | None = None
    by: dict[str, Item] = {}
    pair: tuple[Item, int] = (Item(price=1), 2)
    note: opaque[str] = ""
    parts: Annotated[str, AfterValidator(str.split)] = ""
    loose: str = None  # type: ignore[assignment]

    @field_validator("loose")
    @classmethod
    def as_item(cls, value: str) -> Any:
        return Item(price=1, name=value)


class Tree(BaseModel):
    value: int
    children: list["Tree"] = []


class Typed(TypedDict):
    city: str


@contract
class Plain:
    word: str

    def is_long(self) -> bool:
        return len(self.word) > 9


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    known: int


class Dynamic(BaseModel):
    known: int

    def __getattr__(self, name: str) -> Any:
        return 1


class Checked(BaseModel):
    known: int

    @model_validator(mode="after")
    def check(self) -> Self:
        return self


class Replaced(BaseModel):
    known: int

    @model_validator(mode="after")
    def replace(self) -> Any:
        return Item(price=1)


@dataclass
class Data:
    known: int


class Grown(BaseModel):
    known: int

    def model_post_init(self, context: Any) -> None:
        object.__setattr__(self, "more", 1)


with pytest.warns(DeprecationWarning, match="root_validator"):

    class Old(BaseModel):
        known: int

        @root_validator(skip_on_failure=True)
        @classmethod
        def as_item(cls, values: dict[str, Any]) -> Any:
            return {"known": Item(price=values["known"])}


class Pair(NamedTuple):
    left: int


class Names(RootModel[list[Item]]):
    pass


@infer(intent="Say whether it is fine")
def is_fine(text: str) -> bool: ...


def declared(returns: Any, ensure: Any) -> Any:
    @infer(intent="Classify", ensure=ensure)
    def classify(text: str) -> returns: ...

    return classify


def refusal(returns: Any, ensure: Any) -> str:
    with pytest.raises(DeclarationError) as caught:
        declared(returns, ensure)
    return str(caught.value)


# Fields that are not there


def as_function(r: Sentiment, text: str) -> str | None:
    """A docstring."""
    if r.label == "good":
        return None
    return "too low" if r.confidense < 0.7 else None


MISREAD: dict[str, tuple[Any, Any, str]] = {
    "field": (Sentiment, lambda r: r.confidense > 0.7, "r.confidense, but Sentiment has no"),
    "alias": (Sentiment, lambda r: r.conf > 0.7, "r.conf, but Sentiment has no conf"),
    "nested": (Sentiment, lambda r: r.first.prise > 1, "r.first.prise, but Item has no prise"),
    "index": (Sentiment, lambda r: r.items[0].prise > 1, "r.items[0].prise, but Item"),
    "variable-index": (
        Sentiment,
        lambda r, text: r.items[len(text)].prise > 1,
        "Item or list has no",
    ),
    "slice": (Sentiment, lambda r: r.items[1:][0].prise > 1, "Item has no prise"),
    "key": (Sentiment, lambda r: r.by["x"].prise > 1, "r.by['x'].prise, but Item"),
    "loop": (Sentiment, lambda r: all(i.prise for i in r.items), "i.prise, but Item"),
    "method": (Sentiment, lambda r: r.label.uper() == "", "r.label.uper, but str has no uper"),
    "method-of-an-optional": (Item, lambda r: r.name.lowr(), "r.name.lowr, but str"),
    "enum": (Item, lambda r: r.color.is_cold, "r.color.is_cold, but Color has no is_cold"),
    "float": (float, lambda r: r.is_integr(), "r.is_integr, but float"),
    "opaque": (Sentiment, lambda r: r.note.foo, "r.note.foo, but str has no foo"),
    "pair": (Sentiment, ("a message", lambda r: r.confidense), "r.confidense, but Sentiment"),
    "def": (Sentiment, as_function, "r.confidense, but Sentiment"),
    "partial": (Sentiment, functools.partial(as_function, text=""), "r.confidense"),
    "union": (Item | Tree, lambda r: r.weight, "r.weight, but Item or Tree has no weight"),
    "root": (Names, lambda r: r.root[0].prise, "Item has no prise"),
    "recursive": (Tree, lambda r: r.children[0].children[0].valu, "Tree has no valu (did you"),
    "typed-dict": (Typed, lambda r: r["citi"], "r['citi'], but dict has no citi (did you mean"),
    "plain-class": (Plain, lambda r: r.is_lang(), "Plain has no is_lang (did you mean is_long?)"),
    "after-self": (Checked, lambda r: r.unknown, "Checked has no unknown"),
    "dataclass": (Data, lambda r: r.unknown, "Data has no unknown"),
    "named-tuple": (Pair, lambda r: r.right, "Pair has no right"),
    "guard-of-another": (
        Sentiment,
        lambda r: hasattr(r.first, "x") and r.confidense,
        "Sentiment has no confidense",
    ),
}


@pytest.mark.parametrize(("returns", "ensure", "said"), MISREAD.values(), ids=MISREAD)
def test_a_condition_that_reads_what_no_answer_has_is_an_error(
    returns: Any, ensure: Any, said: str
) -> None:
    text = refusal(returns, ensure)
    assert text.startswith("declared.<locals>.classify: ensure condition 1 reads ")
    assert said in text
    assert f"\n  at {__file__}:" in text


def test_the_message_says_what_was_meant_what_there_is_and_where() -> None:
    wrong = lambda r: r.confidense > 0.7  # noqa: E731
    assert refusal(Sentiment, [lambda r: r.label, wrong]) == (
        "declared.<locals>.classify: ensure condition 2 reads r.confidense, but Sentiment has no "
        "confidense (did you mean confidence?).\n"
        "  It has label, confidence, items, first, by, pair, note, parts, loose.\n"
        f"  at {__file__}:{wrong.__code__.co_firstlineno}"
    )


@pytest.mark.parametrize(
    ("returns", "ensure", "remedy"),
    [
        pytest.param(Typed, lambda r: r.city, "write ['city'], not .city", id="attribute"),
        pytest.param(Item, lambda r: r["price"], "write .price, not ['price']", id="item"),
        pytest.param(Sentiment, lambda r: r.items.price, "write all(each.price", id="list"),
        pytest.param(str, lambda r: r.zzz, "Look up what str offers", id="builtin"),
    ],
)
def test_the_remedy_is_that_of_the_mistake(returns: Any, ensure: Any, remedy: str) -> None:
    assert remedy in refusal(returns, ensure)


def guarded(r: Any) -> bool:
    return r.unknown if hasattr(r, "unknown") else True


def tried(r: Any) -> bool:
    try:
        return bool(r.unknown)
    except AttributeError:
        return True


def rebound(r: Any) -> bool:
    r = {"a": r}.get("b")
    return r is None or r.unknown


def matched(r: Any) -> bool:
    match r:
        case Item():
            return r.unknown
    return True


def inner(r: Any) -> bool:
    def look(r: Any) -> Any:
        return r.unknown

    return callable(look)


def any_wrapper(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


class Judge:
    def holds(self, r: Any) -> bool:
        return self.limit < r.confidence  # type: ignore[attr-defined]

    def __call__(self, r: Any) -> bool:
        return bool(self)


PASSING: dict[str, tuple[Any, Any]] = {
    "fields": (Sentiment, lambda r: r.confidence > 0.7 and r.first.price),
    "methods": (Sentiment, lambda r: r.items[0].total() and r.label.upper().foo),
    "properties": (Sentiment, lambda r: r.items[-1].is_cheap and r.first.color.is_warm),
    "enum-value": (Item, lambda r: r.color.value.foo and r.color.name),
    "model-methods": (Sentiment, lambda r: r.model_dump()["x"] and r.model_fields_set),
    "validator-makes-another-type": (Sentiment, lambda r: r.parts.append and r.loose.price),
    "opaque": (Sentiment, lambda r: r.note.upper()),
    "some-member-has-it": (Item | Tree, lambda r: r.price or r.value),
    "hasattr": (Item, guarded),
    "hasattr-in-a-lambda": (Item, lambda r: hasattr(r, "x") and r.x),
    "isinstance": (Item, lambda r: isinstance(r, Sentiment) and r.label),
    "isinstance-of-a-field": (Sentiment, lambda r: isinstance(r.first, Tree) and r.first.value),
    "getattr": (Item, lambda r: getattr(r, "x", None) and r.x),
    "in-fields-set": (Item, lambda r: "x" in r.model_fields_set and r.x),
    "in-a-dict": (Typed, lambda r: "zip" in r and r["zip"]),
    "try": (Item, tried),
    "rebound": (Item, rebound),
    "match": (Item, matched),
    "walrus": (Item, lambda r: (r := [r]) and r.append),
    "inner-function": (Item, inner),
    "inner-lambda": (Item, lambda r: (lambda r: r.unknown)(Sentiment) if False else True),
    "loop-of-the-same-name": (Item, lambda r: [r.unknown for r in ()] == []),
    "loop-over-something-else": (Item, lambda r: all(i.unknown for i in (r,))),
    "extra-fields": (Open, lambda r: r.anything),
    "getattr-of-its-own": (Dynamic, lambda r: r.anything),
    "post-init": (Grown, lambda r: r.more),
    "validator-gives-another": (Replaced, lambda r: r.price),
    "root-validator": (Old, lambda r: r.known.price),
    "dict": (dict[str, int], lambda r: r["any"].real and r.items()),
    "list": (list[int], lambda r: r[0].real and r.count(1)),
    "named-tuple": (Pair, lambda r: r.left and r._asdict() and r[0].foo),
    "builtin": (str, len),
    "wrapped": (Sentiment, any_wrapper(as_function)),
    "bound-method": (Sentiment, Judge().holds),
    "callable-object": (Sentiment, Judge()),
    "partial-of-the-first": (Sentiment, functools.partial(lambda a, r: a.unknown, Item)),
    "stars": (Sentiment, lambda *r: r[0].unknown),
    "private": (Sentiment, lambda r: r._hidden),
    "anything-inside": (dict[str, Any], lambda r: r["x"].unknown),
    "chain-of-calls": (Sentiment, lambda r: r.by.get("x").unknown),
}


@pytest.mark.parametrize(("returns", "ensure"), PASSING.values(), ids=PASSING)
def test_what_may_be_there_is_let_pass(returns: Any, ensure: Any) -> None:
    assert declared(returns, ensure).question.ensure


WORDS = ["price", "name", "color", "label", "items", "first", "by", "value", "children", "city"]
READS = st.lists(
    st.one_of(
        st.sampled_from([f".{word}" for word in WORDS]),
        st.sampled_from(["[0]", "['city']", "[-1]", ".upper()", ".real", ".values()", ".value"]),
    ),
    min_size=1,
    max_size=4,
).map("".join)
RETURNS = [Sentiment, Item, Tree, Typed, Names, Item | Tree, list[Item], dict[str, Tree], str]


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(RETURNS), READS, st.integers(0, 50))
def test_what_is_refused_fails_on_every_value(returns: Any, path: str, seed: int) -> None:
    source = f"condition = lambda r: r{path}\n"
    condition = executed(source)["condition"]
    try:
        declared(returns, condition)
    except DeclarationError:
        with pytest.raises((AttributeError, TypeError, KeyError, IndexError)):
            condition(example_of(returns, seed=seed))


def executed(source: str, name: str = "<made>") -> dict[str, Any]:
    """Run source that `linecache` knows, so that its syntax can be found."""
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    namespace: dict[str, Any] = {"__name__": "made", "infer": infer, "Sentiment": Sentiment}
    exec(compile(source, name, "exec"), namespace)
    return namespace


def test_without_source_a_condition_is_let_pass() -> None:
    namespace: dict[str, Any] = {}
    exec("condition = lambda r: r.confidense", namespace)
    exec("def function(r):\n    return r.confidense", namespace)
    declared(Sentiment, [namespace["condition"], namespace["function"]])


def test_a_source_that_changed_meanwhile_is_not_held_against_it() -> None:
    function = executed("def function(r):\n    return r.confidence\n", "<changed>")["function"]
    text = "def function(r):\n    return r.confidense\n"
    linecache.cache["<changed>"] = (len(text), None, text.splitlines(keepends=True), "<changed>")
    declared(Sentiment, function)


# Bodies

EMPTY = {
    "ellipsis": "def f(x: str) -> str: ...",
    "pass": "def f(x: str) -> str: pass",
    "docstring": 'def f(x: str) -> str:\n    "Text."',
    "docstring-and-ellipsis": 'def f(x: str) -> str:\n    "Text."\n    ...',
    "not-implemented": "def f(x: str) -> str: raise NotImplementedError",
    "not-implemented-text": "def f(x: str) -> str: raise NotImplementedError(f'no {x!r} {x}')",
    "not-implemented-from": "async def f(x: str) -> str: raise NotImplementedError('a') from None",
    "async": "async def f(x: str) -> str: ...",
    "async-docstring": 'async def f(x: str) -> str:\n    "Text."',
    "return": "def f(x: str) -> str: return",
}
FULL = {
    "return": "def f(x: str) -> str: return x",
    "constant": "def f(x: str) -> str: return 'good'",
    "call": "def f(x: str) -> str:\n    print(x)\n    ...",
    "branch": "def f(x: str) -> str:\n    if x: raise NotImplementedError",
    "another-error": "def f(x: str) -> str: raise ValueError",
    "either-error": "def f(x: str) -> str: raise NotImplementedError if x else ValueError",
    "assignment": "def f(x: str) -> str: y = 1",
    "assert": "def f(x: str) -> str: assert x",
    "loop": "def f(x: str) -> str:\n    while True: pass",
    "inner": "def f(x: str) -> str:\n    def g(): return x\n    return g()",
    "await": "async def f(x: str) -> str: return await x",
    "generator": "def f(x: str) -> str: yield x",
    "async-generator": "async def f(x: str) -> str:\n    yield x",
    "used-then-raised": "def f(x: str) -> str:\n    NotImplementedError(x)\n    raise ValueError",
}


def function_of(source: str) -> Any:
    namespace: dict[str, Any] = {}
    exec(source, namespace)
    return namespace["f"]


@pytest.mark.parametrize("source", EMPTY.values(), ids=EMPTY)
def test_an_empty_body_is_taken(source: str) -> None:
    assert infer(intent="Ask")(function_of(source))


@pytest.mark.parametrize("source", FULL.values(), ids=FULL)
def test_a_body_with_code_is_an_error_even_without_source(source: str) -> None:
    with pytest.raises(DeclarationError) as caught:
        infer(intent="Ask")(function_of(source))
    assert str(caught.value) == (
        "f has code in its body, and the body of an @infer function is never run.\n"
        "  Write ... as its body. Put code that should run into a @compute function, or call it "
        "from a @flow.\n  at <string>:1"
    )


def test_what_a_tool_put_into_an_empty_body_is_no_code_of_its() -> None:
    source = dedent("def f(x: str) -> str: ...\n")
    instrumented = function_of("def f(x: str) -> str:\n    print(x)\n")
    code = instrumented.__code__.replace(co_filename="<instrumented>")
    function = types.FunctionType(code, instrumented.__globals__)
    function.__annotations__ = instrumented.__annotations__
    linecache.cache["<instrumented>"] = (len(source), None, [source], "<instrumented>")
    assert infer(intent="Ask")(function)


# Return types


class Opaque:
    pass


def gives_nothing(text: str): ...  # type: ignore[no-untyped-def]
def gives_any(text: str) -> Any: ...
def gives_none(text: str) -> None: ...
def gives_callable(text: str) -> Callable[[], int]: ...
def gives_lines(text: str) -> Iterator[str]: ...
async def gives_stream(text: str) -> AsyncIterator[str]: ...
def gives_class(text: str) -> Opaque: ...
def gives_classes(text: str) -> list[Opaque]: ...


@pytest.mark.parametrize(
    ("function", "said"),
    [
        pytest.param(gives_nothing, "has no return annotation", id="none"),
        pytest.param(gives_any, "Any is no contract.\n  Say what the answer looks", id="any"),
        pytest.param(gives_none, "an answer of None says nothing", id="None"),
        pytest.param(gives_callable, "no answer can be a Callable", id="callable"),
        pytest.param(gives_lines, "no answer can be a Iterator[str].\n  Use a type", id="iterator"),
        pytest.param(gives_stream, "no answer can be a AsyncIterator[str]", id="async-iterator"),
        pytest.param(gives_class, "Opaque cannot be a contract", id="class"),
        pytest.param(gives_classes, "list[Opaque] cannot be a contract", id="class-inside"),
    ],
)
def test_a_return_type_that_no_answer_can_have_is_an_error_with_its_place(
    function: Any, said: str
) -> None:
    with pytest.raises(DeclarationError) as caught:
        infer(intent="Ask")(function)
    text = str(caught.value)
    assert said in text
    assert text.startswith(function.__name__)
    assert text.endswith(f"\n  at {__file__}:{function.__code__.co_firstlineno}")


@pytest.mark.parametrize("returns", [Typed, Pair, Data, Color, dict[str, Any]], ids=str)
def test_other_return_types_are_taken(returns: Any) -> None:
    assert declared(returns, None)


# `given`


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(lambda txt: True, id="lambda"),
        pytest.param(lambda text, txt: True, id="second"),
        pytest.param(lambda *, txt: True, id="keyword-only"),
        pytest.param(("a message", lambda txt: True), id="pair"),
        pytest.param([lambda text: True, lambda txt: True], id="list"),
        pytest.param(functools.partial(lambda a, txt: True, a=1), id="partial"),
        pytest.param(Judge().holds, id="bound-method"),
        pytest.param(Judge(), id="object"),
    ],
)
def test_a_given_condition_with_an_unknown_parameter_is_an_error(given: Any) -> None:
    with pytest.raises(DeclarationError, match=r"which .*ask does not have") as caught:

        @infer(intent="Ask", given=given)
        def ask(text: str) -> str: ...

    assert f"\n  at {__file__}:" in str(caught.value)


# Conditions that ask


module = types.ModuleType("elsewhere")
module.is_fine = is_fine  # type: ignore[attr-defined]


class Desk:
    check = is_fine


desk = Desk()


@compute
async def shout(text: str) -> str:
    return text.upper()


def closure() -> Callable[..., Any]:
    inner = is_fine
    return lambda r: any(inner.run(text=each) for each in r)


CALLING: dict[str, tuple[Any, str]] = {
    "run": (lambda r: is_fine.run(text=r), "is_fine"),
    "call": (lambda r: is_fine(text=r), "is_fine"),
    "starred": (lambda r: is_fine(*r), "is_fine"),
    "module": (lambda r: module.is_fine.run(text=r), "module.is_fine"),
    "attribute": (lambda r: desk.check.run(text=r), "desk.check"),
    "inner-lambda": (lambda r: sorted(r, key=lambda x: is_fine.run(text=x)), "is_fine"),
    "closure": (closure(), "inner"),
    "copy": (lambda r: is_fine.with_(retries=0).run(text=r), "is_fine"),
    "partial": (functools.partial(lambda a, r: is_fine.run(text=r), a=1), "is_fine"),
}


@pytest.mark.parametrize(("condition", "name"), CALLING.values(), ids=CALLING)
def test_a_condition_that_calls_an_infer_function_is_found(condition: Any, name: str) -> None:
    assert calls_infer(condition) == name


class Lazy:
    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("nothing may be run")


lazy = Lazy()

NOT_CALLING: dict[str, Any] = {
    "plain": lambda r: len(r) > 3,
    "unknown": lambda r: unknown.run(r),  # noqa: F821
    "compute": lambda r: shout(r),
    "shadowed": lambda r: (lambda is_fine: is_fine(r))(len),
    "mentioned": lambda r: r is not is_fine,
    "attribute-of-the-answer": lambda r: r.is_fine.run(1),
    "lazy-object": lambda r: lazy.check.run(r),
    "builtin": len,
    "object": Judge(),
}


@pytest.mark.parametrize("condition", NOT_CALLING.values(), ids=NOT_CALLING)
def test_other_conditions_call_none(condition: Any) -> None:
    assert calls_infer(condition) is None


def test_a_name_that_is_bound_later_is_unknown() -> None:
    def condition(r: Any) -> Any:
        return later.run(text=r)

    assert calls_infer(condition) is None
    later = is_fine
    assert calls_infer(condition) == "later"


@pytest.mark.parametrize("kind", ["given", "ensure"])
def test_a_condition_that_asks_is_an_error(kind: str) -> None:
    conditions = {"given": lambda text: is_fine.run(text=text), "ensure": is_fine_again}
    with pytest.raises(DeclarationError) as caught:

        @infer(intent="Ask", **{kind: conditions[kind]})
        def ask(text: str) -> str: ...

    said = "condition 1 calls is_fine, an @infer function, and conditions are not awaited.\n"
    assert said in str(caught.value)
    assert "  Await is_fine in a @flow: before the call to pass its value" in str(caught.value)


def is_fine_again(r: str) -> bool:
    return is_fine.run(text=r)


def test_a_given_parameter_that_is_misspelt_is_guessed() -> None:
    with pytest.raises(DeclarationError, match=r"takes txt, which .* \(did you mean text\?\)\."):
        infer(intent="Ask", given=lambda txt: True)(is_fine.__wrapped__)  # type: ignore[attr-defined]


def test_nothing_of_it_is_loaded_by_an_import() -> None:
    text = (
        "import sys, stratum; from stratum import infer\n"
        "print(*[n for n in sys.modules if n in ('stratum.reading', 'stratum.attributes')])"
    )
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True)
    assert done.stdout.split() == []
