"""`@infer`, `@compute` and `@adaptive` give the value that is annotated."""

from typing import Literal, assert_type

from stratum import Budget, adaptive, compute, contract, infer
from stratum.infer import CostEstimate


@contract
class Mood:
    label: Literal["good", "bad"]


@infer(intent="Name the mood", budget=Budget(ms=500, usd=0.01), retries=3, model=["a/b", "c/d"])
def mood(text: str, *, strict: bool = False) -> Mood: ...


@infer(intent="Name the mood", ensure=[lambda r: r.label != "bad", ("why", lambda r: True)])
async def mood_later(text: str) -> Mood: ...


async def infer_is_awaited_or_run() -> None:
    later = mood(text="fine")
    assert_type(await later, Mood)
    assert_type(await mood(text="fine", strict=True), Mood)
    assert_type(mood.run("fine"), Mood)
    assert_type(await mood_later(text="fine"), Mood)
    assert_type(mood_later.run(text="fine").label, Literal["good", "bad"])
    assert_type(await mood.estimate(text="fine"), CostEstimate)
    assert_type(mood.compile(text="fine").text, str)
    assert_type(await mood.with_(model="x/y", retries=0, budget=Budget(usd=1))(text="a"), Mood)


async def infer_is_misused() -> None:
    await mood(4)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    mood.run(text=4)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    mood.run(txt="fine")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    mood.run()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    mood.with_(modle="x/y")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    mood.with_(cache="for ever")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    infer()  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    infer(intent="x", retry=3)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    Budget(dollars=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


async def await_is_forgotten() -> str:
    call = mood(text="fine")
    call.label  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    list(call)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    len(call)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    call["label"]  # type: ignore[index]  # pyright: ignore[reportIndexIssue]
    "good" in call  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue]
    if call == "good":  # type: ignore[comparison-overlap]  # pyright: ignore[reportUnnecessaryComparison]
        pass
    if call:  # pyright: ignore[reportUnnecessaryComparison]
        pass
    mood(text="fine")  # type: ignore[unused-coroutine]  # pyright: ignore[reportUnusedCoroutine]
    return call  # type: ignore[return-value]  # pyright: ignore[reportReturnType]


class Desk:
    @infer(intent="Route the mail")
    def route(self, mail: str) -> Literal["a", "b"]: ...

    @compute
    async def file(self, mail: str) -> int:
        return len(mail)

    @compute
    def count(self, mail: str) -> int:
        return len(mail)


async def methods_are_bound(desk: Desk) -> None:
    assert_type(await desk.route(mail="x"), Literal["a", "b"])
    assert_type(desk.route.run("x"), Literal["a", "b"])
    assert_type(await desk.route.with_(retries=0)(mail="x"), Literal["a", "b"])
    assert_type(await desk.file("x"), int)
    assert_type(desk.file.run(mail="x"), int)
    assert_type(desk.count("x"), int)
    desk.route.run(mail=4)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    desk.count(4)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@compute
async def mood_by_rule(text: str, *, strict: bool = False) -> Mood:
    return Mood(label="good" if text else "bad")


@compute
def length(text: str) -> int:
    return len(text)


async def compute_takes_the_place_of_infer(by_model: bool) -> None:
    chosen = mood if by_model else mood_by_rule
    assert_type(await chosen(text="fine", strict=True), Mood)
    assert_type(chosen.run("fine"), Mood)
    assert_type(await mood_by_rule("fine"), Mood)
    assert_type(length("four"), int)
    assert_type(length.run(text="four"), int)
    mood_by_rule.run(text=4)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    length(txt="four")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


@adaptive(compute=mood_by_rule, infer=mood, when=lambda text: len(text) < 20)
def either(text: str, *, strict: bool = False) -> Mood: ...


async def adaptive_is_called_like_both() -> None:
    assert_type(await either(text="fine"), Mood)
    assert_type(either.with_(path="compute").run(text="fine"), Mood)
    either.with_(path="model")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    either.run(4)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
