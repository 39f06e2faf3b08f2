"""The plugin's flags, ini keys, marker and exit codes, as a user meets them."""

import json
import re
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.support import ECHO, LIVE, SETTINGS, asked, files_below, project, run_bare

APP = """\
from stratum import infer

@infer(intent="Shout it")
def shout(text: str) -> str: ...
"""

ONE = """\
from app import shout

def test_one():
    assert shout.run(text="one") == "ONE"
"""


def ini(**values: str) -> str:
    lines = "\n".join(f'{name} = "{value}"' for name, value in values.items())
    return f"{SETTINGS}[tool.pytest.ini_options]\n{lines}\n"


def echo(folder: Path, tests: str = ONE, **files: str) -> Path:
    """Write a project whose one function answers in capitals."""
    named = {name.replace("__", "."): text for name, text in files.items()}
    return project(folder, {"conftest.py": ECHO, "app.py": APP, "test_app.py": tests, **named})


def recordings(folder: Path) -> list[str]:
    """Return the inputs that are recorded, sorted."""
    path = folder / "golden/recordings/app.py/shout.json"
    calls = json.loads(path.read_text())["calls"] if path.exists() else []
    return sorted(call["prompt"][-1].removeprefix("text: ") for call in calls)


# Modes


def test_without_a_flag_calls_are_live_and_counted(tmp_path: Path) -> None:
    folder = echo(tmp_path)
    run = run_bare(folder)
    assert run.returncode == 0, run.stdout
    assert "1 live call for $0.0010; pytest --stratum-record would keep the answers" in run.stdout
    assert "stratum: " not in run.stdout  # no header
    assert not (folder / "golden").exists()


def test_without_a_call_the_plugin_says_and_imports_nothing(tmp_path: Path) -> None:
    files = {
        "test_app.py": "import sys\ndef test_one(): assert 'stratum.scope' not in sys.modules\n"
    }
    run = run_bare(project(tmp_path, files))
    assert run.returncode == 0, run.stdout
    assert "stratum" not in run.stdout.partition("collected")[2]


def test_a_replay_loads_neither_the_cache_nor_what_explains_drift(tmp_path: Path) -> None:
    loaded = """
import sys

def test_loaded():
    shout.run(text="one")
    heavy = {"yaml", "sqlite3", "stratum.recording.pending", "pytest_stratum.recorder"}
    assert heavy & set(sys.modules) == set()
"""
    folder = echo(tmp_path)
    assert run_bare(folder, "--stratum-record").returncode == 0
    (folder / "test_app.py").write_text(ONE + loaded)
    run = run_bare(folder, "--stratum-replay")
    assert run.returncode == 0, run.stdout


def test_the_roots_of_a_test_are_let_go_after_it(tmp_path: Path) -> None:
    tests = """
import gc, weakref
import pytest
from stratum.scope import current, process

roots = []

@pytest.fixture(autouse=True)
def seen():
    roots.append(weakref.ref(process.root))

def test_one():
    roots.append(weakref.ref(current().root))

def test_two():
    gc.collect()
    assert [root() is None for root in roots] == [True, True, False]
"""
    run = run_bare(echo(tmp_path, tests), "--stratum-replay")
    assert run.returncode == 0, run.stdout


def test_two_modes_contradict_each_other(tmp_path: Path) -> None:
    run = run_bare(echo(tmp_path), "--stratum-record", "--stratum-replay")
    assert run.returncode == 4
    assert "--stratum-record and --stratum-replay contradict each other" in run.stdout
    assert "Traceback" not in run.stdout


def test_a_misspelt_ini_value_is_a_usage_error(tmp_path: Path) -> None:
    run = run_bare(echo(tmp_path, pyproject__toml=ini(stratum_mode="recrod")))
    assert run.returncode == 4
    assert "stratum_mode = 'recrod'; it takes one of record, record-all, replay" in run.stdout
    assert "Traceback" not in run.stdout


