"""`parallel`, `race`, `debate` and `await_human`."""

from typing import Any, Literal, assert_type

from stratum import (
    Failure,
    HumanDecision,
    HumanReviewContext,
    ScriptedSink,
    Success,
    await_human,
    contract,
    debate,
    infer,
    parallel,
    race,
    wrap,
)


@infer(intent="One")
def one(text: str) -> int: ...


@infer(intent="Two")
def two(text: str) -> str: ...


@infer(intent="Three")
def three(text: str) -> bool: ...


@infer(intent="Four")
def four(text: str) -> float: ...


@infer(intent="Five")
def data(text: str) -> dict[str, Any]: ...


async def plain(text: str) -> bytes:
    return text.encode()


async def all_of_them() -> None:
    assert_type(await parallel(one("a")), tuple[int])
    assert_type(await parallel(one("a"), two("a")), tuple[int, str])
    assert_type(parallel(one("a"), two("a"), three("a")).run(), tuple[int, str, bool])
    assert_type(
        await parallel(one("a"), two("a"), three("a"), four("a"), require="all", limit=2),
        tuple[int, str, bool, float],
    )
    assert_type(await parallel(*(one(each) for each in "abcde")), tuple[int, ...])
    assert_type(await parallel(one("a"), one("b"), one("c"), one("d"), one("e")), tuple[int, ...])
    assert_type(await parallel(data("a"), plain("a")), tuple[dict[str, Any], bytes])
    assert_type(
        await parallel(parallel(one("a"), two("a")), plain("a")), tuple[tuple[int, str], bytes]
    )
    assert_type(await parallel(one("a"), *(one(each) for each in "abc")), tuple[int, ...])


async def some_of_them() -> None:
    assert_type(await parallel(one("a"), one("b"), require="any"), tuple[int, ...])
    assert_type(await parallel(one("a"), one("b"), require=1), tuple[int, ...])
    assert_type(
        await parallel(*(data(each) for each in "ab"), require=2), tuple[dict[str, Any], ...]
    )
    outcomes = await parallel(one("a"), one("b"), require=0)
    assert_type(outcomes, tuple[Success[int] | Failure, ...])
    for outcome in outcomes:
        if isinstance(outcome, Success):
            assert_type(outcome.value, int)
        else:
            assert_type(outcome.error, Exception)
    match outcomes[0]:
        case Success(value):
            assert_type(value, int)
        case Failure(error):
            assert_type(error, Exception)
    assert_type(await race(one("a"), one("b")), int)
    assert_type(race(one("a"), one("b"), limit=1).run(), int)


async def together_misused() -> None:
    parallel(4)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    parallel(one("a"), require="most")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    parallel(one("a"), needed=1)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    one_of, other = await parallel(one("a"), two("a"))
    one_of.upper()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    assert_type(other, str)
    parallel(one("a"), one("b"))[0]  # type: ignore[index]  # pyright: ignore[reportIndexIssue]
    race(two("a")).upper()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    race(4)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@contract
class Position:
    choice: Literal["buy", "build"]


@infer(intent="Argue")
def argue(topic: str, others: list[Position]) -> Position: ...


@infer(intent="Conclude")
def conclude(topic: str, arguments: list[Position]) -> Position: ...


async def debates() -> None:
    assert_type(await debate([argue, argue], "?", synthesize=conclude), Position)
    assert_type(debate([argue, argue], "?", synthesize=conclude, escalate=True).run(), Position)
    debate([argue, argue], "?", synthesise=conclude)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    debate([argue, argue], "?", synthesize=conclude, rounds="two")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]


async def people() -> None:
    decided = await await_human("Send it?", decision=bool, timeout=60, default=False)
    assert_type(decided, HumanDecision[bool])
    assert_type(decided.value, bool)
    assert_type(decided.reviewer, str | None)
    context = HumanReviewContext(show={"mail": "Dear all"}, guidance="Be kind.")
    position = await_human("Which?", decision=Position, context=context, sink=ScriptedSink([]))
    assert_type(position.run().value, Position)
    assert_type((await await_human("Which?", decision=Literal["a", "b"])).value, Any)
    await_human("Send it?")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    await_human("Send it?", decision=bool, timeout="1h")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    decided.by  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]


def complete(model: str, messages: list[dict[str, str]]) -> list[str]:
    return [model, *messages[0]]


def wrapped_calls_keep_their_type() -> None:
    kept = wrap(complete)
    assert_type(kept("x/y", [{}]), list[str])
    kept("x/y")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    wrap(4)  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]
