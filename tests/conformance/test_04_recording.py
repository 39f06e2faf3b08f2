"""SPEC section 4: recording."""

import asyncio
import json
import pickle
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from stratum import (
    AmbiguousPlace,
    InputError,
    RecordingCorrupt,
    RecordingMissing,
    infer,
    parallel,
    using,
)
from stratum.recording.disk import DiskCache
from stratum.recording.formats import FORMAT
from stratum.settings import Settings
from tests.conformance.live import Live
from tests.goldens import HOME, call, text
from tests.scripted import answering
from tests.wrapped import recording, replaying


@infer(intent="Say it louder", model="any/model")
def louder(text: str) -> str: ...


@infer(intent="Count", model="any/model")
def count(items: Any) -> int: ...


def shouting() -> Live:
    return Live(lambda request: {"value": request.prompt.text.upper()})


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(root=tmp_path)


def golden_file(settings: Settings, content: str) -> Path:
    path = settings.recordings_folder / HOME
    path.parent.mkdir(parents=True)
    path.write_text(content, encoding="utf-8")
    return path


def test_4_1_1_what_cannot_shape_an_answer_is_not_in_the_key() -> None:
    plain = {"api_key": "k" * 20, "base_url": "http://x", "timeout": 3, "num_retries": 9}
    with answering("A", "B", "C") as client:
        for params in ({}, plain, {"seed": 3}):
            louder.with_(params=params).run(text="a")
    keys = [request.key for request in client.requests]
    assert keys[0] == keys[1] != keys[2]


@pytest.mark.parametrize(
    "value",
    [object(), [object()], {"a": lambda: 0}, float("nan"), {1: 2, "1": 3}, b"\xff"],
    ids=["object", "in-a-list", "function", "nan", "keys-that-collide", "bytes"],
)
def test_4_1_2_an_input_without_a_deterministic_text_is_refused(value: Any) -> None:
    with answering() as client, pytest.raises(InputError, match="items"):
        count.run(items=value)
    assert client.requests == []


def test_4_1_2_inputs_are_formatted_canonically() -> None:
    hashes = {
        count.compile(items=items).hash
        for items in ({"a": {"x", "y", "z"}, "b": 1}, {"b": 1, "a": {"z", "y", "x"}})
    }
    assert len(hashes) == 1


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param(lambda: louder.run(text="hello!"), id="input"),
        pytest.param(lambda: louder.with_(model="any/model-2").run(text="hello"), id="model"),
        pytest.param(lambda: louder.with_(params={"seed": 1}).run(text="hello"), id="params"),
        pytest.param(
            lambda: parallel(louder(text="hello"), louder(text="hello")).run(), id="place"
        ),
    ],
)
def test_4_1_3_a_changed_call_misses(settings: Settings, changed: Callable[[], Any]) -> None:
    live = shouting()
    with recording(settings), using(client=live):
        louder.run(text="hello")
    with replaying(settings) as root, using(client=live), pytest.raises(RecordingMissing):
        changed()
    root.misses.clear()
    assert len(live.asked) == 1


async def _twice_by_tasks() -> None:
    await asyncio.gather(*(asyncio.create_task(_louder()) for _ in range(2)))


async def _louder() -> str:
    return await louder(text="same")


async def _twice_by_parallel() -> None:
    await parallel(louder(text="same"), louder(text="same"))


def test_4_2_2_two_user_tasks_that_make_one_call_are_ambiguous(settings: Settings) -> None:
    with recording(settings), using(client=shouting()), pytest.warns(AmbiguousPlace):
        asyncio.run(_twice_by_tasks())


def test_4_2_2_branches_of_parallel_are_not_ambiguous(settings: Settings) -> None:
    with recording(settings), using(client=shouting()):
        asyncio.run(_twice_by_parallel())  # warnings are errors


GOOD = text(call("a"))