def test_a_wrong_setting_is_a_usage_error_that_names_the_file(tmp_path: Path) -> None:
    run = run_bare(
        echo(tmp_path, pyproject__toml="[tool.stratum]\nmodle = 'x'\n"), "--stratum-replay"
    )
    assert run.returncode == 4
    assert (
        "pyproject.toml: [tool.stratum] has no setting 'modle'; did you mean 'model'?" in run.stdout
    )
    assert "Traceback" not in run.stdout


def test_the_ini_file_sets_the_mode_and_the_command_line_wins(tmp_path: Path) -> None:
    folder = echo(tmp_path, pyproject__toml=ini(stratum_mode="replay"))
    missed = run_bare(folder)
    assert missed.returncode == 1
    assert "stratum: replay (stratum_mode in the ini file), golden/recordings/" in missed.stdout
    recorded = run_bare(folder, "--stratum-record")
    assert "stratum: record, golden/recordings/, model test/model" in recorded.stdout
    replayed = run_bare(folder)
    assert replayed.returncode == 0, replayed.stdout
    assert "1 call replayed, $0.0010 saved" in replayed.stdout


MARKED = """\
import pytest
from app import shout

@pytest.fixture
def early(): return shout.run(text="early")

@pytest.mark.stratum(mode="{mode}")
def test_one(early):
    assert (early, shout.run(text="one")) == ("EARLY", "ONE")
"""


def test_the_marker_beats_the_ini_file_and_yields_to_the_command_line(tmp_path: Path) -> None:
    folder = echo(tmp_path, MARKED.format(mode="live"), pyproject__toml=ini(stratum_mode="replay"))
    assert run_bare(folder).returncode == 0
    assert len(asked(folder)) == 2
    assert run_bare(folder, "--stratum-replay").returncode == 1
    assert len(asked(folder)) == 2


def test_a_test_that_is_marked_replays_without_a_flag(tmp_path: Path) -> None:
    folder = echo(tmp_path, MARKED.format(mode="replay"))
    missed = run_bare(folder)
    assert missed.returncode == 1
    assert "missing drift · shout · app.py:4" in missed.stdout
    assert run_bare(folder, "--stratum-record").returncode == 0
    before = asked(folder)
    replayed = run_bare(folder)
    assert replayed.returncode == 0, replayed.stdout
    assert "2 calls replayed" in replayed.stdout
    assert asked(folder) == before


def test_a_misspelt_marker_is_an_error_that_shows_how(tmp_path: Path) -> None:
    run = run_bare(echo(tmp_path, MARKED.format(mode="repaly")))
    assert run.returncode == 1
    assert '@pytest.mark.stratum(mode="replay") or mode="live"' in run.stdout


def test_record_all_asks_everything_anew(tmp_path: Path) -> None:
    folder = echo(tmp_path)
    run_bare(folder, "--stratum-record")
    run = run_bare(folder, "--stratum-record-all")
    assert run.returncode == 0, run.stdout
    assert len(asked(folder)) == 2
    assert "1 call recorded for $0.0010, 0 replayed" in run.stdout


def test_stratum_model_counts_in_record_only_and_is_said(tmp_path: Path) -> None:
    folder, env = echo(tmp_path), {"STRATUM_MODEL": "other/model"}
    run = run_bare(folder, "--stratum-record", env=env)
    assert "model other/model (from STRATUM_MODEL, instead of test/model)" in run.stdout
    golden = folder / "golden/recordings/app.py/shout.json"
    assert '"model": "other/model"' in golden.read_text()
    replayed = run_bare(folder, "--stratum-replay", env=env)
    assert "golden/recordings/, model test/model" in replayed.stdout
    assert "- other/model" in replayed.stdout
    assert "+ test/model" in replayed.stdout


NETWORK = """\
import os
import socket

def said(address):  # a datagram socket connects without sending anything
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(address)
        except OSError as error:
            return str(error)
    return ""

def test_away():
    refused = "192.0.2.1:80 was refused: stratum_block_network is on" in said(("192.0.2.1", 80))
    assert refused == ("REFUSED" in os.environ)

def test_here():
    assert said(("127.0.0.1", 9)) == ""
"""


