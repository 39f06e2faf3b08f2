"""Whatever a golden file holds, reading it and answering from it ends in an answer or our error."""

import json
from collections.abc import Iterator
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from stratum import infer
from stratum.calls import Quote, Reply, Request, Usage
from stratum.errors import RecordingCorrupt, RecordingError, StratumError
from stratum.recording import client
from stratum.recording.client import RecordingClient
from stratum.recording.golden import FunctionFile, Recordings, homes, read, text_of
from stratum.recording.listing import CallListing, FunctionListing, find
from stratum.recording.store import GoldenStore
from stratum.roots import Root
from stratum.scope import rooted
from stratum.settings import Settings


class Part(BaseModel):
    of: Literal["a", "b"]
    parts: "list[Part]" = []


class Choice(BaseModel):
    name: str = Field(max_length=9, description="in capitals")
    score: float | None = None
    part: Part


@infer(intent="Choose", context="With care", retries=1, model="test/model", temperature=0.5)
def choose(text: str) -> Choice: ...


class OtherChoice(BaseModel):
    name: str
    parts: list[Part]


@infer(intent="Choose one", retries=1, model="other/model", max_tokens=99)
def drifted(text: str) -> OtherChoice: ...


class Live:
    """Answers a retry well, and anything else with too long a name."""

    async def complete(self, request: Request) -> Reply:
        name = "short" if request.attempt else "much too long"
        part = {"of": "a", "parts": [{"of": "b"}]}
        return Reply({"name": name, "part": part}, Usage(10, 5), "stand-in", cost=0.001)

    async def quote(self, request: Request) -> Quote:
        return Quote(10, 1.0, 2.0)


def recorded() -> tuple[str, str]:
    """Return where the function is recorded, and what the golden file holds."""
    with TemporaryDirectory() as name:
        store = GoldenStore(Settings(root=Path(__file__).parent, recordings="cache"))
        store.recordings = Recordings(Path(name), store.settings.root)
        root = Root("test", client=RecordingClient(store, Live()))
        with rooted(root):
            for text in ("one", "two", "one"):
                choose.run(text=text)
        store.passed(root)
        (home,) = store.write(complete=True)
        return home, Path(name, home).read_text(encoding="utf-8")


HOME, VALID = recorded()
DRIFTED = HOME.replace("choose", "drifted")  # a function that answers none of the same calls

JUNK = st.one_of(
    st.sampled_from([None, True, False, 0, -1, 1, 1e308, -0.0, 10**400, "", "*", "#", "~", "\0"]),
    st.sampled_from(["timeout", "cancelled", "cut", "unsent", "refused", "0#0", "~#1", "../x.py"]),
    st.sampled_from([[], {}, [[]], [None], {"": None}, {"$ref": "#/$defs/Part"}, "\ud800\u202e"]),
    st.sampled_from([{"$ref": "#"}, {"anyOf": [{"$ref": "#"}, {"type": "null"}]}, ["*", "0#0"]]),
    st.integers(),
    st.text(st.characters(exclude_categories=()), max_size=9),
)
MUTATIONS = st.lists(
    st.tuples(
        st.integers(0, 2**16),
        st.sampled_from(["replace", "drop", "double", "wrap", "rename", "move"]),
        JUNK,
    ),
    min_size=1,
    max_size=4,
)


def spots(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every object or list inside a value, with each of its keys or positions."""
    names = list(value) if isinstance(value, dict) else range(len(value))
    for name in names:
        yield value, name
        if isinstance(value[name], (dict, list)):
            yield from spots(value[name])


def mutate(data: Any, at: int, how: str, junk: Any) -> None:
    """Change one place of a JSON value."""
    found = list(spots(data))
    if not found:
        return
    inside, name = found[at % len(found)]
    value = inside[name]
    if how == "drop":
        del inside[name]
    elif how == "double" and isinstance(inside, list):
        inside.append(deepcopy(value))
    elif how == "wrap":
        inside[name] = [value] if at % 2 else {str(junk): value}
    elif how == "rename" and isinstance(inside, dict):
        inside[str(junk)] = inside.pop(name)
    elif how == "move":
        other, there = found[(at * 7 + 1) % len(found)]
        inside[name], other[there] = deepcopy(other[there]), deepcopy(value)
    else:
        inside[name] = deepcopy(junk)


def use(content: bytes) -> None:
    """Do with a golden file all that Stratum does with one."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / HOME).parent.mkdir(parents=True)
        for home in (HOME, DRIFTED):
            (folder / home).write_bytes(content)
        try:
            file = read(folder, HOME)
        except RecordingCorrupt:
            return
        look_at(file)
        replay(folder)


def look_at(file: FunctionFile) -> None:
    assert isinstance(FunctionListing.of(HOME, file).calls, tuple)
    for found in find({HOME: file}, ""):
        assert CallListing.of(found.sample).key == found.sample.key
        assert found.prompt() is None or isinstance(found.inputs(), str)
    with suppress(RecordingError):
        assert text_of(file)


def replay(folder: Path) -> None:
    store = GoldenStore(Settings(root=Path(__file__).parent, recordings="cache"))
    store.recordings = Recordings(folder, store.settings.root)
    root = Root("test", client=RecordingClient(store))
    for text in ("one", "three"):
        with rooted(root), pytest.raises(RecordingError, match="drift in drifted"):
            drifted.run(text=text)
        with rooted(root), suppress(StratumError):
            assert isinstance(choose.run(text=text), Choice)


@pytest.fixture(autouse=True, scope="module")
def _no_long_waits() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(client, "NEVER", 0.001)
        yield


def test_the_valid_file_answers(tmp_path: Path) -> None:
    (tmp_path / HOME).parent.mkdir(parents=True)
    (tmp_path / HOME).write_text(VALID, encoding="utf-8")
    assert list(homes(tmp_path)) == [HOME]
    assert len(read(tmp_path, HOME).samples) == 6
    use(VALID.encode())


@pytest.mark.parametrize("junk", [None, [], {}, 7, "x", [7], ["x"], {"x": 7}], ids=repr)
@pytest.mark.parametrize("part", ["contracts", "instructions", "calls"])
def test_any_part_may_be_anything(part: str, junk: Any) -> None:
    for name in {name for _, name in spots(json.loads(VALID)[part])}:
        data = json.loads(VALID)
        for inside, other in list(spots(data[part])):
            if other == name:
                inside[other] = junk
        use(json.dumps(data).encode())


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(MUTATIONS)
def test_any_json_in_place_of_any_other_is_survived(changes: list[tuple[int, str, Any]]) -> None:
    data = json.loads(VALID)
    for at, how, junk in changes:
        mutate(data, at, how, junk)
    use(json.dumps(data).encode())


EDITS = st.lists(
    st.tuples(
        st.integers(0, len(VALID)),
        st.integers(0, 30),
        st.binary(max_size=9)
        | st.sampled_from([b'"', b"{", b"]", b",", b"1e999", b"\xff", b"NaN"]),
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(EDITS)
@example([(0, len(VALID), b"")])
@example([(0, len(VALID), b"[]")])
@example([(0, len(VALID), b"0")])
@example([(0, 0, b"\xef\xbb\xbf")])
@example([(0, 0, b"\0")])
@example([(VALID.index('"source": ') + 9, 3, b"1e310")])  # a fault inside broken JSON
def test_any_octets_in_place_of_any_other_are_survived(edits: list[tuple[int, int, bytes]]) -> None:
    content = VALID.encode()
    for at, length, new in edits:
        content = content[:at] + new + content[at + length :]
    use(content)
