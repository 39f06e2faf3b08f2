"""Recordings that are too old, and those that nothing asks for any more."""

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from stratum.errors import ConfigurationError
from stratum.recording.ages import is_stale, oldest_day
from stratum.settings import Settings, load
from tests.goldens import call, recorded, stratum
from tests.support import ECHO, LIVE, SETTINGS, asked, project, run_bare

APP = """\
from stratum import infer

@infer(intent="Shout it")
def shout(text: str) -> str: ...

@infer(intent="Whisper it")
def whisper(text: str) -> str: ...
"""

TESTS = """\
import app

def test_one():
    app.shout.run(text="one")

def test_two():
    app.shout.run(text="two")

def test_three():
    app.whisper.run(text="three")
"""

AGED = SETTINGS + "max_age = 30\n"
SHOUT = "golden/recordings/app.py/shout.json"


def day(before: int) -> str:
    return (datetime.now(UTC).date() - timedelta(days=before)).isoformat()


@pytest.fixture(scope="module")
def just_recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of three recorded calls, where calls may be 30 days old."""
    files = {"conftest.py": ECHO, "app.py": APP, "test_app.py": TESTS, "pyproject.toml": AGED}
    folder = project(tmp_path_factory.mktemp("recorded"), files)
    run = run_bare(folder, "--stratum-record")
    assert run.returncode == 0, run.stdout
    assert "not used" not in run.stdout
    return folder


@pytest.fixture
def folder(just_recorded: Path, tmp_path: Path) -> Path:
    """The project, for one test to change."""
    return Path(shutil.copytree(just_recorded, tmp_path / "project"))


def change(path: Path, text: str, **more: object) -> None:
    """Change the entry of one call in a golden file."""
    data = json.loads(path.read_text(encoding="utf-8"))
    [entry] = [each for each in data["calls"] if each["prompt"][-1] == f"text: {text}"]
    entry |= more
    path.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


# Age


@pytest.mark.parametrize("value", ["0", "-1", "true", "1.5", "'30'"])
def test_an_age_is_a_positive_number_of_days(tmp_path: Path, value: str) -> None:
    (tmp_path / "pyproject.toml").write_text(f"[tool.stratum]\nmax_age = {value}\n")
    with pytest.raises(
        ConfigurationError, match=r"max_age = .* should be a positive number of day"
    ):
        load(tmp_path)


@pytest.mark.parametrize(
    ("entry", "stale"),
    [
        ({"recorded_on": day(31)}, True),
        ({"recorded_on": day(30)}, False),
        ({"recorded_on": day(0)}, False),
        ({"recorded_on": None}, True),
        ({"recorded_on": day(31), "edited": True}, False),
        ({"recorded_on": day(31), "outcome": "unsent", "reply": None}, False),
    ],
    ids=["older", "as old", "new", "undated", "edited", "no answer"],
)
def test_an_answer_is_stale_when_it_is_older_than_the_age(
    entry: dict[str, object], stale: bool
) -> None:
    oldest = oldest_day(Settings(Path(), max_age=30))
    reply = entry.pop("reply", "a")
    assert is_stale(call("x", reply, **entry), oldest) is stale
    assert not is_stale(call("x", reply, **entry), oldest_day(Settings(Path())))


def test_an_age_beyond_the_calendar_makes_nothing_stale() -> None:
    oldest = oldest_day(Settings(Path(), max_age=10**12))
    assert not is_stale(call("x", recorded_on="1970-01-01"), oldest)


def test_replay_serves_stale_answers_and_counts_them(folder: Path) -> None:
    change(folder / SHOUT, "one", recorded_on=day(31))
    change(folder / SHOUT, "two", recorded_on=day(30))
    run = run_bare(folder, "--stratum-replay")
    assert run.returncode == 0, run.stdout
    assert "3 calls replayed, $0.0030 saved, 1 of the replayed stale" in run.stdout


def test_recording_asks_for_stale_answers_anew(folder: Path) -> None:
    change(folder / SHOUT, "one", recorded_on=day(31), reply={"value": "OLD"})
    change(folder / SHOUT, "two", recorded_on=day(31), reply={"value": "MINE"}, edited=True)
    shutil.rmtree(folder / ".stratum")
    (folder / "test_app.py").write_text(TESTS + "\ndef test_again():\n    test_one()\n")
    run = run_bare(folder, "--stratum-record")
    assert "1 call recorded for $0.0010, 2 replayed" in run.stdout
    kept = (folder / SHOUT).read_text(encoding="utf-8")
    assert day(31) in kept.partition('"MINE"')[2]
    assert "OLD" not in kept
    assert asked(folder)[3:] == asked(folder)[:1]
    assert " stale" not in run_bare(folder, "--stratum-replay").stdout


def test_without_a_key_a_stale_answer_is_named(folder: Path) -> None:
    change(folder / SHOUT, "one", recorded_on=day(31))
    shutil.rmtree(folder / ".stratum")
    refuse = "\n\ndef answer(request):\n    raise stratum.AuthenticationFailed('no key')\n"
    (folder / "conftest.py").write_text(LIVE + refuse)
    run = run_bare(folder, "--stratum-record")
    assert run.returncode == 1
    assert "stale drift · shout · app.py:4 · 1 test\n" in run.stdout
    assert "  its answer is older than max_age allows\n" in run.stdout


def test_a_stale_answer_is_not_taken_from_the_cache(folder: Path) -> None:
    _age_the_cache(folder, day(31))
    change(folder / SHOUT, "one", recorded_on=day(31))
    run = run_bare(folder, "--stratum-record")
    assert "1 call recorded for $0.0010, 2 replayed" in run.stdout
    assert len(asked(folder)) == 4


def _age_the_cache(folder: Path, recorded_on: str) -> None:
    from stratum.recording.disk import DiskCache

    cache = DiskCache(folder / ".stratum" / "cache")
    for row in cache.keys("reply:"):
        cache.put(row, {**cache.get(row).value, "day": recorded_on})
    cache.close()


def test_stratum_drift_lists_what_is_stale(folder: Path) -> None:
    change(folder / SHOUT, "one", recorded_on=day(31))
    run = stratum(folder, "drift")
    assert run.returncode == 1
    said = "stale drift in shout (app.py:4): 1 of 2 recorded calls is older than 30 days (max_age)"
    assert said in run.stdout
    assert "2 functions with 3 recorded calls compared, 0 outdated, 1 stale" in run.stdout
    assert "accept: pytest --stratum-record" in run.stdout


def test_stratum_drift_sees_the_age_of_what_only_tests_can_compare(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(AGED)
    aged = call("x", recorded_on=day(40))
    recorded(tmp_path, aged, home="test_app.py/inner.json", source="test_app.py", function="inner")
    run = stratum(tmp_path, "drift")
    assert run.returncode == 1
    assert "stale drift in inner (test_app.py:1): 1 of 1 recorded call" in run.stdout


# What nothing asks for


WITHOUT_TWO = TESTS.replace('"two"', '"one"')
WITHOUT_THREE = TESTS.partition("def test_three")[0]


@pytest.mark.parametrize("flags", [(), ("-n2", "-p", "xdist")], ids=["alone", "xdist"])
def test_a_complete_replay_counts_what_it_did_not_use(folder: Path, flags: tuple[str]) -> None:
    (folder / "test_app.py").write_text(WITHOUT_TWO)
    run = run_bare(folder, "--stratum-replay", *flags)
    assert run.returncode == 0, run.stdout
    assert "  1 recorded call was not used (orphaned)\n" in run.stdout
    partial = run_bare(folder, "--stratum-replay", "-k", "one", *flags)
    assert "not used" not in partial.stdout


def test_calls_of_an_earlier_contract_are_outdated(folder: Path) -> None:
    (folder / "app.py").write_text(APP.replace("Shout it", "Shout loudly"))
    run_bare(folder, "--stratum-record", "-k", "one")
    (folder / "test_app.py").write_text(WITHOUT_TWO)
    run = run_bare(folder, "--stratum-replay", "--stratum-report=run.json")
    assert "  1 recorded call was not used (orphaned, 1 of them outdated)\n" in run.stdout
    told = json.loads((folder / "run.json").read_text(encoding="utf-8"))["recordings"]
    assert (told["orphaned"], told["outdated"]) == (1, 1)


def test_a_complete_record_run_counts_what_it_leaves_unused(folder: Path) -> None:
    (folder / "test_app.py").write_text(WITHOUT_THREE)
    run = run_bare(folder, "--stratum-record")
    assert "  1 recorded call was not used (orphaned)\n" in run.stdout
    (folder / "app.py").write_text(APP.replace("Shout it", "Shout loudly"))
    changed = run_bare(folder, "--stratum-record")
    assert "  1 recorded call was not used (orphaned)\n" in changed.stdout  # not what it replaced
