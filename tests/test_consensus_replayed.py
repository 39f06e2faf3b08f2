"""Quorums and samples under record and replay, as a project meets them."""

import json
from pathlib import Path
from typing import Any

import pytest

from stratum import infer, parallel
from tests.replaying import Recorded
from tests.support import LIVE, asked, project, run_bare

CONFTEST = f"""\
{LIVE}
import itertools

answers = itertools.cycle(["good", "bad", "good", "good"])

def answer(request):
    return {{"value": next(answers)}}
"""

APP = """\
from stratum import infer

@infer(intent="Say the mood", quorum=3)
def mood(text: str) -> str: ...

@infer(intent="Say the mood again", stable=False)
def moods(text: str) -> str: ...

@infer(intent="Say the mood of it", quorum=2, cache="global")
def remembered(text: str) -> str: ...
"""

TEST = """\
import pytest
from app import mood, moods

def test_the_mood_is_good():
    assert mood.run(text="x") == "good"

def test_the_mood_is_not_stable():
    found = moods.run(text="x")
    assert len(found.samples) == 5
    with pytest.raises(AssertionError, match="[34] of 5 samples agree"):
        found.assert_stable(0.9)
"""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("agreed")
    project(folder, {"conftest.py": CONFTEST, "app.py": APP, "test_app.py": TEST})
    done = run_bare(folder, "--stratum-record")
    assert "2 passed" in done.stdout, done.stdout
    return folder


def golden(folder: Path, name: str) -> list[dict[str, object]]:
    path = folder / "golden" / "recordings" / "app.py" / f"{name}.json"
    calls: list[dict[str, object]] = json.loads(path.read_text(encoding="utf-8"))["calls"]
    return calls


def test_each_sample_is_recorded_at_its_place(recorded: Path) -> None:
    assert [call["places"] for call in golden(recorded, "moods")] == [[f"{n}#0"] for n in range(5)]
    assert len({call["key"] for call in golden(recorded, "moods")}) == 1


def test_a_quorum_records_the_order_of_its_replies(recorded: Path) -> None:
    calls = golden(recorded, "mood")
    order = sorted(call["finished"] for call in calls if "finished" in call)  # type: ignore
    assert order == list(range(len(order)))
    assert len(order) >= 2


def test_they_are_replayed(recorded: Path) -> None:
    before = len(asked(recorded))
    for _ in range(2):
        done = run_bare(recorded, "--stratum-replay")
        assert "2 passed" in done.stdout, done.stdout
    assert len(asked(recorded)) == before


def test_under_a_mode_nothing_agreed_is_remembered(tmp_path: Path) -> None:
    twice = """\
    from app import remembered

    def test_it():
        assert remembered.run(text="x") == remembered.run(text="x")
    """
    conftest = CONFTEST.replace('["good", "bad", "good", "good"]', '["good"]')
    project(tmp_path, {"conftest.py": conftest, "app.py": APP, "test_app.py": twice})
    assert "1 passed" in run_bare(tmp_path, "--stratum-record").stdout
    assert len(golden(tmp_path, "remembered")) == 4
    done = run_bare(tmp_path, "--stratum-replay")
    assert "1 passed" in done.stdout, done.stdout


@infer(intent="Say a number", quorum=3)
def agree(text: str) -> int: ...


async def two_quorums() -> Any:
    return await parallel(agree(text="a"), agree(text="b"))


def test_quorums_side_by_side_share_one_order(tmp_path: Path) -> None:
    Recorded(tmp_path, two_quorums, lambda request, chance: {"value": 1}, seed=1)
    (path,) = tmp_path.rglob("agree.json")
    calls = json.loads(path.read_text(encoding="utf-8"))["calls"]
    order = [call["finished"] for call in calls if "finished" in call]
    assert sorted(order) == list(range(len(order)))
    assert len(order) >= 4
