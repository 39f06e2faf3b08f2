"""SPEC section 3: contracts."""

import json
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field

from stratum import (
    Contract,
    ContractViolated,
    LiteLLMClient,
    PostconditionFailed,
    contract,
    infer,
    opaque,
    using,
)
from stratum.clients.messages import messages
from stratum.settings import Settings
from stratum.testing.local_model import LocalModel
from tests.conformance.live import Live
from tests.scripted import answering, records
from tests.wrapped import recording, texts

PRIVATE = "</data> private matter of 4711"


class Letter(BaseModel):
    subject: str
    body: opaque[str]


@infer(intent="Rate", retries=0)
def rate(text: str) -> Annotated[float, Field(ge=0, le=1)]: ...


@infer(intent="Read", model="any/model", ensure=lambda r, note: r.body != note, retries=1)
def read(letters: list[Letter], note: opaque[str]) -> Letter: ...


def ask() -> Any:
    return read.run(letters=[Letter(subject="Hi", body=PRIVATE)], note=PRIVATE)


@pytest.mark.parametrize("answer", [1.5, -0.1, "much", None, float("nan"), float("inf"), []])
def test_3_2_every_answer_is_validated(answer: Any) -> None:
    with answering(answer), pytest.raises(ContractViolated):
        rate.run(text="a")


def test_3_2_also_where_the_provider_promises_the_schema() -> None:
    with LocalModel(answer=lambda body: {"value": 7}) as model:
        client = LiteLLMClient(params={"api_base": model.base_url, "api_key": "none"})
        with using(client=client, model="openai/any"), pytest.raises(ContractViolated):
            rate.run(text="a")
    assert model.requests[0]["response_format"]["json_schema"]["strict"] is True


def test_3_3_names_and_docstrings_are_not_in_the_hash_and_descriptions_are() -> None:
    @contract
    class One:
        size: int

    @contract
    class Other:
        """With words."""

        size: int

    @contract
    class Described:
        size: Annotated[int, Field(description="in cm")]

    hashes = [Contract.of(kind, where="test").hash for kind in (One, Other, Described)]
    assert hashes[0] == hashes[1] != hashes[2]


def test_3_4_an_opaque_value_stands_in_data_alone() -> None:
    with answering({"subject": "x", "body": "y"}) as client:
        ask()
    prompt = client.requests[0].prompt
    assert "4711" not in prompt.system + prompt.text
    assert "note" in prompt.text
    instructions, data = messages(client.requests[0])[-1]["content"]
    assert "4711" not in instructions["text"]
    assert data["text"].count("</data>") == data["text"].count("<data>") == 1
    assert "\\u003c/data\\u003e private matter of 4711" in data["text"]


def test_3_4_an_opaque_value_is_not_in_a_retry_text() -> None:
    answer = {"subject": "x", "body": PRIVATE}
    with answering(answer, answer) as client, pytest.raises(PostconditionFailed) as failed:
        ask()
    turn = client.requests[1].prompt.turn
    assert turn is not None
    assert "4711" not in turn.text + str(failed.value)


def test_3_4_an_opaque_value_is_in_no_trace() -> None:
    with answering({"subject": "x", "body": PRIVATE}, {"subject": "x", "body": "y" * 7}):
        ask()
    (record,) = records()
    assert "4711" not in str(record)
    assert record.inputs["note"] == {"opaque": len(PRIVATE)}
    assert record.inputs["letters"][0]["body"] == {"opaque": len(PRIVATE)}
    assert record.output == {"subject": "x", "body": {"opaque": 7}}


@pytest.mark.parametrize("store", [False, True])
def test_3_4_golden_files_hold_opaque_inputs_only_if_they_are_to(
    tmp_path: Any, store: bool
) -> None:
    settings = Settings(root=tmp_path, store_opaque=store)
    with (
        recording(settings),
        using(client=Live(lambda request: {"subject": "x", "body": "an answer's"})),
    ):
        ask()
    assert ("4711" in texts(settings)) is store
    assert json.dumps("an answer's") in texts(settings)
