"""A change that several functions share is one cause of drift, wherever it is told."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_stratum.markdown import markdown
from pytest_stratum.run_report import RunReport
from tests.support import LIVE, SETTINGS, clean_environment, project, run_pytest

FUNCTIONS = 12

APP = """
from stratum import contract, infer


@contract
class Label:
    name: str

""" + "".join(
    f'\n@infer(intent="Label it {n}")\ndef label_{n}(text: str) -> Label: ...\n'
    for n in range(FUNCTIONS)
)

TESTS = f"""
import app
import pytest


@pytest.mark.parametrize("n", range({FUNCTIONS}))
def test_label(n):
    getattr(app, f"label_{{n}}").run(text="x")
"""

ANSWER = """

def answer(request):
    return {"name": "a"}
"""


@pytest.fixture
def drifted(tmp_path: Path) -> Path:
    """A project whose functions got another model, and another field of their contract."""
    files = {"app.py": APP, "test_app.py": TESTS, "conftest.py": LIVE + ANSWER}
    folder = project(tmp_path, files)
    recorded = run_pytest(folder, "-q", "--stratum-record")
    assert recorded.returncode == 0, recorded.stdout
    changed = APP.replace("name: str\n", "name: str\n    sure: bool\n")
    return project(folder, {"app.py": changed, "pyproject.toml": SETTINGS.replace("test", "new")})


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_a_model_and_a_contract_of_many_functions_are_two_causes(
    drifted: Path, workers: str
) -> None:
    done = run_pytest(drifted, "--stratum-replay", workers, "--stratum-report=report.json")
    _, _, said = done.stdout.partition("stratum drift: ")
    assert said.startswith(f"2 causes, {FUNCTIONS} tests")
    assert said.count("model drift · ") == said.count("contract drift · ") == 1
    assert said.count("  also in label_") == 2 * 10
    assert said.count("  … and in 1 more\n") == 2
    report = RunReport.model_validate_json((drifted / "report.json").read_text(encoding="utf-8"))
    for block in report.drift:
        functions = {block.function, *(each.function for each in block.also)}
        assert functions == {f"label_{n}" for n in range(FUNCTIONS)}
        assert len(block.tests) == FUNCTIONS
    page = markdown(report)
    assert page.count("Also in:") == 2
    assert page.count("- … and 1 more\n") == 2


def test_a_pull_request_shows_it_once(drifted: Path) -> None:
    done = run_pytest(drifted, "--stratum-replay", env={"GITHUB_ACTIONS": "true"})
    shown = [line for line in done.stdout.splitlines() if line.startswith("::error ")]
    assert len(shown) == 2
    assert all(line.count("%0Aalso in label_") == 10 for line in shown)


def test_the_command_tells_it_once(drifted: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "stratum.cli", "drift"],
        cwd=drifted,
        env=clean_environment(),
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == 1
    assert done.stdout.count("contract drift in label_0 (app.py:") == 1
    assert done.stdout.count("contract drift in ") == 1
    assert done.stdout.count("  also in label_") >= FUNCTIONS - 1


def test_the_same_words_in_two_functions_are_two_causes(tmp_path: Path) -> None:
    app = APP.replace("Label it 10", "Label it").replace("Label it 11", "Label it")
    files = {"app.py": app, "test_app.py": TESTS, "conftest.py": LIVE + ANSWER}
    folder = project(tmp_path, files)
    assert run_pytest(folder, "-q", "--stratum-record").returncode == 0
    project(folder, {"app.py": app.replace('"Label it"', '"Name it"')})
    done = run_pytest(folder, "--stratum-replay", "--stratum-report=report.json")
    assert "stratum drift: 2 causes, 2 tests" in done.stdout
    drift = json.loads((folder / "report.json").read_text(encoding="utf-8"))["drift"]
    assert [block["also"] for block in drift] == [[], []]