def test_replay_may_refuse_connections_that_leave_the_machine(tmp_path: Path) -> None:
    folder = echo(tmp_path, NETWORK, pyproject__toml=ini(stratum_block_network="true"))
    blocked = run_bare(folder, "--stratum-replay", env={"REFUSED": "yes"})
    assert blocked.returncode == 0, blocked.stdout
    free = run_bare(folder, "--stratum-record")
    assert free.returncode == 0, free.stdout


# What is committed, and what is paid for


def test_a_failing_test_commits_nothing_and_is_paid_for_once(tmp_path: Path) -> None:
    tests = """\
import os
from app import shout

def test_one():
    assert shout.run(text="one") == "ONE"
    assert "FAIL" not in os.environ
"""
    folder = echo(tmp_path, tests)
    failed = run_bare(folder, "--stratum-record", env={"FAIL": "1"})
    assert failed.returncode == 1
    assert recordings(folder) == []
    passed = run_bare(folder, "--stratum-record")
    assert passed.returncode == 0, passed.stdout
    assert "0 calls recorded for $0.0000, 1 taken from the cache" in passed.stdout
    assert len(asked(folder)) == 1
    assert recordings(folder) == ["one"]


THREE = """\
import os
import pytest
from app import shout

def test_first():
    shout.run(text="first")

def test_second():
    shout.run(text="second")
    match os.environ.get("END"):
        case "fail": raise AssertionError
        case "interrupt": raise KeyboardInterrupt
        case "exit": pytest.exit("enough")

def test_third():
    shout.run(text="third")
"""


@pytest.mark.parametrize(
    ("end", "code"), [("fail", 1), ("interrupt", 2), ("exit", 2)], ids=["-x", "Ctrl-C", "exit"]
)
def test_a_run_that_ends_early_commits_what_passed(tmp_path: Path, end: str, code: int) -> None:
    folder = echo(tmp_path, THREE)
    run = run_bare(folder, "--stratum-record", "-x", env={"END": end})
    assert run.returncode == code, run.stdout
    assert recordings(folder) == ["first"]


def test_a_change_is_accepted_test_by_test_and_a_complete_run_cleans_up(tmp_path: Path) -> None:
    folder = echo(tmp_path, THREE)
    run_bare(folder, "--stratum-record")
    (folder / "app.py").write_text(APP.replace("Shout it", "Say it loud"))
    (folder / "test_app.py").write_text(THREE.partition("def test_third")[0])

    selected = run_bare(folder, "--stratum-record", "-k", "first")
    assert "1 call recorded for $0.0010, 0 replayed" in selected.stdout
    assert "1 failed, 1 passed" in run_bare(folder, "--stratum-replay").stdout
    last_failed = run_bare(folder, "--stratum-record", "--lf")
    assert "1 call recorded for $0.0010, 0 replayed" in last_failed.stdout
    assert recordings(folder) == ["first", "second", "third"]
    assert _intents(folder) == ["Say it loud", "Shout it"]

    complete = run_bare(folder, "--stratum-record")
    assert "0 calls recorded" in complete.stdout
    assert recordings(folder) == ["first", "second"]
    assert _intents(folder) == ["Say it loud"]


def _intents(folder: Path) -> list[str]:
    data = json.loads((folder / "golden/recordings/app.py/shout.json").read_text())
    return sorted(each["intent"] for each in data["instructions"].values())


DECLARED = """\
import pytest
from app import shout

WORD = shout.run(text="at import")
tries = []

@pytest.mark.parametrize("word", [shout.run(text="a parameter")])
def test_word(word):
    assert (WORD, word) == ("AT IMPORT", "A PARAMETER")

@pytest.mark.xfail(raises=AssertionError, strict=True)
def test_expected():
    assert shout.run(text="expected") == "nonsense"

def test_flaky(golden):
    tries.append(1)
    assert shout.run(text="flaky") == golden
    assert len(tries) == 2
"""


@pytest.fixture(scope="module")
def declared(tmp_path_factory: pytest.TempPathFactory) -> "tuple[Path, list[str]]":
    """A project that was recorded and replayed with reruns, and what pytest printed."""
    folder = echo(tmp_path_factory.mktemp("declared"), DECLARED)
    flags = ("--reruns=1", "-p", "rerunfailures")
    runs = [run_bare(folder, mode, *flags) for mode in ("--stratum-record", "--stratum-replay")]
    assert [run.returncode for run in runs] == [0, 0], runs[0].stdout + runs[1].stdout
    return folder, [run.stdout for run in runs]


