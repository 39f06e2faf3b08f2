"""Flows, budgets, traces and what surrounds them."""

from typing import assert_type

from stratum import (
    Budget,
    ScriptedClient,
    TraceRecord,
    compute,
    configure,
    flow,
    infer,
    new_id,
    now,
    traces,
    using,
)
from stratum.flows import Flow, SyncFlow


@infer(intent="Translate the text")
def translate(text: str) -> str: ...


@flow
async def bare(text: str) -> int:
    return len(await translate(text=text))


@flow(budget=Budget(ms=5000, usd=0.01, tokens=100))
async def budgeted(text: str) -> int:
    return await bare(text=text)


@flow
def in_order(text: str) -> int:
    assert_type(translate.run(text=text), str)
    return bare.run(text=text)


@flow(budget=Budget(usd=0.01))
def in_order_budgeted(text: str) -> int:
    return in_order(text)


class Office:
    @flow(budget=Budget(usd=1))
    async def handle(self, mail: str) -> str:
        return await translate(text=mail)

    @flow
    def note(self, mail: str) -> str:
        return mail


async def flows_on_async_def() -> None:
    assert_type(await bare(text="a"), int)
    assert_type(await budgeted("a"), int)
    assert_type(budgeted.run(text="a"), int)
    assert_type(budgeted.with_(budget=Budget(ms=1)).run(text="a"), int)
    budgeted(txt="a")  # type: ignore[call-arg, unused-coroutine]  # pyright: ignore[reportCallIssue]
    bare.run(text=1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    flow(budgets=Budget())  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    total: int = bare(text="a")  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    assert_type(total, int)


def flows_on_plain_def() -> None:
    assert_type(in_order(text="a"), int)
    assert_type(in_order.run("a"), int)
    assert_type(in_order_budgeted("a"), int)
    assert_type(in_order_budgeted.with_(budget=Budget(ms=1))("a"), int)
    in_order(4)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def flows_are_methods(office: Office) -> None:
    assert_type(await office.handle("hello"), str)
    assert_type(office.handle.with_(budget=Budget(usd=2)).run(mail="hello"), str)
    assert_type(office.note("hello"), str)
    office.note(4)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def kinds_of_flow(later: Flow[[str], int], at_once: SyncFlow[[str], int]) -> None:
    assert_type(later.run("a"), int)
    assert_type(at_once("a"), int)


def what_surrounds() -> None:
    with using(client=ScriptedClient(["a", {"b": 1}]), model="x/y"):
        assert_type(traces(), tuple[TraceRecord, ...])
    configure(client=ScriptedClient(lambda request: request.model))
    assert_type(now().year, int)
    assert_type(new_id(), str)
    Budget(ms="1s")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    using(modle="x/y")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    ScriptedClient(4)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    traces()[0].costs  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]


@compute
async def nothing() -> None:
    return None


async def a_step_without_a_value() -> None:
    assert_type(await nothing(), None)
