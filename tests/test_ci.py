"""What CI reads of a run: annotations, the step's summary, report files, JUnit properties."""

import json
import re
import xml.etree.ElementTree as ET
from importlib.resources import files
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import yaml

from pytest_stratum.annotations import annotation
from pytest_stratum.markdown import code, fenced, markdown
from pytest_stratum.run_report import (
    Calls,
    DriftBlock,
    Money,
    Recordings,
    RunReport,
    schema,
)
from tests.support import ECHO, SETTINGS, project, run_bare

HOME = Path(__file__).parent.parent

APP = """\
from stratum import infer

@infer(intent="Shout it")
def shout(text: str) -> str: ...

@infer(intent="Say it")
def say(text: str) -> str: ...
"""

HOSTILE = r"100% <b>`x`</b> ```\n::error file=a::b\n</details>##[error]c\r\x1b[31m"

TESTS = """\
import os
import pytest
from app import say, shout

@pytest.mark.parametrize("text", ["one", "two"])
def test_shout(text):
    shout.run(text=text)

def test_say():
    say.run(text="three")
    if "INTERRUPT" in os.environ:
        raise KeyboardInterrupt

def test_nothing():
    pass
"""

ON_GITHUB = {"GITHUB_ACTIONS": "true"}


def recorded(folder: Path) -> Path:
    """Record a project whose folder is one below that of its repository."""
    (folder / ".git").mkdir()
    named = {"conftest.py": ECHO, "app.py": APP, "test_app.py": TESTS}
    service = project(folder / "service", named)
    run = run_bare(service, "--stratum-record")
    assert run.returncode == 0, run.stdout
    return service


def drift(service: Path) -> None:
    (service / "app.py").write_text(APP.replace("Shout it", HOSTILE), encoding="utf-8")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = recorded(tmp_path_factory.mktemp("ci"))
    drift(folder)
    return folder


@pytest.fixture(scope="module")
def replayed(service: Path) -> "CompletedProcess[str]":
    """A replay with drift on GitHub Actions, which leaves every file that CI may read."""
    (service / "summary.md").write_text("# of another step\n")
    flags = ["--stratum-report=out/run.json", "--stratum-report=out/run.md", "--junitxml=junit.xml"]
    summary = {"GITHUB_STEP_SUMMARY": str(service / "summary.md")}
    return run_bare(service, "--stratum-replay", *flags, env=ON_GITHUB | summary)


def block(**changed: object) -> DriftBlock:
    values = {
        "kind": "prompt",
        "function": "shout",
        "file": "app.py",
        "line": 4,
        "title": "its intent changed",
        "lines": ("- a", "+ b"),
        "also": (),
        "tests": ("test_app.py::test_one",),
        "cause": "0" * 64,
        "accept": "pytest --stratum-record test_app.py::test_one",
    }
    return DriftBlock.model_validate({**values, **changed})


def report(*blocks: DriftBlock) -> RunReport:
    calls = Calls(replayed=2, recorded=0, cached=0, live=0)
    money = Money(spent_usd=0.0, saved_usd=0.002, live_usd=0.0, unpriced=0)
    kept = Recordings(written=(), stale=0, orphaned=None, outdated=None)
    about = {"version": 1, "stratum": "0.1.0", "mode": "replay", "exit_code": 1, "errors": ()}
    return RunReport.model_validate(
        {**about, "calls": calls, "money": money, "recordings": kept, "drift": blocks}
    )


# Annotations


def test_a_cause_of_drift_is_one_annotation_at_its_function(
    replayed: "CompletedProcess[str]",
) -> None:
    commands = [line for line in replayed.stdout.splitlines() if line.startswith("::error")]
    assert replayed.returncode == 1
    said = (
        "::error file=service/app.py,line=4,title=prompt drift in shout::"
        "prompt drift in shout: its intent changed%0A- Shout it%0A"
        "+ 100%25 <b>`x`</b> ```%0A+ ::error file=a::b%0A"
        r"+ </details>##[error]c\r\x1b[31m%0A"
        "breaks 2 tests%0Aaccept: pytest --stratum-record test_app.py"
    )
    assert commands == [said]


def test_recorded_text_is_printed_where_commands_are_stopped(
    replayed: "CompletedProcess[str]",
) -> None:
    token = re.search(r"^::stop-commands::(\w{32})$", replayed.stdout, re.MULTILINE)
    assert token is not None
    shown, _, after = replayed.stdout.partition(token[0])[2].partition(f"\n::{token[1]}::\n")
    assert "+ ::error file=a::b" in shown
    assert "1 call replayed" in shown
    assert after.startswith("::error file=service/app.py,")


def test_elsewhere_nothing_is_a_command(service: Path) -> None:
    run = run_bare(service, "--stratum-replay", env={"GITHUB_STEP_SUMMARY": "elsewhere.md"})
    assert not [line for line in run.stdout.splitlines() if line.startswith("::")]
    assert not (service / "elsewhere.md").exists()