def test_a_test_that_passes_at_the_second_try_is_asked_once(
    declared: "tuple[Path, list[str]]",
) -> None:
    folder, printed = declared
    assert all("1 rerun" in text for text in printed)
    assert sum("flaky" in prompt for prompt in asked(folder)) == 1
    assert (folder / "golden/flows/test_app/test_flaky.yaml").read_text() == "FLAKY\n"


def test_an_expected_failure_counts_as_declared(declared: "tuple[Path, list[str]]") -> None:
    folder, printed = declared
    assert all("1 xfailed" in text for text in printed)
    assert "expected" in recordings(folder)


def test_a_call_while_tests_are_collected_is_recorded(declared: "tuple[Path, list[str]]") -> None:
    folder, printed = declared
    assert {"at import", "a parameter"} < set(recordings(folder))
    assert len(asked(folder)) == 4
    assert "5 calls replayed" in printed[1]  # the second try asks again


# Misses cannot hide

HIDDEN = """\
import pytest
import unittest
from concurrent.futures import ThreadPoolExecutor
from app import shout

def test_swallowed():
    try:
        shout.run(text="swallowed")
    except Exception:
        pass

def test_expected():
    with pytest.raises(Exception):
        shout.run(text="raises")

def test_skipped():
    try:
        shout.run(text="skipped")
    except Exception:
        pytest.skip("no model")

@pytest.mark.xfail
def test_xfailed():
    shout.run(text="xfail")

@pytest.fixture
def quiet():
    try:
        shout.run(text="in a fixture")
    except Exception:
        return None

def test_fixture(quiet):
    pass

@pytest.fixture
def late():
    yield
    try:
        shout.run(text="at teardown")
    except Exception:
        pass

def test_teardown(late):
    pass

def test_thread():
    with ThreadPoolExecutor(1) as pool:
        pool.submit(shout.run, text="in a thread")

class Skipping(unittest.TestCase):
    def test_skip(self):
        try:
            shout.run(text="unittest")
        except Exception:
            self.skipTest("no model")
"""

HIDING = ["swallowed", "expected", "skipped", "fixture", "teardown", "thread"]


@pytest.fixture(scope="module")
def hidden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return echo(tmp_path_factory.mktemp("hidden"), HIDDEN)


@pytest.fixture(scope="module")
def hidden_run(hidden: Path) -> "CompletedProcess[str]":
    return run_bare(hidden, "--stratum-replay", "-rA")


@pytest.mark.parametrize("how", HIDING)
def test_a_miss_that_a_test_hides_fails_it(hidden_run: "CompletedProcess[str]", how: str) -> None:
    pattern = rf"^(FAILED|ERROR) test_app.py::test_{how} .*RecordingMissing"
    assert re.search(pattern, hidden_run.stdout, re.MULTILINE), hidden_run.stdout
    assert f"test_{how}" in hidden_run.stdout


@pytest.mark.parametrize("how", ["xfailed", "Skipping"])
def test_a_hidden_miss_never_gives_exit_code_0(hidden: Path, how: str) -> None:
    run = run_bare(hidden, "--stratum-replay", "-k", how)
    assert run.returncode == 1, run.stdout
    assert "missing drift · shout" in run.stdout


def test_a_leaking_secret_fails_the_run_even_where_failure_is_expected(tmp_path: Path) -> None:
    leak = """
def answer(request):
    import base64, os
    return {"value": base64.b64encode(os.environ["SERVICE_TOKEN"].encode()).decode()}
"""
    tests = "import pytest\n" + ONE.replace("def test_one", "@pytest.mark.xfail\ndef test_one")
    folder = echo(tmp_path, tests, conftest__py=LIVE + leak)
    run = run_bare(folder, "--stratum-record", "-rA", env={"SERVICE_TOKEN": "kP9x-Vb3q-Zt7w-Lm2s"})
    assert run.returncode == 1, run.stdout
    assert "shout: the value of SERVICE_TOKEN stands in the reply" in run.stdout
    assert not any(b'"reply"' in text for text in files_below(folder / "golden").values())


