"""What is read from golden/ and the cache is data: it runs nothing and steers no terminal."""

import json
import os
import pickle
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from subprocess import CompletedProcess
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_stratum.hiding import hide
from tests.support import ECHO, asked, files_below, project, run_pytest

FUNCTIONS = ("plain", "nested", "named", "refused", "drifted", "outcome", "model", "intent")
HOSTILE = "ok\x1b[31mred\x1b]0;title\x07\r\u202eevil\u2028::error::line\x9b2J"
HARMFUL = "\x1b\x07\r\u202e\u2028\x9b"

APP = "from stratum import infer\n" + "".join(
    f'@infer(intent="Repeat it", retries=0)\ndef {name}(text: str) -> str: ...\n'
    for name in FUNCTIONS
)
TESTS = "import app\n" + "".join(
    f"def test_{name}(): assert app.{name}.run(text='{name}') == '{name.upper()}'\n"
    for name in FUNCTIONS
)


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.folder),)


def run(folder: Path, mode: str) -> "CompletedProcess[str]":
    return run_pytest(folder, "-p", "no:cacheprovider", f"--stratum-{mode}")


@pytest.fixture(scope="module")
def project_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    files = {"conftest.py": ECHO, "app.py": APP, "test_app.py": TESTS}
    folder = project(tmp_path_factory.mktemp("hostile"), files)
    done = run(folder, "record")
    assert done.returncode == 0, done.stdout
    return folder


@pytest.fixture
def recorded(project_once: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(project_once, tmp_path / "project"))


def harmful(text: str) -> list[str]:
    return [character for character in HARMFUL if character in text]


def rewrite(folder: Path, function: str, **changes: Any) -> None:
    """Change the recorded call of a function."""
    path = folder / f"golden/recordings/app.py/{function}.json"
    data = json.loads(path.read_text(encoding="utf-8"))
    for instructions in data["instructions"].values():
        instructions |= changes.pop("instructions", {})
    data["calls"][0] |= changes
    path.write_text(json.dumps(data), encoding="utf-8")


def tamper(folder: Path, *statements: str) -> Path:
    """Change the cache, and return the folder that a pickle planted there would make."""
    made = folder / "made"
    with closing(sqlite3.connect(folder / ".stratum/cache/cache.db")) as database:
        for statement in statements:
            found = database.execute(statement, {"pickle": pickle.dumps(Bomb(made))})
            assert found.rowcount == 1
        database.commit()
    shutil.rmtree(folder / "golden")
    return made


def the_row_of(function: str) -> str:
    return f"WHERE typeof(value) = 'text' AND value LIKE '%\"{function.upper()}\"%'"


def test_the_planted_pickle_would_work(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Bomb(tmp_path / "made")))
    assert (tmp_path / "made").is_dir()


def test_a_pickle_planted_in_the_cache_is_not_executed(recorded: Path) -> None:
    made = tamper(
        recorded,
        f"UPDATE Cache SET value = :pickle, mode = 4 {the_row_of('plain')}",
        f"UPDATE Cache SET key = :pickle, raw = 0 {the_row_of('nested')}",
        "INSERT INTO Cache (key, raw, store_time, access_time, mode, value) "
        "SELECT 'reply:' || :pickle, 0, 0, 0, 4, :pickle",
    )
    done = run(recorded, "record")
    assert (done.returncode, made.exists()) == (0, False), done.stdout
    assert len(asked(recorded)) == len(FUNCTIONS) + 2
    assert "cache: the cached row is pickled or binary (mode 4)" in done.stdout


def test_a_cached_row_that_was_changed_is_asked_again(recorded: Path) -> None:
    tamper(recorded, f"UPDATE Cache SET value = replace(value, 'PLA', 'BLA') {the_row_of('plain')}")
    done = run(recorded, "record")
    assert (done.returncode, len(asked(recorded))) == (0, len(FUNCTIONS) + 1)
    assert "cache: the cached row does not have the digest" in done.stdout


def test_hostile_recordings_steer_no_terminal(recorded: Path) -> None:
    rewrite(recorded, "plain", reply={"value": HOSTILE})
    rewrite(recorded, "nested", reply={"value": [HOSTILE]})
    rewrite(recorded, "named", reply={HOSTILE: 1})
    rewrite(recorded, "refused", reply=HOSTILE, outcome="refused")
    rewrite(recorded, "drifted", prompt=[HOSTILE], key="0" * 64)
    rewrite(recorded, "outcome", prompt=["::error::x", HOSTILE], key="0" * 64)
    rewrite(recorded, "model", recorded_on=HOSTILE, answered_by=HOSTILE)
    rewrite(recorded, "intent", instructions={"intent": HOSTILE}, key="0" * 64)
    out = run(recorded, "replay").stdout
    assert "+ ok\\x1b[31mred\\x1b]0;title\\x07" in out
    assert "must be a string (got" in out
    assert "named got no acceptable answer in 1 attempt" in out
    assert "refused: the model declined to answer: ok\\x1b[31mred" in out
    assert out.count("    - ok\\x1b[31mred\\x1b]0;title\\x07\\r\\u202eevil") >= 2
    assert ("7 failed, 1 passed" in out, harmful(out)) == (True, []), out


def test_a_hostile_reply_is_escaped_where_it_is_written(tmp_path: Path) -> None:
    answering = ECHO.partition("def answer")[0] + f"def answer(request): return {HOSTILE!r}\n"
    tests = "import app\ndef test_it(): app.plain.run(text='hi')\n"
    folder = project(tmp_path, {"conftest.py": answering, "app.py": APP, "test_app.py": tests})
    done = run(folder, "record")
    text = files_below(folder)["golden/recordings/app.py/plain.json"].decode("utf-8")
    assert (done.returncode, json.loads(text)["calls"][0]["reply"]) == (0, HOSTILE)
    assert harmful(text) == []


@pytest.mark.parametrize("coloured", [True, False], ids=["colour", "plain"])
def test_only_a_coloured_report_keeps_its_colours(coloured: bool) -> None:
    report = SimpleNamespace(longrepr="\x1b[1;31mred\x1b[0m\x1b]0;\x07\n\tx", sections=[])
    hide(report, coloured=coloured)
    escaped = "\x1b[1;31mred\x1b[0m" if coloured else "\\x1b[1;31mred\\x1b[0m"
    assert report.longrepr == escaped + "\\x1b]0;\\x07\n\tx"
