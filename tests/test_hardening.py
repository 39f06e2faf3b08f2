"""Obstacles and planted files: a clear error or a miss, nothing executed, no paid reply lost."""

import json
import os
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from subprocess import CompletedProcess
from xml.etree import ElementTree as ET

import pytest

from pytest_stratum.flow_diff import flow_changes
from stratum.errors import RecordingCorrupt
from stratum.hashing import digest
from stratum.recording.files import MAX_BYTES
from stratum.recording.golden import Recordings
from stratum.recording.lease import Lease
from tests.goldens import stratum
from tests.support import ECHO, LIVE, asked, files_below, project, run_bare

posix = pytest.mark.skipif(sys.platform == "win32", reason="file modes, limits and locks")

APP = """\
from stratum import infer

@infer(intent="Repeat it", retries=0)
def say(text: str) -> str: ...

@infer(intent="Repeat it", retries=0)
def tell(text: str) -> str: ...
"""
TESTS = """\
import app

def test_say(): assert app.say.run(text="hi") == "HI"
def test_tell(): assert app.tell.run(text="yo") == "YO"
"""
FILES = {"conftest.py": ECHO, "app.py": APP, "test_app.py": TESTS}
SAY = "golden/recordings/app.py/say.json"


def run(folder: Path, mode: str, *more: str, **env: str) -> "CompletedProcess[str]":
    return run_bare(folder, "-q", f"--stratum-{mode}", *more, env=env)


@pytest.fixture(scope="module")
def project_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = project(tmp_path_factory.mktemp("hardening"), FILES)
    done = run(folder, "record")
    assert done.returncode == 0, done.stdout
    return folder


@pytest.fixture
def recorded(project_once: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(project_once, tmp_path / "project"))


def with_hook(tmp_path: Path, hook: str, tests: str = TESTS) -> Path:
    """Return a project whose conftest.py does something else, too."""
    return project(tmp_path, {**FILES, "conftest.py": ECHO + hook, "test_app.py": tests})


# What golden/ holds


def conflict(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    path.write_text(f"<<<<<<< HEAD\n{text}=======\n{text}>>>>>>> main\n", encoding="utf-8")


def twice(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('"key":', '"cost": 1,\n   "key":', 1), encoding="utf-8")


def deep(path: Path) -> None:
    data = json.loads(path.read_text(encoding="utf-8"))
    data["calls"][0]["reply"] = json.loads("[" * 62 + "]" * 62)
    path.write_text(json.dumps(data), encoding="utf-8")


def huge(path: Path) -> None:
    os.truncate(path, MAX_BYTES + 1)


def latin(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"HI", b"\xe9"))


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def linked(path: Path) -> None:
    path.symlink_to(path.rename(path.parents[4] / "elsewhere.json"))


def climbing(path: Path) -> None:
    path.write_text(path.read_text().replace('"app.py"', '"../app.py"'))


BROKEN = {
    "conflict": (conflict, "say.json:1 has the merge-conflict marker <<<<<<<; keep one side"),
    "duplicate": (twice, 'the key "cost" is there twice in one object'),
    "deep": (deep, "is nested deeper than 64 levels"),
    "huge": (huge, "say.json is over 64 MB; split the module"),
    "latin-1": (latin, "is not UTF-8; restore the file"),
    "folder": (folder, "say.json cannot be read (Is a directory)"),
    "link": (linked, "leads out of"),
    "climbing": (climbing, "source a path below the root"),
}


@posix
@pytest.mark.parametrize(("spoil", "message"), BROKEN.values(), ids=BROKEN.keys())
def test_what_is_wrong_with_a_golden_file_is_named(
    recorded: Path, spoil: Callable[[Path], None], message: str
) -> None:
    spoil(recorded / SAY)
    with pytest.raises(RecordingCorrupt) as error:
        Recordings(recorded / "golden/recordings", recorded).read_all()
    assert message in str(error.value)


