"""Wrapped calls are recorded in one process and replayed in another, with no server behind."""

import json
import random
import re
import time
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any, NamedTuple

import pytest

from stratum.testing.local_model import LocalModel, Response, failure
from tests.goldens import stratum
from tests.streaming import StreamingModel
from tests.support import NOTE, files_below, project, run_bare

PYPROJECT = "[tool.stratum]\n"

APP = """
    import os
    import litellm
    import openai
    import stratum

    completion = stratum.wrap(litellm.completion)
    acompletion = stratum.wrap(litellm.acompletion)
    HERE = {"api_base": os.environ.get("ADDRESS"), "api_key": os.environ.get("ADDRESS_KEY", "none")}
    TOOLS = [{"type": "function", "function": {"name": "look_up", "parameters": {
        "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}]

    def ask(text, **more):
        messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": text}]
        return completion("openai/local", messages, **HERE, **more)

    async def aask(text, **more):
        messages = [{"role": "user", "content": text}]
        return await acompletion(model="openai/local", messages=messages, **HERE, **more)

    def use_tool(city):
        messages = [{"role": "user", "content": f"Weather in {city}?"}]
        first = completion(model="openai/local", messages=messages, tools=TOOLS, **HERE)
        call = first.choices[0].message.tool_calls[0]
        messages += [first.choices[0].message]
        messages += [{"role": "tool", "tool_call_id": call.id, "content": "22 degrees"}]
        return first, completion(model="openai/local", messages=messages, tools=TOOLS, **HERE)

    class Desk:
        def __init__(self, client):
            client.chat.completions.create = stratum.wrap(client.chat.completions.create)
            self.client = client

        def ask(self, text, **more):
            messages = [{"role": "user", "content": text}]
            return self.client.chat.completions.create(model="gpt", messages=messages, **more)
"""

TESTS = """
    import asyncio
    import os
    import threading
    from concurrent.futures import ThreadPoolExecutor

    import app
    import litellm
    import openai
    import pytest
    import stratum

    URL = os.environ.get("ADDRESS", "http://127.0.0.1:9/v1")
    STREAMS = os.environ.get("STREAMS", "http://127.0.0.1:9/v1")

    def shown(response):
        return type(response).__module__, type(response).__name__, response.model_dump()

    @pytest.fixture
    def client():
        return openai.OpenAI(base_url=URL, api_key="none", max_retries=0)

    @pytest.fixture
    def aclient():
        return openai.AsyncOpenAI(base_url=URL, api_key="none", max_retries=0)

    def test_text(note):
        note(shown(app.ask("Hello")))

    @pytest.mark.parametrize("worker", range(4))
    def test_the_same_call(note, worker):
        note(shown(app.ask("the same for all")))

    def test_awaited(note):
        note(shown(asyncio.run(app.aask("Hello", temperature=0.5))))

    def test_json(note):
        response = app.ask("Paris", response_format={"type": "json_object"})
        note(shown(response))

    def test_tools(note):
        note(*map(shown, app.use_tool("Paris")))

    def test_several_choices(note):
        response = app.ask("several", n=3)
        assert len(response.choices) == 3
        note(shown(response))

    def test_openai(note, client):
        desk = app.Desk(client)
        note(shown(desk.ask("Hello")), shown(desk.ask("Hello", tools=app.TOOLS,
             tool_choice="required")))

    def test_openai_awaited(note, aclient):
        create = stratum.wrap(aclient.chat.completions.create)
        async def main():
            return await create(model="gpt", messages=[{"role": "user", "content": "Hello"}])
        note(shown(asyncio.run(main())))

    def test_inside_a_loop(note):
        async def main():
            return app.ask("from a loop")
        note(shown(asyncio.run(main())))

    def test_in_threads(note):
        with ThreadPoolExecutor(4) as pool:
            note(*map(shown, pool.map(app.ask, [f"thread {n}" for n in range(8)])))

    def test_in_a_bare_thread(note):
        async def main():
            return await asyncio.to_thread(app.completion, model="openai/local",
                messages=[{"role": "user", "content": "away"}], **app.HERE)
        note(shown(asyncio.run(main())))

    def test_parallel(note):
        calls = [app.aask("any number", temperature=1) for _ in range(6)]
        note(*map(shown, stratum.parallel(*calls).run()))

    def test_mixed(note, client):
        @stratum.flow(budget=stratum.Budget(tokens=20_000))
        async def pair():
            return app.ask("in a flow"), await app.aask("in a flow, awaited")
        note(*map(shown, pair.run()))

    def test_stream(note):
        stream = openai.OpenAI(base_url=STREAMS, api_key="none").chat.completions.create
        chunks = stratum.wrap(stream)(model="gpt", messages=[{"role": "user", "content": "Go"}],
            stream=True, stream_options={"include_usage": True})
        note(*map(shown, chunks))

    def test_stream_awaited(note):
        async def main():
            stream = await app.acompletion("openai/local", [{"role": "user", "content": "Go"}],
                stream=True, api_base=STREAMS, api_key="none")
            return [chunk async for chunk in stream]
        chunks = asyncio.run(main())
        assert "".join(c.choices[0].delta.content or "" for c in chunks) == "one two three "
        note(*map(shown, chunks))

    def test_errors_are_the_providers():
        if stratum.scope.process.no_live_calls:
            pytest.skip("nothing is recorded of an error")
        with pytest.raises(litellm.exceptions.BadRequestError):
            app.ask("error", max_retries=0)
"""

