"""The records that calls leave behind, whatever their end."""

import asyncio
import re
from base64 import b64encode
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field

from stratum import (
    Budget,
    Reply,
    ScriptedClient,
    TraceRecord,
    compute,
    flow,
    infer,
    opaque,
    parallel,
    traces,
    using,
)
from stratum.clients.scripted import Scripted
from stratum.redact import Secrets
from stratum.trace import nested, snapshot
from tests.scripted import MODEL, answering, records


class Note(BaseModel):
    title: str
    body: opaque[str] = ""


class Verdict(BaseModel):
    label: str
    confidence: Annotated[float, Field(ge=0, le=1)] = 1.0


@infer(intent="Judge", ensure=lambda r: r.confidence > 0.7, given=lambda text: len(text) > 0)
def judged(text: Any) -> Verdict: ...


@infer(intent="Sort", retries=0)
def sorted_out(note: Note, tags: list[str], private: opaque[str] | None = None) -> Note: ...


GOOD = {"label": "good"}
WEAK = {"label": "good", "confidence": 0.1}


def waiting(request: Any) -> Any:
    return asyncio.sleep(30)


@pytest.mark.parametrize(
    ("answers", "text", "outcome", "error", "attempts"),
    [
        pytest.param([GOOD], "a", "ok", None, 1, id="ok"),
        pytest.param([WEAK, GOOD], "a", "ok", None, 2, id="retried"),
        pytest.param([WEAK] * 3, "a", "rejected", "PostconditionFailed: judged got", 3, id="post"),
        pytest.param([{}] * 3, "a", "rejected", "ContractViolated: judged got", 3, id="contract"),
        pytest.param([Reply("no", outcome="refused")], "a", "refused", "Refused", 1, id="refused"),
        pytest.param([Reply("", outcome="cut")], "a", "cut", "CutOff: judged", 1, id="cut"),
        pytest.param([RuntimeError("down")], "a", "error", "RuntimeError: down", 0, id="provider"),
        pytest.param([WEAK, OSError("x")], "a", "error", "OSError: x", 1, id="provider-later"),
        pytest.param([], object(), "error", "ConditionError: judged: given len", 0, id="given"),
        pytest.param([], {1: 2}, "input_error", "InputError: judged: text has", 0, id="input"),
        pytest.param([], "", "input_error", "PreconditionFailed: judged", 0, id="precondition"),
    ],
)
def test_every_end_of_a_call_is_traced(
    answers: list[Any], text: Any, outcome: str, error: str | None, attempts: int
) -> None:
    with answering(*answers):
        call = pytest.raises(Exception) if error else using()  # noqa: PT011
        with call:
            judged.run(text)
    (record,) = records()
    assert (record.outcome, record.attempts) == (outcome, attempts)
    assert (record.error or "").startswith(error or "")


async def test_a_call_that_a_budget_turns_away_is_traced() -> None:
    client = ScriptedClient([GOOD], tokens=(1000, 10), price=(1.0, 1.0))
    tight = judged.with_(budget=Budget(usd=0.0001))
    with using(client=client, model=MODEL), pytest.raises(Exception, match="would cost"):
        await tight("a")
    assert [record.outcome for record in records()] == ["over_budget"]


async def test_a_call_whose_time_is_up_is_traced() -> None:
    with answering(waiting), pytest.raises(Exception, match="longer than its 10 ms"):
        await judged.with_(budget=Budget(ms=10))("a")
    assert [record.outcome for record in records()] == ["over_budget"]


async def test_a_call_below_a_flow_whose_time_is_up_is_over_budget_too() -> None:
    @flow(budget=Budget(ms=10))
    async def slow(text: str) -> Verdict:
        return await judged(text)

    with answering(waiting), pytest.raises(Exception, match="longer than its 10 ms"):
        await slow("a")
    assert [record.outcome for record in records()] == ["over_budget", "over_budget"]


async def test_a_cancelled_call_is_traced() -> None:
    with answering(waiting):
        task = asyncio.create_task(judged("a"))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert [(record.outcome, record.attempts) for record in records()] == [("cancelled", 0)]


@flow
async def flowing(text: str) -> Verdict:
    return await judged(text)


@pytest.mark.parametrize(
    ("make", "functions"),
    [
        pytest.param(lambda: judged("a"), ["judged"], id="infer"),
        pytest.param(lambda: flowing("a"), ["flowing"], id="flow"),
        pytest.param(
            lambda: parallel(judged("a"), flowing("b")),
            ["judged", "flowing", "parallel"],
            id="parallel",
        ),
        pytest.param(parallel, ["parallel"], id="parallel-of-nothing"),
    ],
)
async def test_a_call_that_was_cancelled_before_it_began_is_traced(
    make: Any, functions: list[str]
) -> None:
    with answering() as client:
        task = asyncio.create_task(make())
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert [(record.function, record.outcome) for record in records()] == [
        (function, "cancelled") for function in functions
    ]
    assert client.requests == []


async def test_a_call_with_no_time_to_wait_is_traced() -> None:
    with answering(), pytest.raises(TimeoutError):
        await asyncio.wait_for(judged("a"), 0)
    assert [record.outcome for record in records()] == ["cancelled"]


