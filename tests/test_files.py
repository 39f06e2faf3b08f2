import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from stratum.errors import RecordingCorrupt, RecordingError
from stratum.recording.files import (
    MAX_BYTES,
    MAX_NAME,
    dump_json,
    escape_name,
    is_too_deep,
    parse_json,
    read_json,
    unescape_name,
    write_atomic,
)

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
VALUES = st.recursive(
    SCALARS.filter(lambda v: v not in (float("inf"), float("-inf"))),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)
ANY_TEXT = st.text(st.characters(exclude_categories=()))


def written(folder: Path, content: bytes) -> Path:
    path = folder / "calls.json"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b'{"a": 1,\n "b" 2}', r"json:2:6 is not JSON: Expecting ':'", id="syntax"),
        pytest.param(b"", r"calls.json:1:1 is not JSON: Expecting value", id="empty"),
        pytest.param(b'[1,\n"\xff"]', r"calls.json:2 is not UTF-8; restore", id="encoding"),
        pytest.param(b'{"a": {},\n"a": 2}', r'json:2 .* the key "a" is there twice', id="twice"),
        pytest.param(b'[{"a": 1},\n{"b": {"a": 1,\n"\\u0061": 2}}]', r"json:3 ", id="escaped"),
        pytest.param(b'["NaN",\nNaN]', r"calls.json:2 cannot be used: NaN is no JSON", id="nan"),
        pytest.param(b"[\n\n-Infinity]", r"calls.json:3 .*-Infinity is no JSON", id="infinity"),
        pytest.param(b"[1,\n1e999]", r"calls.json:2 .* a number is too large", id="overflow"),
        pytest.param(b"[" + b"1" * 5000 + b"]", r"calls.json cannot be used: Exceeds", id="digits"),
        pytest.param(b"[" * 65 + b"]" * 65, r"nested deeper than 64 levels", id="deep"),
        pytest.param(b'{"a":' * 99_999, r"nested deeper than 64 levels", id="never-closed"),
        pytest.param(b"<<<<<<< HEAD\n{}", r"calls.json:1 .* <<<<<<<; keep one side", id="ours"),
        pytest.param(b"[1\n=======\n]", r"calls.json:2 .* =======; keep one side", id="middle"),
        pytest.param(b"[1\r\n=======\r\n]", r"calls.json:2 .* =======; keep", id="carriage-return"),
        pytest.param(b"[1]\n>>>>>>> main", r"calls.json:2 .* >>>>>>>; keep one", id="theirs"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(RecordingCorrupt, match=message):
        read_json(written(tmp_path, content))


def test_a_conflict_explains_the_key_that_it_doubles(tmp_path: Path) -> None:
    both = b'[\n{"cost": 1,\n"cost": 2},\n<<<<<<< HEAD\n1\n=======\n2\n>>>>>>> x\n]'
    with pytest.raises(RecordingCorrupt, match=r"json:4 has the merge-conflict marker <<<<<<<"):
        read_json(written(tmp_path, both))


def test_a_marker_inside_a_text_is_no_conflict(tmp_path: Path) -> None:
    path = written(tmp_path, dump_json({"diff": "a\n<<<<<<< HEAD\n=======\n"}).encode())
    assert read_json(path) == {"diff": "a\n<<<<<<< HEAD\n=======\n"}


def test_a_huge_file_is_not_parsed(tmp_path: Path) -> None:
    path = tmp_path / "calls.json"
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(RecordingCorrupt, match=r"calls.json is over 64 MB; split"):
        read_json(path)


@pytest.mark.parametrize("name", [".", "absent.json"], ids=["folder", "absent"])
def test_what_cannot_be_opened_says_so(tmp_path: Path, name: str) -> None:
    with pytest.raises(RecordingCorrupt, match=r"cannot be read \(.+\); restore it"):
        read_json(tmp_path / name)


def test_a_message_shows_no_raw_control_characters(tmp_path: Path) -> None:
    path = written(tmp_path, b'{"\\u001b[2J": 1, "\\u001b[2J": 2}')
    with pytest.raises(RecordingCorrupt, match=r'the key "\\u001b\[2J" is there twice'):
        read_json(path)


def test_a_byte_order_mark_from_an_editor_is_accepted(tmp_path: Path) -> None:
    assert read_json(written(tmp_path, b"\xef\xbb\xbf[1]")) == [1]


@pytest.mark.parametrize(
    ("text", "deep"),
    [
        pytest.param("[" * 64 + "]" * 64, False, id="limit"),
        pytest.param('{"a":[' * 32 + "]}" * 32, False, id="mixed"),
        pytest.param('{"a":[' * 33 + "]}" * 33, True, id="mixed-over"),
        pytest.param("[[],[]," + "[" * 64 + "]" * 64 + "]", True, id="beside-shallow"),
        pytest.param(json.dumps(["[" * 99, '"' + "{" * 99, "\\" * 3 + '"[[']), False, id="strings"),
        pytest.param(json.dumps(["\\", "[" * 99, "\\\\"]), False, id="backslashes"),
        pytest.param("[" + "[]," * 9999 + "[]]", False, id="wide"),
    ],
)
def test_depth_is_counted_outside_strings(text: str, deep: bool) -> None:
    assert is_too_deep(text) is deep


def depth(value: Any) -> int:
    if isinstance(value, dict):
        return depth(list(value.values()))
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0


@given(VALUES, st.integers(55, 70))
def test_depth_is_that_of_the_value(value: Any, wraps: int) -> None:
    for _ in range(wraps):
        value = [value]
    assert is_too_deep(json.dumps(value)) is (depth(value) > 64)


@given(VALUES)
def test_a_golden_file_reads_back_equal(value: Any) -> None:
    assert parse_json(dump_json(value)) == value


@given(ANY_TEXT)
def test_any_text_survives_as_utf8(text: str) -> None:
    dumped = dump_json({text: text}).encode()
    assert parse_json(dumped.decode()) == json.loads(json.dumps({text: text}))


def test_the_order_of_keys_is_kept() -> None:
    assert dump_json({"b": 1, "a": [{}, []]}) == ('{\n "b": 1,\n "a": [\n  {},\n  []\n ]\n}\n')


@pytest.mark.parametrize(
    "code",
    [
        *(0x00, 0x1B, 0x7F, 0x9B, 0x61C, 0x200E, 0x200F, 0x2028, 0x2029, 0x202A, 0x202E),
        *(0x2066, 0x2069, 0xFEFF, 0xD800, 0xDFFF, 0xE0041),
    ],
    ids=lambda code: f"u{code:04x}",
)
def test_what_a_reviewer_cannot_see_is_escaped(code: int) -> None:
    dumped = dump_json("a" + chr(code))
    assert dumped == f'"a{json.dumps(chr(code))[1:-1]}"\n'


@pytest.mark.parametrize(
    "text", ["é", "日本語", "🙂", "עברית"], ids=["accent", "kanji", "emoji", "rtl"]
)
def test_what_a_reviewer_can_read_is_not(text: str) -> None:
    assert dump_json(text) == f'"{text}"\n'


@pytest.mark.parametrize(
    ("value", "message"),
    [
        pytest.param(float("nan"), "not JSON cannot be recorded", id="nan"),
        pytest.param({1, 2}, "not JSON cannot be recorded", id="set"),
        pytest.param(json.loads("[" * 65 + "]" * 65), "deeper than 64 levels", id="deep"),
    ],
)
def test_what_could_not_be_read_back_is_not_dumped(value: Any, message: str) -> None:
    with pytest.raises(RecordingError, match=message):
        dump_json(value)


def test_a_file_is_written_with_its_folders(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "calls.json"
    assert write_atomic(path, "é\n") is True
    assert path.read_bytes() == b"\xc3\xa9\n"


def test_what_is_unchanged_is_not_rewritten(tmp_path: Path) -> None:
    path = written(tmp_path, b"same\n")
    before = path.stat()
    assert write_atomic(path, "same\n") is False
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_rewritten_file_keeps_its_mode(tmp_path: Path) -> None:
    path = written(tmp_path, b"old")
    path.chmod(0o640)
    write_atomic(path, "new")
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("new", 0o640)


def test_a_failed_rename_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "calls.json" / "inner").mkdir(parents=True)
    with pytest.raises(RecordingError, match=r"calls.json could not be written .* is untouched"):
        write_atomic(tmp_path / "calls.json", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["calls.json"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on file sizes")
def test_a_write_cut_short_leaves_the_old_file(tmp_path: Path) -> None:
    path = written(tmp_path, b"old")
    script = (
        "import resource, sys; from pathlib import Path\n"
        "from stratum.recording.files import write_atomic\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "write_atomic(Path(sys.argv[1]), 'x' * 5000)"
    )
    done = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True)
    assert "could not be written (File too large)" in done.stderr
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("calls.json", b"old")]


@pytest.mark.parametrize(
    ("name", "escaped"),
    [
        pytest.param("test_x.case_1", "test_x.case_1", id="plain"),
        pytest.param("test_x[a/b:c]", "test_x[a%2fb%3ac]", id="parameters"),
        pytest.param("Outer.<locals>.f", "+outer.%3clocals%3e.f", id="locals"),
        pytest.param("case", "case", id="lower"),
        pytest.param("Case", "+case", id="upper"),
        pytest.param("100%", "100%25", id="percent"),
        pytest.param("a+b", "a%2bb", id="plus"),
        pytest.param("", "%", id="empty"),
        pytest.param(".git", "%2egit", id="hidden"),
        pytest.param("..", "%2e%2e", id="parent"),
        pytest.param("end.", "end%2e", id="last-dot"),
        pytest.param("nul", "%6eul", id="device"),
        pytest.param("com1.json", "%63om1.json", id="device-file"),
        pytest.param("CON", "+c+o+n", id="upper-device"),
        pytest.param("console", "console", id="almost-device"),
        pytest.param("a b", "a%20b", id="space"),
        pytest.param("é", "%c3%a9", id="accent"),
        pytest.param("a~b", "a%7eb", id="tilde"),
    ],
)
def test_a_name_becomes_a_file_name_and_back(name: str, escaped: str) -> None:
    assert escape_name(name) == escaped
    assert unescape_name(escaped) == name


@given(ANY_TEXT)
def test_a_short_name_can_be_read_back(name: str) -> None:
    escaped = escape_name(name)
    assume("~" not in escaped)
    assert unescape_name(escaped) == name


@given(ANY_TEXT, ANY_TEXT)
def test_two_names_never_meet_on_a_disk_that_ignores_case(one: str, other: str) -> None:
    assume(one != other)
    assert escape_name(one).casefold() != escape_name(other).casefold()


@given(ANY_TEXT.map(str.swapcase))
def test_a_swapped_case_is_another_file(name: str) -> None:
    assume(name != name.swapcase())
    assert escape_name(name).casefold() != escape_name(name.swapcase()).casefold()


@given(ANY_TEXT)
def test_a_file_name_is_safe_everywhere(name: str) -> None:
    escaped = escape_name(name)
    assert 0 < len(escaped.encode()) <= MAX_NAME
    assert not set(escaped) & set('<>:"/\\|?* ')
    assert "." not in (escaped[0], escaped[-1])


def test_long_names_stay_apart_and_say_that_they_were_cut() -> None:
    one, other = escape_name("x" * 200 + "a"), escape_name("x" * 200 + "b")
    assert (len(one), one != other) == (MAX_NAME, True)
    with pytest.raises(RecordingCorrupt, match="was cut or is not one of ours"):
        unescape_name(one)


@pytest.mark.parametrize(
    "name",
    ["Case", "a%zz", "a%", "a+", "%61", "%ff", "a/b", "nul", ""],
    ids=["upper", "no-hex", "bare", "plus", "needless", "no-text", "slash", "device", "empty"],
)
def test_a_foreign_file_name_is_refused(name: str) -> None:
    with pytest.raises(RecordingCorrupt, match="not one of ours"):
        unescape_name(name)
