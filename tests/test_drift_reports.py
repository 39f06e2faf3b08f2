"""What a person reads when something has drifted."""

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.support import LIVE, asked, project, run_bare

CONFTEST = f"""\
{LIVE}

def answer(request):
    if request.site.function == "graded":
        return {{"label": "good", "score": 1, "why": "because"}}
    text = request.shown.text.partition(": ")[2]
    return {{"value": text.upper() if request.attempt else text}}
"""

APP = """\
from typing import Annotated, Literal
from stratum import Field, contract, infer, opaque

@contract
class Grade:
    label: Literal["good", "bad", "unsure"]
    score: int

@infer(
    intent="Grade it",
    params={"seed": 1},
)
def graded(text: str) -> Grade: ...

@infer(intent="Say it\\nin two lines", context="Be brief.")
def worded(text: str) -> str: ...

@infer(intent="Say it", context="Be brief.")
def told(text: str) -> str: ...

@infer(intent="Format it")
def formatted(text: str) -> str: ...

@infer(intent="Date it")
def dated(text: str) -> str: ...

@infer(intent="Check it", ensure=lambda r: r.isupper())
def checked(text: str) -> str: ...

@infer(intent="Model it", model="old/model")
def modelled(text: str) -> str: ...

@infer(intent="Tune it", temperature=0.1, params={"seed": 1})
def tuned(text: str) -> str: ...

@infer(intent="Miss it")
def missed(text: str) -> str: ...

@infer(intent="Colour it \\x1b[31mred\\u202e")
def hostile(text: str) -> str: ...

@infer(intent="Leave it")
def unchanged(text: str) -> str: ...
"""

CHANGES = {
    'Literal["good", "bad", "unsure"]': 'Literal["good", "bad"]',
    "    score: int\n": "    score: int\n    why: str\n",
    "Say it\\nin two lines": "Say it\\nin three lines",
    'intent="Say it", context="Be brief."': 'intent="Say it", context="Be long."',
    "def formatted(text: str)": "def formatted(text: opaque[str])",
    "lambda r: r.isupper()": "lambda r: r == r.upper()",
    "old/model": "new/model",
    "temperature=0.1": "temperature=0.5, max_tokens=99",
    "Colour it \\x1b[31mred\\u202e": "Colour it \\x1b]0;title\\x07\\u2066",
    "def missed": "def unrecorded(text: str) -> str: ...\n\n@infer(intent='Miss it')\ndef missed",
}

TESTS = """\
import app
import pytest

@pytest.mark.parametrize("n", range(200))
def test_graded(n):
    app.graded.run(text=f"text {n}")

@pytest.mark.parametrize("name", [
    "worded", "told", "formatted", "checked", "modelled", "tuned", "hostile", "unchanged"])
def test_function(name):
    getattr(app, name).run(text="word")

def test_dated():
    app.dated.run(text="As of 2026-01-05 10:30 all is well")

def test_missed():
    app.missed.run(text="known")
"""

CHANGED_TESTS = (
    TESTS.replace("2026-01-05 10:30", "2026-02-17 08:15").replace('"known"', '"unknown"')
    + "\ndef test_unrecorded():\n    app.unrecorded.run(text='new')\n"
)


def changed(source: str) -> str:
    for before, after in CHANGES.items():
        assert source.count(before) == 1, before
        source = source.replace(before, after)
    return source