@posix
@pytest.mark.parametrize("spoil", [twice, folder], ids=["duplicate", "folder"])
def test_a_broken_golden_file_is_one_error_of_a_replay(
    recorded: Path, spoil: Callable[[Path], None]
) -> None:
    spoil(recorded / SAY)
    done = run(recorded, "replay")
    assert (done.returncode, done.stdout.count("say.json")) == (4, 1), done.stdout
    assert "INTERNALERROR" not in done.stdout


def test_a_record_run_leaves_a_broken_file_as_it_is(recorded: Path) -> None:
    conflict(recorded / SAY)
    before = files_below(recorded / "golden")
    done = run(recorded, "record-all")
    assert (done.returncode, len(asked(recorded))) == (4, 2), done.stdout
    assert files_below(recorded / "golden") == before
    (recorded / SAY).unlink()
    assert "1 taken from the cache, 1 replayed" in run(recorded, "record").stdout
    assert len(asked(recorded)) == 2


@posix
def test_nothing_is_written_through_a_link_that_leads_out(recorded: Path) -> None:
    elsewhere = recorded.parent / "elsewhere"
    elsewhere.mkdir()
    shutil.rmtree(recorded / "golden/recordings/app.py")
    (recorded / "golden/recordings/app.py").symlink_to(elsewhere)
    done = run(recorded, "record")
    assert (done.returncode, list(elsewhere.iterdir())) == (1, [])
    assert "app.py/say.json leads out of" in done.stdout
    (recorded / "golden/recordings/app.py").unlink()
    assert (run(recorded, "record").returncode, len(asked(recorded))) == (0, 2)


# Folders and files that cannot be written


def test_without_a_state_folder_nothing_is_asked(tmp_path: Path) -> None:
    folder = project(tmp_path, {**FILES, ".stratum": ""})
    done = run(folder, "record")
    assert (done.returncode, asked(folder)) == (4, []), done.stdout
    assert "cannot be made (Not a directory); make the folder writable" in done.stdout
    assert "INTERNALERROR" not in done.stdout


def test_without_a_cache_nothing_is_asked(tmp_path: Path) -> None:
    folder = project(tmp_path, {**FILES, ".stratum/cache": ""})
    done = run(folder, "record")
    assert (done.returncode, asked(folder)) == (1, []), done.stdout
    assert "cannot be used: File exists. Move the folder away" in done.stdout


@pytest.mark.parametrize("obstacle", ["golden", "golden/recordings/app.py"], ids=["top", "below"])
def test_replies_wait_in_the_cache_until_golden_can_be_written(
    tmp_path: Path, obstacle: str
) -> None:
    folder = project(tmp_path, {**FILES, obstacle: ""})
    done = run(folder, "record")
    assert (done.returncode, len(asked(folder))) == (1, 2), done.stdout
    assert "say.json could not be written" in done.stdout
    assert "2 calls recorded for $0.0020" in done.stdout
    (folder / obstacle).unlink()
    done = run(folder, "record")
    assert (done.returncode, len(asked(folder))) == (0, 2), done.stdout
    assert "2 taken from the cache" in done.stdout


# Folder modes bind root, too, without the capabilities to override them (Linux).
OBEDIENT = """
import ctypes, os
if os.geteuid() == 0:
    libc, head, sets = ctypes.CDLL(None), (ctypes.c_uint32 * 2)(0x20080522), (ctypes.c_uint32 * 6)()
    libc.capget(head, sets)
    sets[0] &= ~0b110
    libc.capset(head, sets)
"""


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Make a project that has a read-only folder."""
    folder = with_hook(tmp_path, OBEDIENT)
    closed = []

    def close(name: str) -> Path:
        (folder / name).mkdir(parents=True)
        (folder / name).chmod(0o555)
        closed.append(folder / name)
        return folder

    yield close
    for path in closed:
        path.chmod(0o755)


@posix
def test_a_read_only_golden_folder_loses_nothing(read_only: Callable[[str], Path]) -> None:
    folder = read_only("golden")
    done = run(folder, "record")
    assert (done.returncode, len(asked(folder))) == (1, 2), done.stdout
    assert "could not be written (Permission denied)" in done.stdout
    (folder / "golden").chmod(0o755)
    assert (run(folder, "record").returncode, len(asked(folder))) == (0, 2)


@posix
@pytest.mark.parametrize(
    ("where", "code"), [(".stratum", 4), (".stratum/cache", 1)], ids=["state", "cache"]
)
def test_a_read_only_state_folder_costs_nothing(
    read_only: Callable[[str], Path], where: str, code: int
) -> None:
    folder = read_only(where)
    done = run(folder, "record")
    assert (done.returncode, asked(folder)) == (code, []), done.stdout
    assert "writable" in done.stdout
    assert "INTERNALERROR" not in done.stdout


LIMIT = """
import resource

