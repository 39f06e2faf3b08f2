"""Conditions and what they say when they do not hold."""

import asyncio
import re
import runpy
import subprocess
import sys
import warnings
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from stratum.checks import Condition, Hides, Kind, conditions, violations
from stratum.errors import ConditionError, DeclarationError
from stratum.opacity import hides as hides_by_annotation
from stratum.opacity import opaque


class Address(BaseModel):
    city: str
    street: opaque[str] = "Elm"


class Answer(BaseModel):
    label: str = "spam"
    confidence: float = 0.42
    low: int = 3
    high: int = 2
    address: Address = Address(city="Ulm")
    addresses: list[Address] = [Address(city="Bonn")]
    scores: dict[str, int] = {"b": 2, "a": 1}
    on: date = date(2026, 1, 2)
    note: str | None = None


class AtLeast:
    def __init__(self, limit: Any) -> None:
        self.limit = limit

    def __call__(self, r: Any) -> bool:
        return bool(r >= self.limit)

    def holds(self, r: Any) -> bool:
        return bool(r >= self.limit)


class AsyncCheck:
    async def __call__(self, r: Any) -> bool:
        return True


class bool_:  # noqa: N801 - the name of numpy's type is what is looked at
    def __init__(self, value: bool) -> None:
        self.value = value

    def __bool__(self) -> bool:
        return self.value


def covers(r: Any, text: str, factor: int = 1) -> bool:
    return len(r) * factor >= len(text)


def positional(r: Any, text: str, /) -> bool:
    return bool(r == text)


def asserting(r: Any) -> None:
    assert r == 3


def failing(text: str) -> Callable[[Any], None]:
    def check(r: Any) -> None:
        raise AssertionError(text) if text else AssertionError

    return check


def failing_with(text: str) -> Callable[[Any], None]:
    def check(r: Any) -> None:
        raise ValueError(text)

    return check


def saying(text: str) -> Callable[[Any], str]:
    def check(r: Any) -> str:
        return text

    return check


async def async_check(r: Any) -> bool:
    return True


def generating(r: Any) -> Iterator[bool]:
    yield True


async def async_generating(r: Any) -> AsyncIterator[bool]:
    yield True


def nothing_hidden(parameter: str, steps: tuple[str, ...]) -> bool:
    return False


def declared(
    given: object, kind: Kind = "ensure", parameters: tuple[str, ...] = ("text", "lang")
) -> tuple[Condition, ...]:
    return conditions(given, kind=kind, function="classify", parameters=parameters)


def broken(
    given: object,
    result: Any = None,
    *,
    kind: Kind = "ensure",
    values: Mapping[str, Any] | None = None,
    hides: Hides = nothing_hidden,
) -> tuple[str, ...]:
    bound = {"text": "a text", "lang": "en"} if values is None else values
    ready = declared(given, kind, tuple(bound))
    return violations(
        ready, kind=kind, function="classify", values=bound, result=result, hides=hides
    )


def hides_in_answer(parameter: str, steps: tuple[str, ...]) -> bool:
    return hides_by_annotation(opaque[str] if parameter == "text" else Answer, steps)


def written(folder: Path, body: str) -> str:
    file = folder / "written.py"
    file.write_text(body, encoding="utf-8")
    return str(file)


def sources(folder: Path, body: str) -> list[str]:
    keep = "def keep(**kept): return lambda f: kept"
    found = runpy.run_path(written(folder, f"{keep}\n{body}"))["found"]
    return [condition.source for condition in declared(found)]


