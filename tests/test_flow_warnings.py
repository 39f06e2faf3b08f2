"""What `@flow` warns of when it is put on a function."""

import subprocess
import sys
import types
import warnings
from collections.abc import Callable
from typing import Any

import pytest

from stratum import Budget, BudgetTooSmall, SequentialAwaits, compute, flow, infer, parallel
from tests.support import project, run_bare


@infer(intent="Answer", budget=Budget(usd=0.01))
def ask(text: str) -> str: ...


@infer(intent="Answer in time", budget=Budget(ms=500, tokens=100))
def hurry(text: str) -> str: ...


@compute
async def look(text: str) -> str:
    return text


@flow(budget=Budget(usd=0.005))
async def inner(text: str) -> str:
    return text


async def plain(text: str) -> str:
    return text


elsewhere = types.ModuleType("elsewhere")
elsewhere.ask = ask  # type: ignore[attr-defined]


def warned(function: Any, budget: Budget | None = None) -> list[warnings.WarningMessage]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        flow(budget=budget)(function)
    return caught


async def three(text: str) -> str:
    a = await ask(text)
    b: str = await look(text=text)
    c = await inner(text)
    return a + b + c


async def after_the_first(text: str) -> str:
    a = await ask(text)
    b = await look(text=a)
    c = await inner(text)
    return b + c


async def in_a_branch(text: str) -> str:
    if text:
        a = await ask(text)
        b = await elsewhere.ask(text)
        return a + b
    return text


async def of_a_match(text: str) -> str:
    match text:
        case "":
            a = await ask(text)
            b = await look(text)
            return a + b
    return text


async def pairs(text: str) -> str:
    a, b = await inner(text)
    c, d = await inner(text + "!")
    return a + b + c + d


SEQUENTIAL: dict[str, tuple[Any, str]] = {
    "three": (three, "a, b, c = await parallel(ask(...), look(...), inner(...))"),
    "after-a-dependent-one": (after_the_first, "b, c = await parallel(look(...), inner(...))"),
    "branch": (in_a_branch, "a, b = await parallel(ask(...), elsewhere.ask(...))"),
    "match": (of_a_match, "a, b = await parallel(ask(...), look(...))"),
    "tuples": (pairs, "await parallel(inner(...), inner(...))"),
}


@pytest.mark.parametrize(("function", "remedy"), SEQUENTIAL.values(), ids=SEQUENTIAL)
def test_independent_awaits_in_a_row_are_warned_of_once(function: Any, remedy: str) -> None:
    (warning,) = warned(function)
    assert warning.category is SequentialAwaits
    assert remedy in str(warning.message)


def test_the_warning_says_what_and_stands_at_the_users_line() -> None:
    (warning,) = warned(three)
    assert str(warning.message) == (
        "flow three awaits ask(...), look(...), inner(...) one after the other, and none needs "
        "what another gave.\n"
        "  Run them together: a, b, c = await parallel(ask(...), look(...), inner(...))."
    )
    assert warning.filename == __file__
    assert warning.lineno == three.__code__.co_firstlineno + 1


async def dependent(text: str) -> str:
    a = await ask(text)
    b = await look(text=a)
    return await inner(b)


async def transitively(text: str) -> str:
    a = await ask(text)
    b = await look(text=f"{a}!")
    c = await look(text=b + a)
    return a + c


async def different_branches(text: str) -> str:
    if text:
        a = await ask(text)
    else:
        a = await look(text)
    return a


async def branch_then_after(text: str) -> str:
    if text:
        a = await ask(text)
        return a + text
    b = await look(text)
    return b + text


async def in_a_loop(texts: list[str]) -> str:
    a = b = ""
    for text in texts:
        a = await ask(text)
        b = await look(text)
    while a != b:
        a = await ask(a)
        b = await look("b")
    return a


async def something_between(text: str) -> str:
    a = await ask(text)
    print(a)
    b = await look(text)
    return a + b


async def for_what_it_does(text: str) -> str:
    await look(text)
    a = await ask(text)
    _ = await look(text)
    b = await ask(text)
    return a + b


async def tried(text: str) -> str:
    try:
        a = await ask(text)
        b = await look(text)
    except ValueError:
        return ""
    return a + b


async def under_a_lock(lock: Any, text: str) -> str:
    async with lock:
        a = await ask(text)
        b = await look(text)
    return a + b


async def other_functions(text: str) -> str:
    a = await plain(text)
    b = await plain(text)
    return a + b


async def shadowed(ask: Callable[..., Any], text: str) -> str:
    a = await ask(text)
    b = await ask(text)
    return str(a + b + str(look))


async def the_same_name(text: str) -> str:
    a = await ask(text)
    a = await look(text)
    return a + text


async def nested_await(text: str) -> str:
    a = await ask(text)
    b = await look(await ask(text))
    return a + b


async def walrus(text: str) -> str:
    a = await ask(more := text + "!")
    b = await look(more)
    return a + b


async def to_attributes(box: Any, text: str) -> str:
    box.a = await ask(text)
    box.b = await look(text)
    return text