AUDIT = f"""
    import json
    import sys
    from pathlib import Path
{NOTE.replace(chr(10), chr(10) + "    ")}

    connections = []

    def count(event, args):
        if event == "socket.connect":
            connections.append(str(args[1]))

    sys.addaudithook(count)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(session):
        Path(__file__).with_name("audit.json").write_text(json.dumps(connections))
"""


def say(body: dict[str, Any]) -> Any:
    """Answer at random, after a random time."""
    text = str(body["messages"][-1].get("content"))
    time.sleep(random.uniform(0, 0.05))
    if text == "error":
        return failure(400, "no such thing")
    number = random.randrange(10**9)
    if body.get("n"):
        choices = [
            {"index": at, "finish_reason": "stop", "message": {"role": "assistant", "content": c}}
            for at, c in enumerate(f"{number}{letter}" for letter in "abc")
        ]
        usage = {"prompt_tokens": 3, "completion_tokens": 9, "total_tokens": 12}
        head = {"id": f"x{number}", "object": "chat.completion", "created": number, "model": "m"}
        return Response(200, {**head, "choices": choices, "usage": usage})
    if body.get("tools") and body["messages"][-1]["role"] == "user":
        return {"city": f"Paris {number}"}
    return f"{text}: {number}"


class Recorded(NamedTuple):
    folder: Path
    record: "CompletedProcess[str]"
    replay: "CompletedProcess[str]"
    noted: tuple[list[str], list[str]]
    golden: dict[str, bytes]
    connections: list[str]
    asked: int


