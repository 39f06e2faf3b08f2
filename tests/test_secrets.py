"""Secrets never reach golden/, the cache, traces or output, and what is recorded replays."""

import base64
import json
import subprocess
import sys
from pathlib import Path
from subprocess import CompletedProcess
from urllib.parse import quote

import pytest

from tests.support import asked, clean_environment, files_below, project, run_pytest

# Made up here, so that no source file of a project holds them.
TOKEN = "-".join(["Zq7", 'f"K<9>', "x2Lm" * 3, "\\w/p8"])
ROTATED = "-".join(["Yt4", "n6" * 9])
CARD = "-".join(["4711"] * 4)

SETTINGS = """
    [tool.stratum]
    model = "test/model"
    redact = ['\\d{4}-\\d{4}-\\d{4}-\\d{4}']
"""

CONFTEST = """
    import base64, os
    from pathlib import Path
    import stratum

    TOKEN = os.environ["SERVICE_TOKEN"]

    class Live:
        async def complete(self, request):
            with Path("asked.txt").open("a") as file:
                seen = TOKEN in request.prompt.text + request.prompt.system
                raw = request.params == {"seed_text": [TOKEN]}
                file.write(f"{request.site.function} {seen} {raw}\\n")
            said = request.prompt.text.partition(": ")[2] or TOKEN
            if "coded" in said:
                said = "it is " + base64.b64encode(b"ab" + TOKEN.encode()).decode()
            return stratum.Reply({"value": said}, stratum.Usage(9, 5), "m " + TOKEN, cost=0.001)

        async def quote(self, request):
            return stratum.Quote(10, 1.0, 1.0)

    stratum.configure(client=Live())
"""

APP = """
    import os
    from stratum import compute, flow, infer, opaque

    TOKEN = os.environ["SERVICE_TOKEN"]

    @infer(intent="Repeat it", params={"seed_text": [TOKEN]})
    def echo(text: str) -> str: ...

    @infer(intent="Sign with " + TOKEN, context="Or with " + TOKEN)
    def sign(text: str) -> str: ...

    @infer(intent="Read it")
    def read(letter: opaque[str], names: list[str]) -> str: ...

    @infer(intent="Shorten it", ensure=lambda r, text: r == text == "", retries=1)
    def shorten(text: str) -> str: ...

    @infer(intent="Take it", given=lambda text: text.islower())
    def take(text: str) -> str: ...

    @compute
    def shout(text: str) -> str:
        return text + "!"

    @flow
    async def both(text: str) -> str:
        return shout(text=await echo(text=text))
"""

TESTS = """
    import app, pytest
    from app import TOKEN
    from stratum import PostconditionFailed

    CARD = "-".join(["4711"] * 4)

    def test_input():
        assert app.echo.run(text="use " + TOKEN) == "use <secret:SERVICE_TOKEN>"

    def test_pattern():
        assert app.echo.run(text="pay " + CARD) == "pay <secret:redact-1>"

    def test_intent():
        assert app.sign.run(text="x") == "x"

    def test_parts():
        app.read.run(letter="dear " + TOKEN, names=[TOKEN, "ann"])

    def test_retry():
        with pytest.raises(PostconditionFailed):
            app.shorten.run(text="a" * 100 + TOKEN + "b" * 40)

    def test_flow(golden_flow):
        golden_flow.run(app.both, text="use " + TOKEN)

    def test_traces(traces, golden):
        app.echo.run(text="and " + TOKEN)
        assert traces == golden
"""

FILES = {"pyproject.toml": SETTINGS, "conftest.py": CONFTEST, "app.py": APP}


def run(folder: Path, *args: str, token: str = TOKEN) -> CompletedProcess[str]:
    return run_pytest(folder, "-p", "no:cacheprovider", *args, env={"SERVICE_TOKEN": token})


def forms(secret: str) -> list[bytes]:
    """Return what gives a secret away: itself, long pieces of it, and its usual codes."""
    pieces = [secret[at : at + 12] for at in range(len(secret) - 11)]
    dumped = [json.dumps(piece)[1:-1] for piece in pieces]
    codes = [base64.b64encode(secret.encode()).decode()[:12], quote(secret, safe="")[:16]]
    return [form.encode() for form in [*pieces, *dumped, *codes]]


def leaks(text: bytes) -> list[bytes]:
    return [form for secret in (TOKEN, CARD) for form in forms(secret) if form in text]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = project(tmp_path_factory.mktemp("recorded"), {**FILES, "test_app.py": TESTS})
    done = run(folder, "-v", "--stratum-record")
    assert done.returncode == 0, done.stdout
    return folder, done.stdout


def test_no_file_of_a_recorded_project_holds_a_secret(recorded: tuple[Path, str]) -> None:
    files = files_below(recorded[0])
    assert {".stratum/cache/cache.db", "golden/flows/test_app/test_flow.yaml"} <= set(files)
    assert {name: leaks(content) for name, content in files.items() if leaks(content)} == {}


def test_what_is_sent_is_not_touched(recorded: tuple[Path, str]) -> None:
    lines = asked(recorded[0])
    assert "echo True True" in lines
    assert "sign True False" in lines


def test_recording_prints_no_secret(recorded: tuple[Path, str]) -> None:
    assert leaks(recorded[1].encode()) == []


