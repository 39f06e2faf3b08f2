"""Attempts: what is asked again, in which words, and what ends a call."""

from dataclasses import replace
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field

from stratum import (
    ConditionError,
    ContractViolated,
    CutOff,
    PostconditionFailed,
    Refused,
    Reply,
    infer,
    opaque,
)
from stratum.clients.messages import messages
from tests.scripted import answering, records


class Verdict(BaseModel):
    label: str
    confidence: Annotated[float, Field(ge=0, le=1)]
    note: opaque[str] = ""


def sure(r: Verdict) -> bool:
    return r.confidence > 0.7


@infer(intent="Judge the text", ensure=lambda r: r.confidence > 0.7)
def judged(text: str) -> Verdict: ...


@infer(
    intent="Judge the text",
    ensure=[lambda r: r.note != "private matter", lambda r, text: r.label in text],
)
def noted(text: opaque[str]) -> Verdict: ...


def verdict(confidence: float, label: str = "good", **more: Any) -> dict[str, Any]:
    return {"label": label, "confidence": confidence, **more}


def test_a_retry_says_what_failed_in_the_words_of_the_design() -> None:
    with answering(verdict(0.42), verdict(0.9)) as client:
        judged.run("fine")
    turn = client.requests[1].prompt.turn
    assert turn is not None
    assert turn.answer == verdict(0.42)
    assert turn.text == (
        "Previous attempt failed:\n"
        "  - ensure: r.confidence > 0.7 (actual: 0.42)\n"
        "Fix these issues specifically."
    )


def test_a_contract_violation_is_said_alike() -> None:
    with answering({"label": "good", "confidence": 3}, verdict(0.9)) as client:
        judged.run("fine")
    assert client.requests[1].prompt.turn is not None
    (violation,) = client.requests[1].prompt.turn.violations
    assert violation.startswith("contract: confidence")


def test_an_answer_that_is_no_json_is_asked_again() -> None:
    with answering("I think it is good", verdict(0.9)) as client:
        assert judged.run("fine").label == "good"
    assert client.requests[1].prompt.turn is not None
    assert client.requests[1].prompt.turn.violations[0].startswith("contract: ")


def test_every_retry_holds_the_first_messages_and_the_last_answer_only() -> None:
    with answering(*map(verdict, (0.1, 0.2, 0.3, 0.9))) as client:
        judged.with_(retries=3).run("fine")
    first, *retries = [messages(request) for request in client.requests]
    assert all(retry[: len(first)] == first for retry in retries)
    assert {len(retry) for retry in retries} == {len(first) + 2}
    assert [retry[-2]["role"] for retry in retries] == ["assistant"] * 3
    for retry, (last, earlier) in zip(retries, [(0.1, 9), (0.2, 0.1), (0.3, 0.2)], strict=True):
        assert str(last) in str(retry[len(first) :])
        assert str(earlier) not in str(retry[len(first) :])


def test_every_attempt_has_a_key_of_its_own() -> None:
    with answering(*map(verdict, (0.1, 0.1, 0.9))) as client:
        judged.run("fine")
    first, second, third = (request.key for request in client.requests)
    assert first != second
    assert second == third, "the same last answer is the same prompt"
    assert [request.attempt for request in client.requests] == [0, 1, 2]


def test_the_answer_is_part_of_a_retrys_key() -> None:
    with answering(verdict(0.1, "a"), verdict(0.9), verdict(0.1, "b"), verdict(0.9)) as client:
        judged.run("fine")
        judged.run("fine")
    assert client.requests[0].key == client.requests[2].key
    assert client.requests[1].key != client.requests[3].key


def test_when_the_retries_are_spent_the_last_violations_are_raised() -> None:
    with answering(*map(verdict, (0.1, 0.2, 0.3))), pytest.raises(PostconditionFailed) as caught:
        judged.run("fine")
    assert (caught.value.function, caught.value.attempts) == ("judged", 3)
    assert caught.value.violations == ("ensure: r.confidence > 0.7 (actual: 0.3)",)
    assert str(caught.value) == (
        "judged got no acceptable answer in 3 attempts; the last one:\n"
        "  - ensure: r.confidence > 0.7 (actual: 0.3)"
    )


def test_the_last_answers_fault_names_the_error() -> None:
    with answering(verdict(0.1), {"label": 1}), pytest.raises(ContractViolated) as caught:
        judged.with_(retries=1).run("fine")
    assert caught.value.attempts == 2


