"""Golden files of other formats, and replies that a person wrote."""

import json
from pathlib import Path
from typing import Any

import pytest

from stratum.cli import main
from stratum.errors import RecordingCorrupt
from stratum.hashing import digest, short
from stratum.recording.formats import FORMAT, STEPS, upgraded
from stratum.recording.golden import read_file
from tests.goldens import HOME, SCHEMA, WORDS, call, recorded, stratum, text
from tests.support import ECHO, asked, files_below, project, run_bare

A = call("one", "a", wire={"wire": "schema"})
B = call("two", None, outcome="unsent", tokens=None, cost=None)
APP = 'from stratum import infer\n@infer(intent="Repeat it")\ndef shout(text: str) -> str: ...\n'
TESTS = "import app\ndef test_it(): assert app.shout.run(text='hi') == {!r}\n"


def as_format_0(current: str) -> str:
    """Return a golden file's text as it was before the first release."""
    data = json.loads(current)
    words = [{k: v for k, v in old.items() if k != "wire"} for old in data["instructions"].values()]
    names = dict(zip(data["instructions"], (short(digest(old)) for old in words), strict=True))
    for entry in data["calls"]:
        entry["instructions"] = names[entry["instructions"]]
        if "tokens" in entry:
            entry["tokens"] = dict(zip(("input", "output"), entry["tokens"], strict=True))
        if "quote" in entry:
            parts = ("input_tokens", "input_price", "output_price")
            entry["quote"] = dict(zip(parts, entry["quote"], strict=True))
    instructions = dict(zip(names.values(), words, strict=True))
    return json.dumps(data | {"format": 0, "instructions": instructions})


def old_file(root: Path, *calls: Any, home: str = HOME) -> Path:
    path = recorded(root, *calls, home=home)
    path.write_text(as_format_0(path.read_text(encoding="utf-8")), encoding="utf-8")
    return path


def test_there_is_a_step_from_every_older_format() -> None:
    assert sorted(STEPS) == list(range(FORMAT))


def test_format_0_is_read_as_the_current_one(tmp_path: Path) -> None:
    file = read_file(old_file(tmp_path, A, B), HOME)
    by_key = {sample.key: sample for sample in file.samples}
    reply, quote = by_key[A.key].reply(), by_key[B.key].quote()
    assert (reply.usage.input, reply.usage.output, reply.data) == (10, 5, "a")
    assert (quote.input_tokens, quote.input_price, quote.output_price) == (12, 1.0, 2.0)
    assert file.instructions == {short(digest(WORDS)): WORDS}
    assert file.instructions_of(by_key[A.key]) == WORDS
    assert (file.format, file.contracts) == (0, {short(digest(SCHEMA)): SCHEMA})


def test_a_step_leaves_what_it_was_given() -> None:
    data = json.loads(as_format_0(text(A, B)))
    before = json.dumps(data)
    upgraded(data, "f.json")
    assert json.dumps(data) == before


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"format": 2}', "has format 2; this version of Stratum reads 1 and older"),
        ('{"format": 2}', "pip install --upgrade stratum-py"),
        ('{"format": -1}', "format is a number from 0 on"),
        ('{"format": true}', "format is a number from 0 on"),
        ('{"format": "1"}', "format is a number from 0 on"),
        ("{}", "is no recording of this format .KeyError: 'format'"),
        ('{"format": 0}', "is no recording of this format"),
        ('{"format": 0, "instructions": [], "calls": []}', "is no recording of this format"),
        ('{"format": 0, "instructions": {"i": 1}, "calls": []}', "is no recording"),
        ('{"format": 0, "instructions": {}, "calls": [1]}', "is no recording"),
        (
            '{"format": 0, "instructions": {}, "calls": [{"instructions": "i", "tokens": [1]}]}',
            "is no recording",
        ),
        (
            '{"format": 0, "instructions": {}, "calls": [{"instructions": []}]}',
            "is no recording",
        ),
    ],
    ids=[
        "newer", "remedy", "negative", "true", "text", "none", "bare", "list", "words", "call",
        "tokens", "reference",
    ],
)  # fmt: skip
def test_what_is_no_known_format_is_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "calls.json"
    path.write_text(content)
    with pytest.raises(RecordingCorrupt, match=message):
        read_file(path, HOME)


def test_an_attempt_that_is_no_number_is_refused(tmp_path: Path) -> None:
    path = recorded(tmp_path, A)
    path.write_text(text(call("one", attempt=7)).replace('"attempt": 7', '"attempt": "7"'))
    with pytest.raises(RecordingCorrupt, match="attempt is a number from 0 on"):
        read_file(path, HOME)