def noted(folder: Path) -> list[str]:
    path = folder / "noted.txt"
    lines = path.read_text(encoding="utf-8").splitlines()
    path.unlink()
    return sorted(lines)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    files = {"pyproject.toml": PYPROJECT, "app.py": APP, "test_app.py": TESTS, "conftest.py": AUDIT}
    folder = project(tmp_path_factory.mktemp("wrapped"), files)
    words = lambda body: ["one ", "two ", "three "]  # noqa: E731
    with LocalModel(answer=say) as model, StreamingModel(words) as streams:
        env = {"ADDRESS": model.base_url, "STREAMS": streams.base_url, "ADDRESS_KEY": "none"}
        env["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
        record = run_bare(folder, "-p", "xdist", "-n2", "--stratum-record", "-q", env=env)
        asked = len(model.requests) + len(streams.requests)
    first = noted(folder)
    golden = files_below(folder / "golden")
    replay = run_bare(folder, "--stratum-replay", "-q")
    connections = json.loads((folder / "audit.json").read_text())
    return Recorded(folder, record, replay, (first, noted(folder)), golden, connections, asked)


def test_record_passes_and_says_what_it_wrote(recorded: Recorded) -> None:
    assert recorded.record.returncode == 0, recorded.record.stdout
    assert "wrote golden/recordings/app.py/ask.json" in recorded.record.stdout


def test_workers_ask_each_call_once(recorded: Recorded) -> None:
    failed = 1
    assert f"{recorded.asked - failed} calls recorded" in recorded.record.stdout
    same = {line.partition(": ")[2] for line in recorded.noted[0] if "the_same_call" in line}
    assert len(same) == 1


def test_replay_passes_without_a_server(recorded: Recorded) -> None:
    assert recorded.replay.returncode == 0, recorded.replay.stdout
    assert "live" not in recorded.replay.stdout


def test_every_response_is_replayed_as_it_was_recorded(recorded: Recorded) -> None:
    first, second = recorded.noted
    assert len(first) == 18
    changed = [
        f"- {one}\n+ {other}" for one, other in zip(first, second, strict=True) if one != other
    ]
    assert not changed, "\n".join(changed)


def test_replay_opens_no_socket(recorded: Recorded) -> None:
    assert recorded.connections == []


def test_golden_holds_neither_ids_nor_times_nor_addresses(recorded: Recorded) -> None:
    everything = b"".join(recorded.golden.values())
    for volatile in (b'"created"', b"chatcmpl", b"127.0.0.1", b"api_key"):
        assert volatile not in everything


def test_a_streams_chunks_stand_in_golden_once(recorded: Recorded) -> None:
    file = json.loads(recorded.golden["recordings/test_app.py/test_stream.json"])
    reply = file["calls"][0]["reply"]
    assert reply["each"] == {"model": "streaming", "object": "chat.completion.chunk"}
    said = [chunk["choices"][0]["delta"].get("content") for chunk in reply["chunks"][:4]]
    assert said == ["", "one ", "two ", "three "]


def test_the_conversation_reads_like_one(recorded: Recorded) -> None:
    file = json.loads(recorded.golden["recordings/app.py/use_tool.json"])
    (prompt,) = [call["prompt"] for call in file["calls"] if len(call["prompt"]) == 3]
    assert prompt[0] == "user: Weather in Paris?"
    assert prompt[1].startswith('assistant calls look_up({"city": "Paris')
    assert prompt[2] == "tool (call_1): 22 degrees"


def test_ls_lists_wrapped_calls(recorded: Recorded) -> None:
    listed = stratum(recorded.folder, "ls", "--calls").stdout
    assert "function Desk.ask (app.py)" in listed
    assert "user: Weather in Paris?" in listed
    assert "user: the same for all" in listed


def test_show_prints_the_messages(recorded: Recorded) -> None:
    file = json.loads(recorded.golden["recordings/app.py/use_tool.json"])
    shown = stratum(recorded.folder, "show", file["calls"][0]["key"]).stdout
    assert "| user: Weather in Paris?" in shown


def test_drift_leaves_wrapped_calls_to_the_tests(recorded: Recorded) -> None:
    done = stratum(recorded.folder, "drift")
    assert done.returncode == 0, done.stdout
    assert "orphaned" not in done.stdout


def test_the_readmes_first_afternoon_is_recorded_and_replayed(tmp_path: Path) -> None:
    readme = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
    files = dict(re.findall(r"<!-- first afternoon: (.*?) -->\n```python\n(.*?)```", readme, re.S))
    folder = project(tmp_path, files)
    with LocalModel() as model:
        env = {"OPENAI_BASE_URL": model.base_url, "OPENAI_API_KEY": "local"}
        record = run_bare(folder, "--stratum-record", env=env)
    assert "wrote golden/recordings/summaries.py/summarise.json" in record.stdout
    replay = run_bare(folder, "--stratum-replay")
    assert "1 call replayed" in replay.stdout, replay.stdout