@pytest.mark.parametrize(
    ("reply", "error", "said"),
    [
        pytest.param(
            Reply("I will not", outcome="refused"),
            Refused,
            "judged: the model declined to answer: I will not",
            id="refused",
        ),
        pytest.param(
            Reply('{"label": ', outcome="cut"),
            CutOff,
            "judged: the answer ended at max_tokens before it was whole.\n"
            "  Raise max_tokens (and the budget, if it lowered max_tokens), or ask for less.",
            id="cut",
        ),
    ],
)
def test_no_retry_is_paid_for_what_cannot_get_better(
    reply: Reply, error: type[Exception], said: str
) -> None:
    with answering(reply, verdict(0.9)) as client, pytest.raises(error) as caught:
        judged.run("fine")
    assert str(caught.value) == said
    assert len(client.requests) == 1


def test_a_cut_answer_names_the_declared_limit() -> None:
    cut = Reply("", outcome="cut")
    with answering(cut), pytest.raises(CutOff, match="ended at max_tokens=50 before"):
        judged.with_(params={"max_tokens": 50}).run("fine")


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        pytest.param(lambda r: [r][0].missing > 1, "raised AttributeError", id="raised"),
        pytest.param(lambda r: r.note or None.x, "raised AttributeError", id="late"),
        pytest.param(lambda r: r.confidence, "value of type float", id="no-verdict"),
        pytest.param(lambda r: r.note and r.label == "good", "an empty text", id="empty-text"),
        pytest.param(lambda r: {}.get(r.label), "gave None", id="none"),
    ],
)
def test_no_retry_is_paid_for_a_condition_that_fails_itself(condition: Any, said: str) -> None:
    @infer(intent="Judge", ensure=condition)
    def ask(text: str) -> Verdict: ...

    with answering(verdict(0.9), verdict(0.9)) as client, pytest.raises(ConditionError) as caught:
        ask.run("fine")
    assert said in str(caught.value)
    assert len(client.requests) == 1
    assert [record.outcome for record in records()] == ["error"]


def test_a_condition_takes_inputs_by_name() -> None:
    @infer(intent="Shorten", ensure=lambda r, limit, text: len(r) <= limit < len(text))
    def shorten(text: str, limit: int) -> str: ...

    with answering("far too long", "short") as client:
        assert shorten.run("a text that is long", limit=5) == "short"
    assert client.requests[1].prompt.turn is not None
    (violation,) = client.requests[1].prompt.turn.violations
    assert violation == (
        "ensure: len(r) <= limit < len(text) "
        '(actual: r = "far too long", limit = 5, text = "a text that is long")'
    )


def test_a_given_condition_takes_inputs_by_name_in_any_order() -> None:
    @infer(intent="Cut", given=lambda end, start: start < end)
    def cut(start: int, end: int) -> str: ...

    with answering("ab") as client:
        assert cut.run(1, 2) == "ab"
    assert len(client.requests) == 1


def test_retry_text_never_shows_an_opaque_value() -> None:
    answers = verdict(0.9, "nowhere", note="private matter"), verdict(0.9, "life", note="")
    with answering(*answers) as client:
        noted.run("my secret life")
    turn = client.requests[1].prompt.turn
    assert turn is not None
    assert turn.text == (
        "Previous attempt failed:\n"
        "  - ensure: r.note != 'private matter' (actual: <opaque>)\n"
        '  - ensure: r.label in text (actual: r.label = "nowhere", text = <opaque>)\n'
        "Fix these issues specifically."
    )


def test_a_function_as_condition_is_called_by_its_name() -> None:
    @infer(intent="Judge", ensure=sure)
    def ask(text: str) -> Verdict: ...

    with answering(verdict(0.1), verdict(0.9)) as client:
        ask.run("fine")
    assert client.requests[1].prompt.turn is not None
    assert client.requests[1].prompt.turn.violations == ("ensure: sure",)


def test_a_secret_in_the_last_answer_is_in_no_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    def keys(secret: str) -> list[str]:
        monkeypatch.setenv("SHOP_TOKEN", secret)
        with answering(verdict(0.1, f"has {secret}"), verdict(0.9)) as client:
            judged.run(f"I know {secret}")
        assert secret in str(messages(client.requests[1])), "what is sent is not touched"
        return [request.key for request in client.requests]

    assert keys("tok-1234567890ab") == keys("tok-other-098765")


def test_a_scripted_reply_keeps_its_usage() -> None:
    reply = replace(Reply(verdict(0.9)), cost=0.5)
    with answering(reply):
        judged.run("fine")
    assert (records()[0].cost_usd, records()[0].origin) == (0.5, "scripted")
