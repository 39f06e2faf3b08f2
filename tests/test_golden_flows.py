"""Golden flows: written for what passed, compared in replay, explained when they change."""

import re
import shutil
from pathlib import Path

import pytest

from tests.support import LIVE, files_below, project, run_bare

# Answers with the text itself; a retry gets it in capitals.
CONFTEST = f"""\
{LIVE}

def answer(request):
    text = request.shown.text.partition(": ")[2]
    return {{"value": text.upper() if request.attempt else text}}
"""

APP = """\
from stratum import compute, flow, infer

@infer(intent="Repeat it", ensure=lambda r: len(r) > 0)
def repeat(text: str) -> str: ...

@infer(intent="Repeat it", ensure=lambda r: r.isupper())
def strict(text: str) -> str: ...

@compute
def first(n: int) -> int: return n + 1

@compute
def second(n: int) -> int: return n * 2

@flow
async def added(n: int) -> int:
    return first(n)

@flow
async def removed(n: int) -> int:
    return first(second(n))

@flow
async def reordered(n: int) -> int:
    return first(second(n))

@flow
async def retried(text: str) -> str:
    return await repeat(text)

@flow
async def output(n: int) -> int:
    return n

@flow
async def outer(n: int) -> int:
    return await added(n)

@flow
async def same(n: int) -> int:
    return first(n)
"""

CHANGED = (
    APP.replace(
        "    return first(n)\n\n@flow\nasync def removed",
        "    return second(first(n))\n\n@flow\nasync def removed",
    )
    .replace(
        "    return first(second(n))\n\n@flow\nasync def reordered",
        "    return second(n)\n\n@flow\nasync def reordered",
    )
    .replace(
        "    return first(second(n))\n\n@flow\nasync def retried",
        "    return second(first(n))\n\n@flow\nasync def retried",
    )
    .replace("lambda r: len(r) > 0)", "lambda r: r.isupper())")
    .replace("    return n\n", "    return -n\n")
)

TESTS = """\
import app

def test_strict(golden_flow):
    golden_flow.run(app.strict, text="word")

def test_added(golden_flow):
    golden_flow.run(app.added, n=3)

def test_removed(golden_flow):
    golden_flow.run(app.removed, n=3)

def test_reordered(golden_flow):
    golden_flow.run(app.reordered, n=3)

def test_retried(golden_flow):
    golden_flow.run(app.retried, text="word")

def test_output(golden_flow):
    golden_flow.run(app.output, n=3)

def test_nested(traces, golden):
    app.outer.run(n=3)
    assert traces == golden

def test_same(golden_flow):
    golden_flow.run(app.same, n=3)
"""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    files = {"conftest.py": CONFTEST, "app.py": APP, "test_app.py": TESTS}
    folder = project(tmp_path_factory.mktemp("flows"), files)
    run = run_bare(folder, "--stratum-record")
    assert run.returncode == 0, run.stdout
    return folder


def test_a_golden_flow_is_the_result_and_the_tree_of_steps(recorded: Path) -> None:
    text = (recorded / "golden/flows/test_app/test_reordered.yaml").read_text()
    assert (
        text
        == """\
result: 7
trace:
- function: reordered
  kind: flow
  inputs:
    n: 3
  output: 7
  steps:
  - function: second
    kind: compute
    inputs:
      n: 3
    output: 6
  - function: first
    kind: compute
    inputs:
      n: 6
    output: 7
"""
    )


@pytest.fixture(scope="module")
def drifted(recorded: Path) -> str:
    """What replay prints after the flows have changed."""
    (recorded / "app.py").write_text(CHANGED)
    run = run_bare(recorded, "--stratum-replay")
    (recorded / "app.py").write_text(APP)
    assert run.returncode == 1
    return run.stdout


def block(output: str, test: str) -> str:
    """Return the drift block of a test."""
    found = re.search(rf"^flow drift · {test} · .*?^  accept: .*?$", output, re.M | re.S)
    assert found is not None, output
    return found[0]


@pytest.mark.parametrize(
    ("test", "line"),
    [
        ("test_added", "+ step added > second"),
        ("test_removed", "- step removed > first"),
        ("test_reordered", "~ reordered: steps reordered: second, first -> first, second"),
        ("test_retried", "~ retried > repeat: attempts: (none) -> 2"),
        ("test_retried", '~ result: "word" -> "WORD"'),
        ("test_output", "~ output: output: 3 -> -3"),
        ("test_nested", "+ step outer > added > second"),
    ],
    ids=["added", "removed", "reordered", "attempts", "result", "output", "nested"],
)
def test_replay_says_how_a_flow_changed(drifted: str, test: str, line: str) -> None:
    said = block(drifted, test)
    assert f"    {line}" in said.splitlines()
    assert f"  accept: pytest --stratum-record test_app.py::{test}" in said


def test_the_block_stands_at_the_line_of_the_test(drifted: str) -> None:
    line = TESTS.splitlines().index("def test_added(golden_flow):") + 1
    assert f"flow drift · test_added · test_app.py:{line} · 1 test" in drifted