@pytest.mark.parametrize(
    ("condition", "text"),
    [
        pytest.param(
            lambda r: r.confidence > 0.7, "r.confidence > 0.7 (actual: 0.42)", id="number"
        ),
        pytest.param(lambda r: r.label == "ham", "r.label == 'ham' (actual: \"spam\")", id="text"),
        pytest.param(
            lambda r: r.note is not None, "r.note is not None (actual: null)", id="absent"
        ),
        pytest.param(
            lambda r: r.low <= r.high, "r.low <= r.high (actual: r.low = 3, r.high = 2)", id="two"
        ),
        pytest.param(
            lambda r: 0 < r.low < 3 or r.low > 5,
            "0 < r.low < 3 or r.low > 5 (actual: 3)",
            id="once",
        ),
        pytest.param(
            lambda r: r.address.city.upper() == "BONN",
            "r.address.city.upper() == 'BONN' (actual: \"Ulm\")",
            id="method",
        ),
        pytest.param(
            lambda r: r.addresses[0].city == r.addresses[-1].city[:2],
            "r.addresses[0].city == r.addresses[-1].city[:2] "
            '(actual: r.addresses[0].city = "Bonn", r.addresses[-1].city = "Bonn")',
            id="subscripts",
        ),
        pytest.param(
            lambda r: r.scores["a"] > 1, "r.scores['a'] > 1 (actual: 1)", id="text-subscript"
        ),
        pytest.param(
            lambda r: len(r.scores) > 2,
            'len(r.scores) > 2 (actual: {"a":1,"b":2})',
            id="compact-json",
        ),
        pytest.param(
            lambda r: r.on > date(2026, 2, 1),
            'r.on > date(2026, 2, 1) (actual: "2026-01-02")',
            id="date",
        ),
        pytest.param(
            lambda r: all(r > 2 for r in r.scores.values()),
            'all((r > 2 for r in r.scores.values())) (actual: {"a":1,"b":2})',
            id="shadowed-in-comprehension",
        ),
        pytest.param(
            lambda r: (lambda r: r > r)(r.low),
            "(lambda r: r > r)(r.low) (actual: 3)",
            id="shadowed-in-lambda",
        ),
        pytest.param(
            lambda r: (r.note is not None and r.note.missing.deeper) or r.low > 5,
            "r.note is not None and r.note.missing.deeper or r.low > 5 "
            "(actual: r.note = null, r.low = 3)",
            id="unreadable-path",
        ),
        pytest.param(lambda r: False, "False", id="no-path"),
        pytest.param(("be sure", lambda r: r.low > 5), "be sure (actual: 3)", id="message"),
    ],
)
def test_a_lambda_shows_its_text_and_the_values_it_reads(condition: Any, text: str) -> None:
    assert broken(condition, Answer()) == (f"ensure: {text}",)


@pytest.mark.parametrize(
    ("condition", "text"),
    [
        pytest.param(saying("3 routes are missing"), "check: 3 routes are missing", id="text"),
        pytest.param(failing("3 are missing"), "check: 3 are missing", id="assertion"),
        pytest.param(failing(""), "check", id="bare-assertion"),
        pytest.param(saying(" \n"), "check", id="blank-text"),
        pytest.param(saying("a\n\x1bb"), r"check: a\n\x1bb", id="escaped"),
        pytest.param(saying("x" * 401), f"check: {'x' * 300}… (101 more characters)", id="long"),
        pytest.param(partial(covers, text="abc"), "covers", id="partial"),
        pytest.param(partial(lambda r, n: len(r) > n, n=3), 'len(r) > n (actual: "")', id="bound"),
        pytest.param(AtLeast("a"), "AtLeast", id="object"),
        pytest.param(AtLeast("a").holds, "AtLeast.holds", id="method"),
        pytest.param(bool, "bool", id="builtin"),
        pytest.param(("say more", saying("no verb")), "say more: no verb", id="message"),
        pytest.param(lambda *r: len(r) > 1, "len(r) > 1", id="star"),
        pytest.param(lambda r: "is empty", "'is empty': is empty", id="lambda"),
        pytest.param(lambda r: bool_(False), "bool_(False)", id="numpy-like"),
    ],
)
def test_a_function_is_called_by_its_name(condition: Any, text: str) -> None:
    assert broken(condition, "") == (f"ensure: {text}",)


def test_what_pytest_adds_to_an_assertion_is_left_out() -> None:
    def named(r: int) -> None:
        assert r == 3, "three is wanted"

    assert broken(asserting, 4) == ("ensure: asserting",)
    assert broken(named, 4) == ("ensure: named: three is wanted",)