async def together(text: str) -> str:
    a, b = await parallel(ask(text), look(text))
    return a + b


async def inner_functions(text: str) -> str:
    async def first(text: str) -> str:
        return await ask(text)

    return await first(text)


RIGHT = [
    dependent, transitively, different_branches, branch_then_after, in_a_loop, something_between,
    for_what_it_does, tried, under_a_lock, other_functions, shadowed, the_same_name, nested_await,
    walrus, to_attributes, together, inner_functions, plain,
]  # fmt: skip


@pytest.mark.parametrize("function", RIGHT, ids=lambda function: function.__name__)
def test_code_that_may_be_right_is_not_warned_of(function: Any) -> None:
    assert warned(function, Budget(usd=1)) == []


def test_steps_that_are_defined_later_are_not_judged() -> None:
    async def later_ones(text: str) -> str:
        a = await later(text)
        b = await later(text)
        return a + b

    assert warned(later_ones, Budget(usd=0)) == []
    later = ask
    assert len(warned(later_ones, Budget(usd=0))) == 2


def test_without_source_nothing_is_warned_of() -> None:
    namespace: dict[str, Any] = {"ask": ask}
    exec(
        "async def f(text):\n    a = await ask(text)\n    b = await ask(text)\n    return a",
        namespace,
    )
    assert warned(namespace["f"]) == []


async def asks(text: str) -> str:
    return await ask(text)


async def hurries(texts: list[str]) -> list[str]:
    return [*await parallel(*(hurry(text=text) for text in texts))]


async def nests(text: str) -> str:
    return await inner(text)


def synchronous(text: str) -> str:
    return ask.run(text=text)


TOO_SMALL: dict[str, tuple[Any, Budget, str]] = {
    "usd": (asks, Budget(usd=0.001), "usd=0.001, less than the usd=0.01 of ask"),
    "ms": (hurries, Budget(ms=100, usd=9), "ms=100, less than the ms=500 of hurry"),
    "tokens": (hurries, Budget(tokens=99), "tokens=99, less than the tokens=100 of hurry"),
    "def": (synchronous, Budget(usd=0.001), "usd=0.001, less than the usd=0.01 of ask, which"),
    "flow": (nests, Budget(usd=0.004), "usd=0.004, less than the usd=0.005 of inner"),
}


@pytest.mark.parametrize(("function", "budget", "said"), TOO_SMALL.values(), ids=TOO_SMALL)
def test_a_budget_below_that_of_a_step_is_warned_of(
    function: Any, budget: Budget, said: str
) -> None:
    (warning,) = warned(function, budget)
    assert warning.category is BudgetTooSmall
    assert said in str(warning.message)
    assert warning.lineno == function.__code__.co_firstlineno + 1


def test_the_warning_about_a_budget_says_what_to_do() -> None:
    (warning,) = warned(asks, Budget(usd=0.001))
    assert str(warning.message).endswith(
        "ask can never use its own budget.\n"
        "  Raise the flow's usd to 0.01 or more, or lower that of ask."
    )


@pytest.mark.parametrize(
    ("function", "budget"),
    [
        pytest.param(asks, Budget(usd=0.01), id="the-same"),
        pytest.param(asks, Budget(ms=1), id="another-limit"),
        pytest.param(asks, None, id="none"),
        pytest.param(plain, Budget(usd=0), id="no-steps"),
        pytest.param(shadowed, Budget(usd=0.001), id="shadowed"),
    ],
)
def test_other_budgets_are_not_warned_of(function: Any, budget: Budget | None) -> None:
    assert warned(function, budget) == []


APP = {
    "flows.py": """
        from stratum import Budget, flow, infer

        @infer(intent="Answer", budget=Budget(usd=0.01))
        def ask(text: str) -> str: ...

        @flow(budget=Budget(usd=0.001))
        async def both(text: str) -> str:
            a = await ask(text)
            b = await ask(text + "!")
            return a + b
        """,
    "test_flows.py": "def test_it():\n    import flows\n",
}


@pytest.mark.parametrize(
    ("options", "code"),
    [
        pytest.param(["-W", "error"], 1, id="error"),
        pytest.param(["-W", "error", "-W", "ignore::stratum.StratumWarning"], 0, id="all"),
        pytest.param(
            [
                *("-W", "error", "-W", "ignore::stratum.SequentialAwaits"),
                *("-W", "ignore::stratum.BudgetTooSmall"),
            ],
            0,
            id="each",
        ),
    ],
)
def test_the_warnings_are_easy_to_silence(tmp_path: Any, options: list[str], code: int) -> None:
    done = run_bare(project(tmp_path, APP), "-q", *options)
    assert done.returncode == code, done.stdout


def test_a_script_sees_each_once_with_its_line(tmp_path: Any) -> None:
    folder = project(tmp_path, APP)
    done = subprocess.run(
        [sys.executable, "flows.py"], cwd=folder, capture_output=True, text=True, check=True
    )
    assert done.stderr.count("SequentialAwaits: flow both") == 1
    assert done.stderr.count("BudgetTooSmall: flow both") == 1
    assert "flows.py:9: " in done.stderr
