"""`stratum merge`: two sides of a golden file joined by key and place, as git's driver does."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratum.cli import main
from stratum.hashing import digest
from stratum.recording.golden import FunctionFile, Sample, read_file, text_of
from stratum.recording.merge import join
from tests.goldens import HOME, WORDS, call, golden, stratum, text

A = call("one", "a")
B = call("one", "b")
C = call("one", "c")
LATER = call("one", "a", recorded_on="2026-05-05")
EDITED = call("one", "e", edited=True)
RENAMED = call("one", "a", instructions="0123456789ab")
AT_0, AT_1, AT_2 = (call("one", reply, f"#{turn}") for turn, reply in enumerate(["a", "b", "c"]))
OUT_OF_TIME = call("one", None, outcome="timeout", ms=5)
UNSENT = call("one", None, outcome="unsent")
X, Y, Z = (call(name) for name in ("x", "y", "z"))

Side = tuple[Sample, ...]


def three(folder: Path, *sides: Side) -> list[Path]:
    """Write base, ours and theirs under the names that git gives them; () is an empty file."""
    paths = [folder / f".merge_file_{name}" for name in ("O", "A", "B")]
    for path, side in zip(paths, sides, strict=True):
        path.write_bytes(text(*side).encode() if side else b"")
    return paths


def merged(folder: Path, *sides: Side) -> tuple[int, bytes]:
    paths = three(folder, *sides)
    code = main(["merge", *map(str, paths), "--path", HOME])
    return code, paths[1].read_bytes()


JOINED = {
    "both-added-the-file": ((), (X,), (Y,), (X, Y)),
    "equal": ((), (X, A), (X, A), (X, A)),
    "nothing-changed": ((X, A), (X, A), (X, A), (X, A)),
    "each-adds-one": ((X,), (X, Y), (X, Z), (X, Y, Z)),
    "ours-changed": ((X, A), (X, B), (X, A), (X, B)),
    "theirs-changed": ((X, A), (X, A), (X, B), (X, B)),
    "both-changed-alike": ((X, A), (X, B), (X, B), (X, B)),
    "ours-removed": ((X, A), (X,), (X, A), (X,)),
    "theirs-removed": ((X, A), (X, A), (X,), (X,)),
    "both-removed": ((X, A), (X,), (X,), (X,)),
    "all-removed": ((X, Y), (X,), (Y,), ()),
    "removed-and-recorded-later": ((X, A), (X,), (X, LATER), (X,)),
    "recorded-later-by-theirs": ((), (A,), (LATER,), (LATER,)),
    "recorded-later-by-ours": ((), (LATER,), (A,), (LATER,)),
    "edited-and-recorded-later": ((A,), (EDITED,), (LATER,), (EDITED,)),
    "edited-and-referenced-anew": (
        (A,),
        (RENAMED,),
        (EDITED,),
        (call("one", "e", edited=True, instructions="0123456789ab"),),
    ),
    "edit-taken-back": ((EDITED,), (EDITED,), (A,), (A,)),
    "same-reply-edited-by-one": ((), (call("one", "e"),), (EDITED,), (EDITED,)),
    "places-added": (
        (AT_0, AT_1),
        (call("one", "a", "#0", "3.0#0"), AT_1),
        (AT_0, call("one", "b", "#1", "4.0#0")),
        (call("one", "a", "#0", "3.0#0"), call("one", "b", "#1", "4.0#0")),
    ),
    "places-renumbered": (
        (AT_0, AT_1),
        (call("one", "a", "2.0#0"), AT_1),
        (AT_0, AT_1),
        (call("one", "a", "2.0#0"), AT_1),
    ),
    "each-adds-a-place": ((AT_0, AT_1), (AT_0, AT_1, AT_2), (AT_0, AT_1), (AT_0, AT_1, AT_2)),
    "lone-got-places": ((A,), (A,), (AT_0, AT_1), (AT_0, AT_1)),
    "lone-changed-and-got-places": ((A,), (C,), (AT_0, AT_1), (call("one", "c", "#0"), AT_1)),
    "lone-again": ((AT_0, AT_1), (A,), (AT_0, AT_1), (A,)),
    "lone-again-and-one-added": ((AT_0, AT_1), (A,), (AT_0, AT_1, AT_2), (AT_0, AT_2)),
    "lone-again-with-another-reply": ((AT_0, AT_1), (C,), (AT_0, AT_1), (C,)),
    "added-alone-and-with-places": ((), (A,), (AT_0, AT_1), (AT_0, AT_1)),
    "lone-removed-and-got-places": (
        (A, X),
        (AT_0, AT_1, X),
        (X,),
        (call("one", "b", "*", "#1"), X),
    ),
    "lone-in-two-tests": (
        (A,),
        (AT_0, call("one", "b", "1#0")),
        (call("one", "a", "2#0"), call("one", "b", "3#0")),
        (
            AT_0,
            call("one", "b", "1#0"),
            call("one", "a", "2#0"),
            call("one", "b", "3#0"),
        ),
    ),
    "same-reply-twice-stays-two": (
        (),
        (AT_0, call("one", "a", "#1")),
        (AT_0, call("one", "a", "#1")),
        (AT_0, call("one", "a", "#1")),
    ),
    "one-sample-split-by-theirs": (
        (call("one", "a", "#0", "#1"), X),
        (call("one", "a", "#0", "#1"), X, Y),
        (AT_0, call("one", "a", "#1"), X),
        (AT_0, call("one", "a", "#1"), X, Y),
    ),
    "timeout-beside-an-answer": (
        (AT_0, AT_1),
        (AT_0, AT_1, call("one", None, "5#0", outcome="timeout", ms=5)),
        (AT_0, AT_1),
        (AT_0, AT_1, call("one", None, "5#0", outcome="timeout", ms=5)),
    ),
    "turned-away-then-answered": ((), (UNSENT,), (A,), (A,)),
    "retry-beside-its-first": (
        (A,),
        (A, call("one/again", "r", attempt=1)),
        (A, X),
        (A, X, call("one/again", "r", attempt=1)),
    ),
}


@pytest.mark.parametrize("sides", JOINED.values(), ids=JOINED)
def test_what_needs_nobody_is_joined(tmp_path: Path, sides: tuple[Side, ...]) -> None:
    base, ours, theirs, result = sides
    assert merged(tmp_path, base, ours, theirs) == (0, text(*result).encode())
    assert merged(tmp_path, base, theirs, ours) == (0, text(*result).encode())


UNDECIDED = {
    "both-changed": ((A,), (B,), (C,), ["any place", '"b"', '"c"']),
    "both-added": ((), (B,), (C,), ["any place", '"b"', '"c"']),
    "true-is-not-one": ((), (call("one", True),), (call("one", 1),), ["any place", "true", "1"]),
    "changed-and-removed": ((A, X), (B, X), (X,), ["any place", '"b"', "removed"]),
    "edited-and-removed": ((A, X), (EDITED, X), (X,), ["any place", '"e"', "removed"]),
    "at-one-of-two-places": (
        (AT_0, AT_1),
        (AT_0, call("one", "b2", "#1")),
        (AT_0, call("one", "b3", "#1")),
        ["#1", '"b2"', '"b3"'],
    ),
    "both-added-at-a-place": (
        (A,),
        (AT_0, AT_1),
        (AT_0, call("one", "d", "#1")),
        ["#1", '"b"', '"d"'],
    ),
    "alone-and-with-places": ((), (C,), (AT_0, AT_1), ["any place", '"c"', '"a"']),
    "answered-and-out-of-time": ((), (A,), (OUT_OF_TIME,), ["any place", '"a"', "timeout"]),
    "answered-and-refused": (
        (),
        (A,),
        (call("one", "a", outcome="refused"),),
        ["any place", '"a"', "refused"],
    ),
}


@pytest.mark.parametrize("sides", UNDECIDED.values(), ids=UNDECIDED)
def test_what_a_person_has_to_decide_is_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], sides: tuple[Any, ...]
) -> None:
    base, ours, theirs, (place, our, their) = sides
    assert merged(tmp_path, base, ours, theirs) == (1, text(*ours).encode())
    err = capsys.readouterr().err
    assert f"stratum: {HOME}: 1 call to decide; nothing was joined." in err
    assert f"  call {digest('one')[:12]} of choose at {place}\n" in err
    lines = {line.split()[0]: line for line in err.splitlines() if line.startswith("    ")}
    assert our in lines["ours:"]
    assert their in lines["theirs:"]
    assert f"git checkout --ours or --theirs {HOME}" in err


@pytest.mark.parametrize("sides", UNDECIDED.values(), ids=UNDECIDED)
def test_a_conflict_is_one_from_either_side(tmp_path: Path, sides: tuple[Any, ...]) -> None:
    base, ours, theirs, _ = sides
    assert merged(tmp_path, base, theirs, ours)[0] == 1


def test_the_command_joins_as_a_driver_would(tmp_path: Path) -> None:
    paths = three(tmp_path, (X,), (X, Y), (X, Z))
    before = [paths[0].read_bytes(), paths[2].read_bytes()]
    done = stratum(tmp_path, "merge", *(path.name for path in paths), "--path", HOME)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert paths[1].read_bytes() == text(X, Y, Z).encode()
    assert [paths[0].read_bytes(), paths[2].read_bytes()] == before
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in paths)


def test_a_conflict_steers_neither_terminal_nor_ci(tmp_path: Path) -> None:
    evil = "ok\x1b[31m\u202e\n::error::x"
    paths = three(tmp_path, (A,), (call("one", evil),), (call("one", [evil]),))
    done = stratum(tmp_path, "merge", *map(str, paths), "--path", f"x{evil}.json")
    assert (done.returncode, done.stdout) == (1, "")
    assert "\\x1b[31m\\u202e" in done.stderr
    assert not [character for character in "\x1b\u202e" if character in done.stderr]
    assert not [line for line in done.stderr.splitlines() if line.strip().startswith("::")]


BROKEN = {
    "not-json": ("{", "is not JSON"),
    "markers": ("<<<<<<< ours\n", "merge-conflict marker"),
    "empty": ("", "is not JSON"),
    "newer": ('{"format": 99}', "has format 99"),
}


@pytest.mark.parametrize(("content", "message"), BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("side", [1, 2], ids=["ours", "theirs"])
def test_a_side_that_cannot_be_read_changes_nothing(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    content: str,
    message: str,
    side: int,
) -> None:
    paths = three(tmp_path, (A,), (B,), (C,))
    paths[side].write_text(content)
    ours = paths[1].read_bytes()
    assert main(["merge", *map(str, paths)]) == 2
    assert message in capsys.readouterr().err
    assert paths[1].read_bytes() == ours


def test_the_files_of_two_functions_are_not_joined(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = three(tmp_path, (), (A,), (B,))
    paths[2].write_text(text_of(golden(X, function="other")))
    assert main(["merge", *map(str, paths)]) == 2
    assert "choose and other are recorded in two files" in capsys.readouterr().err


def test_a_moved_function_keeps_its_new_source(tmp_path: Path) -> None:
    paths = three(tmp_path, (A,), (A,), (A, X))
    paths[1].write_text(text_of(golden(A, source="lib.py")))
    assert main(["merge", *map(str, paths)]) == 0
    assert paths[1].read_text() == text_of(golden(A, X, source="lib.py"))


def test_contracts_and_instructions_that_calls_refer_to_are_kept(tmp_path: Path) -> None:
    paths = three(tmp_path, (A,), (A,), (A,))
    theirs = golden(call("x", contract="c2", instructions="i2"))
    theirs.contracts |= {"c2": {"type": "integer"}, "unused": {}}
    theirs.instructions["i2"] = {**WORDS, "intent": "Other"}
    paths[2].write_text(text_of(theirs))
    assert main(["merge", *map(str, paths)]) == 0
    file = read_file(paths[1], HOME)
    assert file.contracts == {"c2": {"type": "integer"}}
    assert file.instructions == {"i2": {**WORDS, "intent": "Other"}}


def test_many_calls_are_joined_in_linear_time(tmp_path: Path) -> None:
    base = tuple(call(f"{number}") for number in range(3000))
    samples = tuple(call("one", number, f"#{number}") for number in range(3000))
    assert merged(tmp_path, base, (*base, *samples), (*base, X))[0] == 0


REPLIES = st.sampled_from(["a", "b"])
PLACED = st.dictionaries(st.sampled_from(["#0", "#1", "1#0"]), REPLIES, min_size=2)


@st.composite
def sides(draw: st.DrawFn) -> FunctionFile:
    """A golden file of one key, as recording writes it: one sample without places, or several."""
    placed = draw(st.none() | REPLIES | PLACED)
    if placed is None:
        return golden(X)
    if isinstance(placed, str):
        return golden(X, call("one", placed))
    return golden(X, *(call("one", reply, place) for place, reply in placed.items()))


@given(sides(), sides(), sides())
def test_joining_does_not_depend_on_whose_side_it_is(
    base: FunctionFile, ours: FunctionFile, theirs: FunctionFile
) -> None:
    one, other = join(base, ours, theirs), join(base, theirs, ours)
    assert len(one.conflicts) == len(other.conflicts)
    assert one.conflicts or text_of(one.file) == text_of(other.file)


@given(sides(), sides())
def test_a_side_that_changed_nothing_takes_the_other(
    base: FunctionFile, theirs: FunctionFile
) -> None:
    joined = join(base, base, theirs)
    assert (joined.conflicts, text_of(joined.file)) == ((), text_of(theirs))


@given(sides(), sides(), sides())
def test_every_reply_of_a_joined_file_comes_from_a_side(
    base: FunctionFile, ours: FunctionFile, theirs: FunctionFile
) -> None:
    replies = {sample.entry["reply"] for side in (ours, theirs) for sample in side.samples}
    joined = join(base, ours, theirs)
    assert {sample.entry["reply"] for sample in joined.file.samples} <= replies
    assert not [s for s in joined.file.samples if "places" in s.entry]