@pytest.mark.parametrize("token", [TOKEN, ROTATED], ids=["same", "rotated"])
def test_recordings_replay_under_any_key(recorded: tuple[Path, str], token: str) -> None:
    done = run(recorded[0], "-v", "--stratum-replay", token=token)
    assert (done.returncode, leaks(done.stdout.encode())) == (0, []), done.stdout


LEAKING = """
    import app, base64, pytest
    from app import TOKEN
    from urllib.parse import quote

    CODED = {
        **{f"base64-{n}": base64.b64encode(b"x" * n + TOKEN.encode()).decode() for n in range(3)},
        "urlsafe": base64.urlsafe_b64encode(TOKEN.encode()).decode(),
        "lines": base64.encodebytes(b"-" * 40 + TOKEN.encode()).decode(),
        "url": quote(TOKEN, safe=""),
    }

    @pytest.mark.parametrize("form", CODED)
    def test_input(form):
        app.echo.run(text="use " + CODED[form])

    def test_opaque():
        app.read.run(letter=CODED["base64-1"], names=[])

    @pytest.mark.xfail
    def test_expected_to_fail():
        app.echo.run(text="use " + CODED["url"])

    def test_swallowed():
        try:
            app.echo.run(text="use " + CODED["url"])
        except Exception:
            pass
"""


def test_an_encoded_secret_fails_the_call_before_anything_is_sent(tmp_path: Path) -> None:
    folder = project(tmp_path, {**FILES, "test_app.py": LEAKING})
    done = run(folder, "-v", "-l", "--stratum-record")
    assert "8 failed, 1 xfailed" in done.stdout
    assert "SecretLeak: read: the value of SERVICE_TOKEN stands in its prompt" in done.stdout
    assert (asked(folder), leaks(done.stdout.encode())) == ([], [])
    assert not (folder / "golden").exists()
    assert {n: c for n, c in files_below(folder).items() if leaks(c)} == {}


def test_an_encoded_secret_in_a_reply_is_not_written(tmp_path: Path) -> None:
    tests = "import app\ndef test_it(): app.echo.run(text='coded')\n"
    folder = project(tmp_path, {**FILES, "test_app.py": tests})
    done = run(folder, "--stratum-record")
    assert "SecretLeak: echo: the value of SERVICE_TOKEN stands in the reply" in done.stdout
    assert leaks(done.stdout.encode()) == []
    assert {n: c for n, c in files_below(folder).items() if leaks(c)} == {}


def test_replay_shows_no_encoded_secret_in_place_of_drift(tmp_path: Path) -> None:
    folder = project(tmp_path, {**FILES, "test_app.py": LEAKING})
    done = run(folder, "-v", "--stratum-replay")
    assert "SecretLeak: read: the value of SERVICE_TOKEN" in done.stdout
    assert leaks(done.stdout.encode()) == []


TALKATIVE = """
    import app, pytest
    from app import TOKEN

    print("collected with", TOKEN)

    def test_printed():
        print("printed", TOKEN)
        value = app.echo.run(text="use " + TOKEN)
        assert value == "use " + TOKEN

    def test_given():
        app.take.run(text="USE " + TOKEN)

    def test_rejected():
        app.shorten.run(text="USE " + TOKEN)

    def test_long():
        assert "x" * 100 + TOKEN + "y" * 300 == ""

    def test_provider(monkeypatch):
        async def failing(self, request):
            raise RuntimeError("cannot send " + TOKEN)
        import stratum.scope
        monkeypatch.setattr(type(stratum.scope.process.client), "complete", failing)
        app.echo.run(text="again " + TOKEN)
"""


@pytest.mark.parametrize("style", ["long", "short", "native"])
def test_failures_show_no_secret(tmp_path: Path, style: str) -> None:
    folder = project(tmp_path, {**FILES, "test_app.py": TALKATIVE})
    done = run(folder, "-vv", "-l", f"--tb={style}", "--junitxml=out.xml", "--stratum-record")
    assert "5 failed" in done.stdout
    assert "printed <secret:SERVICE_TOKEN>" in done.stdout
    assert leaks(done.stdout.encode()) == []
    assert {n: c for n, c in files_below(folder).items() if leaks(c)} == {}


def test_drift_shows_no_secret(recorded: tuple[Path, str], tmp_path: Path) -> None:
    drifted = APP.replace('"Sign with "', '"Seal with "')
    golden = {
        name: content.decode()
        for name, content in files_below(recorded[0]).items()
        if name.startswith("golden/")
    }
    tests = {"app.py": drifted, "test_app.py": TESTS}
    folder = project(tmp_path, {**FILES, **tests, **golden})
    done = run(folder, "--stratum-replay")
    assert "- Sign with <secret:SERVICE_TOKEN>" in done.stdout
    assert leaks(done.stdout.encode()) == []


def test_the_drift_command_compares_without_secrets(recorded: tuple[Path, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "stratum.cli", "drift"],
        cwd=recorded[0],
        env=clean_environment({"SERVICE_TOKEN": ROTATED}),
        capture_output=True,
        encoding="utf-8",
        timeout=60,
    )
    assert (done.returncode, "no drift" in done.stdout) == (0, True), done.stdout + done.stderr