@pytest.mark.parametrize(
    "condition",
    [
        pytest.param(None, id="nothing"),
        pytest.param([], id="empty-list"),
        pytest.param(lambda r: True, id="true"),
        pytest.param(lambda r: None, id="none"),
        pytest.param(lambda r: "", id="empty-text"),
        pytest.param(lambda r: None if r > 2 else "too low", id="none-in-a-branch"),
        pytest.param(lambda r: "" if r > 2 else "too low", id="empty-text-in-a-branch"),
        pytest.param(lambda r: "; ".join(str(n) for n in [r] if n > 5), id="joined-text"),
        pytest.param(lambda r: f"{'low' if r < 3 else ''}", id="formatted-text"),
        pytest.param(lambda r: r < 3 or None, id="none-at-last"),
        pytest.param(lambda r: r > 2 and None, id="none-after-and"),
        pytest.param(saying(""), id="empty-text-of-a-function"),
        pytest.param(("message", asserting), id="none-of-a-function"),
        pytest.param(lambda r: bool_(True), id="numpy-like"),
        pytest.param(lambda r: r >= 3, id="comparison"),
        pytest.param(lambda *results: len(results) == 1, id="star"),
        pytest.param(lambda r, /: r == 3, id="positional-result"),
        pytest.param(lambda r, lang, text: (r, lang, text) == (3, "en", "a text"), id="inputs"),
        pytest.param(lambda text, lang: (text, lang) == (3, "en"), id="result-named-like-an-input"),
        pytest.param(lambda r, *, lang="de": lang == "en", id="default-is-replaced"),
        pytest.param(lambda r, limit=2: limit == 2, id="unknown-default"),
        pytest.param(partial(lambda r, text: text == "mine", text="mine"), id="bound-stays"),
        pytest.param((asserting, AtLeast(3)), id="tuple"),
    ],
)
def test_a_condition_that_holds_says_nothing(condition: Any) -> None:
    assert broken(condition, 3) == ()


def test_every_condition_that_does_not_hold_is_listed_in_order() -> None:
    assert broken([lambda r: r > 5, ("odd", lambda r: r % 2 == 1), AtLeast(4)], 2) == (
        "ensure: r > 5 (actual: 2)",
        "ensure: odd (actual: 2)",
        "ensure: AtLeast",
    )


@pytest.mark.parametrize(
    ("condition", "text"),
    [
        pytest.param(lambda text: len(text) > 9, 'len(text) > 9 (actual: "a text")', id="one"),
        pytest.param(
            lambda lang, text: lang in text.split(),
            'lang in text.split() (actual: lang = "en", text = "a text")',
            id="two",
        ),
        pytest.param(lambda: False, "False", id="none"),
    ],
)
def test_a_given_condition_takes_inputs_by_name(condition: Any, text: str) -> None:
    assert broken(condition, kind="given") == (f"given: {text}",)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param(0.1, "0.1", id="float"),
        pytest.param(float("nan"), "nan", id="nan"),
        pytest.param(True, "true", id="bool"),
        pytest.param('say "é"\n', r'"say \"é\"\n"', id="text"),
        pytest.param("\x9b\u202e", r'"\x9b\u202e"', id="controls"),
        pytest.param("x" * 400, f'"{"x" * 119}… (282 more characters)', id="long"),
        pytest.param({"b": [1, None], "a": {2}}, '{"a":[2],"b":[1,null]}', id="nested"),
        pytest.param([float("inf")], "<list>", id="not-json"),
        pytest.param(AtLeast(1), "<AtLeast>", id="object"),
    ],
)
def test_a_value_is_shown_as_short_json(value: object, text: str) -> None:
    assert broken(lambda r: r is None, value) == (f"ensure: r is None (actual: {text})",)


@pytest.mark.parametrize(
    ("condition", "text"),
    [
        pytest.param(lambda r: r.address.street == "", "<opaque>", id="opaque"),
        pytest.param(lambda r: r.address is None, "<opaque>", id="contains-opaque"),
        pytest.param(lambda r: r is None, "<opaque>", id="whole-result"),
        pytest.param(lambda r: r.addresses[0].street[0] == "", "<opaque>", id="inside-opaque"),
        pytest.param(lambda r: r.addresses[0].city == "", '"Bonn"', id="beside-opaque"),
        pytest.param(
            lambda r, text: r.label in text, 'r.label = "spam", text = <opaque>', id="input"
        ),
    ],
)
def test_an_opaque_value_is_never_shown(condition: Any, text: str) -> None:
    (violation,) = broken(condition, Answer(), hides=hides_in_answer)
    assert violation.endswith(f" (actual: {text})")


