"""The main job: record through the real litellm over real HTTP, then replay with nothing."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from stratum.testing.local_model import LocalModel
from tests.support import clean_environment, files_below, project, run_pytest

PYPROJECT = '[tool.stratum]\nmodel = "openai/stratum-local-rules"\n'

APP = """
    from typing import Annotated, Literal
    from stratum import Budget, Field, compute, contract, flow, infer, parallel

    @contract
    class Sentiment:
        label: Literal["positive", "negative", "neutral"]
        confidence: Annotated[float, Field(ge=0, le=1)]
        reasoning: str

    @infer(intent="Classify the emotional tone of customer feedback",
           ensure=lambda r: r.confidence > 0.7, budget=Budget(usd=0.01))
    def classify(text: str) -> Sentiment: ...

    @compute
    def shout(text: str) -> str:
        return text.upper()

    @flow(budget=Budget(usd=0.05))
    async def both(text: str) -> str:
        first, second = await parallel(classify(text=text), classify(text=text + " really"))
        return shout(text=f"{first.label}/{second.label}")
"""

TESTS = """
    import app
    import pytest

    def test_plain():
        assert app.classify.run(text="I love it").label == "positive"

    @pytest.mark.anyio
    async def test_awaited():
        assert (await app.classify(text="I hate it")).label == "negative"

    def test_retried(traces):
        assert app.classify.run(text="a thing").confidence > 0.7
        assert traces[0].attempts == 2

    def test_flow(golden_flow):
        assert golden_flow.run(app.both, text="a nice day") == "POSITIVE/POSITIVE"
"""

# Counts connections and litellm's modules in the very run that replays.
AUDIT = """
    import json, sys
    from pathlib import Path
    import pytest

    connections = []

    def count(event, args):
        if event == "socket.connect":
            connections.append(str(args[1]))

    sys.addaudithook(count)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(session):
        litellm = [name for name in sys.modules if name.partition(".")[0] == "litellm"]
        seen = {"connections": len(connections), "litellm": len(litellm)}
        Path(__file__).with_name("audit.json").write_text(json.dumps(seen))

    @pytest.fixture
    def anyio_backend():
        return "asyncio"
"""


@dataclass
class Recorded:
    """A project that was recorded twice against a server that is down by now."""

    folder: Path
    first: "CompletedProcess[str]"
    second: "CompletedProcess[str]"
    requests: tuple[int, int]
    golden: tuple[dict[str, bytes], dict[str, bytes]]
    audit: dict[str, int]


def _audit(folder: Path) -> dict[str, int]:
    seen: dict[str, int] = json.loads((folder / "audit.json").read_text())
    return seen


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    files = {"pyproject.toml": PYPROJECT, "app.py": APP, "test_app.py": TESTS, "conftest.py": AUDIT}
    folder = project(tmp_path_factory.mktemp("main_job"), files)
    with LocalModel() as model:
        env = {"OPENAI_API_BASE": model.base_url, "OPENAI_API_KEY": "local"}
        first = run_pytest(folder, "--stratum-record", env=env)
        requests, golden, audit = (
            len(model.requests),
            files_below(folder / "golden"),
            _audit(folder),
        )
        second = run_pytest(folder, "--stratum-record", env=env)
        counts = (requests, len(model.requests))
    return Recorded(folder, first, second, counts, (golden, files_below(folder / "golden")), audit)


def test_recording_asks_each_call_once_and_says_what_it_cost(recorded: Recorded) -> None:
    assert recorded.first.returncode == 0, recorded.first.stdout
    assert recorded.requests[0] == 6  # two calls, one with a retry, two of the flow
    assert "6 calls recorded for $0.0000, 0 replayed" in recorded.first.stdout
    assert "wrote golden/recordings/app.py/classify.json" in recorded.first.stdout
    assert recorded.audit["connections"] > 0
    assert recorded.audit["litellm"] > 0


def test_recording_again_asks_nothing_and_changes_no_byte(recorded: Recorded) -> None:
    assert recorded.second.returncode == 0, recorded.second.stdout
    assert recorded.requests[1] == recorded.requests[0]
    assert recorded.golden[1] == recorded.golden[0]
    assert "0 calls recorded" in recorded.second.stdout
    assert "wrote" not in recorded.second.stdout


def test_replay_needs_no_server_no_key_no_litellm_and_no_connection(recorded: Recorded) -> None:
    run = run_pytest(recorded.folder, "--stratum-replay", "-p", "no:cacheprovider")
    assert run.returncode == 0, run.stdout
    assert "4 passed" in run.stdout
    assert "6 calls replayed, $0.0000 saved" in run.stdout
    assert _audit(recorded.folder) == {"connections": 0, "litellm": 0}
    assert files_below(recorded.folder / "golden") == recorded.golden[1]


def test_golden_says_that_a_stand_in_answered(recorded: Recorded) -> None:
    text = recorded.golden[0]["recordings/app.py/classify.json"]
    entries = json.loads(text)["calls"]
    assert {entry["answered_by"] for entry in entries} == {
        "stratum-local-rules (rule-based stand-in, not a language model)"
    }
    assert {entry["cost"] for entry in entries} == {0.0}
    assert all("rule-based" in entry["reply"]["reasoning"] for entry in entries)


def test_golden_holds_no_key_no_address_and_no_time_of_day(recorded: Recorded) -> None:
    everything = b"\n".join(recorded.golden[0].values())
    assert b"127.0.0.1" not in everything
    assert b'"local"' not in everything
    assert b"duration" not in everything
    days = {
        e["recorded_on"]
        for e in json.loads(recorded.golden[0]["recordings/app.py/classify.json"])["calls"]
    }
    assert all(len(day) == len("2026-01-31") for day in days)


def test_without_a_key_recording_fails_at_once_and_lists_what_is_missing(tmp_path: Path) -> None:
    files = {"pyproject.toml": PYPROJECT, "app.py": APP, "test_app.py": TESTS, "conftest.py": AUDIT}
    folder = project(tmp_path, files)
    run = run_pytest(folder, "--stratum-record")
    assert run.returncode == 1
    assert "4 failed" in run.stdout
    assert (
        "AuthenticationFailed: classify: openai/stratum-local-rules was not allowed" in run.stdout
    )
    assert "start `stratum local-model` and use its lines" in run.stdout
    assert "missing drift · classify · app.py:" in run.stdout
    assert _audit(folder)["connections"] == 0
    assert not (folder / "golden").exists()


def test_the_cache_of_this_machine_ignores_itself(recorded: Recorded) -> None:
    assert (recorded.folder / ".stratum/.gitignore").read_text(encoding="utf-8") == "*\n"


def test_replay_needs_no_assertions() -> None:
    """`python -O` leaves them out, and with them what they call."""
    command = [sys.executable, "-O", "-m", "pytest", "-p", "no:cacheprovider", "--stratum-replay"]
    root = Path(__file__).parent.parent
    done = subprocess.run(
        [*command, "examples/04_refine.py"],
        cwd=root,
        env=clean_environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
