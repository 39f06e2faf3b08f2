"""SPEC section 8: every construct leaves its record, whatever its end, and they form one tree."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, NamedTuple

import pytest

from stratum import (
    Budget,
    HumanAnswer,
    ProviderError,
    Quote,
    Refused,
    Reply,
    Request,
    TraceRecord,
    Usage,
    adaptive,
    await_human,
    compute,
    debate,
    flow,
    infer,
    parallel,
    race,
    refine,
    traces,
    using,
)
from tests.scripted import MODEL, answering, records


class Model:
    """A client, and a sink for reviews, that ends every call in one way."""

    live = False

    def __init__(self, end: str) -> None:
        self.end = end
        self.requests: list[Request] = []
        self.is_asked = asyncio.Event()

    async def _ended(self, said: Any) -> Any:
        self.is_asked.set()
        match self.end:
            case "error":
                raise ProviderError("down")
            case "rejected":
                return ["no", "text"]
            case "time" | "cancelled":
                await asyncio.sleep(30)
        await asyncio.sleep(0)
        return said

    async def complete(self, request: Request) -> Reply:
        self.requests.append(request)
        data = await self._ended("good")
        outcome = "refused" if self.end == "refused" else "answered"
        return Reply(data, Usage(10, 5), origin="scripted", outcome=outcome)  # type: ignore[arg-type]

    async def quote(self, request: Request) -> Quote:
        return Quote(10, 1.0, 1.0)

    async def submit(self, review: Any) -> None: ...

    async def decision(self, review_id: str) -> Any:
        return HumanAnswer(value=await self._ended("good"))

    async def reject(self, review_id: str, problems: Any) -> None: ...

    async def close(self, review_id: str, ending: str) -> None: ...


@infer(intent="Say it", retries=1)
def say(text: str) -> str: ...


@infer(intent="Say it together", retries=0, quorum=3)
def agree(text: str) -> str: ...


@infer(intent="Say it in some way", retries=0, stable=False, samples=3)
def vary(text: str) -> str: ...


@refine(until=lambda said: said == "good", max_iterations=2)
@infer(intent="Say it well", retries=0)
def polish(text: str) -> str: ...


@compute
async def step(text: str) -> str:
    return await say(text=text)


@flow
async def nested(text: str) -> str:
    return await say(text=text)


@flow
async def in_a_row(text: str) -> str:
    return await say(text=text) + await say(text=text)


@flow
def in_a_thread(text: str) -> str:
    return say(text=text)  # type: ignore[return-value]


@adaptive(compute=step, infer=say, when=lambda text: text == "by rule")
def either(text: str) -> str: ...


async def agent(topic: str) -> str:
    return await say(text=topic)


async def conclude(arguments: list[str]) -> str:
    return await say(text=arguments[0])


def three() -> tuple[Any, Any, Any]:
    return say(text="same"), nested("same"), say(text="same")


class Construct(NamedTuple):
    """How it is made, and how it ends where that is not how its steps do; None: it cannot."""

    kind: str
    make: Callable[[], Awaitable[Any]]
    ends: dict[str, str | None] = {}  # noqa: RUF012


ALL_ENDED = {"error": "ok", "rejected": "ok", "refused": "ok", "budget": "ok"}
NO_LIMIT = {"budget": None, "time": None, "refused": None}
OF_THREADS = {"cancelled": None, "unbegun": None, "time": None}  # asyncio cannot cancel them
TOO_FEW_AGREE = {"error": "rejected", "refused": "rejected"}

CONSTRUCTS = {
    "infer": Construct("infer", lambda: say(text="a")),
    "compute": Construct("compute", lambda: step("a")),
    "flow": Construct("flow", lambda: nested("a")),
    "in-a-row": Construct("flow", lambda: in_a_row("a")),
    "sync-flow": Construct("flow", lambda: asyncio.to_thread(in_a_thread, "a"), OF_THREADS),
    "all": Construct("parallel", lambda: parallel(*three())),
    "any": Construct("parallel", lambda: parallel(*three(), require="any")),
    "number": Construct("parallel", lambda: parallel(*three(), require=2)),
    "zero": Construct("parallel", lambda: parallel(*three(), require=0), ALL_ENDED),
    "limit": Construct("parallel", lambda: parallel(*three(), limit=1)),
    "race": Construct("race", lambda: race(*three())),
    "nested": Construct("parallel", lambda: parallel(race(*three()), race(*three()))),
    "debate": Construct("debate", lambda: debate([agent, agent], "a", synthesize=conclude)),
    "adaptive-compute": Construct("adaptive", lambda: either(text="by rule")),
    "adaptive-infer": Construct("adaptive", lambda: either(text="by model")),
    "quorum": Construct("quorum", lambda: agree(text="a"), TOO_FEW_AGREE),
    "samples": Construct("samples", lambda: vary(text="a")),
    "refine": Construct("refine", lambda: polish(text="a")),
    "human": Construct("human", lambda: await_human("Good?", decision=str), NO_LIMIT),
}

ENDS = {
    "ok": "ok",
    "error": "error",
    "rejected": "rejected",
    "refused": "refused",
    "budget": "over_budget",
    "time": "over_budget",
    "cancelled": "cancelled",
    "unbegun": "cancelled",
}

BUDGETS = {"budget": Budget(tokens=20), "time": Budget(ms=30)}


@flow
async def around(construct: Construct, model: Model) -> None:
    task = asyncio.ensure_future(construct.make())
    if model.end == "unbegun":
        task.cancel()
    if model.end == "cancelled":
        await model.is_asked.wait()
        task.cancel()
    await task


async def left_by(construct: Construct, end: str) -> tuple[list[TraceRecord], Model]:
    """Let a construct come to its end below one flow, and return the records and the model."""
    model = Model(end)
    whole = around.with_(budget=BUDGETS[end]) if end in BUDGETS else around
    around_it = using(client=model, model=MODEL, review_sink=model)
    with around_it, suppress(Exception, asyncio.CancelledError):
        await whole(construct, model)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    return records(), model


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("construct", CONSTRUCTS.values(), ids=CONSTRUCTS)
async def test_8_1_every_construct_leaves_a_record_whatever_its_end(
    construct: Construct, end: str
) -> None:
    expected = construct.ends.get(end, ENDS[end])
    if expected is None:
        return
    left, model = await left_by(construct, end)
    assert_one_tree(left)
    assert_places_are_unique(left, model)
    (own,) = (record for record in left if record.parent == left[-1].id)
    assert (own.kind, own.outcome) == (construct.kind, expected)
    assert (own.error is None) is (expected == "ok")


def assert_one_tree(left: list[TraceRecord]) -> None:
    ids = {record.id for record in left}
    assert len(ids) == len(left)
    roots = [record for record in left if record.parent is None]
    assert [(record.kind, record.function) for record in roots] == [("flow", "around")]
    assert {record.parent for record in left} <= ids | {None}
    assert len({record.order for record in left}) == len(left)


def assert_places_are_unique(left: list[TraceRecord], model: Model) -> None:
    asked = Counter((request.key, str(request.place)) for request in model.requests)
    traced = Counter((r.calls[0].key, str(r.place)) for r in left if r.kind == "infer" and r.calls)
    assert {*asked.values(), *traced.values()} <= {1}
    assert traced.keys() <= asked.keys()


async def test_8_1_a_record_says_what_was_asked_and_how_it_ended() -> None:
    with answering(7, "good"):
        await say(text="a")
    (record,) = records()
    assert (record.kind, record.function, record.outcome) == ("infer", "say", "ok")
    assert (record.inputs, record.output, record.attempts) == ({"text": "a"}, "good", 2)
    assert record.model == MODEL
    assert record.contract_hash
    assert record.compiled_prompt_hash
    assert record.place is not None
    assert record.calls[0].violations == record.retry_reasons != ()


async def test_8_1_values_are_snapshots() -> None:
    given = {"n": [1]}

    @compute
    def change(data: dict[str, list[int]]) -> dict[str, list[int]]:
        data["n"].append(2)
        return data

    change(given)["n"].append(3)
    (record,) = records()
    assert (record.inputs, record.output) == ({"data": {"n": [1]}}, {"n": [1, 2]})


async def test_8_2_traces_gives_the_records_oldest_first() -> None:
    with answering("good", "good"), suppress(Refused):
        await parallel(say(text="a"), say(text="b"))
    assert [record.kind for record in traces()[-3:]] == ["infer", "infer", "parallel"]
