"""`stratum ls` and `stratum show`: what is recorded, as a person reads it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from stratum.cli import main
from stratum.hashing import digest
from tests.goldens import HOME, call, recorded, stratum
from tests.support import clean_environment

HOSTILE = "ok\x1b[31mred\x07\r\u202eevil\u2028::error::line\x9b2J\x7f"
HARMFUL = "\x1b\x07\r\u202e\u2028\x9b\x7f"


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(arguments)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def key(name: str) -> str:
    return digest(name)[:12]


def test_ls_sums_up_each_function_and_the_project(tmp_path: Path) -> None:
    second = call("two", recorded_on="2026-03-04", answered_by="other", cost=None, edited=True)
    recorded(tmp_path, call("one"), second)
    recorded(tmp_path, call("three"), home="lib.py/count.json", function="count", source="lib.py")
    done = stratum(tmp_path, "ls")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        "function choose (app.py)\n"
        "  2 calls, 2026-01-02 to 2026-03-04, 20 + 10 tokens, $0.0010, 1 of unknown cost, "
        "1 edited by hand\n"
        "  answered by other, stand-in\n"
        "function count (lib.py)\n"
        "  1 call, 2026-01-02, 10 + 5 tokens, $0.0010\n"
        "  answered by stand-in\n"
        "2 functions: 3 calls, 2026-01-02 to 2026-03-04, 30 + 15 tokens, $0.0020, "
        "1 of unknown cost, 1 edited by hand\n"
    )


def test_ls_lists_calls_with_what_sets_them_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    retry = call("one/again", "c", attempt=1, prompt=None, retry=["too long"])
    late = call("late", None, outcome="timeout", recorded_on=None, cost=None)
    recorded(tmp_path, call("one", "a", "#0"), call("one", "b", "#1", edited=True), retry, late)
    code, out, _ = said(capsys, "ls", "--calls", str(tmp_path))
    assert (code, "of unknown cost" in out) == (0, False)
    assert [line.strip() for line in out.splitlines() if line.startswith("    call")] == [
        f"call {key('late')}  timeout  text: late",
        f"call {key('one/again')}  2026-01-02  attempt 2  retry: too long",
        f"call {key('one')}  2026-01-02  at #0  text: one",
        f"call {key('one')}  2026-01-02  at #1  edited by hand  text: one",
    ]


def test_ls_as_json_holds_every_call(tmp_path: Path) -> None:
    recorded(tmp_path, call("one", edited=True, answered_by=HOSTILE))
    done = stratum(tmp_path, "ls", "--json")
    [listing] = json.loads(done.stdout)["functions"]
    assert (listing["function"], listing["source"]) == ("choose", "app.py")
    assert listing["file"] == f"golden/recordings/{HOME}"
    assert (listing["sums"]["calls"], listing["sums"]["cost"]) == (1, 0.001)
    [one] = listing["calls"]
    assert (one["key"], one["edited"], one["answered_by"]) == (digest("one"), True, HOSTILE)
    assert not [character for character in HARMFUL if character in done.stdout]


def test_ls_as_json_of_nothing_is_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert json.loads(said(capsys, "ls", "--json", str(tmp_path))[1]) == {"functions": []}


def test_ls_of_nothing_says_how_to_record(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = said(capsys, "ls", str(tmp_path))
    assert (code, "pytest --stratum-record does" in out) == (0, True)


@pytest.mark.parametrize("arguments", [("ls",), ("show", digest("one"))], ids=["ls", "show"])
def test_a_broken_file_is_named_and_the_others_are_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    recorded(tmp_path, call("one"))
    recorded(tmp_path, call("two"), home="app.py/broken.json").write_text("<<<<<<< HEAD\n")
    code, out, err = said(capsys, *arguments, str(tmp_path))
    assert (code, "choose (app.py)" in out) == (2, True)
    assert "broken.json:1 has the merge-conflict marker" in err
    assert "stratum merge BASE OURS THEIRS" in err


def test_show_shows_a_call_in_full(tmp_path: Path) -> None:
    recorded(tmp_path, call("one", {"value": "ü"}, wire={"wire": "schema"}))
    done = stratum(tmp_path, "show", digest("one")[:4].upper())
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(
        f"""\