def test_properties_of_a_command_cannot_be_left() -> None:
    said = annotation(block(function="f,line=1::x\r\n::error::y%0A", file="a:b,c%.py"))
    assert said.startswith(
        r"::error file=a%3Ab%2Cc%25.py,line=4,"
        r"title=prompt drift in f%2Cline=1%3A%3Ax%0D%0A%3A%3Aerror%3A%3Ay%250A::prompt drift in "
    )
    assert len(said.splitlines()) == 1


def test_a_function_outside_the_repository_is_annotated_without_a_file() -> None:
    assert annotation(block(file="outside/lib")).startswith("::error line=4,title=prompt")


def test_a_long_difference_is_cut_in_an_annotation() -> None:
    said = annotation(block(lines=tuple(f"+ {number}" for number in range(100))))
    assert "%0A+ 39%0A…%0Abreaks 1 test%0A" in said


# The summary of a step, as of a .md file


def test_the_summary_of_a_step_is_added_to(
    service: Path, replayed: "CompletedProcess[str]"
) -> None:
    page = (service / "summary.md").read_text(encoding="utf-8")
    assert page.startswith("# of another step\n## Stratum: 1 cause of drift, 2 tests\n")
    assert "| replayed | 1 call, $0.0010 saved |" in page
    assert page.strip() == f"# of another step\n{(service / 'out/run.md').read_text()}".strip()


def test_recorded_text_is_no_markup(service: Path, replayed: "CompletedProcess[str]") -> None:
    page = (service / "out/run.md").read_text(encoding="utf-8")
    found = re.search(r"^(`+)diff\n(.*?)\n\1\n", page, re.MULTILINE | re.DOTALL)
    assert found is not None
    assert found[1] == "````"  # longer than what stands inside
    assert "+ </details>" in found[2]
    assert "</" not in page.replace(found[2], "")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a b", "`a b`"),
        ("<b>|*_[x](y)", "`<b>|*_[x](y)`"),
        ("`", "`` ` ``"),
        ("a ``b`` c", "```a ``b`` c```"),
        (" a ", "`  a  `"),
        ("a\n# b\x1b", r"`a\n# b\x1b`"),
        ("", "(empty)"),
    ],
    ids=["plain", "markup", "tick", "ticks", "spaces", "line", "empty"],
)
def test_a_text_stays_as_it_is_in_markdown(text: str, shown: str) -> None:
    assert code(text) == shown


def test_a_block_of_code_cannot_be_left() -> None:
    assert fenced(["````", "</pre>\n```"]) == ["`````", "````", r"</pre>\n```", "`````"]


def test_a_page_over_the_limit_says_how_much_is_left_out() -> None:
    page = markdown(report(*(block(function=f"f{number}") for number in range(9))), limit=1000)
    assert len(page.encode()) < 1100
    left = 9 - page.count("### ")
    assert page.endswith(f"\n… and {left} more causes of drift.\n")


# Report files


def test_a_report_has_the_published_form(service: Path, replayed: "CompletedProcess[str]") -> None:
    text = (service / "out/run.json").read_text(encoding="utf-8")
    run = RunReport.model_validate_json(text)
    assert (run.mode, run.exit_code, run.calls.replayed) == ("replay", 1, 1)
    assert (run.drift[0].function, run.drift[0].file, run.drift[0].line) == ("shout", "app.py", 4)
    assert run.drift[0].tests == ("test_app.py::test_shout[one]", "test_app.py::test_shout[two]")
    assert run.recordings == Recordings(written=(), stale=0, orphaned=None, outdated=None)
    published = json.loads(text)
    assert list(published) == schema()["required"]
    assert list(published["drift"][0]) == schema()["$defs"]["DriftBlock"]["required"]


def test_the_published_schema_is_that_of_the_reports() -> None:
    shipped = files("pytest_stratum") / "schemas" / "report-1.json"
    assert json.loads(shipped.read_text(encoding="utf-8")) == schema()


def test_an_interrupted_run_is_reported(tmp_path: Path) -> None:
    service = recorded(tmp_path)
    run = run_bare(
        service, "--stratum-record-all", "--stratum-report=a.json", env={"INTERRUPT": ""}
    )
    assert run.returncode == 2
    told = RunReport.model_validate_json((service / "a.json").read_text(encoding="utf-8"))
    assert (told.mode, told.exit_code, told.calls.recorded) == ("record-all", 2, 3)
    assert told.recordings.orphaned is None


def test_another_ending_is_a_usage_error(service: Path) -> None:
    run = run_bare(service, "--stratum-replay", "--stratum-report=run.txt")
    assert run.returncode == 4
    assert "run.txt: its name should end in .json or .md" in run.stdout
    assert "Traceback" not in run.stdout


