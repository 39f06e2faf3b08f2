"""One function that plain code carries out, or a model, as a condition says."""

import random
from pathlib import Path
from typing import Any

import pytest

from stratum import (
    ConditionError,
    DeclarationError,
    PostconditionFailed,
    Request,
    adaptive,
    compute,
    flow,
    infer,
)
from tests.replaying import Recorded
from tests.scripted import answering, records


@infer(intent="Name the team", retries=1)
def by_model(text: str) -> str: ...


@compute
def by_rule(text: str) -> str:
    return text.split()[-1]


@compute
async def is_short(text: str) -> bool:
    return len(text) < 10


def mentions_invoice(text: str) -> bool:
    return "invoice" in text


@adaptive(
    compute=by_rule,
    infer=by_model,
    when=lambda text: text.startswith("rule"),
    ensure=lambda team: team != "nobody",
)
def route(text: str) -> str: ...


@adaptive(compute=by_rule, infer=by_model, when=is_short)
async def route_short(text: str) -> str: ...


@adaptive(compute=lambda text: "billing", infer=by_model, when=mentions_invoice)
def route_invoices(text: str) -> str: ...


def details() -> Any:
    return records()[-1].details


async def test_plain_code_answers_where_the_condition_holds() -> None:
    with answering() as client:
        assert await route(text="rule: sales") == "sales"
    assert client.requests == []
    assert details() == {
        "dispatch_type": "lambda",
        "dispatch_result": True,
        "path_taken": "compute",
        "ensure_violations": [],
    }


async def test_a_model_answers_elsewhere() -> None:
    with answering("support"):
        assert await route(text="help") == "support"
    assert (details()["dispatch_result"], details()["path_taken"]) == (False, "infer")


async def test_an_answer_that_breaks_the_condition_is_asked_for_again() -> None:
    with answering("nobody", "support") as client:
        assert await route(text="help") == "support"
    assert "ensure: team != " in client.requests[1].prompt.turn.text  # type: ignore[union-attr]


async def test_an_answer_that_keeps_breaking_it_is_in_the_record() -> None:
    with answering("nobody", "nobody"), pytest.raises(PostconditionFailed):
        await route(text="help")
    assert details()["ensure_violations"] == ["ensure: team != 'nobody' (actual: \"nobody\")"]


async def test_a_computed_value_that_breaks_it_is_an_error_and_in_the_record() -> None:
    with pytest.raises(PostconditionFailed, match="route got no acceptable answer in 1 attempt"):
        await route(text="rule: nobody")
    assert details()["ensure_violations"] == ["ensure: team != 'nobody' (actual: \"nobody\")"]
    assert details()["path_taken"] == "compute"


async def test_a_compute_step_may_decide_and_is_traced() -> None:
    assert await route_short(text="a sales") == "sales"
    assert details()["dispatch_type"] == "compute"
    around = records()[-1]
    steps = [record.function for record in records() if record.parent == around.id]
    assert steps == ["is_short", "by_rule"]


async def test_a_function_may_decide_and_a_lambda_may_compute() -> None:
    assert await route_invoices(text="my invoice") == "billing"
    assert details()["dispatch_type"] == "function"


async def test_a_flow_may_decide() -> None:
    @flow
    async def assign(text: str, *, cheap: bool) -> str:
        return await route.with_(path="compute" if cheap else "infer")(text=text)

    with answering("support"):
        assert await assign("my sales", cheap=True) == "sales"
        assert await assign("rule: sales", cheap=False) == "support"
    kinds = [r.details["dispatch_type"] for r in records() if r.details]
    assert kinds == ["flow", "flow"]


def test_it_runs_in_synchronous_code_and_in_synchronous_flows() -> None:
    @flow
    def assign(text: str) -> Any:
        return route(text=text)

    assert route.run(text="rule: sales") == "sales"
    assert assign("rule: sales") == "sales"


@pytest.mark.parametrize("given", [1, None, "yes"])
async def test_a_decision_is_true_or_false(given: Any) -> None:
    unsure = adaptive(compute=by_rule, infer=by_model, when=lambda text: given)(by_model._function)
    with pytest.raises(ConditionError, match="returns True or False"):
        await unsure(text="a")
    assert records()[-1].outcome == "error"


async def test_a_decision_that_raises_names_itself() -> None:
    broken = adaptive(compute=by_rule, infer=by_model, when=lambda text: text[9])(
        by_model._function
    )
    with pytest.raises(ConditionError, match="by_model: when <lambda> raised IndexError"):
        await broken(text="a")


def other(text: str, more: str) -> str:
    return text


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        pytest.param({"when": by_model}, "asks a model", id="infer-decides"),
        pytest.param({"when": True}, "takes a function of the inputs", id="no-function"),
        pytest.param({"when": lambda ticket: True}, "'ticket', which is no", id="parameter"),
        pytest.param({"compute": other}, "the same parameters", id="compute-parameters"),
        pytest.param({"compute": 3}, "takes a @compute step", id="compute-value"),
        pytest.param({"infer": by_rule}, "takes an @infer function", id="infer-compute"),
    ],
)
def test_parts_that_do_not_fit_are_refused(parts: Any, said: str) -> None:
    given = {"compute": by_rule, "infer": by_model, "when": mentions_invoice, **parts}
    with pytest.raises(DeclarationError, match=said):
        adaptive(**given)(by_model._function)


def test_an_unknown_path_is_refused() -> None:
    with pytest.raises(DeclarationError, match='"compute" or "infer"'):
        route.with_(path="model")  # type: ignore[arg-type]


def test_a_replay_takes_the_recorded_way(tmp_path: Path) -> None:
    async def both_ways() -> Any:
        return await route(text="rule: sales"), await route(text="help")

    def team(request: Request, chance: random.Random) -> Any:
        return {"value": chance.choice(["nobody", "sales", "support"])}

    for seed in range(5):
        recorded = Recorded(tmp_path / str(seed), both_ways, team, seed=seed)
        assert recorded.replay(1) == recorded.first