def limit(size): resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
"""


@posix
def test_a_golden_file_that_cannot_be_written_whole_is_as_it_was(tmp_path: Path) -> None:
    hook = f"{LIMIT}\nimport pytest\n@pytest.hookimpl(tryfirst=True)\n"
    hook += "def pytest_sessionfinish():\n    import os\n    'FULL' in os.environ and limit(500)\n"
    folder = with_hook(tmp_path, hook)
    done = run(folder, "record", FULL="1")
    assert (done.returncode, len(asked(folder))) == (1, 2), done.stdout
    assert done.stdout.count("could not be written (File too large)") == 2
    assert files_below(folder / "golden") == {}
    done = run(folder, "record")
    assert (done.returncode, len(asked(folder))) == (0, 2), done.stdout


@posix
def test_a_reply_that_the_full_disk_does_not_take_is_in_golden(tmp_path: Path) -> None:
    hook = f"{LIMIT}\nrepeat = answer\ndef answer(request):\n"
    hook += "    limit(20_000)\n    return repeat(request)\n"
    folder = with_hook(tmp_path, hook)
    done = run(folder, "record", "-k", "say")
    assert (done.returncode, len(asked(folder))) == (0, 1), done.stdout
    assert "cache: 1 paid reply could not be kept" in done.stdout
    assert "Free some space on the disk" in done.stdout
    assert run(folder, "replay", "-k", "say").returncode == 0


# The database


def sql(folder: Path, *statements: str) -> None:
    """Change the cache as somebody else would."""
    with closing(sqlite3.connect(folder / ".stratum/cache/cache.db")) as database, database:
        for statement in statements:
            database.execute(statement)


def test_a_truncated_database_costs_nothing(recorded: Path) -> None:
    shutil.rmtree(recorded / "golden")
    sql(recorded, "PRAGMA wal_checkpoint(TRUNCATE)")
    os.truncate(recorded / ".stratum/cache/cache.db", 5000)
    done = run(recorded, "record")
    assert (done.returncode, len(asked(recorded))) == (1, 2), done.stdout
    assert "cannot be used: " in done.stdout
    assert "Move the folder away; the next run starts an empty cache" in done.stdout
    shutil.rmtree(recorded / ".stratum/cache")
    assert (run(recorded, "record").returncode, len(asked(recorded))) == (0, 4)


def test_an_escaping_file_name_is_a_miss_that_touches_nothing(recorded: Path) -> None:
    (recorded / "precious").write_text("keep me")
    shutil.rmtree(recorded / "golden")
    sql(recorded, "UPDATE Cache SET filename = '../../precious', mode = 3, value = NULL")
    done = run(recorded, "record")
    assert (done.returncode, len(asked(recorded))) == (0, 4), done.stdout
    assert "cache: the cached row names a file outside the database" in done.stdout
    assert (recorded / "precious").read_text() == "keep me"


def test_a_row_of_another_form_is_a_miss(recorded: Path) -> None:
    shutil.rmtree(recorded / "golden")
    lost = {"state": "pending", "run": "../../x"}
    wrong = {"state": "settled", "tokens": 7, "wire": 1, "model": [], "cost": "", "data": 0}
    for text, value in (("HI", lost), ("YO", wrong)):
        row = json.dumps({"digest": digest(value), "value": value})
        sql(recorded, f"UPDATE Cache SET value = '{row}' WHERE value LIKE '%{text}%'")
    done = run(recorded, "record")
    assert (done.returncode, len(asked(recorded))) == (0, 4), done.stdout
    assert "cache: the cached row is of another form" in done.stdout


LOCKING = """
import sqlite3, subprocess, sys
from stratum.recording import _safe_disk