@pytest.mark.parametrize(
    ("content", "has_line", "said"),
    [
        pytest.param(
            GOOD.replace(' "calls"', '<<<<<<< ours\n "calls"', 1), True, "conflict", id="conflict"
        ),
        pytest.param(
            GOOD.replace(' "calls"', ' "format": 1,\n "calls"', 1),
            False,
            "twice",
            id="duplicate",
        ),
        pytest.param('{\n "a": ' + "[" * 80 + "]" * 80 + "\n}", False, "64", id="depth"),
        pytest.param(
            GOOD.replace(f'"format": {FORMAT}', f'"format": {FORMAT + 1}'),
            False,
            f"has format {FORMAT + 1}",
            id="format",
        ),
        pytest.param("{" + " " * (64 * 1024 * 1024) + "}", False, "64 MB", id="size"),
        pytest.param(GOOD[:-9], True, "JSON", id="cut"),
    ],
)
def test_4_3_5_a_golden_file_that_cannot_be_read_is_corrupt(
    settings: Settings, content: str, has_line: bool, said: str
) -> None:
    path = golden_file(settings, content)
    with replaying(settings), using(client=shouting()), pytest.raises(RecordingCorrupt) as corrupt:
        louder.run(text="a")
    message = str(corrupt.value)
    assert said in message
    assert path.name in message
    assert any(remedy in message for remedy in ("correct", "restore", "split", "upgrade", "record"))
    assert not has_line or f"{path.name}:" in message


class Bomb:
    def __init__(self, made: Path) -> None:
        self.made = made

    def __reduce__(self) -> Any:
        return Path.mkdir, (self.made,)


@pytest.mark.parametrize("column", ["value", "key"])
def test_4_3_5_the_cache_unpickles_nothing(tmp_path: Path, column: str) -> None:
    planted = pickle.dumps(Bomb(tmp_path / "made"))
    with closing(DiskCache(tmp_path / "cache")) as cache:
        cache.put("k", {"n": 1})
        cache.close()
        with closing(sqlite3.connect(tmp_path / "cache" / "cache.db")) as database, database:
            what = "value = ?, mode = 4" if column == "value" else "key = ?, raw = 0"
            database.execute(f"UPDATE Cache SET {what}", (planted,))
        assert cache.get("k").value is None
        list(cache.keys(""))
    assert not (tmp_path / "made").exists()


def test_4_3_5_a_bad_row_is_a_miss_with_a_reason(tmp_path: Path) -> None:
    with closing(DiskCache(tmp_path / "cache")) as cache:
        cache.put("k", {"n": 1})
        cache.close()
        with closing(sqlite3.connect(tmp_path / "cache" / "cache.db")) as database, database:
            database.execute("UPDATE Cache SET value = replace(value, '1', '2')")
        row = cache.get("k")
    assert row.value is None
    assert row.reason


def test_4_3_8_a_newer_format_is_refused_with_the_remedy(settings: Settings) -> None:
    golden_file(settings, '{"format": 99, "contracts": {}, "instructions": {}, "calls": []}')
    with (
        replaying(settings),
        using(client=shouting()),
        pytest.raises(RecordingCorrupt, match=r"has format 99(.|\n)*--upgrade"),
    ):
        louder.run(text="a")


def test_4_3_8_every_older_format_is_read(settings: Settings) -> None:
    """Format 0 had `tokens` and `quote` as objects and no `wire` in instructions."""
    with recording(settings), using(client=shouting()):
        louder.run(text="hello")
    (path,) = settings.recordings_folder.rglob("*.json")
    data = json.loads(path.read_text(encoding="utf-8"))
    for entry in data["calls"]:
        entry["tokens"] = dict(zip(("input", "output"), entry["tokens"], strict=True))
        names = ("input_tokens", "input_price", "output_price")
        entry["quote"] = dict(zip(names, entry["quote"], strict=True))
    for words in data["instructions"].values():
        del words["wire"]
    path.write_text(json.dumps({**data, "format": 0}), encoding="utf-8")
    with replaying(settings), using(client=shouting()):
        assert louder.run(text="hello") == "TEXT: HELLO"
