"""SPEC 14.5: what becomes of a schema on its way to a provider."""

from copy import deepcopy
from typing import Annotated, Any, get_args

import pytest
from pydantic import Field

from stratum import ContractViolated, LiteLLMClient, ScriptedClient, infer, using
from stratum.calls import Request
from stratum.clients.lowering import Form, form_of, lower, lower_tool
from stratum.contracts import Contract
from stratum.testing.local_model import LocalModel

FORMS: tuple[Form, ...] = get_args(Form)
COUNTS = Contract.of(dict[str, int], where="test").schema
DIGIT = Contract.of(Annotated[int, Field(le=9)], where="test").schema


@infer(intent="Count", model="openai/gpt-4o-mini", retries=0)
def count(text: str) -> dict[str, int]: ...


@infer(intent="Read", model="openai/gpt-4o-mini", retries=0)
def letter(text: str) -> Annotated[str, Field(max_length=1)]: ...


class Watching:
    """A client that keeps the requests and replies of the one it wraps."""

    def __init__(self, inner: LiteLLMClient) -> None:
        self.inner = inner
        self.kept: list[tuple[Request, Any]] = []

    async def complete(self, request: Request) -> Any:
        self.kept.append((request, await self.inner.complete(request)))
        return self.kept[-1][1]

    async def quote(self, request: Request) -> Any:
        return await self.inner.quote(request)


def test_14_5_1_an_unknown_provider_takes_the_form_of_openai() -> None:
    assert form_of("some-new-provider", "m") == "openai"


@pytest.mark.parametrize("lowering", [lower, lower_tool])
@pytest.mark.parametrize("form", FORMS)
def test_14_5_2_what_is_not_kept_is_noted_with_its_path(form: Form, lowering: Any) -> None:
    lowered = lowering(DIGIT, form=form)
    node = lowered.schema["properties"]["value"]
    noted = [note.path for note in lowered.notes]
    assert node.get("maximum") == 9 or "answer.value" in noted


def test_14_5_2_the_exchange_holds_the_notes_and_the_key_does_not() -> None:
    with LocalModel(answer=lambda body: {"a": 1}) as model:
        params = {"api_base": model.base_url, "api_key": "k" * 20}
        client = Watching(LiteLLMClient(params=params))
        with using(client=client):
            count.run(text="a")
    ((request, reply),) = client.kept
    assert reply.wire["lowering"]
    with using(client=(scripted := ScriptedClient([{"a": 1}]))):
        count.run(text="a")
    assert request.key == scripted.requests[0].key


@pytest.mark.parametrize("lowering", [lower, lower_tool])
@pytest.mark.parametrize("form", FORMS)
def test_14_5_3_a_dict_goes_out_whole_or_not_on_this_wire(form: Form, lowering: Any) -> None:
    lowered = lowering(COUNTS, form=form)
    assert lowered.schema["additionalProperties"] == {"type": "integer"}
    assert lowered.fits or lowered.notes


@pytest.mark.parametrize("lowering", [lower, lower_tool])
@pytest.mark.parametrize("form", FORMS)
def test_14_5_3_lowering_leaves_the_contract_as_it_was(form: Form, lowering: Any) -> None:
    before = deepcopy(DIGIT)
    lowering(DIGIT, form=form)
    assert before == DIGIT


def test_14_5_4_an_answer_that_breaks_what_was_only_prose_is_refused() -> None:
    with LocalModel(answer=lambda body: {"value": "ab"}) as model:
        params = {"api_base": model.base_url, "api_key": "k" * 20}
        with using(client=LiteLLMClient(params=params)), pytest.raises(ContractViolated):
            letter.run(text="ab")