def test_a_report_that_cannot_be_written_is_a_warning(service: Path) -> None:
    (service / "folder.md").mkdir(exist_ok=True)
    reports = ["--stratum-report=app.py/run.json", "--stratum-report=folder.md"]
    env = ON_GITHUB | {"GITHUB_STEP_SUMMARY": str(service)}
    run = run_bare(service, "--stratum-replay", "-k", "say", *reports, env=env)
    assert run.returncode == 0, run.stdout
    assert re.search(r"^stratum: the report was not written: .*/run.json could", run.stdout, re.M)
    assert re.search(r"^stratum: the report was not written: .*/folder.md could", run.stdout, re.M)
    assert "stratum: the step's summary was not written (Is a directory)" in run.stdout


def test_the_ini_file_names_reports_below_the_rootdir(tmp_path: Path) -> None:
    ini = '[tool.pytest.ini_options]\nstratum_report = ["out/live.json"]\n'
    named = {"conftest.py": ECHO, "app.py": APP, "pyproject.toml": SETTINGS + ini}
    folder = project(tmp_path, {**named, "sub/test_app.py": TESTS})
    run = run_bare(folder / "sub", "-p", "no:cacheprovider")
    assert run.returncode == 0, run.stdout
    told = RunReport.model_validate_json((folder / "out/live.json").read_text(encoding="utf-8"))
    assert (told.mode, told.calls.live, told.money.live_usd) == (None, 3, pytest.approx(0.003))
    run_bare(folder, "--stratum-report=other.md", "-k", "nothing")
    assert "no drift" in (folder / "other.md").read_text(encoding="utf-8")
    assert "live" in (folder / "out/live.json").read_text(encoding="utf-8")


def test_only_the_controller_reports(service: Path, tmp_path: Path) -> None:
    summary, path = tmp_path / "summary.md", tmp_path / "run.json"
    flags = [f"--stratum-report={path}", f"--junitxml={tmp_path / 'junit.xml'}"]
    env = ON_GITHUB | {"GITHUB_STEP_SUMMARY": str(summary)}
    run = run_bare(service, "--stratum-replay", "-n2", "-p", "xdist", *flags, env=env)
    assert run.returncode == 1
    assert run.stdout.count("\n::error ") == 1
    assert summary.read_text(encoding="utf-8").count("## Stratum: 1 cause of drift, 2 tests") == 1
    told = RunReport.model_validate_json(path.read_text(encoding="utf-8"))
    assert (len(told.drift), told.tests, told.calls.replayed) == (1, 2, 1)
    assert properties(tmp_path / "junit.xml")["test_say"]["stratum.calls"] == "1"


# JUnit


def properties(path: Path) -> dict[str, dict[str, str]]:
    """Return the properties of each test in a JUnit file, where none may stand twice."""
    found = {
        case.attrib["name"]: [
            (each.attrib["name"], each.attrib["value"]) for each in case.iter("property")
        ]
        for case in ET.parse(path).iter("testcase")
    }
    assert all(len(each) == len(dict(each)) for each in found.values())
    return {name: dict(each) for name, each in found.items()}


def test_junit_has_the_calls_of_each_test(service: Path, replayed: "CompletedProcess[str]") -> None:
    found = properties(service / "junit.xml")
    said = json.loads((service / "golden/recordings/app.py/say.json").read_text())["calls"][0]
    assert found["test_say"] == {
        "stratum.calls": "1",
        "stratum.attempts": "1",
        "stratum.cost_usd": "0.001000",
        "stratum.contracts": said["contract"],
        "stratum.keys": said["key"][:12],
    }
    assert found["test_shout[one]"] == {
        "stratum.calls": "1",
        "stratum.attempts": "0",
        "stratum.contracts": said["contract"],
        "stratum.drift": "prompt",
    }
    assert found["test_nothing"] == {}


# The documented workflows


def test_the_documented_workflows_are_yaml() -> None:
    text = (HOME / "docs/ci.md").read_text(encoding="utf-8")
    found = [yaml.safe_load(each) for each in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)]
    jobs = [job for each in found if isinstance(each, dict) for job in each["jobs"].items()]
    assert [name for name, _ in jobs] == ["replay", "record"]
    commands = [step.get("run", "") for _, job in jobs for step in job["steps"]]
    assert any("pytest --stratum-replay --stratum-report" in command for command in commands)
    assert any("pytest --stratum-record " in command for command in commands)


def test_the_documented_report_has_the_published_form() -> None:
    text = (HOME / "docs/ci.md").read_text(encoding="utf-8")
    example = re.search(r"```json\n(.*?)```", text, re.DOTALL)
    assert example is not None
    assert RunReport.model_validate_json(example[1]).drift[0].kind == "contract"
