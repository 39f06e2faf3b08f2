"""`stratum drift`: what drifted, without running a test."""

import shutil
import subprocess
import sys
from textwrap import dedent

import pytest

from tests.support import clean_environment

APP = """
from typing import Literal
from stratum import contract, infer

@contract
class Answer:
    label: Literal["a", "b"]

@infer(intent="Choose", context="Carefully", model="any/model")
def choose(text: str) -> Answer: ...

class Desk:
    @infer(intent="Count", model="any/model")
    def count(self, text: str) -> int: ...
"""

CONFTEST = """
import stratum
from stratum import Quote, Reply

class Live:
    async def complete(self, request):
        return Reply(1 if request.site.name == "count" else {"label": "a"})
    async def quote(self, request):
        return Quote(1, 0.0, 0.0)

stratum.configure(client=Live())
"""

TESTS = """
from app import Desk, choose

def test_choose():
    assert choose.run(text="x").label == "a"

def test_count():
    assert Desk().count.run(text="x") == 1

def test_local():
    from stratum import infer
    @infer(intent="Inside", model="any/model")
    def inner(text: str) -> int: ...
"""


def stratum(folder, *arguments):
    done = subprocess.run(
        [sys.executable, "-m", "stratum.cli", *arguments],
        cwd=folder, capture_output=True, text=True, check=False,
        env=clean_environment(),
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recorded")
    files = {
        "app.py": APP,
        "conftest.py": CONFTEST,
        "test_app.py": TESTS,
        "pyproject.toml": "[tool.stratum]\n",
    }
    for name, text in files.items():
        (folder / name).write_text(dedent(text), encoding="utf-8")
    arguments = ["-q", "-p", "no:randomly", "--stratum-record"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *arguments], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
    return folder


@pytest.fixture
def project(recorded, tmp_path):
    folder = tmp_path / "project"
    shutil.copytree(recorded, folder)
    return folder


def change(folder, before, after):
    text = (folder / "app.py").read_text(encoding="utf-8")
    assert before in text
    (folder / "app.py").write_text(text.replace(before, after), encoding="utf-8")


def test_an_unchanged_project_has_no_drift(project):
    code, said = stratum(project, "drift")
    assert (code, "no drift" in said) == (0, True)
    assert "2 functions with 2 recorded calls compared, 0 outdated" in said


@pytest.mark.parametrize(
    ("before", "after", "lines"),
    [
        pytest.param(
            '"b"]',
            '"b", "c"]',
            ["contract drift in choose (app.py:10)", '~ label: "c" added'],
            id="contract",
        ),
        pytest.param(
            "Carefully",
            "Boldly",
            ["prompt drift in choose", "- Carefully", "+ Boldly"],
            id="context",
        ),
        pytest.param(
            '"Choose"', '"Pick"', ["its intent changed", "- Choose", "+ Pick"], id="intent"
        ),
        pytest.param(
            '"Count", model="any/model"',
            '"Count", model="other/model"',
            ["model drift in Desk.count (app.py:14)", "+ other/model"],
            id="model of a method",
        ),
        pytest.param(
            '"Choose", ',
            '"Choose", temperature=0.5, ',
            ["params drift", "~ temperature: (not set) -> 0.5"],
            id="params",
        ),
        pytest.param(
            '"Choose", ',
            '"Choose", ensure=lambda r: r.label != "b", ',
            ["condition drift", "+ r.label != 'b'"],
            id="condition",
        ),
        pytest.param(
            "def choose(",
            "def chooses(",
            ["orphaned drift in choose", "was it renamed to chooses?", "--stratum-prune"],
            id="renamed",
        ),
        pytest.param(
            "from typing",
            "import nowhere\nfrom typing",
            ["cannot be imported", "nowhere"],
            id="broken import",
        ),
    ],
)
def test_a_change_is_found_without_running_a_test(project, before, after, lines):
    change(project, before, after)
    code, said = stratum(project, "drift")
    assert code == 1
    assert [line for line in lines if line not in said] == []
    assert "accept: pytest --stratum-record" in said


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param("class Answer:", 'class Answer:\n    """Words."""', id="docstring"),
        pytest.param("Answer", "Choice", id="renamed class"),
        pytest.param("def choose(text: str)", "def choose(\n    text: str,\n)", id="formatting"),
    ],
)
def test_what_cannot_shape_an_answer_is_no_drift(project, before, after):
    change(project, before, after)
    assert stratum(project, "drift")[0] == 0


def test_importing_has_no_network(project):
    connect = "import socket; socket.create_connection(('127.0.0.1', 9))\n"
    change(project, "from typing", connect + "from typing")
    code, said = stratum(project, "drift")
    assert (code, "without network" in said) == (1, True)


def test_a_file_that_ends_the_process_is_reported(project):
    change(project, "from typing", "import os; os._exit(3)\nfrom typing")
    code, said = stratum(project, "drift")
    assert (code, "ended the process with code 3" in said) == (1, True)


def test_what_a_file_prints_is_not_shown(project):
    change(project, "from typing", "print('noise')\nfrom typing")
    assert "noise" not in stratum(project, "drift")[1]


def test_a_broken_golden_file_is_named(project):
    (project / "golden/recordings/app.py/choose.json").write_text("<<<<<<< ours\n")
    code, said = stratum(project, "drift")
    assert code == 1
    assert "corrupt drift" in said
    assert "app.py/choose.json" in said


def test_nothing_recorded_is_said(tmp_path):
    code, said = stratum(tmp_path, "drift")
    assert (code, "nothing is recorded" in said) == (0, True)


def test_a_wrong_setting_is_an_error(tmp_path):
    (tmp_path / "pyproject.toml").write_text("[tool.stratum]\nmodle = 'x'\n")
    code, said = stratum(tmp_path, "drift")
    assert (code, "did you mean 'model'?" in said) == (2, True)
