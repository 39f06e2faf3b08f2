"""Measure whole pytest sessions: how replays scale, and what they add to a suite.

    python benchmarks/suites.py

Every session is a process of its own, with no plugin but ours. The prompts are of 2 KB. What a
session took is counted from pytest's start of the session to its end, golden files read; the
memory is the peak of the whole process.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from measuring import Spent, child, interleaved, ratio, table

PROJECT = {
    "pyproject.toml": '[tool.stratum]\nmodel = "openai/stratum-local-rules"\n',
    "tone.py": """
import os
from typing import Literal
from pydantic import BaseModel
from stratum import infer

ANSWER = {"label": "positive", "confidence": 0.9, "reasoning": "it says love"}
TEXT = "I love the new dashboard. " * 80

class Sentiment(BaseModel):
    label: Literal["positive", "negative", "neutral"]
    confidence: float
    reasoning: str

@infer(intent="Classify the tone", ensure=lambda r: r.confidence > 0.1)
def classify(text: str) -> Sentiment: ...

class Constant:
    value = Sentiment(**ANSWER)
    def run(self, text):
        return self.value
    async def __call__(self, text):
        return self.value

asked = classify
if os.environ.get("CONSTANTS"):
    classify = Constant()
""",
    "conftest.py": """
import os, time
import pytest

@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session):
    session.started = time.perf_counter(), time.process_time()

@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session):
    yield
    wall, cpu = session.started
    with open(os.environ["TOOK"], "w") as file:
        print(time.perf_counter() - wall, time.process_time() - cpu, file=file)
""",
    "test_many.py": """
import asyncio, os
import pytest
from tone import TEXT, classify

CALLS = 100

@pytest.mark.parametrize("test", range(int(os.environ.get("TESTS", 0))))
def test_calls(test):
    async def calls():
        for number in range(CALLS):
            await classify(text=f"{test} {number} {TEXT}")
    asyncio.run(calls())
""",
    "test_suite.py": """
import os
import pytest
from tone import TEXT, classify

@pytest.mark.parametrize("test", range(2000))
def test_positive(test):
    found = classify.run(text=f"{test // 100} {test % 100} {TEXT}")
    assert found.label == "positive"
    assert found.confidence > 0.5
""",
}
RECORD = """
import sys
from pathlib import Path
from stratum import ScriptedClient
from stratum.recording.client import RecordingClient
from stratum.recording.store import GoldenStore
from stratum.clocks import (FixedClock)
from stratum.roots import (Root)
from stratum.scope import (rooted)
from stratum.settings import load
from tone import ANSWER, TEXT, asked
import asyncio

settings = load(Path.cwd())
store = GoldenStore(settings)
root = Root("recording", clock=FixedClock(settings.now))
root.client = RecordingClient(store, ScriptedClient(lambda request: ANSWER))

async def calls():
    for test in range(int(sys.argv[1])):
        for number in range(100):
            await asked(text=f"{test} {number} {TEXT}")

with rooted(root):
    asyncio.run(calls())
store.passed(root)
store.write(complete=True)
"""


def project(folder: Path, *, hundreds: int) -> Path:
    """Write a project with so many hundreds of recorded calls."""
    folder.mkdir()
    for name, text in PROJECT.items():
        (folder / name).write_text(text)
    child(["-c", RECORD, str(hundreds)], cwd=str(folder))
    return folder


def session(folder: Path, *arguments: str, **environ: str) -> Spent:
    """Run pytest in a project; what it took is without the interpreter's start."""
    took = folder / "took"
    command = ["-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    environ |= {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "TOOK": str(took)}
    whole = child(command, cwd=str(folder), **environ)
    wall, cpu = map(float, took.read_text().split())
    return Spent(wall, cpu, whole.peak)


REPLAY = ("-p", "pytest_stratum.plugin", "--stratum-replay")


def sizes(few: Path, many: Path) -> None:
    """Compare sessions over projects that hold as many calls as they replay."""
    names = "1,000 replays in one session", "10,000 replays in one session"
    works = {
        names[0]: lambda: session(few, *REPLAY, "test_many.py", TESTS="10"),
        names[1]: lambda: session(many, *REPLAY, "test_many.py", TESTS="100"),
    }
    spent = interleaved(works, rounds=3, unmeasured=0)
    table(spent, unit="s")
    ratio("10,000 replays / 1,000", spent[names[1]], spent[names[0]], "12")
    for name in names:
        print(f"peak memory of {name:51} {spent[name].peak:10.0f} MB   target under 300 MB")


def suite(folder: Path) -> None:
    names = "2,000 tests, replayed", "2,000 tests, constants", "2,000 tests, constants, no plugin"
    works = {
        names[0]: lambda: session(folder, *REPLAY, "test_suite.py"),
        names[1]: lambda: session(folder, *REPLAY, "test_suite.py", CONSTANTS="1"),
        names[2]: lambda: session(folder, "test_suite.py", CONSTANTS="1"),
    }
    spent = interleaved(works, rounds=3, unmeasured=0)
    table(spent, unit="s")
    ratio("replayed / constants", spent[names[0]], spent[names[1]], "1.3")
    ratio("replayed / constants, no plugin", spent[names[0]], spent[names[2]], "1.3")


def main() -> None:
    with TemporaryDirectory() as folder:
        few = project(Path(folder, "few"), hundreds=10)
        many = project(Path(folder, "many"), hundreds=100)
        middle = project(Path(folder, "middle"), hundreds=20)
        sizes(few, many)
        suite(middle)


if __name__ == "__main__":
    main()
