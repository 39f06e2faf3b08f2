"""SPEC section 20: adaptive functions."""

from typing import Any

import pytest

from stratum import (
    ConditionError,
    DeclarationError,
    PostconditionFailed,
    adaptive,
    compute,
    flow,
    infer,
)
from tests.scripted import answering, records


@infer(intent="Name the team", retries=1)
def by_model(text: str) -> str: ...


@compute
async def by_rule(text: str) -> str:
    return text.split()[-1]


def template(text: str) -> str: ...  # type: ignore[empty-body]


def made(**parts: Any) -> Any:
    return adaptive(
        **{"compute": by_rule, "infer": by_model, "when": lambda text: "rule" in text, **parts}
    )(template)


async def test_20_1_the_model_is_not_asked_where_the_condition_holds() -> None:
    with answering() as client:
        assert await made()(text="by rule: sales") == "sales"
    assert client.requests == []


async def test_20_1_the_model_is_asked_elsewhere() -> None:
    with answering("support") as client:
        assert await made()(text="help") == "support"
    assert len(client.requests) == 1
    assert "by_rule" not in [record.function for record in records()]


@pytest.mark.parametrize("verdict", [None, 1, "yes", []])
async def test_20_2_a_verdict_is_a_bool(verdict: Any) -> None:
    with answering() as client, pytest.raises(ConditionError, match="returns True or False"):
        await made(when=lambda text: verdict)(text="a")
    assert client.requests == []


async def test_20_2_a_flow_may_decide() -> None:
    @flow
    async def assign(text: str) -> str:
        value: str = await made().with_(path="compute")(text=text)
        return value

    with answering():
        assert await assign("help") == "help"


async def test_20_3_ensure_holds_for_an_answer_of_the_model() -> None:
    checked = made(ensure=lambda team: team != "nobody")
    with answering("nobody", "support") as client:
        assert await checked(text="help") == "support"
    assert client.requests[1].prompt.turn is not None
    with answering("nobody", "nobody"), pytest.raises(PostconditionFailed):
        await checked(text="help")


async def test_20_3_ensure_holds_for_a_computed_value() -> None:
    with pytest.raises(PostconditionFailed, match="nobody"):
        await made(ensure=lambda team: team != "nobody")(text="by rule: nobody")


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param({"when": by_model}, id="a-model-decides"),
        pytest.param({"when": True}, id="no-function-decides"),
        pytest.param({"when": lambda ticket: True}, id="unknown-parameter"),
        pytest.param({"compute": lambda ticket: ""}, id="parameters-of-compute"),
        pytest.param({"compute": "sales"}, id="no-step"),
        pytest.param({"infer": by_rule}, id="no-infer-function"),
    ],
)
def test_20_4_parts_that_do_not_fit_are_refused_at_decoration(parts: Any) -> None:
    with pytest.raises(DeclarationError, match="template"):
        made(**parts)


@pytest.mark.parametrize(
    ("text", "path"), [("by rule: sales", "compute"), ("help", "infer")], ids=["compute", "infer"]
)
async def test_20_5_a_call_leaves_a_record_with_the_way_it_took(text: str, path: str) -> None:
    with answering("support"):
        await made()(text=text)
    step, around = records()
    assert (around.kind, step.kind, step.parent) == ("adaptive", path, around.id)
    assert around.details == {
        "dispatch_type": "lambda",
        "dispatch_result": path == "compute",
        "path_taken": path,
        "ensure_violations": [],
    }


async def test_20_5_a_call_that_fails_leaves_a_record() -> None:
    with answering("nobody", "nobody"), pytest.raises(PostconditionFailed):
        await made(ensure=lambda team: team != "nobody")(text="help")
    around = records()[-1]
    assert (around.kind, around.outcome) == ("adaptive", "rejected")
    assert around.details is not None
    assert around.details["ensure_violations"] == ["ensure: team != 'nobody' (actual: \"nobody\")"]