_safe_disk.PATIENCE = 0.1
LOCK = '''
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.read()
'''
repeat = answer
holders = []

def lock():
    path = Path(__file__).with_name(".stratum") / "cache" / "cache.db"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    holders.append(subprocess.Popen([sys.executable, "-c", LOCK, str(path)], **pipes))
    holders[-1].stdout.readline()

def unlock():
    while holders:
        holders.pop().communicate()

def answer(request):
    lock()
    return repeat(request)

def pytest_unconfigure(): unlock()
"""


@posix
def test_a_paid_reply_of_a_passed_test_outlives_a_locked_cache(tmp_path: Path) -> None:
    folder = with_hook(tmp_path, LOCKING)
    done = run(folder, "record", "-k", "say")
    assert (done.returncode, len(asked(folder))) == (0, 1), done.stdout
    assert "1 call recorded for $0.0010" in done.stdout
    assert "cache: 1 paid reply could not be kept: those of passed tests" in done.stdout
    assert "is locked. Wait for the process that holds it" in done.stdout
    assert (run(folder, "record", "-k", "say").returncode, len(asked(folder))) == (0, 1)


FAILING = TESTS.replace("YO", "NO")


@posix
def test_a_reply_is_kept_when_the_lock_goes_before_the_run_ends(tmp_path: Path) -> None:
    folder = with_hook(tmp_path, LOCKING + "def pytest_runtest_teardown(): unlock()\n", FAILING)
    done = run(folder, "record", "-k", "tell")
    assert (done.returncode, "could not be kept" in done.stdout) == (1, False), done.stdout
    done = run(folder, "record", "-k", "tell")
    assert (done.returncode, len(asked(folder))) == (1, 1), done.stdout
    assert "1 taken from the cache" in done.stdout


@posix
def test_a_locked_cache_does_not_hide_why_the_model_failed(tmp_path: Path) -> None:
    hook = f"{LOCKING}\ndef answer(request):\n    lock()\n    raise RuntimeError('no answer')\n"
    done = run(with_hook(tmp_path, hook), "record", "-k", "say")
    assert (done.returncode, "FAILED test_app.py::test_say - RuntimeError" in done.stdout) == (
        1,
        True,
    ), done.stdout


@posix
def test_no_call_is_asked_while_the_cache_is_locked(tmp_path: Path) -> None:
    folder = with_hook(tmp_path, f"{LOCKING}\ndef pytest_runtest_call(): lock()\n")
    project(folder, {".stratum/cache/x": ""})
    done = run(folder, "record", "-k", "say")
    assert (done.returncode, asked(folder)) == (1, []), done.stdout
    assert "is locked. Wait for the process that holds it" in done.stdout


# What a dead run leaves


def leave(folder: Path) -> list[Path]:
    """Leave what a killed run does: a lease, a journal, two halves of files."""
    names = (
        ".stratum/runs/0123456789abcdef.lease",
        ".stratum/journal/0123456789abcdef/fedcba9876543210.jsonl",
        "golden/recordings/app.py/.0123456789abcdef.tmp",
        "golden/flows/test_app/.0123456789abcdef.tmp",
    )
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{")
    return [folder / name for name in names]


def test_a_record_run_removes_what_a_dead_run_left(recorded: Path) -> None:
    left = leave(recorded)
    others = [recorded / name for name in ("golden/my.tmp", ".stratum/runs/notes")]
    for path in others:
        path.write_text("")
    assert run(recorded, "replay").returncode == 0
    assert [path.exists() for path in left] == [True] * 4
    assert run(recorded, "record").returncode == 0
    assert [path.exists() for path in left] == [False] * 4
    assert all(path.exists() for path in others)
    assert [path.name for path in (recorded / ".stratum/runs").iterdir()] == ["notes"]


def test_a_record_run_leaves_a_running_one_alone(recorded: Path) -> None:
    left = leave(recorded)
    with Lease(recorded / ".stratum/runs", "0123456789abcdef"):
        assert run(recorded, "record").returncode == 0
        assert [path.exists() for path in left] == [True] * 4


@posix
def test_the_sweep_follows_no_links(recorded: Path) -> None:
    elsewhere = recorded.parent / "elsewhere"
    kept = project(elsewhere, {"0123456789abcdef/precious": "", ".0123456789abcdef.tmp": ""})
    assert not (recorded / ".stratum/journal").exists()
    (recorded / ".stratum/journal").symlink_to(elsewhere)
    (recorded / "golden/linked").symlink_to(elsewhere)
    assert run(recorded, "record").returncode == 0
    assert (kept / "0123456789abcdef/precious").exists()
    assert (kept / ".0123456789abcdef.tmp").exists()


# What a reply may hold

EVIL = (
    "\x1b[31mred\x1b[0m \u202eevil\u2066\n::error file=app.py::pwned\n  ::warning::pwned\n"
    "##[error]pwned ]]> </script><script>alert(1)</script>\n# Title\n[link](http://x) | `code`\n"
)
HARMFUL = "\x1b\u202e\u2066"
OURS = ("::error file=app.py,line=", "::error file=test_app.py,line=")
EVIL_APP = """\
import os
from stratum import flow, infer

