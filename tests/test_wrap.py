"""Wrapped calls of litellm and the openai client: live, under budgets, recorded, drifted."""

import asyncio
import inspect
import random
import runpy
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai
import pytest

import stratum
from stratum import (
    Budget,
    BudgetExceeded,
    ConfigurationError,
    CutOff,
    InputError,
    RecordingCorrupt,
    RecordingMissing,
    ScriptedClient,
    flow,
    traces,
    using,
)
from stratum.clients.litellm import _import_litellm
from stratum.recording.client import NEVER
from stratum.scope import process
from stratum.settings import NOW, Settings
from stratum.testing.local_model import LocalModel, cut, failure
from tests.wrapped import named, recording, replaying, texts

litellm = _import_litellm()  # without what it does to the network
pytestmark = pytest.mark.filterwarnings("ignore:Item 'summary' on TypedDict:UserWarning")

completion = stratum.wrap(litellm.completion)
acompletion = stratum.wrap(litellm.acompletion)

SAID = [{"role": "user", "content": "Hello"}]


@pytest.fixture(scope="module", autouse=True)
def _loop() -> Iterator[None]:
    """Close the loop that litellm.completion makes for its thread, and forgets."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    asyncio.set_event_loop(None)
    loop.close()


@pytest.fixture(scope="module")
def model() -> Iterator[LocalModel]:
    with LocalModel(answer=lambda body: REPLIES[0](body)) as running:
        yield running


REPLIES: list[Callable[[Any], Any]] = []


@pytest.fixture(autouse=True)
def says() -> Callable[[Callable[[Any], Any]], None]:
    """Let the server answer through a function; it says "Hi" without one."""
    REPLIES[:] = [lambda body: "Hi"]
    return lambda function: REPLIES.__setitem__(0, function)


@pytest.fixture
def at(model: LocalModel) -> dict[str, Any]:
    return {"model": "openai/local", "api_base": model.base_url, "api_key": "none"}


@pytest.fixture
def client(model: LocalModel) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=model.base_url, api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(root=tmp_path)


def awaited(call: Any) -> Any:
    """Await a call from synchronous code."""
    return stratum.parallel(call).run()[0]


# Without a mode


def test_the_response_is_the_very_object_that_the_original_gave(client: openai.OpenAI) -> None:
    given = []

    class Kept(type(client.chat.completions)):  # type: ignore[misc]
        def create(self, **arguments: Any) -> Any:
            given.append(super().create(**arguments))
            return given[-1]

    create = stratum.wrap(Kept(client).create)
    assert create(model="gpt", messages=SAID) is given[0]


def test_arguments_arrive_as_they_were_given(at: dict[str, Any], model: LocalModel) -> None:
    completion(messages=SAID, temperature=0.25, stop=["x"], **at)
    body = model.requests[-1]
    assert body == {"messages": SAID, "model": "local", "temperature": 0.25, "stop": ["x"]}


def test_positional_arguments_arrive_too(at: dict[str, Any], model: LocalModel) -> None:
    completion(at.pop("model"), SAID, **at)
    assert model.requests[-1]["messages"] == SAID


def test_messages_of_an_iterator_are_sent(client: openai.OpenAI, model: LocalModel) -> None:
    stratum.wrap(client.chat.completions.create)(model="gpt", messages=iter(SAID))  # type: ignore[call-overload]
    assert model.requests[-1]["messages"] == SAID


def test_a_trace_is_kept(at: dict[str, Any]) -> None:
    completion(messages=SAID, **at)
    record = traces()[-1]
    assert (record.kind, record.function, record.outcome) == ("infer", "test_a_trace_is_kept", "ok")
    assert record.inputs == {"messages": SAID}
    assert record.output["choices"][0]["message"]["content"] == "Hi"
    assert (record.model, record.input_tokens, record.output_tokens) == ("openai/local", 2, 1)
    assert len(record.calls[0].key) == 64


def test_the_cost_is_known_when_the_price_is(at: dict[str, Any]) -> None:
    completion(messages=SAID, **at | {"model": "openai/gpt-4o-mini"})
    assert traces()[-1].cost_usd == pytest.approx(2 * 0.15e-6 + 1 * 0.6e-6)


def test_the_openai_client_finds_the_same_price(client: openai.OpenAI) -> None:
    stratum.wrap(client.chat.completions.create)(model="gpt-4o-mini", messages=SAID)  # type: ignore[arg-type]
    assert traces()[-1].cost_usd == pytest.approx(2 * 0.15e-6 + 1 * 0.6e-6)


def test_litellm_raises_its_own_errors(says: Any, at: dict[str, Any]) -> None:
    says(lambda body: failure(400, "no such model"))
    with pytest.raises(litellm.exceptions.BadRequestError):
        completion(messages=SAID, **at)
    assert traces()[-1].outcome == "error"
    assert traces()[-1].error is not None
    assert traces()[-1].error.startswith("BadRequestError: ")


def test_the_awaited_form_raises_its_own_errors(says: Any, at: dict[str, Any]) -> None:
    says(lambda body: failure(400, "no such model"))
    with pytest.raises(litellm.exceptions.BadRequestError):
        awaited(acompletion(messages=SAID, **at))


def test_openai_raises_its_own_errors(says: Any, client: openai.OpenAI) -> None:
    says(lambda body: failure(400, "no"))
    with pytest.raises(openai.BadRequestError):
        stratum.wrap(client.chat.completions.create)(model="gpt", messages=SAID)  # type: ignore[arg-type]


def test_wrong_arguments_raise_what_they_did_before(client: openai.OpenAI) -> None:
    with pytest.raises(TypeError, match="Missing required arguments"):
        stratum.wrap(client.chat.completions.create)(messages=SAID)  # type: ignore[call-overload]


def test_a_sync_call_works_inside_a_running_loop(at: dict[str, Any]) -> None:
    (response,) = in_flow(Budget(ms=60_000), lambda: completion(messages=SAID, **at))
    assert response.choices[0].message.content == "Hi"


def test_the_original_runs_in_its_callers_thread(client: openai.OpenAI) -> None:
    met = []

    class Noting(type(client.chat.completions)):  # type: ignore[misc]
        def create(self, **arguments: Any) -> Any:
            met.append(threading.current_thread())
            return super().create(**arguments)

    stratum.wrap(Noting(client).create)(model="gpt", messages=SAID)
    assert met == [threading.current_thread()]


def test_a_stream_is_the_originals_own(client: openai.OpenAI) -> None:
    given = object()

    class Streaming(type(client.chat.completions)):  # type: ignore[misc]
        def create(self, **arguments: Any) -> Any:
            return given

    create = stratum.wrap(Streaming(client).create)
    assert create(model="gpt", messages=SAID, stream=True) is given


def test_ctrl_c_in_the_original_reaches_the_caller(client: openai.OpenAI) -> None:
    class Interrupted(type(client.chat.completions)):  # type: ignore[misc]
        def create(self, **arguments: Any) -> Any:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stratum.wrap(Interrupted(client).create)(model="gpt", messages=SAID)


# What is wrapped


def test_wrapping_twice_gives_the_same() -> None:
    assert stratum.wrap(completion) is completion


def test_the_wrapper_looks_like_the_original() -> None:
    assert completion.__name__ == "completion"
    assert inspect.signature(completion) == inspect.signature(litellm.completion)
    assert asyncio.iscoroutinefunction(acompletion)
    assert not asyncio.iscoroutinefunction(completion)
    assert repr(acompletion) == "<stratum.wrap acompletion>"


@pytest.mark.parametrize(
    "pick",
    [
        pytest.param(lambda c: print, id="another function"),
        pytest.param(lambda c: c, id="a client"),
        pytest.param(lambda c: c.chat.completions.with_raw_response.create, id="raw responses"),
        pytest.param(
            lambda c: c.chat.completions.with_streaming_response.create, id="streaming responses"
        ),
        pytest.param(lambda c: c.chat.completions.parse, id="parse"),
        pytest.param(lambda c: c.completions.create, id="text completions"),
        pytest.param(lambda c: litellm.embedding, id="embeddings"),
    ],
)
def test_anything_else_is_refused(pick: Any, client: openai.OpenAI) -> None:
    with pytest.raises(ConfigurationError, match=r"It takes litellm\.completion, litellm\.acomp"):
        stratum.wrap(pick(client))


def test_a_client_can_be_patched_in_place(client: openai.OpenAI, settings: Settings) -> None:
    client.chat.completions.create = stratum.wrap(client.chat.completions.create)  # type: ignore[method-assign]
    with recording(settings):
        client.chat.completions.create(model="gpt", messages=SAID)  # type: ignore[arg-type]
    assert "Hi" in texts(settings)


def test_litellm_can_be_patched_in_place_without_recording_infer_twice(
    at: dict[str, Any], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(litellm, "acompletion", acompletion)

    @stratum.infer(intent="Greet", model="openai/local", wire="prompt")
    def greet() -> str: ...

    at.pop("model")
    with recording(settings), using(client=stratum.LiteLLMClient(params=at)):
        greet.run()
    assert [path.stem for path in settings.recordings_folder.rglob("*.json")] == [
        "test_litellm_can_be_patched_in_place_without_recording_infer_twice.%3clocals%3e.greet"
    ]


# Budgets


def in_flow(budget: Budget, *calls: Callable[[], Any]) -> list[Any]:
    @flow(budget=budget)
    async def body() -> list[Any]:
        results = [call() for call in calls]
        return [await r if inspect.isawaitable(r) else r for r in results]

    return body.run()


PRICED = {"model": "openai/gpt-4o-mini"}  # $0.15 and $0.60 per million tokens


def test_a_budget_turns_a_call_away_before_it_is_sent(
    at: dict[str, Any], model: LocalModel
) -> None:
    sent = len(model.requests)
    with pytest.raises(BudgetExceeded, match="would cost at least"):
        in_flow(Budget(usd=1e-7), lambda: completion(messages=SAID, **at | PRICED))
    assert len(model.requests) == sent
    assert traces()[-2].outcome == "over_budget"


def test_a_budget_holds_a_call_without_a_limit_to_the_default(
    at: dict[str, Any], model: LocalModel
) -> None:
    in_flow(Budget(usd=1), lambda: completion(messages=SAID, **at | PRICED))
    assert model.requests[-1]["max_tokens"] == 4096


def test_a_budget_lowers_the_limit_and_a_cut_answer_is_no_answer(
    says: Any, at: dict[str, Any], model: LocalModel
) -> None:
    says(lambda body: cut("Hel"))
    with pytest.raises(CutOff, match="Raise max_tokens"):
        in_flow(Budget(tokens=500), lambda: completion(messages=SAID, **at | PRICED))
    assert 400 < model.requests[-1]["max_tokens"] < 500


def test_a_cut_answer_at_the_callers_own_limit_is_an_answer(
    says: Any, at: dict[str, Any], model: LocalModel
) -> None:
    says(lambda body: cut("Hel"))
    call = lambda: completion(messages=SAID, max_completion_tokens=50, **at | PRICED)  # noqa: E731
    (response,) = in_flow(Budget(tokens=500), call)
    assert response.choices[0].finish_reason == "length"
    assert model.requests[-1].get("max_tokens", 50) == 50


def test_several_choices_share_what_a_budget_leaves(at: dict[str, Any], model: LocalModel) -> None:
    call = lambda: completion(messages=SAID, n=4, max_tokens=100, **at | PRICED)  # noqa: E731
    in_flow(Budget(tokens=260), call)
    assert 40 < model.requests[-1]["max_tokens"] <= 65


def test_usage_settles_what_was_reserved(at: dict[str, Any]) -> None:
    calls = [lambda: completion(messages=SAID, max_tokens=400, **at | PRICED)] * 5
    assert len(in_flow(Budget(tokens=500), *calls)) == 5  # each reserves 400 and uses 3


def test_a_sync_call_that_would_wait_for_its_own_loop_is_refused(
    says: Any, at: dict[str, Any]
) -> None:
    says(lambda body: time.sleep(0.2) or "Hi")

    @flow(budget=Budget(tokens=600))
    async def body() -> None:
        first = asyncio.ensure_future(acompletion(messages=SAID, max_tokens=500, **at | PRICED))
        await asyncio.sleep(0.05)
        try:
            completion(messages=SAID, max_tokens=500, **at | PRICED)
        finally:
            await first

    with pytest.raises(BudgetExceeded, match="inside a running event loop"):
        body.run()


# Record and replay


def test_a_sync_call_inside_a_loop_is_not_ended_by_a_time_limit(
    at: dict[str, Any], settings: Settings
) -> None:
    @flow(budget=Budget(tokens=9_000))
    async def inner() -> Any:
        return completion(messages=SAID, **at | PRICED)

    @flow(budget=Budget(ms=30))
    async def outer() -> Any:
        await asyncio.sleep(0.06)
        return await inner()

    with recording(settings):
        first = outer.run()
    (call,) = traces()[-3].calls
    assert call.seconds < NEVER  # or it waited to be cancelled
    with replaying(settings):
        assert outer.run() == first


def test_replay_gives_an_equal_object_of_the_same_class(
    at: dict[str, Any], settings: Settings
) -> None:
    with recording(settings):
        first = completion(messages=SAID, **at)
    with replaying(settings):
        second = completion(messages=SAID, **at)
    assert type(second) is litellm.ModelResponse
    assert second == first
    assert second.model_dump() == first.model_dump()


def test_identical_branches_replay_alike_whatever_the_server_does(
    says: Any, at: dict[str, Any], settings: Settings
) -> None:
    def at_random(body: Any) -> str:
        time.sleep(random.uniform(0, 0.05))
        return str(random.random())

    def run() -> list[Any]:
        calls = [acompletion(messages=SAID, **at) for _ in range(8)]
        return [r.choices[0].message.content for r in stratum.parallel(*calls).run()]

    says(at_random)
    with recording(settings):
        first = run()
    with replaying(settings):
        second = run()
    assert len(set(first)) == 8
    assert second == first


def test_synchronous_calls_in_branches_wait_for_no_turn(
    says: Any, at: dict[str, Any], settings: Settings
) -> None:
    """Each blocks the loop that the other branches need."""
    says(lambda body: str(random.random()))

    async def branch(number: int) -> str:
        first = await acompletion(messages=SAID, max_tokens=50, **at | PRICED)
        second = completion(messages=SAID, max_tokens=50, **at | PRICED)
        return f"{first.choices[0].message.content} {second.choices[0].message.content}"  # type: ignore[union-attr]

    @flow(budget=Budget(tokens=5_000))
    async def body() -> Any:
        return await stratum.parallel(*map(branch, range(3)))

    def run() -> Any:
        given: list[Any] = []
        start = stratum.carry(lambda: given.append(body.run()))
        thread = threading.Thread(target=start, daemon=True)
        thread.start()
        thread.join(10)
        return given[0]

    with recording(settings):
        first = run()
    with replaying(settings):
        assert run() == first


def test_ids_and_times_are_the_same_on_every_run(at: dict[str, Any], settings: Settings) -> None:
    with recording(settings):
        twice = [completion(messages=SAID, **at) for _ in range(2)]
    assert twice[0].id != twice[1].id
    assert {response.created for response in twice} == {int(NOW.timestamp())}
    assert '"created"' not in texts(settings)
    assert "chatcmpl" not in texts(settings)


def test_what_cannot_shape_an_answer_is_not_in_the_key(
    at: dict[str, Any], settings: Settings
) -> None:
    with recording(settings):
        completion(messages=SAID, **at)
    more = {"api_base": "http://elsewhere", "api_key": "other", "timeout": 3, "max_retries": 9}
    with replaying(settings):
        completion(messages=SAID, user="me", client=object(), **at | more)


def test_absent_arguments_are_not_in_the_key(client: openai.OpenAI, settings: Settings) -> None:
    create: Any = stratum.wrap(client.chat.completions.create)
    with recording(settings):
        create(model="gpt", messages=SAID)
    with replaying(settings):
        create(model="gpt", messages=SAID, tools=openai.NOT_GIVEN, seed=None, stop=openai.omit)


def test_a_model_class_as_response_format_is_its_schema(
    at: dict[str, Any], settings: Settings
) -> None:
    from pydantic import BaseModel

    class Mood(BaseModel):
        good: bool

    with recording(settings):
        completion(messages=SAID, response_format=Mood, **at)
    assert '"good"' in texts(settings)


def test_a_new_id_of_the_same_tool_call_is_no_drift(at: dict[str, Any], settings: Settings) -> None:
    def conversation(id: str) -> list[Any]:  # noqa: A002
        call = {"id": id, "type": "function", "function": {"name": "f", "arguments": "{}"}}
        answer = {"role": "tool", "tool_call_id": id, "content": "22"}
        return [*SAID, {"role": "assistant", "content": None, "tool_calls": [call]}, answer]

    with recording(settings):
        completion(messages=conversation("call_abc"), **at)
    with replaying(settings):
        completion(messages=conversation("call_xyz"), **at)


def test_nothing_is_recorded_of_an_error(says: Any, at: dict[str, Any], settings: Settings) -> None:
    says(lambda body: failure(400, "no"))
    with recording(settings), pytest.raises(litellm.exceptions.BadRequestError):
        completion(messages=SAID, **at)
    assert texts(settings) == ""


def test_a_secret_is_neither_stored_nor_part_of_the_key(
    says: Any, at: dict[str, Any], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    says(lambda body: body["messages"][0]["content"])
    monkeypatch.setenv("SHOP_TOKEN", "tok-a1b2c3d4e5f6")
    with recording(settings):
        first = completion(messages=[{"role": "user", "content": "tok-a1b2c3d4e5f6"}], **at)
    monkeypatch.setenv("SHOP_TOKEN", "tok-zzzzzzzzzzzz")
    with replaying(settings):
        second = completion(messages=[{"role": "user", "content": "tok-zzzzzzzzzzzz"}], **at)
    assert "tok-" not in texts(settings)
    assert first.choices[0].message.content == "<secret:SHOP_TOKEN>"  # type: ignore[union-attr]
    assert second == first


def test_a_reply_that_is_no_response_says_where_it_stands(
    at: dict[str, Any], settings: Settings
) -> None:
    with recording(settings):
        completion(messages=SAID, **at)
    (path,) = settings.recordings_folder.rglob("*.json")
    path.write_text(path.read_text().replace('"role": "assistant"', '"role": ["x"]'))
    with replaying(settings), pytest.raises(RecordingCorrupt, match="is no litellm ModelResponse"):
        completion(messages=SAID, **at)


def test_what_has_no_text_is_refused_under_a_mode_only(
    client: openai.OpenAI, settings: Settings
) -> None:
    messages: Any = [{"role": "user", "content": object()}]
    with recording(settings), pytest.raises(InputError, match=r"messages\[0\]\['content'\] is a"):
        stratum.wrap(client.chat.completions.create)(model="gpt", messages=messages)
    with pytest.raises(TypeError, match="JSON serializable"):
        stratum.wrap(client.chat.completions.create)(model="gpt", messages=messages)


def test_messages_stand_in_golden_as_lines(at: dict[str, Any], settings: Settings) -> None:
    messages = [
        {"role": "system", "content": "Be brief.\nBe kind."},
        {"role": "user", "content": [{"type": "text", "text": "One\nTwo"}]},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": IMAGE}}]},
    ]
    with recording(settings):
        completion(messages=messages, **at)
    lines = [line.strip().strip(',"') for line in texts(settings).splitlines()]
    start = lines.index("prompt: [".replace("prompt", 'prompt"'))
    assert lines[start + 1 : start + 7] == ["Be brief.", "Be kind.", "", "user:", "One", "Two"]
    assert "<data:image/png;base64, 2,022 characters, sha256 " in lines[start + 7]


IMAGE = "data:image/png;base64," + "A" * 2_000


def test_a_call_stands_under_the_def_around_it(at: dict[str, Any], settings: Settings) -> None:
    def caller() -> Any:
        return [ask() for ask in [lambda: completion(messages=SAID, **at)]]

    with recording(settings):
        caller()
    assert named(settings) == ["test_a_call_stands_under_the_def_around_it.%3clocals%3e.caller"]


def test_a_library_between_is_not_the_caller(
    at: dict[str, Any], settings: Settings, tmp_path: Path
) -> None:
    library = tmp_path / "site-packages" / "retrying.py"
    library.parent.mkdir()
    library.write_text("def retrying(function, **arguments):\n    return function(**arguments)\n")
    with recording(settings):
        runpy.run_path(str(library))["retrying"](completion, messages=SAID, **at)
    assert named(settings) == ["test_a_library_between_is_not_the_caller"]


def test_a_thread_of_nobodys_is_filed_where_wrap_was_called(
    at: dict[str, Any], settings: Settings
) -> None:
    with recording(settings), ThreadPoolExecutor() as pool:
        pool.submit(completion, messages=SAID, **at).result()
    assert named(settings) == ["completion"]


# Drift


def ask(text: str = "Hello", system: str = "Be brief.", **at: Any) -> Any:
    messages = [{"role": "system", "content": system}, {"role": "user", "content": text}]
    return completion(messages=messages, **at)


def drift(settings: Settings, **changed: Any) -> list[str]:
    """Return what a replay of a changed call says of it, without its head."""
    with replaying(settings) as root, pytest.raises(RecordingMissing) as missing:
        ask(**changed)
    assert root.misses == [missing.value]
    return str(missing.value).splitlines()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param(
            {"system": "Be brief.\nBe kind."},
            ["prompt drift in ask", "the messages changed", "    + Be kind."],
            id="system",
        ),
        pytest.param(
            {"text": "Hello you"},
            ["prompt drift in ask", "    - user: Hello", "    + user: Hello you"],
            id="user",
        ),
        pytest.param(
            {"temperature": 0.5},
            ["params drift in ask", "    ~ temperature: (not set) -> 0.5"],
            id="params",
        ),
        pytest.param(
            {"model": "openai/other"},
            ["model drift in ask", "    - openai/local", "    + openai/other"],
            id="model",
        ),
    ],
)
def test_drift_is_told_by_kind(
    change: dict[str, Any], said: list[str], at: dict[str, Any], settings: Settings
) -> None:
    with recording(settings):
        ask(**at)
    lines = drift(settings, **at | change)
    assert len([line for line in lines if " drift in " in line]) == 1
    for part in said:
        assert any(part in line for line in lines), lines
    assert lines[-1] == "  Accept it with pytest --stratum-record."


def test_a_changed_call_is_compared_with_the_one_most_like_it(
    at: dict[str, Any], settings: Settings
) -> None:
    with recording(settings):
        ask("Where is my parcel from Rome?", **at)
        ask("Please send the invoice again", **at)
    lines = drift(settings, text="Please send the invoice once more", **at)
    assert "    - user: Please send the invoice again" in lines


def test_a_call_like_no_other_is_missing(at: dict[str, Any], settings: Settings) -> None:
    with recording(settings):
        ask("Where is my parcel from Rome?", **at)
        ask("Please send the invoice again", **at)
    lines = drift(settings, text="2 + 2", system="Calculate", **at)
    assert "these messages are not recorded" in lines[0]


def test_a_date_in_the_messages_is_named(at: dict[str, Any], settings: Settings) -> None:
    with recording(settings):
        ask("Today is 2026-01-02", **at)
    lines = drift(settings, text="Today is 2026-01-03", **at)
    assert "take dates from stratum.now()" in lines[0]


# Scripts


def test_a_script_answers_in_the_place_of_the_provider(client: openai.OpenAI) -> None:
    create: Any = stratum.wrap(client.chat.completions.create)
    with using(client=ScriptedClient(["Hi", {"ok": True}])) as _:
        said = [create(model="gpt", messages=SAID).choices[0].message.content for _ in range(2)]
    assert said == ["Hi", '{"ok": true}']


def test_a_script_answers_a_stream(at: dict[str, Any]) -> None:
    async def read() -> list[Any]:
        stream = await acompletion(messages=SAID, stream=True, **at)
        return [chunk async for chunk in stream]

    with using(client=ScriptedClient(["Hi"])):
        chunks = awaited(read())
    assert [type(chunk).__name__ for chunk in chunks] == ["ModelResponseStream"]


def test_no_live_call_is_made_where_they_are_off(
    at: dict[str, Any], model: LocalModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "no_live_calls", "live calls are off")
    sent = len(model.requests)
    with pytest.raises(ConfigurationError, match="live calls are off"):
        completion(messages=SAID, **at)
    assert len(model.requests) == sent
