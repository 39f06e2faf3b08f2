"""What happens to those who use functions and calls the wrong way."""

import gc
import json
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from typing import Any

import pytest
from pydantic import BaseModel, field_serializer

from stratum import (
    Budget,
    ConfigurationError,
    DeclarationError,
    InputError,
    NotAwaited,
    compute,
    configure,
    flow,
    infer,
    opaque,
    parallel,
    race,
    using,
)
from stratum.steps import Call
from tests.scripted import answering, records
from tests.support import project, run_pytest


def ask(text: str) -> str: ...


async def never(r: Any) -> bool:
    return True


def without_return(text: str): ...  # type: ignore[no-untyped-def]


def starred(*texts: str) -> str: ...


def double_starred(**texts: str) -> str: ...


def unknown(text: str) -> "Nowhere": ...  # type: ignore[name-defined]  # noqa: F821


def nothing(text: str) -> None: ...


def anything(text: str) -> Any: ...


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        pytest.param({"intent": " "}, "intent=' '; say in words what", id="no-intent"),
        pytest.param({"intent": None}, "intent=None; say in words", id="intent-none"),
        pytest.param({"context": 3}, "context=3; it takes a text", id="context"),
        pytest.param({"budget": 0.01}, "budget=0.01; write Budget(ms=..., usd=...)", id="budget"),
        pytest.param({"retries": -1}, "retries=-1; it takes a whole number", id="retries"),
        pytest.param({"retries": 1.5}, "retries=1.5; it takes a whole", id="broken-retries"),
        pytest.param({"retries": True}, "retries=True; it takes a whole", id="true-retries"),
        pytest.param({"cache": "sesion"}, 'one of "none", "session", "global"', id="cache"),
        pytest.param({"wire": "shema"}, 'one of "auto", "schema", "tool", "prompt"', id="wire"),
        pytest.param({"model": 3}, "model=3; it takes a model's name", id="model"),
        pytest.param({"model": ""}, "model=''; it takes a model's name", id="empty-model"),
        pytest.param({"max_tokens": 0}, "max_tokens=0; it takes", id="max-tokens"),
        pytest.param({"max_tokens": "9"}, "max_tokens='9'; it takes", id="text-max-tokens"),
        pytest.param(
            {"max_tokens": 9, "params": {"max_tokens": 9}}, "give it once", id="max-tokens-twice"
        ),
        pytest.param({"temperature": "hot"}, "temperature='hot'; it takes", id="temperature"),
        pytest.param({"temperature": -1}, "temperature=-1; it takes", id="negative-temperature"),
        pytest.param({"params": ["seed"]}, "it takes a dict of names", id="params"),
        pytest.param({"params": {"stop": object()}}, "params['stop'] is a object", id="object"),
        pytest.param({"params": {"until": date(2026, 1, 1)}}, "date", id="date-in-params"),
        pytest.param({"params": {1: 2}}, "params has the key 1 of type int", id="params-key"),
        pytest.param(
            {"params": {"model": "m"}}, "params cannot hold model; write model=", id="params-model"
        ),
        pytest.param({"params": {"stream": True}}, "params cannot hold stream", id="stream"),
        pytest.param({"ensure": never}, "is an async function", id="async-ensure"),
        pytest.param({"given": never}, "is an async function", id="async-given"),
        pytest.param(
            {"given": lambda txt: True}, "takes txt, which ask does not have", id="given-unknown"
        ),
        pytest.param(
            {"ensure": lambda r, txt: True}, "takes txt, which ask does not", id="ensure-unknown"
        ),
        pytest.param({"ensure": "r > 1"}, "which cannot be called", id="text-condition"),
    ],
)
def test_a_wrong_setting_is_an_error_at_the_decorator(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(DeclarationError) as caught:
        infer(**{"intent": "Ask", **settings})(ask)
    assert str(caught.value).startswith("ask: ")
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("function", "said", "remedy"),
    [
        pytest.param(without_return, "without_return has no return annotation", "`-> ", id="bare"),
        pytest.param(starred, "starred takes *texts: str", "Name each parameter", id="star"),
        pytest.param(double_starred, "double_starred takes **texts", "Name each", id="two-stars"),
        pytest.param(unknown, "unknown: its annotations cannot be read", "import", id="unknown"),
        pytest.param(nothing, "nothing: an answer of None says nothing", "Say what", id="none"),
        pytest.param(anything, "anything: Any is no contract", "Say what", id="any"),
        pytest.param(Budget, "@infer was put on <class 'stratum", "Put it on a def", id="class"),
        pytest.param(
            staticmethod(ask), "@infer was put on <staticmethod", "above it", id="static-below"
        ),
        pytest.param(infer(intent="a")(ask), "put on <@infer ask>", "on a def", id="twice"),
    ],
)
def test_a_function_that_cannot_be_asked_is_an_error_at_the_decorator(
    function: Any, said: str, remedy: str
) -> None:
    with pytest.raises(DeclarationError) as caught:
        infer(intent="Ask")(function)
    assert said in str(caught.value)
    assert remedy in str(caught.value)