def test_upgrade_rewrites_old_files_once(tmp_path: Path) -> None:
    old_file(tmp_path, A, B)
    recorded(tmp_path, A, home="app.py/new.json")
    first = stratum(tmp_path, "upgrade")
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout == (
        "upgraded golden/recordings/app.py/choose.json from format 0\n"
        "1 file upgraded to format 1, 1 had it already\n"
    )
    after = files_below(tmp_path)
    assert after[f"golden/recordings/{HOME}"].decode() == text(A, B)
    assert main(["upgrade", str(tmp_path)]) == 0
    assert files_below(tmp_path) == after


def test_upgrading_twice_says_that_nothing_was_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recorded(tmp_path, A)
    assert main(["upgrade", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "0 files upgraded to format 1, 1 had it already\n"


@pytest.mark.parametrize("content", ['{"format": 99}', "<<<<<<< a\n"], ids=["newer", "conflict"])
def test_upgrade_changes_nothing_beside_a_file_it_cannot_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    old_file(tmp_path, A)
    recorded(tmp_path, A, home="lib.py/zz.json").write_text(content)
    before = files_below(tmp_path)
    assert main(["upgrade", str(tmp_path)]) == 2
    assert "zz.json" in capsys.readouterr().err
    assert files_below(tmp_path) == before


def test_upgrade_of_nothing_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["upgrade", str(tmp_path)]) == 0
    assert "nothing is recorded in" in capsys.readouterr().out


def test_merge_writes_the_current_format(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("base", "ours", "theirs")]
    for path, calls in zip(paths, [(A,), (A, B), (A, call("x"))], strict=True):
        path.write_text(as_format_0(text(*calls)), encoding="utf-8")
    assert main(["merge", *map(str, paths)]) == 0
    assert paths[1].read_text(encoding="utf-8") == text(A, B, call("x"))


def echo(folder: Path, answer: str) -> Path:
    files = {"conftest.py": ECHO, "app.py": APP, "test_app.py": TESTS.format(answer)}
    return project(folder, files)


@pytest.fixture
def shouted(tmp_path: Path) -> Path:
    """Record one call, and return its golden file."""
    folder = echo(tmp_path, "HI")
    assert run_bare(folder, "--stratum-record").returncode == 0
    return folder / "golden/recordings/app.py/shout.json"


def test_a_file_of_format_0_replays_and_is_recorded_as_the_current_one(
    shouted: Path, tmp_path: Path
) -> None:
    current = shouted.read_text(encoding="utf-8")
    shouted.write_text(as_format_0(current), encoding="utf-8")
    replay = run_bare(tmp_path, "--stratum-replay")
    assert (replay.returncode, "1 call replayed" in replay.stdout) == (0, True), replay.stdout
    assert main(["drift", str(tmp_path)]) == 0
    record = run_bare(tmp_path, "--stratum-record")
    assert (record.returncode, len(asked(tmp_path))) == (0, 1), record.stdout
    assert shouted.read_text(encoding="utf-8") == current


def test_a_reply_edited_by_hand_stays_edited(
    shouted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = json.loads(shouted.read_text(encoding="utf-8"))
    data["calls"][0] |= {"reply": {"value": "by hand"}, "edited": True}
    shouted.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    before = shouted.read_bytes()
    echo(tmp_path, "by hand")
    for mode in ("replay", "record"):
        run = run_bare(tmp_path, f"--stratum-{mode}")
        assert (run.returncode, len(asked(tmp_path))) == (0, 1), run.stdout
        assert shouted.read_bytes() == before
    assert main(["show", data["calls"][0]["key"], str(tmp_path)]) == 0
    assert "  edited       by hand\n" in capsys.readouterr().out
    assert main(["ls", str(tmp_path)]) == 0
    assert "1 edited by hand" in capsys.readouterr().out


def test_recording_all_anew_drops_what_was_edited(shouted: Path, tmp_path: Path) -> None:
    before = shouted.read_text(encoding="utf-8")
    data = json.loads(before)
    data["calls"][0] |= {"reply": {"value": "by hand"}, "edited": True}
    shouted.write_text(json.dumps(data), encoding="utf-8")
    run = run_bare(tmp_path, "--stratum-record-all")
    assert (run.returncode, len(asked(tmp_path))) == (0, 2), run.stdout
    assert shouted.read_text(encoding="utf-8") == before