def test_a_record_says_what_was_asked_and_what_it_took() -> None:
    client = ScriptedClient([WEAK, Scripted(GOOD, tokens=(30, 4), cost=0.02)], tokens=(20, 3))
    with using(client=client, model=MODEL):
        judged.run("fine")
    (record,) = records()
    first, second = client.requests
    assert (record.kind, record.function, record.model) == ("infer", "judged", MODEL)
    assert (record.inputs, record.output) == (
        {"text": "fine"},
        {"label": "good", "confidence": 1.0},
    )
    assert record.contract_hash == judged.question.contract.hash
    assert record.compiled_prompt_hash == first.prompt_hash
    assert [call.key for call in record.calls] == [first.key, second.key]
    assert record.retry_reasons == ("ensure: r.confidence > 0.7 (actual: 0.1)",)
    assert (record.input_tokens, record.output_tokens) == (50, 7)
    assert (record.cost_usd, record.origin) == (0.02, "scripted")
    assert str(record.place) == "#0"
    assert record.parent is None
    assert record.duration_ms > 0


def test_the_last_violations_of_a_rejected_call_are_kept() -> None:
    with answering(WEAK), pytest.raises(Exception, match="no acceptable"):
        judged.with_(retries=0).run("a")
    assert records()[0].calls[0].violations == ("ensure: r.confidence > 0.7 (actual: 0.1)",)


def test_an_unknown_cost_is_not_zero() -> None:
    with answering(Reply(GOOD)):
        judged.run("a")
    assert records()[0].cost_usd is None


def test_traces_hold_snapshots() -> None:
    note, tags = Note(title="before"), ["before"]
    with answering({"title": "answer"}):
        answer = sorted_out.run(note, tags)
    note.title = answer.title = "after"
    tags.append("after")
    assert records()[0].inputs["note"]["title"] == "before"
    assert records()[0].inputs["tags"] == ["before"]
    assert records()[0].output["title"] == "answer"


def test_a_computes_input_is_kept_as_it_was_before_the_body_ran() -> None:
    @compute
    def emptied(items: list[int]) -> list[int]:
        items.clear()
        return items

    emptied([1, 2])
    assert (records()[0].inputs, records()[0].output) == ({"items": [1, 2]}, [])


def test_opaque_values_are_kept_as_their_size() -> None:
    with answering({"title": "t", "body": "the model's own"}):
        sorted_out.run(Note(title="t", body="my secret life"), [], "a private word")
    (record,) = records()
    assert record.inputs["note"] == {"title": "t", "body": {"opaque": 14}}
    assert record.inputs["private"] == {"opaque": 14}
    assert record.output == {"title": "t", "body": {"opaque": 15}}
    assert "secret" not in repr(record)
    assert "private word" not in repr(record)


def test_an_opaque_value_is_not_in_the_error_either() -> None:
    with (
        answering({"title": 3, "body": "my secret life"}),
        pytest.raises(Exception, match="no acc"),
    ):
        sorted_out.run(Note(title="t", body="my secret life"), [])
    assert "secret" not in repr(records()[0])


def test_secrets_are_in_no_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_TOKEN", "tok-1234567890ab")
    with answering({"label": "tok-1234567890ab"}, RuntimeError("with tok-1234567890ab")):
        judged.run("has tok-1234567890ab")
        with pytest.raises(RuntimeError):
            judged.run("again")
    assert "tok-1234567890ab" not in repr(records())
    assert records()[0].inputs == {"text": "has <secret:SHOP_TOKEN>"}
    assert records()[1].error == "RuntimeError: with <secret:SHOP_TOKEN>"


def test_a_secret_in_another_code_is_in_no_violation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_TOKEN", "tok-1234567890ab")
    code = b64encode(b"tok-1234567890ab").decode()
    with answering({"label": "x", "confidence": code}, GOOD):
        judged.run("a")
    (told,) = records()[0].calls[0].violations
    assert code not in told
    assert "<secret:SHOP_TOKEN>" in told


def test_what_a_pattern_matches_is_in_no_record_without_a_known_secret() -> None:
    secrets = Secrets(patterns=(("redact-1", re.compile(r"4\d{3}")),))
    assert snapshot("card 4111", str, secrets) == "card <secret:redact-1>"
    assert snapshot(["card 4111"], list[str], secrets) == ["card <secret:redact-1>"]


def test_inputs_stand_in_the_order_of_the_parameters() -> None:
    @infer(intent="Compare", model=MODEL)
    def compared(first: str, second: str) -> int: ...

    with answering(1):
        compared.run(second="b", first="a")
    assert list(records()[0].inputs) == ["first", "second"]


def test_what_has_no_json_is_kept_by_the_name_of_its_type() -> None:
    @compute
    def opened(thing: Any) -> Any:
        return thing

    opened(Reply)
    opened([object()])
    assert [record.inputs["thing"] for record in records()] == ["<type>", "<list>"]


async def test_ids_are_unique_and_orders_follow_the_start() -> None:
    with answering(lambda request: GOOD):
        await parallel(*(judged(str(number)) for number in range(20)))
    found = records()[:-1]
    assert len({record.id for record in records()}) == 21
    by_start = sorted(found, key=lambda record: record.order)
    assert [record.inputs["text"] for record in by_start] == [str(n) for n in range(20)]


async def test_the_tree_is_the_same_whatever_the_timing() -> None:
    @flow
    async def process(text: str) -> str:
        first, second = await parallel(judged(f"{text} 1"), judged(f"{text} 2"))
        return first.label + second.label

    async def tree(slow: str) -> list[dict[str, Any]]:
        before = len(records())
        with answering(lambda r: Scripted(GOOD, 0.02 if r.prompt.text.endswith(slow) else 0)):
            await process("a")
        return nested(tuple(records()[before:]))

    first, second = await tree("1"), await tree("2")
    assert first == second
    assert [step["inputs"]["text"] for step in first[0]["steps"][0]["steps"]] == ["a 1", "a 2"]


def test_the_process_keeps_what_its_tests_leave() -> None:
    with answering(GOOD):
        judged.run("a")
    last: TraceRecord = traces()[-1]
    assert last is records()[-1]
