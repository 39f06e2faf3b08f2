"""SPEC section 13: caching."""

from pathlib import Path

import pytest

from stratum import PostconditionFailed, infer, using
from stratum.settings import Settings
from tests.conformance.live import Live
from tests.scripted import MODEL, answering
from tests.wrapped import recording, replaying


@infer(intent="Say it", cache="session", ensure=lambda r: r != "bad", retries=0)
def say(text: str) -> str: ...


def test_13_1_an_answer_of_the_session_is_remembered_by_key() -> None:
    with answering("A", "B") as client:
        assert [say.run(text=text) for text in ("a", "a", "b", "a")] == ["A", "A", "B", "A"]
    assert len(client.requests) == 2


def test_13_1_only_what_settled_well_is_remembered() -> None:
    with answering("bad", "good") as client:
        with pytest.raises(PostconditionFailed):
            say.run(text="a")
        assert say.run(text="a") == "good"
    assert len(client.requests) == 2


@pytest.mark.parametrize("cache", ["session", "global"])
def test_13_1_under_a_mode_it_remembers_for_one_root(tmp_path: Path, cache: str) -> None:
    settings, live = Settings(root=tmp_path), Live(lambda request: {"value": "A"})
    cached = say.with_(cache=cache)  # type: ignore[arg-type]
    for _ in range(2):
        with recording(settings), using(client=live, model=MODEL):
            assert [cached.run(text="a") for _ in range(3)] == ["A"] * 3
    assert len(live.asked) == 1
    with replaying(settings), using(client=live, model=MODEL):
        assert cached.run(text="a") == "A"
    assert len(live.asked) == 1
