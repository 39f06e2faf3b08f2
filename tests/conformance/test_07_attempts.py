"""SPEC section 7: attempts and errors."""

import re
from typing import Any

import pytest

from stratum import (
    ConditionError,
    InputError,
    PostconditionFailed,
    PreconditionFailed,
    infer,
)
from tests.scripted import answering


def declared(**settings: Any) -> Any:
    @infer(intent="Say it", **settings)
    def say(text: str) -> str: ...

    return say


def refused(text: str) -> None:
    raise AssertionError("not this text")


@pytest.mark.parametrize(
    "condition",
    [
        pytest.param(lambda text: text != "a", id="lambda"),
        pytest.param(refused, id="assertion"),
        pytest.param(("another text", lambda text: False), id="message"),
        pytest.param([lambda text: True, lambda text: "wrong"], id="list"),
    ],
)
def test_7_1_nothing_is_sent_where_a_given_condition_does_not_hold(condition: Any) -> None:
    with answering() as client, pytest.raises(PreconditionFailed) as failed:
        declared(given=condition).run(text="a")
    assert client.requests == []
    assert len(failed.value.violations) == 1
    assert isinstance(failed.value, InputError)


def raising(answer: str) -> bool:
    raise KeyError("x")


@pytest.mark.parametrize(
    "condition",
    [raising, lambda r: 3, lambda r: re.match("x", r), lambda r: r.strip("A")],
    ids=["raises", "number", "none-by-chance", "empty-by-chance"],
)
def test_7_1_what_is_no_verdict_is_an_error_and_pays_for_no_retry(condition: Any) -> None:
    with answering("A", "B") as client, pytest.raises(ConditionError):
        declared(ensure=condition, retries=5).run(text="a")
    assert len(client.requests) == 1


def test_7_1_a_condition_takes_the_answer_and_inputs_by_name() -> None:
    with answering("b", "a") as client:
        assert declared(ensure=lambda answer, text: answer == text).run(text="a") == "a"
    assert len(client.requests) == 2


def test_7_2_a_retry_sends_the_first_messages_and_what_was_wrong() -> None:
    asked = declared(ensure=lambda r: r != "b", retries=2)
    with answering("b", 7, "a") as client:
        assert asked.run(text="a") == "a"
    first, second, third = client.requests
    assert {(r.prompt.system, r.prompt.text) for r in client.requests} == {
        (first.prompt.system, first.prompt.text)
    }
    assert second.prompt.turn is not None
    assert third.prompt.turn is not None
    assert (second.prompt.turn.answer, third.prompt.turn.answer) == ("b", 7)
    assert "'b'" not in third.prompt.turn.text


@pytest.mark.parametrize("retries", [0, 2])
def test_7_2_it_is_asked_again_up_to_retries_times(retries: int) -> None:
    asked = declared(ensure=lambda r: r != "b", retries=retries)
    with answering(lambda request: "b") as client, pytest.raises(PostconditionFailed):
        asked.run(text="a")
    assert len(client.requests) == retries + 1