@infer(intent="Repeat it", retries=0)
def plain(text: str) -> str: ...

@infer(intent="Repeat it", retries=0)
def strict(text: str) -> str: ...

@infer(intent="Repeat it", context={evil!r} + os.environ.get("MORE", ""), retries=0)
def drifting(text: str) -> str: ...

@flow
async def echo(text: str) -> str:
    return (await plain(text=text)) + os.environ.get("MORE", "")
"""
EVIL_TESTS = """\
import os
import app

def test_plain(): assert app.plain.run(text="a") == os.environ.get("MORE", app.plain.run(text="b"))
def test_raised():
    said = app.plain.run(text="c")
    if "MORE" in os.environ: raise ValueError(said)
def test_drifting(): app.drifting.run(text="d")
def test_flow(golden_flow): golden_flow.run(app.echo, text="e")
"""


@pytest.fixture(scope="module")
def evil_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    conftest = f"{LIVE}\ndef answer(request): return {{'value': {EVIL!r}}}\n"
    app = EVIL_APP.replace("{evil!r}", repr(EVIL))
    files = {"conftest.py": conftest, "app.py": app, "test_app.py": EVIL_TESTS}
    folder = project(tmp_path_factory.mktemp("evil"), files)
    done = run(folder, "record")
    assert done.returncode == 0, done.stdout
    return folder


def commands(text: str) -> list[str]:
    """Return the lines that GitHub's runner takes for a command, by the rules of its source.

    `::name::` after white space, and `##[name]` anywhere; nothing between the two commands that
    stop and resume.
    """
    found, token = [], None
    for line in text.splitlines():
        said = line.strip()
        if token is not None:
            token = None if said == f"::{token}::" else token
        elif said.startswith("::stop-commands::"):
            token = said.removeprefix("::stop-commands::")
        elif said.startswith("::") or "##[" in line:
            found.append(said)
    return found


def test_a_recorded_reply_is_visible_in_golden(evil_once: Path) -> None:
    texts = [content.decode() for content in files_below(evil_once / "golden").values()]
    assert len(texts) == 3
    assert not [character for character in HARMFUL if character in "".join(texts)]


@pytest.mark.parametrize("style", ["auto", "native"])
def test_a_hostile_reply_changes_no_report(evil_once: Path, tmp_path: Path, style: str) -> None:
    xml, summary = tmp_path / "junit.xml", tmp_path / "summary.md"
    github = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(summary)}
    arguments = (f"--tb={style}", "-l", "-rA", f"--junitxml={xml}")
    done = run(evil_once, "replay", *arguments, MORE="!", **github)
    assert (done.returncode, "4 failed" in done.stdout) == (1, True), done.stdout
    assert not [character for character in HARMFUL if character in done.stdout]
    ours = [line for line in commands(done.stdout) if line.startswith("::error file=")]
    assert ours == commands(done.stdout)
    assert all(line.startswith(OURS) for line in ours), ours
    suite = ET.parse(xml).getroot()[0]
    assert (suite.get("tests"), suite.get("failures")) == ("4", "4")
    assert {child.tag for case in suite for child in case} <= {"failure", "properties"}
    lines = summary.read_text(encoding="utf-8").splitlines()
    assert not [line for line in lines if "<script" in line or line.startswith("# Title")]


@pytest.mark.parametrize(
    "flow",
    [
        pytest.param("trace: " + "[" * 5000, id="deep"),
        pytest.param("trace: []\nat: 2026-99-99", id="date"),
        pytest.param("trace: []\nresult: !!set {1, 2}\n? 2\n: {}", id="types"),
        pytest.param("trace: []\nresult: !!python/object/apply:os.getcwd []", id="object"),
        pytest.param("trace: [{function: [x], steps: 7}]", id="steps"),
        pytest.param("trace: []\nresult: .nan", id="nan"),
        pytest.param("a: b: c\x1b", id="syntax"),
    ],
)
def test_what_is_no_golden_flow_is_compared_as_text(flow: str) -> None:
    lines = flow_changes(flow, "result: HI\ntrace: []\n")
    assert any("result" in line for line in lines)
    assert all(len(line) < 200 and line.isprintable() for line in lines)


def test_references_are_not_followed() -> None:
    """Nine lines of them can stand for a billion values."""
    lines = flow_changes("trace: &a []\nresult: *a\n", "trace: []\nresult: [1]\n")
    assert "- result: *a" in lines


FLOW = "golden/flows/test_app/test_flow.yaml"


@posix
@pytest.mark.parametrize("spoil", [linked, folder], ids=["link", "folder"])
def test_a_golden_flow_that_is_no_file_fails_its_test(
    evil_once: Path, tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    copied = Path(shutil.copytree(evil_once, tmp_path / "a/project"))
    spoil(copied / FLOW)
    before = files_below(copied / "golden")
    done = run(copied, "record", "-k", "flow")
    assert (done.returncode, "test_flow.yaml" in done.stdout) == (1, True), done.stdout
    assert "INTERNALERROR" not in done.stdout
    assert files_below(copied / "golden") == before


def test_a_golden_flow_that_cannot_be_written_is_an_error(evil_once: Path, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(evil_once, tmp_path / "project"))
    shutil.rmtree(copied / "golden/flows")
    (copied / "golden/flows").write_text("")
    done = run(copied, "record", "-k", "flow")
    assert (done.returncode, "1 passed" in done.stdout) == (1, True), done.stdout
    assert "test_flow.yaml could not be written" in done.stdout
    assert "INTERNALERROR" not in done.stdout


@posix
def test_a_golden_flow_in_a_read_only_folder_is_an_error(read_only: Callable[[str], Path]) -> None:
    folder = read_only("golden/flows/test_app")
    app = f"{APP}\nfrom stratum import flow\n@flow\nasync def echo(text): return text\n"
    test = "import app\ndef test_flow(golden_flow): golden_flow.run(app.echo, text='e')\n"
    project(folder, {"app.py": app, "test_app.py": test})
    done = run(folder, "record")
    assert (done.returncode, "1 passed" in done.stdout) == (1, True), done.stdout
    assert "test_flow.yaml could not be written (Permission denied)" in done.stdout


def test_drift_without_tests_is_no_command_either(evil_once: Path, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(evil_once, tmp_path / "project"))
    broken = copied / "golden/recordings/app.py/broken.json"
    broken.write_text('{"##[error]x": 1, "##[error]x": 2}')
    replayed = run(copied, "replay")
    assert (replayed.returncode, commands(replayed.stdout)) == (4, [])
    done = stratum(copied, "drift", MORE="!")
    assert "its context changed" in done.stdout
    assert commands(done.stdout) == [], done.stdout