def test_hides_is_asked_for_the_steps_below_each_parameter() -> None:
    asked = []

    def hides(parameter: str, steps: tuple[str, ...]) -> bool:
        asked.append((parameter, steps))
        return False

    broken(lambda r, lang: lang == r.addresses[-1].city == r.scores["a"], Answer(), hides=hides)
    assert asked == [("lang", ()), ("", ("addresses", "-1", "city")), ("", ("scores", "a"))]


@pytest.mark.parametrize(
    ("condition", "said", "remedy"),
    [
        pytest.param(
            lambda r: r.missing,
            "ensure r.missing raised AttributeError: 'int' object has no attribute 'missing'.",
            "return False or a text",
            id="raised",
        ),
        pytest.param(
            lambda r: {"a": 1}["b"],
            "ensure {'a': 1}['b'] raised KeyError: 'b'.",
            "return False",
            id="key-error",
        ),
        pytest.param(
            lambda r: re.match("", ""),
            "ensure re.match('', '') returned a value of type Match,",
            "Wrap the expression in bool(...).",
            id="match",
        ),
        pytest.param(
            failing_with("a\n\x1bb"),
            r"ensure check raised ValueError: a\n\x1bb.",
            "text",
            id="escaped",
        ),
        pytest.param(
            ("two\nlines", lambda r: 3), r"ensure two\nlines returned", "bool(", id="message"
        ),
        pytest.param(AtLeast, "AtLeast returned a value of type AtLeast", "bool(", id="class"),
        pytest.param(
            lambda r: async_check(r),
            "ensure async_check(r) returned a value of type coroutine",
            "call a synchronous function",
            id="coroutine",
        ),
    ],
)
def test_a_condition_that_gives_no_verdict_is_an_error(
    condition: Any, said: str, remedy: str
) -> None:
    with pytest.raises(ConditionError, match=re.escape(f"{said}")) as caught:
        broken(condition, 3)
    assert str(caught.value).startswith("classify: ensure ")
    assert remedy in str(caught.value)


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        pytest.param(lambda r: re.match("x", r.label), "None", id="match"),
        pytest.param(lambda r: r.note, "None", id="attribute"),
        pytest.param(lambda r: r.note and r.low == "None", "None", id="and"),
        pytest.param(lambda r: r.low == 0 or r.note, "None", id="or"),
        pytest.param(lambda r: (None if r.low else 1) or r.note, "None", id="none-before-or"),
        pytest.param(lambda r: r.note if r.low else r.low > 1, "None", id="branch"),
        pytest.param(lambda r: asserting(r.low), "None", id="call"),
        pytest.param(("a note", lambda r: r.note), "None", id="message"),
        pytest.param(partial(lambda r, of: getattr(r, of), of="note"), "None", id="partial"),
        pytest.param(lambda r: r.label[4:] and r.low > 1, "an empty text", id="empty-text"),
        pytest.param(lambda r: r.label[4:] and "spam", "an empty text", id="other-text"),
        pytest.param(lambda r: r.note or r.label.strip("spam"), "an empty text", id="or-text"),
        pytest.param(lambda r: None if r.low > 3 else r.label[4:], "an empty text", id="not-none"),
    ],
)
def test_a_lambda_passes_by_none_or_an_empty_text_only_when_it_spells_it_out(
    condition: Any, said: str
) -> None:
    with pytest.raises(ConditionError) as caught:
        broken(condition, Answer())
    assert str(caught.value).startswith("classify: ensure ")
    assert f" gave {said}, which the lambda does not spell out." in str(caught.value)
    assert "Wrap the expression in bool(...)" in str(caught.value)


def test_without_its_source_a_lambda_may_give_none(tmp_path: Path) -> None:
    found = runpy.run_path(written(tmp_path, "\nfound = lambda r: r"))["found"]
    (tmp_path / "written.py").unlink()
    assert broken(found, None) == ()