@pytest.mark.parametrize(
    "decorate",
    [infer, lambda f: infer()(f)],
    ids=["without-parentheses", "without-settings"],
)
def test_without_an_intent_nothing_is_declared(decorate: Callable[[Any], Any]) -> None:
    with pytest.raises(TypeError, match="intent"):
        decorate(ask)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param({"retries": -1}, "retries=-1", id="retries"),
        pytest.param({"cache": "always"}, "cache='always'", id="cache"),
        pytest.param({"model": ""}, "model=''", id="model"),
        pytest.param({"budget": 1}, "budget=1; write Budget", id="budget"),
        pytest.param({"params": {"max_tokens": 0}}, "max_tokens=0", id="params"),
        pytest.param({"params": 3}, "params=3; it takes a dict", id="no-params"),
    ],
)
def test_a_wrong_change_is_an_error_at_once(change: dict[str, Any], said: str) -> None:
    with pytest.raises(DeclarationError) as caught:
        infer(intent="Ask")(ask).with_(**change)
    assert str(caught.value).startswith(f"ask: {said}")


@pytest.mark.parametrize(
    ("declare", "said"),
    [
        pytest.param(
            lambda: flow(Budget), "Write `async def`, and await the steps", id="flow-class"
        ),
        pytest.param(lambda: flow(budget=1)(never), "never: budget=1; write", id="flow-budget"),
        pytest.param(lambda: flow(never).with_(budget=1), "never: budget=1; write", id="flow-with"),
        pytest.param(lambda: flow(Budget(usd=1)), r"write @flow(budget=...)", id="flow-position"),
        pytest.param(lambda: compute(Budget), "put it on a def", id="compute-class"),
        pytest.param(lambda: parallel(1), "which cannot be awaited", id="parallel-number"),
        pytest.param(lambda: parallel([]), "parallel(classify(text=a)", id="parallel-list"),
        pytest.param(lambda: parallel(require="one"), 'it takes "all", "any"', id="parallel-word"),
        pytest.param(lambda: parallel(require=-1), "a number of steps", id="parallel-below-0"),
        pytest.param(lambda: parallel(require=True), "a number of steps", id="parallel-true"),
        pytest.param(lambda: parallel(require="any"), "never succeed", id="parallel-of-too-few"),
        pytest.param(lambda: parallel(limit=0), "from 1 up", id="parallel-limit"),
        pytest.param(lambda: parallel(validate=3), "function of the list", id="parallel-validate"),
        pytest.param(lambda: race(), "no step", id="race-of-nothing"),
    ],
)
def test_other_decorators_say_what_they_take(declare: Callable[[], Any], said: str) -> None:
    with pytest.raises(DeclarationError) as caught:
        declare()
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        pytest.param({"client": 3}, "(client=3); it takes an object with complete()", id="number"),
        pytest.param({"client": Call}, "it takes an object with complete()", id="class"),
        pytest.param({"model": 3}, "(model=3); it takes a model's name", id="model"),
        pytest.param({"model": ""}, "(model=''); it takes a model's name", id="empty-model"),
    ],
)
@pytest.mark.parametrize("function", [configure, lambda **k: using(**k).__enter__()])
def test_a_wrong_client_or_model_is_an_error_at_once(
    function: Callable[..., Any], setting: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        function(**setting)
    assert said in str(caught.value)


class Untidy(BaseModel):
    number: int = 1

    @field_serializer("number")
    def refuse(self, number: int) -> int:
        raise RuntimeError("no")


def endless() -> list[Any]:
    found: list[Any] = []
    found.append(found)
    return found


@pytest.mark.parametrize(
    ("value", "said"),
    [
        pytest.param(object(), "given is a object, which has no deterministic", id="object"),
        pytest.param([{"x": object()}], "given[0]['x'] is a object", id="nested"),
        pytest.param(float("nan"), "given is nan, which JSON cannot carry", id="nan"),
        pytest.param(b"raw", "given is a bytes, which has no", id="bytes"),
        pytest.param({1: 2}, "given has the key 1 of type int; use str keys", id="key"),
        pytest.param("\ud800", "given has half of a surrogate pair", id="surrogate"),
        pytest.param(endless(), "given cannot be turned into JSON: it holds itself", id="endless"),
        pytest.param(Untidy(), "given cannot be turned into JSON: Error calling", id="serializer"),
    ],
)
@pytest.mark.parametrize("hint", [Any, opaque[Any]], ids=["plain", "opaque"])
def test_an_input_without_a_text_is_refused_and_traced(hint: Any, value: Any, said: str) -> None:
    def look(given: Any) -> str: ...

    look.__qualname__, look.__annotations__["given"] = "look", hint
    with answering() as client, pytest.raises(InputError) as caught:
        infer(intent="Look")(look).run(given=value)
    assert str(caught.value).startswith(f"look: {said}")
    assert client.requests == []
    assert [record.outcome for record in records()] == ["input_error"]


@contextmanager
def made() -> Iterator[Call[str]]:
    call = infer(intent="Ask")(ask)(text="a")
    yield call
    call.close()


@pytest.mark.parametrize(
    ("use", "said"),
    [
        pytest.param(bool, "used as a truth value", id="truth"),
        pytest.param(lambda c: not c, "used as a truth value", id="not"),
        pytest.param(lambda c: c.label, "asked for its attribute 'label'", id="attribute"),
        pytest.param(lambda c: c == "a", "compared", id="equal"),
        pytest.param(lambda c: c != "a", "compared", id="unequal"),
        pytest.param(lambda c: c == "a", "compared", id="equal-reversed"),
        pytest.param(lambda c: c in ("a", "b"), "compared", id="in"),
        pytest.param(list, "iterated over", id="iteration"),
        pytest.param(lambda c: [*c], "iterated over", id="unpacking"),
        pytest.param(len, "measured", id="length"),
        pytest.param(lambda c: "a" in c, "searched", id="search"),
        pytest.param(lambda c: c["label"], "indexed", id="index"),
        pytest.param(str, "turned into text", id="text"),
        pytest.param(lambda c: "%s" % c, "turned into text", id="percent"),  # noqa: UP031
        pytest.param(lambda c: f"{c}", "put into a text", id="f-string"),
    ],
)
def test_a_call_is_no_value(use: Callable[[Any], Any], said: str) -> None:
    with made() as call, pytest.raises(NotAwaited) as caught:
        use(call)
    first, remedy = str(caught.value).split("\n")
    assert first.startswith("ask(...) at ")
    assert first.endswith(f" was {said} before it was awaited.")
    assert remedy == "  Write `await ask(...)`, or `ask.run(...)` in synchronous code."


@pytest.mark.parametrize(
    "use",
    [lambda c: c < "a", lambda c: c + "a", int, json.dumps, "".join, lambda c: c()],
    ids=["less", "plus", "int", "json", "join", "called"],
)
def test_a_call_takes_part_in_nothing_else(use: Callable[[Any], Any]) -> None:
    with made() as call, pytest.raises(TypeError):
        use(call)


def test_a_call_shows_where_it_was_made() -> None:
    with made() as call:
        assert "call of ask(...) at " in repr(call)
        assert f"{__file__}:" in repr(call)


async def test_a_call_is_awaited_once() -> None:
    with answering("a", "b") as client:
        call = infer(intent="Ask")(ask)(text="a")
        await call
        with pytest.raises(NotAwaited, match="was awaited twice") as caught:
            await call
    assert "keep its value, or call the function again" in str(caught.value)
    assert len(client.requests) == 1


async def test_a_call_that_parallel_took_cannot_be_awaited() -> None:
    with answering("a"):
        call = infer(intent="Ask")(ask)(text="a")
        await parallel(call)
        with pytest.raises(NotAwaited, match="awaited twice"):
            await call


async def test_the_same_call_twice_in_one_parallel_is_an_error() -> None:
    call = infer(intent="Ask")(ask)(text="a")
    with pytest.raises(NotAwaited, match="awaited twice"):
        parallel(call, call)


async def test_parallel_run_in_a_running_loop_raises_at_once() -> None:
    with pytest.raises(NotAwaited, match="Write `await parallel"):
        parallel(infer(intent="Ask")(ask)(text="a")).run()


FORGETFUL = """
    import warnings
    import stratum

    @stratum.infer(intent="Ask")
    def ask(text: str) -> str: ...

    @stratum.flow
    async def process(text: str) -> str:
        return await ask(text=text)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ask(text="a")
        process(text="a")
        stratum.parallel(ask(text="b"), process(text="c"))
    for warning in caught:
        print(warning.category.__name__, str(warning.message).replace(__file__, "app.py"))
"""


def test_outside_pytest_a_forgotten_call_warns_once(tmp_path: Any) -> None:
    folder = project(tmp_path, {"app.py": FORGETFUL})
    done = subprocess.run([sys.executable, "app.py"], cwd=folder, capture_output=True, text=True)
    assert done.stdout.splitlines() == [
        "RuntimeWarning ask(...) at app.py:14 was never awaited",
        "RuntimeWarning process(...) at app.py:15 was never awaited",
        "RuntimeWarning parallel(...) at app.py:16 was never awaited",
    ], done.stderr


FORGETFUL_TESTS = """
    import asyncio, pytest, stratum
    from stratum import parallel

    @stratum.infer(intent="Ask")
    def ask(text: str) -> str: ...

    def test_forgotten():
        ask(text="a")

    async def test_forgotten_in_a_loop():
        call = ask(text="a")

    def test_forgotten_parallel():
        parallel(ask(text="a"), ask(text="b"))

    async def test_taken_over_and_never_started():
        task = asyncio.create_task(parallel(ask(text="a"), ask(text="b")))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    def test_closed():
        ask(text="a").close()
"""


def test_in_pytest_a_forgotten_call_fails_its_test(tmp_path: Any) -> None:
    ini = "[pytest]\nasyncio_mode = auto\n"
    ini += "asyncio_default_fixture_loop_scope = function\nfilterwarnings = error\n"
    folder = project(tmp_path, {"test_app.py": FORGETFUL_TESTS, "pytest.ini": ini})
    done = run_pytest(folder, "-p", "no:cacheprovider", "-rA")
    failed = {line.split("::")[1] for line in done.stdout.splitlines() if line.startswith("FAILED")}
    assert {name.split(" ")[0] for name in failed} == {
        "test_forgotten",
        "test_forgotten_in_a_loop",
        "test_forgotten_parallel",
    }, done.stdout
    assert "ask(...) at" in done.stdout
    assert "parallel(...) at" in done.stdout
    assert "2 passed" in done.stdout


def test_a_forgotten_call_is_not_reported_by_python_too() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        infer(intent="Ask")(ask)(text="a").close()
        gc.collect()