call {digest("one")}
  function     choose (app.py)
  file         golden/recordings/app.py/choose.json
  inputs       {digest("one")[:16]}
  places       any that no other call of its key names
  attempt      1
  outcome      answered
  recorded on  2026-01-02
  answered by  stand-in
  tokens       10 in, 5 out
  cost         $0.0010
  quote        12 input tokens; per million tokens $1 in, $2 out
  wire         {{"wire": "schema"}}
  edited       no
  prompt
    | Choose
    |
    | Carefully
    |
    | text: one
  reply
    | {{
    |  "value": "ü"
    | }}
  instructions """
    )
    assert '    |  "model": "any/model",\n' in done.stdout
    assert done.stdout.endswith('    | {\n    |  "type": "string"\n    | }\n')


def test_a_retry_shows_the_first_prompt_and_its_violations(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    retry = call("one/again", "c", attempt=1, prompt=None, retry=["too long", "too loud"])
    recorded(tmp_path, call("one", "a", "#0"), call("one", "b", "#1"), call("two"), retry)
    _, out, _ = said(capsys, "show", digest("one/again"), str(tmp_path))
    assert "  attempt      2 (a retry)\n" in out
    assert (
        "    | text: one\n    |\n    | (the answer of attempt 1)\n    |\n"
        "    | Previous attempt failed:\n    |   - too long\n    |   - too loud\n"
        "    | Fix these issues specifically.\n  reply\n"
    ) in out


def test_a_retry_without_its_first_attempt_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recorded(tmp_path, call("x"), call("one/again", attempt=1, prompt=None, retry=["too long"]))
    _, out, _ = said(capsys, "show", digest("one/again"), str(tmp_path))
    assert "    | (the first attempt is not in this file)\n" in out
    assert "    |   - too long\n" in out


def test_all_samples_of_a_key_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recorded(tmp_path, call("one", "a", "#0"), call("one", "b", "#1", "2.0#0", edited=True))
    code, out, _ = said(capsys, "show", digest("one"), str(tmp_path))
    assert (code, out.count(f"call {digest('one')}")) == (0, 2)
    assert "  places       #0\n" in out
    assert "  places       #1, 2.0#0\n" in out
    assert out.count("  edited       by hand\n") == 1


def test_what_is_unknown_of_a_call_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = dict.fromkeys(("cost", "tokens", "prompt", "recorded_on", "answered_by"))
    recorded(tmp_path, call("one", None, outcome="timeout", quote=[None, None, 2.0], **gone))
    _, out, _ = said(capsys, "show", digest("one"), str(tmp_path))
    assert "  quote        unknown input tokens; per million tokens unknown in, $2 out\n" in out
    assert "  recorded on  unknown\n  answered by  nobody\n" in out
    assert "  cost         unknown\n" in out
    assert "  prompt\n    | (not recorded)\n  reply\n    | (no reply)\n" in out


def test_several_keys_are_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = (call(name, key=f"abcd{digest(name)[4:]}") for name in ("one", "two"))
    recorded(tmp_path, one, two)
    code, out, _ = said(capsys, "show", "abcd", str(tmp_path))
    assert code == 1
    assert "several calls have a key that begins with abcd; give more digits:" in out
    assert f"  call {one.key[:12]}  2026-01-02  text: one (choose)\n" in out
    assert f"  call {two.key[:12]}  2026-01-02  text: two (choose)\n" in out


def test_an_unknown_key_is_an_error_with_a_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recorded(tmp_path, call("one"))
    code, out, err = said(capsys, "show", "0000", str(tmp_path))
    assert (code, out) == (2, "")
    assert "no recorded call has a key that begins with 0000" in err
    assert "stratum ls --calls lists the keys" in err


def test_a_key_that_may_be_in_a_broken_file_names_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recorded(tmp_path, call("one")).write_text("{")
    code, _, err = said(capsys, "show", digest("one"), str(tmp_path))
    assert (code, "choose.json:1:2 is not JSON" in err) == (2, True)
    assert "no recorded call has a key" in err


@pytest.mark.parametrize("prefix", ["abc", "wxyz", "", "a" * 65], ids=["few", "words", "no", "65"])
def test_what_is_no_key_prefix_is_refused(prefix: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["show", prefix])
    assert ended.value.code == 2
    assert "give 4 hex digits or more, as stratum ls --calls does" in capsys.readouterr().err


def hostile(root: Path) -> None:
    fields = ("answered_by", "recorded_on", "contract", "instructions", "inputs")
    more = dict.fromkeys(fields, HOSTILE)
    prompt, wire = ["::error::x", HOSTILE], {HOSTILE: HOSTILE}
    bad = call("bad", {HOSTILE: HOSTILE}, wire=wire, prompt=prompt, **more)
    again = call("again", HOSTILE, attempt=1, prompt=None, retry=[HOSTILE, "::error::x"])
    recorded(root, bad, again, call("key", key="::error::x"), function=HOSTILE, source=HOSTILE)


@pytest.mark.parametrize(
    "arguments",
    [("ls",), ("ls", "--calls"), ("show", digest("bad")), ("show", digest("again"))],
    ids=["ls", "calls", "show", "retry"],
)
def test_hostile_recordings_steer_neither_terminal_nor_ci(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    hostile(tmp_path)
    done = stratum(tmp_path, *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert "ok\\x1b[31mred\\x07\\r\\u202eevil\\u2028::error::line\\x9b2J\\x7f" in done.stdout
    assert not [character for character in HARMFUL if character in done.stdout]
    assert not [line for line in done.stdout.splitlines() if line.strip().startswith("::")]


def test_a_terminal_without_the_characters_gets_escapes(tmp_path: Path) -> None:
    recorded(tmp_path, call("one", "ü"))
    done = stratum(tmp_path, "show", digest("one"), PYTHONUTF8="0", PYTHONIOENCODING="ascii")
    assert (done.returncode, '    | "\\xfc"\n' in done.stdout) == (0, True)


def test_a_reader_that_stops_is_no_error(tmp_path: Path) -> None:
    recorded(tmp_path, *(call(f"{number}") for number in range(2000)))
    command = [sys.executable, "-m", "stratum.cli", "ls", "--calls"]
    with subprocess.Popen(
        command, cwd=tmp_path, env=clean_environment(), stdout=-1, stderr=-1
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert (process.stderr.read(), process.wait()) == (b"", 0)


@pytest.mark.parametrize("command", ["ls", "drift", "upgrade"])
def test_a_folder_that_does_not_exist_is_an_error(tmp_path: Path, command: str) -> None:
    done = stratum(tmp_path, command, "typo")
    assert done.returncode == 2
    assert "there is no folder typo" in done.stderr