def test_what_a_condition_raised_is_the_cause() -> None:
    with pytest.raises(ConditionError) as caught:
        broken(lambda r: r / 0, 3)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, asyncio.CancelledError])
def test_what_is_no_exception_passes_through(error: type[BaseException]) -> None:
    def check(r: Any) -> None:
        raise error

    with pytest.raises(error):
        broken(check)


@pytest.mark.parametrize(
    ("kind", "given", "problem", "remedy"),
    [
        pytest.param("ensure", async_check, "(async_check) is an async", "plain def", id="async"),
        pytest.param("ensure", AsyncCheck(), "(AsyncCheck) is an async", "def", id="async-object"),
        pytest.param(
            "ensure", AsyncCheck().__call__, "(AsyncCheck.__call__) is", "def", id="async-method"
        ),
        pytest.param("ensure", partial(partial(async_check)), "async", "def", id="async-partial"),
        pytest.param(
            "given", partial(AsyncCheck()), "(AsyncCheck) is an async", "def", id="partial-object"
        ),
        pytest.param("ensure", generating, "is a generator", "using yield", id="generator"),
        pytest.param("ensure", async_generating, "a generator", "yield", id="async-generator"),
        pytest.param("ensure", lambda r: (yield), "a generator", "yield", id="yielding-lambda"),
        pytest.param("ensure", 3, "type int, which cannot be called", "a lambda", id="number"),
        pytest.param("given", "text != ''", "is of type str", "a lambda", id="text"),
        pytest.param("ensure", ("a", "b"), "is of type str", "predicate) pair", id="two-texts"),
        pytest.param("ensure", ("a", len, len), "condition 1 is of type str", "pair", id="triple"),
        pytest.param(
            "ensure", [len, (len, "a")], "condition 2 is of type tuple", "pair", id="turned-pair"
        ),
        pytest.param("ensure", lambda: True, "no parameter", "lambda r: ", id="no-result"),
        pytest.param("ensure", lambda *, r: True, "no parameter", "lambda r: ", id="keyword-only"),
        pytest.param("ensure", lambda **r: True, "no parameter", "lambda r: ", id="only-stars"),
        pytest.param(
            "ensure",
            lambda r, txt: True,
            "takes txt, which classify does not have",
            "the result first, then inputs by name: text, lang.",
            id="unknown-input",
        ),
        pytest.param("ensure", positional, "text by position only", "Remove the /", id="slash"),
        pytest.param(
            "given",
            lambda r: True,
            "takes r, which classify does not have",
            "takes inputs by name: text, lang.",
            id="unknown-given",
        ),
        pytest.param(
            "given",
            lambda text, /: True,
            "takes text by position",
            "Remove the /",
            id="given-slash",
        ),
        pytest.param("given", lambda **kw: True, "takes **kw", ": text, lang.", id="given-stars"),
        pytest.param("given", lambda *a: True, "takes *a", ": text, lang.", id="given-star"),
        pytest.param("given", max, "(max) does not say", "text, lang.", id="given-builtin"),
    ],
)
def test_a_mistake_is_reported_at_declaration(
    kind: Kind, given: Any, problem: str, remedy: str
) -> None:
    with pytest.raises(DeclarationError) as caught:
        declared(given, kind)
    said, _, advice = str(caught.value).partition("\n  ")
    assert said.startswith(f"classify: {kind} condition ")
    assert problem in said
    assert remedy in advice