@pytest.fixture(scope="module")
def drifted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that was recorded, then changed in every way."""
    files = {"conftest.py": CONFTEST, "app.py": APP, "test_app.py": TESTS}
    folder = project(tmp_path_factory.mktemp("drift"), files)
    recorded = run_bare(folder, "--stratum-record", "-q")
    assert recorded.returncode == 0, recorded.stdout
    project(folder, {"app.py": changed(APP), "test_app.py": CHANGED_TESTS})
    return folder


@pytest.fixture(scope="module")
def report(drifted: Path) -> str:
    """All that pytest prints when the changed project is replayed."""
    run = run_bare(drifted, "--stratum-replay")
    assert run.returncode == 1
    return run.stdout


def block(report: str, kind: str, function: str) -> str:
    """Return the drift block of a function: from its headline to its accepting command."""
    found = re.search(rf"^{kind} drift · {function} · .*?^  accept: .*?$", report, re.M | re.S)
    assert found is not None, report.partition("stratum drift:")[2]
    return found[0]


def line_of(function: str) -> int:
    lines = changed(APP).splitlines()
    return next(n for n, line in enumerate(lines, 1) if line.startswith(f"def {function}("))


BLOCKS = {
    "contract": (
        "contract",
        "graded",
        "the answer's contract changed",
        ['~ label: "unsure" removed', "+ why: string (required)"],
    ),
    "intent": (
        "prompt",
        "worded",
        "its intent changed",
        ["  Say it", "- in two lines", "+ in three lines"],
    ),
    "context": ("prompt", "told", "its context changed", ["- Be brief.", "+ Be long."]),
    "input formatting": (
        "prompt",
        "formatted",
        "the same inputs are put into other words",
        ["- text: word", "+ <data: text, 6 characters>"],
    ),
    "date": (
        "prompt",
        "dated",
        "only a date-like part of the inputs differs; take dates from stratum.now()",
        [
            "- text: As of 2026-01-05 10:30 all is well",
            "+ text: As of 2026-02-17 08:15 all is well",
        ],
    ),
    "condition": (
        "condition",
        "checked",
        "the retry tells the model something else",
        ["- ensure: r.isupper()", "+ ensure: r == r.upper()"],
    ),
    "model": ("model", "modelled", "the model changed", ["- old/model", "+ new/model"]),
    "params": (
        "params",
        "tuned",
        "the parameters changed",
        ["~ max_tokens: (not set) -> 99", "~ temperature: 0.1 -> 0.5"],
    ),
    "missing inputs": ("missing", "missed", "these inputs are not recorded", []),
    "missing function": ("missing", "unrecorded", "nothing is recorded of this function", []),
}


@pytest.mark.parametrize(("kind", "function", "title", "lines"), BLOCKS.values(), ids=BLOCKS)
def test_a_drift_says_what_changed_where(
    report: str, kind: str, function: str, title: str, lines: list[str]
) -> None:
    said = block(report, kind, function).splitlines()
    assert said[0].startswith(f"{kind} drift · {function} · app.py:{line_of(function)} · ")
    assert said[1] == f"  {title}"
    for line in lines:
        assert any(each.startswith(f"    {line}") for each in said[2:]), said


def test_a_change_that_breaks_200_tests_is_one_block(report: str) -> None:
    assert report.count("contract drift ·") == 1
    said = block(report, "contract", "graded")
    assert said.splitlines()[0].endswith(" · 200 tests")
    assert said.count("  breaks ") == 3
    assert "  … and 197 more" in said
    assert said.endswith("  accept: pytest --stratum-record test_app.py")


def test_a_drift_of_one_test_is_accepted_by_that_test(report: str) -> None:
    said = block(report, "prompt", "told")
    assert "  breaks test_app.py::test_function[told]\n" in said
    assert said.endswith("  accept: pytest --stratum-record 'test_app.py::test_function[told]'")


def test_the_head_and_the_summary_count_causes_and_tests(report: str) -> None:
    assert "stratum drift: 11 causes, 210 tests" in report
    assert "2 calls replayed, $0.0020 saved, 11 causes of drift" in report


def test_only_what_changed_is_reported(report: str) -> None:
    assert "1 passed" in report
    assert " · unchanged · " not in report


def test_recorded_and_new_text_cannot_steer_the_terminal(report: str) -> None:
    said = block(report, "prompt", "hostile")
    assert r"- Colour it \x1b[31mred\u202e" in said
    assert r"+ Colour it \x1b]0;title\x07\u2066" in said
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", report)


def test_a_failure_shows_the_tests_line_and_the_drift_and_nothing_between(report: str) -> None:
    failure = re.search(
        r"_ test_missed _.*?^test_app.py:\d+: RecordingMissing", report, re.M | re.S
    )
    assert failure is not None
    where = CHANGED_TESTS.splitlines().index("def test_missed():") + 2
    missing = f"missing drift in missed (app.py:{line_of('missed')}): these inputs are not recorded"
    assert [each for each in failure[0].splitlines()[1:] if each] == [
        "    def test_missed():",
        '>       app.missed.run(text="unknown")',
        f"E       stratum.errors.RecordingMissing: {missing}",
        "E         Accept it with pytest --stratum-record.",
        f"test_app.py:{where}: RecordingMissing",
    ]


def test_full_trace_shows_the_frames_that_are_left_out(drifted: Path) -> None:
    run = run_bare(drifted, "--stratum-replay", "--full-trace", "-k", "test_missed")
    assert "recording/client.py" in run.stdout


def test_recording_accepts_and_replaces_what_is_outdated(drifted: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(drifted, tmp_path / "accepted"))
    before = len(asked(folder))
    accepted = run_bare(folder, "--stratum-record", "-q")
    assert accepted.returncode == 0, accepted.stdout
    assert len(asked(folder)) == before + 210  # the first attempt of `checked` still matches
    replayed = run_bare(folder, "--stratum-replay", "-q")
    assert replayed.returncode == 0, replayed.stdout
    for file in (folder / "golden/recordings/app.py").iterdir():
        data = json.loads(file.read_text())
        assert len(data["contracts"]) == 1, file.name
        assert len(data["instructions"]) == 1, file.name
    graded = json.loads((folder / "golden/recordings/app.py/graded.json").read_text())
    assert len(graded["calls"]) == 200