FORGOTTEN = """\
import pytest
from app import shout

@pytest.mark.anyio
async def test_in_the_test():
    shout(text="test")

@pytest.fixture
async def broken():
    shout(text="fixture")

@pytest.mark.anyio
async def test_in_a_fixture(broken):
    pass

@pytest.fixture
async def late():
    yield
    shout(text="teardown")

@pytest.mark.anyio
async def test_at_teardown(late):
    pass

@pytest.fixture
def anyio_backend():
    return "asyncio"
"""


@pytest.mark.parametrize("flags", [(), ("--stratum-record",)], ids=["live", "record"])
def test_a_forgotten_await_fails_its_test(tmp_path: Path, flags: tuple[str, ...]) -> None:
    run = run_bare(echo(tmp_path, FORGOTTEN), *flags, "-rA", "-p", "anyio")
    assert "never awaited, so never asked:" in run.stdout
    for test in ("in_the_test", "in_a_fixture"):
        assert re.search(rf"^FAILED test_app.py::test_{test} .*NotAwaited", run.stdout, re.M)
    assert re.search(r"^ERROR test_app.py::test_at_teardown .*NotAwaited", run.stdout, re.M)
    assert re.search(r"shout\(\.\.\.\) at .*test_app\.py:6", run.stdout)


def test_replay_forbids_a_live_client_that_a_test_builds(tmp_path: Path) -> None:
    tests = """\
import sys
import stratum
from app import shout

def test_built():
    with stratum.using(client=stratum.LiteLLMClient()):
        shout.run(text="one")

def test_configured():
    stratum.configure(client=stratum.LiteLLMClient())
    shout.run(text="one")

async def send():
    return await stratum.LiteLLMClient().complete(shout._ask({"text": "one"}).request)

def test_called():
    import asyncio
    try:
        asyncio.run(send())
    finally:
        assert "litellm" not in sys.modules
"""
    run = run_bare(echo(tmp_path, tests), "--stratum-replay")
    assert "3 failed" in run.stdout
    for test in ("built", "configured"):
        assert re.search(
            rf"^FAILED test_app.py::test_{test} - .*RecordingMissing", run.stdout, re.M
        )
    assert "live calls are off under --stratum-replay" in run.stdout


KEYLESS = f"""\
{LIVE}

def answer(request):
    raise stratum.AuthenticationFailed("shout: no key.\\n  Set one.")
"""


def test_without_a_key_record_asks_once_and_lists_what_is_missing(tmp_path: Path) -> None:
    tests = THREE + "\ndef test_fourth():\n    import app\n    app.whisper.run(text='x')\n"
    more = '\n@infer(intent="Whisper it")\ndef whisper(text: str) -> str: ...\n'
    folder = echo(tmp_path, tests, conftest__py=KEYLESS, app__py=APP + more)
    run = run_bare(folder, "--stratum-record")
    assert run.returncode == 1
    assert len(asked(folder)) == 1
    assert "4 failed" in run.stdout
    assert "Set one." in run.stdout
    assert "missing drift · shout · app.py:4 · 3 tests" in run.stdout
    assert "missing drift · whisper · app.py:7 · 1 test" in run.stdout


# Broken golden files


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("<<<<<<< HEAD\n{}\n=======\n", "shout.json:1 has the merge-conflict marker <<<<<<<"),
        ('{"format": 99}', "has format 99; this version of Stratum reads 1"),
        ("[]", "Restore it from version control, or delete it and record again"),
    ],
    ids=["conflict", "format", "shape"],
)
def test_a_broken_golden_file_is_named_with_a_remedy(
    tmp_path: Path, content: str, said: str
) -> None:
    folder = echo(tmp_path)
    project(folder, {"golden/recordings/app.py/shout.json": content})
    run = run_bare(folder, "--stratum-replay")
    assert run.returncode == 4
    assert said in run.stdout
    assert "shout.json" in run.stdout
    assert "Traceback" not in run.stdout
    assert len(run.stdout.splitlines()) < 12