def test_a_function_without_parameters_is_said_to_have_none() -> None:
    with pytest.raises(DeclarationError, match="by name: classify has none"):
        declared(lambda text: True, "given", parameters=())


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param(
            "found = [lambda r: r.a, lambda r: r.b]", ["r.a", "r.b"], id="two-on-one-line"
        ),
        pytest.param(
            "found = (lambda f: [f, lambda r: r.inner])(lambda r: r.outer)",
            ["r.outer", "r.inner"],
            id="inside-a-lambda",
        ),
        pytest.param(
            "outer = lambda r: lambda r: r > 1\nfound = [outer, outer(0)]",
            ["lambda r: r > 1", "r > 1"],
            id="nested",
        ),
        pytest.param(
            "found = [\n  lambda r: (\n    (r.a)>1\n    and r.b  # why\n  ),\n]",
            ["r.a > 1 and r.b"],
            id="many-lines",
        ),
        pytest.param(
            "found = ['é世🙂' and (lambda r: r.a), lambda r: 'ü' in r]",
            ["r.a", "'ü' in r"],
            id="non-ascii-before",
        ),
        pytest.param(
            "@keep(ensure=lambda r: r.a, other=lambda r: r.b)\ndef f(): ...\n"
            "found = list(f.values())",
            ["r.a", "r.b"],
            id="decorator",
        ),
        pytest.param(
            "limit = 3\ndef make(k):\n  return [lambda r: r > k, lambda r: r > limit]\n"
            "found = make(3)",
            ["r > k", "r > limit"],
            id="closure",
        ),
        pytest.param(
            "found = [lambda r, f=lambda r: r.a: f(r), lambda r: None, lambda r: 1 + 2]",
            ["f(r)", "None", "1 + 2"],
            id="defaults-and-constants",
        ),
        pytest.param(
            "found = [lambda r, low=1, f=lambda r: 2: 'too low', lambda r, high=True: 1, "
            "lambda r, high=1: True]",
            ["'too low'", "1", "True"],
            id="constants-with-defaults",
        ),
        pytest.param(
            "found = lambda r: [x for x in r if any(y > x for y in r)] != []",
            ["[x for x in r if any((y > x for y in r))] != []"],
            id="comprehension",
        ),
    ],
)
def test_the_text_of_a_lambda_is_found(tmp_path: Path, body: str, expected: list[str]) -> None:
    assert sources(tmp_path, body) == expected


def test_reformatting_does_not_change_the_text(tmp_path: Path) -> None:
    compact = sources(tmp_path, "found=lambda r:r.a>1 and'x'in r.b")
    spread = sources(tmp_path, 'found = (\n    lambda r: (\n        r.a > 1\n and "x" in r.b))')
    assert compact == spread == ["r.a > 1 and 'x' in r.b"]


def test_a_file_that_warns_when_it_is_parsed_is_read_in_silence(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = runpy.run_path(written(tmp_path, "found = lambda r: r == '\\d'"))["found"]
    assert declared(found)[0].source == r"r == '\\d'"


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(None, id="removed"),
        pytest.param("", id="emptied"),
        pytest.param("found = (", id="broken"),
        pytest.param("\n\nfound = lambda r: r > 3", id="moved"),
        pytest.param("\nfound = lambda r: r", id="shortened"),
        pytest.param("\nfound = lambda s: s > 3", id="renamed"),
        pytest.param("found = lambda r: (r.a\n" + 30 * " " + "and r.b)", id="reflowed"),
    ],
)
def test_without_its_source_a_lambda_is_known_by_its_number(
    tmp_path: Path, content: str | None
) -> None:
    found = runpy.run_path(written(tmp_path, "\nfound = lambda r: r > 3"))["found"]
    (tmp_path / "written.py").unlink()
    if content is not None:
        written(tmp_path, content)
    assert broken([AtLeast(3), found], 3) == ("ensure: condition 2",)


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["-X", "no_debug_ranges", "FILE"], id="no-columns"),
        pytest.param(
            ["-c", "TEXT"],
            id="no-file",
            marks=pytest.mark.skipif(
                sys.version_info >= (3, 13), reason="Python keeps the text of -c from 3.13 on"
            ),
        ),
    ],
)
def test_without_columns_a_lambda_is_known_by_its_number(
    tmp_path: Path, arguments: list[str]
) -> None:
    text = (
        "from stratum.checks import conditions\n"
        "ready = conditions(lambda r: r, kind='ensure', function='f', parameters=())\n"
        "print(ready[0].source, ready[0].paths)"
    )
    chosen = {"FILE": written(tmp_path, text), "TEXT": text}
    command = [sys.executable, *(chosen.get(part, part) for part in arguments)]
    assert subprocess.check_output(command, text=True) == "condition 1 ()\n"
