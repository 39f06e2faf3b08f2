"""SPEC sections 9, 10 and 11: what a run of pytest says, of one project that has drifted."""

import json
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.support import ECHO, files_below, project, run_bare

APP = """\
from stratum import infer

@infer(intent="Shout it")
def shout(text: str) -> str: ...

@infer(intent="Say it")
def say(text: str) -> str: ...
"""

CHANGED = APP.replace("Say it", r"</b> ``` \n::error file=evil.py::x").replace(
    "-> str: ...", "-> bool: ...", 1
)

TESTS = """\
import pytest
from app import say, shout

@pytest.mark.parametrize("text", ["one", "two", "three"])
def test_shout(text):
    shout.run(text=text)

def test_say():
    say.run(text="ok")

def test_forgotten():
    say(text="ok")

def test_caught():
    try:
        say.run(text="ok")
    except Exception:
        pass
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Record a project below its repository's folder, and change it in two ways."""
    folder = tmp_path_factory.mktemp("repository")
    (folder / ".git").mkdir()
    files = {"conftest.py": ECHO, "app.py": APP, "test_app.py": TESTS}
    service = project(folder / "service", files)
    recorded = run_bare(service, "--stratum-record", "-q")
    assert "5 passed" in recorded.stdout, recorded.stdout
    assert "never awaited" in recorded.stdout
    (service / "app.py").write_text(CHANGED, encoding="utf-8")
    return service


@pytest.fixture(scope="module")
def replayed(service: Path) -> "CompletedProcess[str]":
    (service / "summary.md").write_text("# of another step\n", encoding="utf-8")
    environment = {
        "GITHUB_ACTIONS": "true",
        "GITHUB_STEP_SUMMARY": str(service / "summary.md"),
        "GITHUB_WORKSPACE": str(service.parent),
    }
    return run_bare(service, "--stratum-replay", env=environment)


def commands(run: "CompletedProcess[str]") -> list[str]:
    return [line for line in run.stdout.splitlines() if line.startswith("::error")]


def test_2_2_a_call_that_is_never_awaited_fails_its_test(
    replayed: "CompletedProcess[str]",
) -> None:
    assert "never awaited, so never asked:" in replayed.stdout
    assert "- say(...) at " in replayed.stdout


def test_9_2_a_caught_miss_fails_the_run(replayed: "CompletedProcess[str]") -> None:
    assert "test_app.py::test_caught" in replayed.stdout
    assert replayed.returncode == 1


def test_9_5_each_block_of_drift_is_one_error_command_at_the_end(
    replayed: "CompletedProcess[str]",
) -> None:
    found = commands(replayed)
    assert len(found) == 2
    assert all(line.startswith("::error file=service/app.py,line=") for line in found)
    assert replayed.stdout.rstrip().splitlines()[-1].startswith(("::error", "="))


def test_9_5_a_page_is_appended_to_the_summary_of_the_step(
    service: Path, replayed: "CompletedProcess[str]"
) -> None:
    page = (service / "summary.md").read_text(encoding="utf-8")
    assert page.startswith("# of another step\n## Stratum: 2 causes of drift, 5 tests\n")


def test_9_5_nothing_recorded_begins_a_command_or_is_markup(
    service: Path, replayed: "CompletedProcess[str]"
) -> None:
    stop, _, shown = replayed.stdout.partition("::stop-commands::")[2].partition("\n")
    shown, _, after = shown.partition(f"\n::{stop}::\n")
    assert "+ ::error file=evil.py" in shown
    said = after.partition("\n===")[0].splitlines()
    assert [line.partition(",")[0] for line in said] == ["::error file=service/app.py"] * 2
    page = (service / "summary.md").read_text(encoding="utf-8")
    assert "\n::error" not in page
    fenced = page.partition("\n````diff\n")[2].partition("\n````\n")[0]
    assert "+ </b> ```" in fenced
    assert "</b>" not in page.replace(fenced, "")


def test_10_1_one_cause_is_one_block(replayed: "CompletedProcess[str]") -> None:
    blocks = [line for line in replayed.stdout.splitlines() if " drift · " in line]
    assert blocks == [
        "contract drift · shout · app.py:4 · 3 tests",
        "prompt drift · say · app.py:7 · 2 tests",
    ]


def test_10_1_a_block_has_the_command_that_accepts_it(
    service: Path, replayed: "CompletedProcess[str]"
) -> None:
    accepts = [
        line.strip().removeprefix("accept: pytest ")
        for line in replayed.stdout.splitlines()
        if line.startswith("  accept: ")
    ]
    assert len(accepts) == 2
    assert all(each.startswith("--stratum-record test_app.py") for each in accepts)


def test_9_2_replay_writes_nothing_below_golden(
    service: Path, replayed: "CompletedProcess[str]"
) -> None:
    texts = files_below(service / "golden")
    assert all(json.loads(text)["calls"] for text in texts.values())
    assert not any(b"evil" in text for text in texts.values())