def test_the_failure_shows_the_tests_line_and_no_frame_of_stratum(drifted: str) -> None:
    assert ">       golden_flow.run(app.added, n=3)" in drifted
    assert "E         + step added > second" in drifted
    assert "pytest_stratum/" not in drifted
    assert "infer.py" not in drifted


def test_an_unchanged_flow_is_not_drift(drifted: str) -> None:
    assert "6 failed, 2 passed" in drifted
    assert "flow drift · test_same" not in drifted


def test_recording_accepts_the_new_flows(recorded: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(recorded, tmp_path / "accepted"))
    (folder / "app.py").write_text(CHANGED)
    accepted = run_bare(folder, "--stratum-record")
    assert accepted.returncode == 0, accepted.stdout
    assert run_bare(folder, "--stratum-replay").returncode == 0
    text = (folder / "golden/flows/test_app/test_added.yaml").read_text()
    assert "function: second" in text


FAILING = """\
import app

def test_passes(golden_flow):
    golden_flow.run(app.same, n=1)

def test_fails(golden_flow):
    golden_flow.run(app.same, n=2)
    assert False

def test_never_compared(golden):
    assert False
"""


@pytest.mark.parametrize("flag", ["--stratum-record", "--snapshot-update"])
def test_only_flows_of_passed_tests_are_written(tmp_path: Path, flag: str) -> None:
    folder = project(tmp_path, {"app.py": APP, "test_app.py": FAILING})
    run = run_bare(folder, flag)
    assert run.returncode == 1
    assert list(files_below(folder / "golden/flows")) == ["test_app/test_passes.yaml"]


def test_a_flow_that_is_not_recorded_is_missing_in_replay(tmp_path: Path) -> None:
    tests = "import app\ndef test_new(golden_flow):\n    golden_flow.run(app.same, n=1)\n"
    run = run_bare(project(tmp_path, {"app.py": APP, "test_app.py": tests}), "--stratum-replay")
    assert run.returncode == 1
    assert "missing drift · test_new · test_app.py:2 · 1 test" in run.stdout
    assert "this golden flow is not recorded" in run.stdout
    assert not (tmp_path / "golden").exists()


def test_a_broken_golden_flow_is_drift_and_no_crash(tmp_path: Path) -> None:
    tests = "import app\ndef test_one(golden_flow):\n    golden_flow.run(app.same, n=1)\n"
    folder = project(tmp_path, {"app.py": APP, "test_app.py": tests})
    golden = folder / "golden/flows/test_app/test_one.yaml"
    golden.parent.mkdir(parents=True)
    golden.write_bytes(b"<<<<<<< HEAD\n\xff\x1b[31m: {\n")
    run = run_bare(folder, "--stratum-replay")
    assert run.returncode == 1
    assert "flow drift · test_one · test_app.py:2" in run.stdout
    drift = run.stdout.partition("stratum drift")[2]
    assert "    - <<<<<<< HEAD" in drift
    assert "\x1b" not in drift
    assert "Traceback" not in run.stdout


MIXED = """\
import app
import pytest

def test_ours(golden_flow):
    golden_flow.run(app.same, n=1)

def test_other(golden_flow):
    golden_flow.run(app.same, n=2)

@pytest.mark.parametrize("n", [1, 2])
def test_theirs(snapshot, n):
    assert {"n": n} == snapshot
"""


def test_a_users_own_snapshots_are_left_to_the_user(tmp_path: Path) -> None:
    folder = project(tmp_path, {"app.py": APP, "test_app.py": MIXED})
    recorded = run_bare(folder, "--stratum-record")
    assert "2 failed, 2 passed" in recorded.stdout  # theirs is theirs to update
    assert not (folder / "__snapshots__").exists()

    assert run_bare(folder, "--snapshot-update").returncode == 0
    golden = files_below(folder / "golden")
    assert len(golden) == 2
    partial = run_bare(folder, "--snapshot-update", "-k", "test_ours")
    assert partial.returncode == 0, partial.stdout
    assert "unused" not in partial.stdout
    assert "deleted" not in partial.stdout
    assert files_below(folder / "golden") == golden

    shorter = MIXED.replace("[1, 2]", "[1]").replace("def test_other", "def other")
    (folder / "test_app.py").write_text(shorter)
    replayed = run_bare(folder, "--stratum-replay")
    assert "1 snapshot unused" in replayed.stdout  # of theirs, and none of ours
    assert replayed.returncode == 1
    assert "1 unused snapshot deleted" in run_bare(folder, "--snapshot-update").stdout
    assert files_below(folder / "golden") == golden


def test_two_values_and_odd_names_have_files_of_their_own(tmp_path: Path) -> None:
    tests = """\
import pytest

@pytest.mark.parametrize("name", ["a/b", "A:B", "ü"])
def test_case(golden, name):
    assert {"name": name} == golden
    assert {"again": name} == golden
"""
    folder = project(tmp_path, {"tests/test_case.py": tests})
    assert run_bare(folder, "--snapshot-update").returncode == 0
    written = files_below(folder / "golden/flows")
    assert len(written) == 6
    assert written["tests/test_case/test_case[a%2fb].yaml"] == b"name: a/b\n"
    assert written["tests/test_case/test_case[a%2fb].1.yaml"] == b"again: a/b\n"
    assert run_bare(folder, "--stratum-replay").returncode == 0
