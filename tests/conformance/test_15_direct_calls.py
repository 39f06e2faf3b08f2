"""SPEC section 15: direct calls."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletion

import stratum
from stratum import Budget, BudgetExceeded, ConfigurationError, InputError, RecordingMissing, flow
from stratum.settings import NOW, Settings
from stratum.testing.local_model import LocalModel, failure
from tests.streaming import StreamingModel
from tests.support import clean_environment
from tests.wrapped import named, recording, replaying, texts

SAID = [{"role": "user", "content": "Hello"}]


@pytest.fixture(scope="module")
def model() -> Iterator[LocalModel]:
    with LocalModel(answer=_answer) as running:
        yield running


def _answer(body: dict[str, Any]) -> Any:
    return failure(400, "no") if body["messages"][0]["content"] == "fail" else "Hi"


@pytest.fixture
def create(model: LocalModel) -> Iterator[Callable[..., Any]]:
    with openai.OpenAI(base_url=model.base_url, api_key="none", max_retries=0) as client:
        yield stratum.wrap(client.chat.completions.create)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(root=tmp_path)


def test_15_1_anything_else_is_refused_with_what_wrap_takes() -> None:
    with pytest.raises(ConfigurationError) as refused:
        stratum.wrap(len)
    for name in ("litellm.completion", "litellm.acompletion", "client.chat.completions.create"):
        assert name in str(refused.value)


def test_15_1_wrap_imports_neither_library() -> None:
    text = (
        "import sys, stratum\n"
        "try: stratum.wrap(len)\n"
        "except stratum.ConfigurationError: pass\n"
        "print([n for n in ('litellm', 'openai') if n in sys.modules])"
    )
    command = [sys.executable, "-c", text]
    done = subprocess.run(command, env=clean_environment(), capture_output=True, text=True)
    assert done.stdout == "[]\n"


def test_15_2_without_a_mode_it_behaves_as_the_original(
    create: Callable[..., Any], model: LocalModel
) -> None:
    response = create(model="gpt", messages=SAID, seed=3)
    assert type(response) is ChatCompletion
    assert response.id.startswith("chatcmpl-")
    assert model.requests[-1] == {"model": "gpt", "messages": SAID, "seed": 3}


async def test_15_2_a_synchronous_call_works_inside_a_running_loop(
    create: Callable[..., Any],
) -> None:
    assert create(model="gpt", messages=SAID).choices[0].message.content == "Hi"


def test_15_3_a_budget_keeps_a_call_from_being_sent(
    create: Callable[..., Any], model: LocalModel
) -> None:
    @flow(budget=Budget(tokens=20))
    async def body() -> None:
        create(model="gpt", messages=SAID)

    sent = len(model.requests)
    with pytest.raises(BudgetExceeded):
        body.run()
    assert len(model.requests) == sent


def test_15_5_a_wrapped_call_is_recorded_and_replayed(
    create: Callable[..., Any], model: LocalModel, settings: Settings
) -> None:
    with recording(settings):
        create(model="gpt", messages=SAID)
    sent = len(model.requests)
    with replaying(settings):
        create(model="gpt", messages=SAID)
    assert len(model.requests) == sent
    assert named(settings) == ["test_15_5_a_wrapped_call_is_recorded_and_replayed"]


def test_15_5_what_is_not_recorded_is_a_miss(
    create: Callable[..., Any], settings: Settings
) -> None:
    with replaying(settings), pytest.raises(RecordingMissing):
        create(model="gpt", messages=SAID)


def test_15_6_record_and_replay_return_equal_objects(
    create: Callable[..., Any], settings: Settings
) -> None:
    with recording(settings):
        first = create(model="gpt", messages=SAID)
    with replaying(settings):
        second = create(model="gpt", messages=SAID)
    assert type(first) is type(second) is ChatCompletion
    assert first == second
    assert first.to_json() == second.to_json()
    assert first.created == NOW.timestamp()
    assert '"created"' not in texts(settings)


def test_15_7_a_stream_is_recorded_and_given_back(settings: Settings) -> None:
    with StreamingModel(lambda body: ["one ", "two "]) as server:
        client = openai.OpenAI(base_url=server.base_url, api_key="none")
        create: Any = stratum.wrap(client.chat.completions.create)
        with recording(settings):
            first = list(create(model="gpt", messages=SAID, stream=True))
    with replaying(settings), create(model="gpt", messages=SAID, stream=True) as stream:
        second = list(stream)
    assert second == first
    assert [c.choices[0].delta.content for c in first if c.choices] == ["", "one ", "two ", None]


def test_15_7_raw_responses_are_refused_under_a_mode(
    create: Callable[..., Any], settings: Settings
) -> None:
    raw = {"X-Stainless-Raw-Response": "true"}
    with recording(settings), pytest.raises(ConfigurationError, match="only ChatCompletion can be"):
        create(model="gpt", messages=SAID, extra_headers=raw)


def test_15_8_a_providers_error_is_raised_as_it_is(
    create: Callable[..., Any], settings: Settings
) -> None:
    with recording(settings), pytest.raises(openai.BadRequestError):
        create(model="gpt", messages=[{"role": "user", "content": "fail"}])
    assert texts(settings) == ""


def test_15_8_an_argument_without_text_is_an_input_error(
    create: Callable[..., Any], settings: Settings
) -> None:
    with recording(settings), pytest.raises(InputError, match="extra_body"):
        create(model="gpt", messages=SAID, extra_body={"x": object()})
